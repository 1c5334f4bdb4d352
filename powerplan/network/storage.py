"""Networks in files: a zip archive of ``network.json`` and one ``.npy`` per tensor, uncompressed, no pickle.

``numpy.load(file, allow_pickle=False)`` reads the tensors, any zip and JSON reader the rest. Equal networks give
equal bytes. A reader trusts nothing in the file: members are stored uncompressed and together cannot be larger than
the file, so a small file cannot claim much memory; every array's declared size is compared with its member's
before it is allocated; nothing is ever extracted to the path a member names.

Why: docs/decisions/networks.md [0030].
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np

from powerplan.checks import frozen_array
from powerplan.errors import DISTRIBUTION, CorruptFile, InvalidInput
from powerplan.files import write_bytes
from powerplan.network.parts import to_parts

if TYPE_CHECKING:
    from powerplan.network.graph import Network

_T = TypeVar("_T")

FORMAT = "powerplan.network"
#: 2 = nodes that read an array of another name than their own; networks without are written as before
FORMAT_VERSION = 2

_STRUCTURE = "network.json"
_SUFFIX = ".npy"
#: fixed, so that equal networks give equal bytes (zip knows no earlier date)
_DATE = (1980, 1, 1, 0, 0, 0)
#: npy 1.0 as numpy writes it for a little-endian, C-ordered float array
_NPY = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(<f[48])', 'fortran_order': False, 'shape': \(([0-9, ]*)\), \} *\n", re.DOTALL
)
#: from structure and tensors to what is loaded
_Build = Callable[[Mapping[str, Any], Mapping[str, np.ndarray]], _T]
_AGAIN = "Save the network again, or fetch an intact copy of the file."


def save_network(network: Network, file: str | os.PathLike[str] | BinaryIO) -> None:
    """Write a network to a path or a binary stream.

    A path is written atomically: a reader sees the old file or the whole new one. No suffix is added to its name.

    Raises:
        InvalidInput: the path cannot be written.
    """
    content = _encode(network)
    if not isinstance(file, str | os.PathLike):
        file.write(content)
        return
    write_bytes("network file", file, content)


def load_network(file: str | os.PathLike[str] | BinaryIO, build: _Build[_T]) -> _T:
    """What ``build`` makes of the structure and tensors in a path or a binary stream (read to its end).

    Raises:
        InvalidInput: the path cannot be read.
        CorruptFile: truncated, damaged, foreign, or of a newer format version; every violation is listed.
    """
    if not isinstance(file, str | os.PathLike):
        return _decode(io.BytesIO(file.read()), "the stream", build)
    try:
        with Path(file).open("rb") as stream:
            return _decode(stream, str(file), build)
    except OSError as error:
        raise InvalidInput.of(
            "network file", str(file), "a file that can be read", f"It cannot be read: {error.strerror}."
        ) from error


def _encode(network: Network) -> bytes:
    structure, tensors = to_parts(network)
    version = FORMAT_VERSION if any("array" in node for node in structure["nodes"]) else 1
    head = {"format": FORMAT, "format_version": version, **structure}
    members = {_STRUCTURE: json.dumps(head, indent=1, ensure_ascii=False, allow_nan=False).encode()}
    for key, array in tensors.items():
        buffer = io.BytesIO()
        plain = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        np.lib.format.write_array(buffer, plain, version=(1, 0), allow_pickle=False)
        members[key + _SUFFIX] = buffer.getvalue()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as writer:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system = 3  # the same bytes on every platform
            info.external_attr = 0o644 << 16
            writer.writestr(info, content)
    return archive.getvalue()


def _decode(stream: IO[bytes], source: str, build: _Build[_T]) -> _T:
    try:
        members = _members(stream, source)
        structure = _structure(members.pop(_STRUCTURE, b""), source)
        tensors = {name.removesuffix(_SUFFIX): _array(content, name) for name, content in members.items()}
        return build(structure, tensors)
    except CorruptFile:
        raise
    except InvalidInput as error:
        raise CorruptFile(*error.violations) from error
    # What zipfile raises for a damaged archive is not one exception: it depends on the byte that is wrong.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, OverflowError) as error:
        raise CorruptFile.of("network file", source, "a network written by powerplan", f"{error}. {_AGAIN}") from error


def _members(stream: IO[bytes], source: str) -> dict[str, bytes]:
    """Content of every member, once the archive's directory has been found plausible."""
    size = stream.seek(0, os.SEEK_END)
    members: dict[str, bytes] = {}
    with zipfile.ZipFile(stream) as archive:
        infos = archive.infolist()
        if any(i.compress_type != zipfile.ZIP_STORED or i.file_size != i.compress_size for i in infos):
            raise CorruptFile.of("network file", source, "members stored without compression", _AGAIN)
        if sum(i.file_size for i in infos) > size:
            raise CorruptFile.of("network file", f"{source} of {size} bytes", "members that fit the file", _AGAIN)
        for info in infos:
            if info.filename in members:
                raise CorruptFile.of("network file", info.filename, "members with different names", _AGAIN)
            if info.filename != _STRUCTURE and not info.filename.endswith(_SUFFIX):
                raise CorruptFile.of("network file", info.filename, f"{_STRUCTURE} and *{_SUFFIX} members", _AGAIN)
            members[info.filename] = archive.read(info)
    return members


def _structure(content: bytes, source: str) -> dict[str, Any]:
    """The JSON of a file of this format and a version that is known, without the two fields that say so."""
    if not content:
        raise CorruptFile.of(
            "network file", source, f"an archive with {_STRUCTURE}", "Give a file made by Network.save."
        )
    try:
        head = json.loads(content.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise CorruptFile.of(_STRUCTURE, source, "valid JSON", f"It does not parse: {error}. {_AGAIN}") from error
    file_format = head.pop("format", None) if isinstance(head, dict) else None
    if file_format != FORMAT:
        raise CorruptFile.of(f"{_STRUCTURE}: format", file_format, repr(FORMAT), "Give a file made by Network.save.")
    version = head.pop("format_version", None)
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise CorruptFile.of(
            f"{_STRUCTURE}: format_version",
            version,
            f"1 to {FORMAT_VERSION}",
            f"It was written by a newer powerplan: upgrade with pip install --upgrade {DISTRIBUTION}.",
        )
    return dict(head)


def _array(content: bytes, name: str) -> np.ndarray:
    """The array in an npy member whose declared size is exactly what the member holds."""
    match = _NPY.match(content)
    if match is None or int.from_bytes(content[8:10], "little") != match.end() - 10:
        raise CorruptFile.of(name, f"{len(content)} bytes", "a float32 or float64 array in npy 1.0 format", _AGAIN)
    dtype = np.dtype(match[1].decode())
    shape = tuple(int(n) for n in match[2].split(b",") if n.strip())
    if math.prod(shape) * dtype.itemsize != len(content) - match.end():
        raise CorruptFile.of(
            name,
            f"{len(content) - match.end()} bytes",
            f"{dtype.itemsize} bytes for each entry of shape {shape}",
            _AGAIN,
        )
    return frozen_array(np.frombuffer(content, dtype, offset=match.end()).reshape(shape), dtype.newbyteorder("="))


def _unique(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError(f"a key is given twice among {sorted(k for k, _ in pairs)}")
    return values


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")
