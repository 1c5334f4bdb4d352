"""Network files on the command line."""

from __future__ import annotations

from pathlib import Path

from powerplan.network import Network


def load_network(path: str) -> Network:
    """The network of a file: an ONNX model (.onnx), else one that Network.save wrote.

    Raises:
        InvalidInput: it cannot be read; the message says why.
    """
    if Path(path).suffix.lower() == ".onnx":
        from powerplan.network.onnx_import import from_onnx

        return from_onnx(path)
    return Network.load(path)
