"""What a file of another program is, by its content."""

from __future__ import annotations

import zipfile
from pathlib import Path

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


def foreign_kind(path: str | Path) -> tuple[str, str] | None:
    """What a file is by its content, if it is nothing that powerplan reads, and what to do with it."""
    with open(path, "rb") as file:
        head = file.read(512)
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                names = archive.namelist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            return None  # damaged
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
    return next(((what, advice) for start, what, advice in _FOREIGN if head.startswith(start)), None)
