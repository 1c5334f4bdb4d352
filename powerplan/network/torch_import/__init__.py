"""Networks from torch modules: the module is run once on a stand-in for its input, and every call becomes a node."""

from powerplan.network.torch_import.copying import copied
from powerplan.network.torch_import.importer import from_torch

__all__ = ["copied", "from_torch"]
