"""Networks from files."""

from __future__ import annotations

from pathlib import Path

from powerplan.errors import CorruptFile, InvalidInput
from powerplan.network import Network
from powerplan.reading.foreign import foreign_kind

_JSON = ("JSON", "Give the network file; plans and gains have options of their own.")


def load_network(path: str | Path) -> Network:
    """The network of a file: an ONNX model (.onnx), else one that Network.save wrote.

    Raises:
        InvalidInput: no such file, or a file of another kind; the message says which.
        CorruptFile: damaged.
    """
    if not Path(path).is_file():
        raise InvalidInput.of("network", str(path), "an existing file", "Check the path.")
    try:
        if Path(path).suffix.lower() == ".onnx":
            from powerplan.network.onnx_import import from_onnx

            return from_onnx(path)
        return Network.load(path)
    except CorruptFile as error:
        foreign = foreign_kind(path) or (_JSON if _is_json(path) else None)
        if foreign is None:
            raise
        what, advice = foreign
        allowed = "a network that powerplan wrote (.npz) or an ONNX model (.onnx)"
        raise InvalidInput.of("network", str(path), allowed, f"It is {what}. {advice}") from error


def _is_json(path: str | Path) -> bool:
    with open(path, "rb") as file:
        return file.read(64).lstrip().startswith((b"{", b"["))
