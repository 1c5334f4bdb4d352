"""The idx format of the MNIST files: big-endian magic (0, 0, type, axes), sizes, then the values.

Only unsigned bytes (type 0x08) are read; the file may be compressed with gzip.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO, cast

import numpy as np

from powerplan.checks import frozen_array
from powerplan.errors import CorruptFile, InvalidInput

_UNSIGNED_BYTE = 0x08
_GZIP_MAGIC = b"\x1f\x8b"
#: the largest array read; a damaged header must not reserve more
_MAX_BYTES = 1 << 28


def read_idx(path: Path, ndim: int) -> np.ndarray:
    """The read-only uint8 array with ``ndim`` axes in an idx file, compressed or not.

    Raises:
        InvalidInput: the file cannot be read.
        CorruptFile: wrong magic, wrong number of axes, absurd sizes, too few or too many bytes.
    """
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            return _read(cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if compressed else raw, str(path), ndim)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CorruptFile.of("idx file", str(path), "an intact gzip file", f"Fetch it again: {error}.") from error
    except OSError as error:
        raise InvalidInput.of(
            "idx file", str(path), "a readable file", f"It cannot be read: {error.strerror or error}."
        ) from error


def _read(stream: IO[bytes], path: str, ndim: int) -> np.ndarray:
    length = 4 + 4 * ndim
    header = stream.read(length)
    wanted = struct.pack(">HBB", 0, _UNSIGNED_BYTE, ndim)
    if header[:4] != wanted:
        raise CorruptFile.of(
            "idx file",
            f"{path} starting with {header[:4].hex() or 'nothing'}",
            f"magic {wanted.hex()}",
            "Fetch it again.",
        )
    if len(header) < length:
        raise CorruptFile.of(
            "idx file", f"{path} of {len(header)} bytes", f"a header of {length} bytes", "Fetch it again."
        )
    shape = struct.unpack(f">{ndim}I", header[4:])
    size = math.prod(shape)
    if not 0 < size <= _MAX_BYTES:
        raise CorruptFile.of("idx file", f"{path} of shape {shape}", f"1 to {_MAX_BYTES} values", "Fetch it again.")
    content = stream.read(size + 1)
    if len(content) != size:
        size_text = "more" if len(content) > size else str(len(content))
        raise CorruptFile.of(
            "idx file", f"{path} with {size_text} values", f"{size} for shape {shape}", "Fetch it again."
        )
    return frozen_array(np.frombuffer(content, np.uint8).reshape(shape))
