"""torchvision, also where it was built for another torch than the one installed."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


def import_torchvision(submodule: str) -> ModuleType:
    """A submodule of torchvision, such as "models" or "datasets".

    A torchvision built for a CUDA torch cannot load its native library beside a CPU torch, and its import fails for
    want of two operators that neither models nor data sets use: these are declared, and the import tried again.

    Raises:
        ImportError: torchvision is not installed.
    """
    name = f"torchvision.{submodule}"
    try:
        return import_module(name)
    except RuntimeError:  # the native library is missing
        import torch

        for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] == "torchvision"]:
            del sys.modules[loaded]
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        _LIBRARIES.append(library)
        return import_module(name)


#: a torch library forgets its operators when collected
_LIBRARIES: list[Any] = []
