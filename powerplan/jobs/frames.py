"""Frames between a process and the worker that it started, over a socket pair.

A frame is one byte of kind, eight bytes of length (big-endian) and the payload: bytes or JSON, never a pickle. The
worker sends ``READY`` once it has finished importing; then every ``JOB`` is answered by any number of ``PROGRESS``, a
``TRACE`` if it was asked for, and one ``RESULT`` or ``ERROR``.
"""

from __future__ import annotations

import socket
import struct
import time
from enum import IntEnum

HEADER = struct.Struct("!BQ")
_LONGEST_WAIT = 1e6  # s; the system waits for no longer than 24 days at a time


class Kind(IntEnum):
    """What a frame holds."""

    READY = 1
    JOB = 2
    PROGRESS = 3
    RESULT = 4
    ERROR = 5
    TRACE = 6


def frame(kind: Kind, *parts: bytes) -> bytes:
    """One frame, ready to be sent."""
    return b"".join((HEADER.pack(kind, sum(map(len, parts))), *parts))


def receive(connection: socket.socket, seconds: float | None = None) -> tuple[Kind, bytes]:
    """The next frame.

    Raises:
        EOFError: the other side hung up.
        TimeoutError: it has not come within ``seconds``.
    """
    end = None if seconds is None else time.monotonic() + seconds
    try:
        kind, length = HEADER.unpack(_read(connection, HEADER.size, end))
        return Kind(kind), _read(connection, length, end)
    finally:
        connection.settimeout(None)


def _read(connection: socket.socket, length: int, end: float | None) -> bytes:
    buffer = bytearray(length)
    view = memoryview(buffer)
    while view:
        seconds = None if end is None else end - time.monotonic()
        if seconds is not None and seconds <= 0:
            raise TimeoutError
        connection.settimeout(None if seconds is None else min(seconds, _LONGEST_WAIT))
        try:
            count = connection.recv_into(view)
        except TimeoutError:
            continue
        except ConnectionError:
            raise EOFError from None
        if not count:
            raise EOFError
        view = view[count:]
    return bytes(buffer)
