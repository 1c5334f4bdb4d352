"""Tensors of an ONNX file: measured against the bytes that are there, then made.

External data is read from regular files inside the model's folder only, wherever links lead. All external tensors
together may not be larger than the files they are in, so that a small file cannot be read a thousand times.
"""

from __future__ import annotations

import math
import stat
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

import numpy as np

from powerplan.errors import CorruptFile, InvalidInput, UnsupportedOperation

if TYPE_CHECKING:
    from onnx import TensorProto

_ADVICE = "The file is damaged, or made to mislead; export the model again."
_KINDS = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
#: entries of a tensor's typed fields
_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")


class Tensors:
    """Measures all tensors of a model, then makes them.

    Args:
        folder: of the model; None = it came as bytes.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._files: dict[Path, int] = {}
        self._external = 0
        self.elements = 0

    def measure(self, name: str, tensor: TensorProto, *, external: bool = True) -> None:
        """Refuse a tensor whose declared size is not that of its data; ``external``: it may be in another file."""
        kind, size = _kind(name, tensor), _elements(name, tensor)
        self.elements += size
        if tensor.data_location == tensor.EXTERNAL:
            if not external:
                raise UnsupportedOperation.of(
                    f"tensor {name!r}", "external data of a constant node", "external data of initialisers", _ADVICE
                )
            path, offset, length = self._place(name, tensor, size * kind.itemsize)
            if offset + length > self._files[path]:
                raise _wrong_size(name, tensor, f"{self._files[path]} bytes in {path.name!r}")
            self._external += length
        elif tensor.HasField("raw_data"):
            if len(tensor.raw_data) != size * kind.itemsize:
                raise _wrong_size(name, tensor, f"{len(tensor.raw_data)} bytes")
        elif sum(len(getattr(tensor, field)) for field in _FIELDS) != size:
            raise _wrong_size(name, tensor, f"{sum(len(getattr(tensor, f)) for f in _FIELDS)} entries")

    def check_files(self) -> None:
        """Refuse external tensors that are larger than their files together."""
        if self._external > sum(self._files.values()):
            raise CorruptFile.of(
                "model.external_data",
                f"{self._external} bytes of tensors",
                f"at most the {sum(self._files.values())} bytes of the files",
                "Tensors that share their data must be one tensor.",
            )

    def take(self, tensor: TensorProto) -> np.ndarray:
        """The array of a measured tensor; halves become float32. What is external becomes empty in the model."""
        from onnx import numpy_helper

        kind, shape = _kind(tensor.name, tensor), tuple(tensor.dims)
        if tensor.data_location == tensor.EXTERNAL:
            path, offset, length = self._place(tensor.name, tensor, math.prod(shape) * kind.itemsize)
            with path.open("rb") as stream:
                stream.seek(offset)
                content = stream.read(length)
            if len(content) != length:
                raise _wrong_size(tensor.name, tensor, f"{len(content)} bytes")
            array = np.frombuffer(content, kind.newbyteorder("<")).reshape(shape)
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
            tensor.dims[:] = [0]
            tensor.raw_data = b""
        else:
            array = numpy_helper.to_array(tensor)
        return plain(array)

    def _place(self, name: str, tensor: TensorProto, wanted: int) -> tuple[Path, int, int]:
        """File, first byte and number of bytes of an external tensor."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        field = f"tensor {name!r}.external_data"
        if self._folder is None:
            raise CorruptFile.of(
                field, location, "weights inside the model", "A model given as bytes has no folder: give its path."
            )
        inside = "a file inside the folder of the model"
        parts = PureWindowsPath(location)  # takes / and \ apart, and knows drives
        if not location or "\0" in location or parts.drive or parts.root or ".." in parts.parts:
            raise CorruptFile.of(field, location, inside, "Move the weights into the folder of the model.")
        folder = self._folder.resolve()
        path = (folder / location).resolve()
        if not path.is_relative_to(folder):
            raise CorruptFile.of(field, location, inside, "It is a link that leads out of the folder.")
        try:
            status = path.stat()
        except OSError:
            raise CorruptFile.of(field, location, inside, "It does not exist: keep both files together.") from None
        if not stat.S_ISREG(status.st_mode):
            raise CorruptFile.of(field, location, inside, "It is not a regular file.")
        self._files[path] = status.st_size
        try:
            offset, length = int(entries.get("offset", "0")), int(entries.get("length", wanted))
        except ValueError:
            offset = length = -1
        if offset < 0 or length != wanted:
            raise _wrong_size(name, tensor, f"offset {entries.get('offset')} and length {entries.get('length')}")
        return path, offset, length


def plain(array: np.ndarray) -> np.ndarray:
    """An array of one of numpy's own types: halves become float32."""
    return array.astype(np.float32) if array.dtype.name in ("float16", "bfloat16") else array


def _kind(name: str, tensor: TensorProto) -> np.dtype:
    from onnx import helper

    try:
        kind = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    except KeyError:
        kind = np.dtype(object)
    if kind.name not in _KINDS:
        raise UnsupportedOperation.of(
            f"tensor {name!r}", f"data type {tensor.data_type} ({kind})", ", ".join(_KINDS), "Convert it to float32."
        )
    return kind


def _elements(name: str, tensor: TensorProto) -> int:
    if len(tensor.dims) > 16 or any(n < 0 for n in tensor.dims):
        raise CorruptFile.of(f"tensor {name!r}", list(tensor.dims)[:20], "at most 16 sizes >= 0", _ADVICE)
    return math.prod(tensor.dims)


def _wrong_size(name: str, tensor: TensorProto, size: str) -> InvalidInput:
    return CorruptFile.of(f"tensor {name!r}", size, f"the data of its declared shape {tuple(tensor.dims)}", _ADVICE)
