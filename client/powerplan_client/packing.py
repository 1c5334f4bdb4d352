"""Arrays and files into messages: small ones inline, large ones by reference to content that is uploaded beside."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

from powerplan_client._generated import v1 as pb

M = TypeVar("M", bound=Message)

#: dtype on the wire (little-endian) by its number
DTYPES: dict[int, np.dtype] = {
    pb.DATA_TYPE_FLOAT32: np.dtype("<f4"),
    pb.DATA_TYPE_FLOAT64: np.dtype("<f8"),
    pb.DATA_TYPE_INT32: np.dtype("<i4"),
    pb.DATA_TYPE_INT64: np.dtype("<i8"),
}
_NUMBERS = {dtype: pb.DataType.ValueType(number) for number, dtype in DTYPES.items()}


class Packer:
    """Turns arrays and files into messages.

    Args:
        inline_bytes: content larger than this goes by reference, into ``contents`` by its SHA-256.
    """

    def __init__(self, inline_bytes: float = math.inf) -> None:
        self._inline_bytes = inline_bytes
        self.contents: dict[str, memoryview] = {}

    def array(self, array: np.ndarray) -> pb.Tensor:
        """An array of real numbers; other dtypes than float32, float64, int32 and int64 become float64."""
        if array.dtype.newbyteorder("<") not in _NUMBERS:
            with np.errstate(over="ignore"):  # the server refuses infinite numbers
                array = array.astype(np.float64)
        wire = array.dtype.newbyteorder("<")
        content = np.ascontiguousarray(array, wire)
        tensor = pb.Tensor(dtype=_NUMBERS[wire], shape=array.shape)
        if content.nbytes <= self._inline_bytes:
            tensor.data = content.tobytes()
        else:
            tensor.blob.CopyFrom(self._reference(content.reshape(-1).view(np.uint8).data))
        return tensor

    def file(self, content: bytes) -> pb.FileContent:
        """A file."""
        if len(content) <= self._inline_bytes:
            return pb.FileContent(data=content)
        return pb.FileContent(blob=self._reference(memoryview(content)))

    def _reference(self, content: memoryview) -> pb.BlobRef:
        sha256 = hashlib.sha256(content).hexdigest()
        self.contents[sha256] = content
        return pb.BlobRef(sha256=sha256, size_bytes=content.nbytes)


def packed(build: Callable[[Packer], M], *, inline_bytes: int, message_bytes: int) -> tuple[M, dict[str, memoryview]]:
    """A message that fits ``message_bytes``, and the contents it refers to by SHA-256.

    Content beyond ``inline_bytes`` goes by reference; if the message is still too large, smaller content too.
    """
    for limit in (inline_bytes, inline_bytes // 16, 256, 0):
        packer = Packer(limit)
        message = build(packer)
        if message.ByteSize() <= message_bytes:
            break
    return message, packer.contents


def tensor_of(array: npt.ArrayLike) -> pb.Tensor:
    """An array as a tensor with its bytes inline; see :meth:`Packer.array`."""
    return Packer().array(np.asarray(array))


def array_of(message: pb.Tensor) -> np.ndarray:
    """The read-only array of an inline tensor."""
    dtype = DTYPES[message.dtype]
    array: np.ndarray = np.frombuffer(message.data, dtype).reshape(tuple(message.shape))
    array = array.astype(dtype.newbyteorder("="), copy=False)
    array.setflags(write=False)
    return array
