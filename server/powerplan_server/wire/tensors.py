"""Arrays and files on the wire."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from powerplan.jobs.contents import SHA256
from powerplan_client._generated import v1 as pb
from powerplan_client.packing import DTYPES
from powerplan_server.wire.blobs import Content, content_size
from powerplan_server.wire.errors import BlobNotFound
from powerplan_server.wire.reading import Reader

FLOATS = (pb.DATA_TYPE_FLOAT32, pb.DATA_TYPE_FLOAT64)
_MAX_AXES = 16


def tensor_elements(message: pb.Tensor) -> int:
    """Number of elements the shape claims, without trusting it; 0 for a shape that is refused when it is read."""
    extents = message.shape[: _MAX_AXES + 1]
    return math.prod(extents) if len(extents) <= _MAX_AXES and all(n >= 0 for n in extents) else 0


def array_from_proto(
    reader: Reader,
    message: pb.Tensor,
    *,
    dtypes: Iterable[int] = FLOATS,
    max_elements: int,
    shape: tuple[int | None, ...] | None = None,
    infinite: bool = False,
) -> np.ndarray | None:
    """The array of a tensor, or noted violations and None.

    Nothing is allocated before dtype, shape and byte count have been found to agree.

    Args:
        dtypes: the numbers of the dtypes allowed.
        max_elements: most elements allowed.
        shape: extents required, None for any; None = any shape.
        infinite: allow infinite entries (never NaN).
    """
    before = reader.count
    allowed = tuple(dtypes)
    if message.dtype not in allowed:
        names = ", ".join(pb.DataType.Name(pb.DataType.ValueType(n)) for n in allowed)
        dtype_name = pb.DataType.Name(message.dtype) if message.dtype in pb.DataType.values() else message.dtype
        reader.at("dtype").fail(dtype_name, names, "Convert the array.")
    extents = tuple(message.shape[: _MAX_AXES + 1])
    if len(message.shape) > _MAX_AXES or any(n < 0 for n in extents):
        reader.at("shape").fail(extents, f"at most {_MAX_AXES} extents, each >= 0", "Give the array's shape.")
    elif (elements := math.prod(extents)) > max_elements:
        reader.at("shape").too_large(f"{elements:,} elements {extents}", max_elements, "elements")
    elif not elements and math.prod(n or 1 for n in extents) > max_elements:
        reader.at("shape").fail(extents, "small extents beside an empty axis", "Give the array's shape.")
    elif shape is not None and (
        len(extents) != len(shape) or any(w is not None and n != w for n, w in zip(extents, shape, strict=True))
    ):
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        reader.at("shape").fail(extents, f"({wanted})", "Reshape the array.")
    if reader.count > before:
        return None
    dtype = DTYPES[message.dtype]
    content = content_of(reader, message, expected=elements * dtype.itemsize)
    if content is None:
        return None
    array = _array(content, dtype).reshape(extents)
    if dtype.kind == "f" and not (finite := ~np.isnan(array) if infinite else np.isfinite(array)).all():
        bad = int(finite.size - finite.sum())
        kinds = "NaN" if infinite else "NaN or infinite"
        place = reader.at(message.WhichOneof("content") or "data")
        place.fail(array, "finite numbers", f"{bad} of its {array.size} entries are {kinds}; remove them.")
        return None
    return array


def content_of(
    reader: Reader, message: pb.Tensor | pb.FileContent, *, expected: int | None = None, at_most: int | None = None
) -> Content | None:
    """The bytes of a tensor or file, inline or from a blob, or noted violations and None."""
    kind = message.WhichOneof("content")
    if kind is None:
        if expected == 0:
            return b""
        reader.at("data").fail("nothing", "data or blob", "Give the bytes, or upload them and give the blob.")
        return None
    place = reader.at(kind)
    if kind == "data":
        claimed, where = len(message.data), place
    else:
        claimed, where = message.blob.size_bytes, place.at("size_bytes")
    if expected is not None and claimed != expected:
        where.fail(f"{claimed:,} bytes", f"{expected:,} bytes, as dtype and shape say", "Make them agree.")
        return None
    if at_most is not None and claimed > at_most:
        where.too_large(f"{claimed:,} bytes", at_most, "bytes")
        return None
    if kind == "data":
        return message.data
    sha256 = message.blob.sha256
    if not SHA256.match(sha256):
        place.at("sha256").fail(sha256, "64 lower-case hexadecimal digits", "Give the SHA-256 of the content.")
        return None
    content = reader.blobs.get(sha256)
    if content is None:
        place.at("sha256").fail(_Bare(sha256), "an uploaded blob", "Upload it and call again.", BlobNotFound)
        return None
    if content_size(content) != claimed:
        where.fail(f"{claimed:,} bytes", f"{content_size(content):,} bytes, the blob's length", "Correct it.")
        return None
    return content


class _Bare(str):
    """Text shown in a violation without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _array(content: Content, dtype: np.dtype) -> np.ndarray:
    """A read-only array in native byte order over the content's bytes (a file is mapped, not read)."""
    if isinstance(content, bytes | memoryview):
        array: np.ndarray = np.frombuffer(content, dtype)
    elif content_size(content) == 0:
        array = np.empty(0, dtype)
    else:
        array = np.memmap(content, dtype, mode="r")
    array = array.astype(dtype.newbyteorder("="), copy=False)
    array.setflags(write=False)
    return array
