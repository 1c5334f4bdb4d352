"""Networks from ONNX models: the file is parsed within limits, then every node becomes operations of a network."""

from powerplan.network.onnx_import.importer import from_onnx, network_of
from powerplan.network.onnx_import.model import Model, read_model

__all__ = ["Model", "from_onnx", "network_of", "read_model"]
