"""The one way to write a file: whole or not at all, into what the path means.

A regular file is written beside its place and moved there, so that a reader, a crash or a full disk meets the old file
or the new one. Links are followed, an existing file keeps its mode and owner, a new one gets what the umask leaves.
Pipes and devices (``>(command)``, ``/dev/null``) are written into: they are never replaced.

Why: docs/decisions/files.md [0260].
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import uuid
from pathlib import Path

from powerplan.errors import InvalidInput

#: where a file can be written though nothing can be put beside it or moved onto it (a mounted file, a folder of others)
_IN_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV)
#: open files of this process by number: another file must not take their place
_OPEN_FILES = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/self/fd/")


def write_text(field: str, file: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 text; see :func:`write_bytes`."""
    write_bytes(field, file, text.encode())


def write_bytes(field: str, file: str | os.PathLike[str], content: bytes) -> None:
    """Write a file; an existing one is replaced only when the new one is complete.

    Args:
        field: what the file is called in an error.

    Raises:
        InvalidInput: the file cannot be written.
    """
    try:
        put(file, content)
    except OSError as error:
        raise cannot_write(field, file, error) from error


def put(file: str | os.PathLike[str], content: bytes) -> None:
    """As :func:`write_bytes`, for those with words of their own for an OSError."""
    if is_written_into(file):
        _write(os.open(file, os.O_WRONLY | os.O_APPEND), content)
    else:
        _replace(Path(os.path.realpath(file)), content)


def cannot_write(field: str, file: str | os.PathLike[str], error: OSError) -> InvalidInput:
    """The error for a path that cannot be written."""
    return InvalidInput.of(
        field, os.fspath(file), "a path that can be written", f"It cannot be written: {error.strerror}."
    )


def is_written_into(file: str | os.PathLike[str]) -> bool:
    """True for pipes, sockets, devices and open files, which are written into instead of replaced."""
    try:
        mode = os.stat(file).st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "It is a folder")
    return not stat.S_ISREG(mode) or os.fspath(file).startswith(_OPEN_FILES)


def _replace(target: Path, content: bytes) -> None:
    """Put a regular file in the place of an old one, or in a new place."""
    try:
        old = os.stat(target)
    except FileNotFoundError:
        old = None
    if old is not None and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    scratch = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            if old is not None:
                with contextlib.suppress(PermissionError):  # only root gives files away
                    os.chown(handle, old.st_uid, old.st_gid)
                os.chmod(handle, stat.S_IMODE(old.st_mode))
        except BaseException:
            os.close(handle)
            raise
        _write(handle, content, sync=True)
        os.replace(scratch, target)
    except OSError as error:
        if old is None or error.errno not in _IN_PLACE:
            raise
        _write(os.open(target, os.O_WRONLY | os.O_TRUNC), content, sync=True)
    finally:
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)


def _write(handle: int, content: bytes, *, sync: bool = False) -> None:
    """Write all of it and close."""
    with os.fdopen(handle, "wb", buffering=0) as stream:
        rest = memoryview(content)
        while rest:
            rest = rest[stream.write(rest) :]
        if sync:
            os.fsync(stream.fileno())
