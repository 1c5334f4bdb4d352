"""Networks from files, and what a file is that holds none."""

from __future__ import annotations

import zipfile
from pathlib import Path

from powerplan.errors import CorruptFile, InvalidInput
from powerplan.network import Network

_FROM_TORCH = "Build the module in Python, load its weights, and use pp.from_torch(module, input_shape).save('net.npz')"
#: first bytes of foreign files, what they are, and what to do with them
_FOREIGN = (
    (b"\x80", "pickled Python objects, as torch.save wrote them long ago", f"They are not read. {_FROM_TORCH}."),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes it", "Convert the model to ONNX (tf2onnx)."),
    (b"\x1f\x8b", "compressed by gzip", "Unpack it first."),
    (b"\x89PNG", "a picture", "Give a network file."),
    (b"%PDF", "a PDF document", "Give a network file."),
    (b"\x93NUMPY", "a single numpy array", "It may be --inputs; the network is another file."),
    (b"PAR1", "a Parquet table", "Give a network file."),
)


def load_network(path: str | Path) -> Network:
    """The network of a file: an ONNX model (.onnx), else one that Network.save wrote.

    Raises:
        InvalidInput: no such file, or a file of another kind; the message says which.
        CorruptFile: damaged.
    """
    if not Path(path).is_file():
        raise InvalidInput.of("network", str(path), "an existing file", "Check the path.")
    if Path(path).suffix.lower() == ".onnx":
        from powerplan.network.onnx_import import from_onnx

        return from_onnx(path)
    try:
        return Network.load(path)
    except CorruptFile as error:
        foreign = foreign_kind(path)
        if foreign is None:
            raise
        what, advice = foreign
        allowed = "a network that powerplan wrote (.npz) or an ONNX model (.onnx)"
        raise InvalidInput.of("network", str(path), allowed, f"It is {what}. {advice}") from error


def foreign_kind(path: str | Path) -> tuple[str, str] | None:
    """What a file is by its content, if it is nothing that powerplan reads, and what to do with it."""
    with open(path, "rb") as file:
        head = file.read(512)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.endswith("constants.pkl") for name in names):
            return "a TorchScript module", f"It is not run. {_FROM_TORCH}."
        if any(name.endswith("data.pkl") for name in names):
            return "a PyTorch file (torch.save)", f"It holds pickled objects, which are not read. {_FROM_TORCH}."
        if "manifest.json" in names:
            return "an export of powerplan", "Give the network that it was made from."
        if names and all(name.endswith(".npy") for name in names):
            return f"an archive of arrays ({', '.join(names[:4])})", "Build the network with pp.Network.mlp(weights)."
        return None
    if head[8:9] == b"{" and b'"dtype"' in head:
        return "a safetensors file, which holds weights and no network", f"{_FROM_TORCH}."
    if head[4:8] == b"TFL3":
        return "a TensorFlow Lite model", "Convert the model to ONNX (tf2onnx)."
    if head.lstrip().startswith((b"{", b"[")):
        return "JSON", "Give the network file; plans and gains have options of their own."
    return next(((what, advice) for start, what, advice in _FOREIGN if head.startswith(start)), None)
