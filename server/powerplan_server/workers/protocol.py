"""What the server and a worker process say to each other, in the frames of :mod:`powerplan.jobs.frames`.

Why: docs/decisions/service.md [0060, 0624].
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from powerplan.jobs.frames import Kind, frame

_LENGTH = struct.Struct("!I")


@dataclass(frozen=True, kw_only=True)
class Call:
    """What a worker function is given beside the request.

    Args:
        blobs: path of the file of every uploaded blob that the request names, by its hexadecimal sha-256.
        seconds: time left until the worker is killed; None if there is no limit.
        settings: plain values that the server gave every worker when it started.
        emit: sends one serialized message ahead of the result (a running estimate, a point of a frontier).
        begin: told the name of a part of the work that begins now, for traces; the part before it has ended.
    """

    blobs: Mapping[str, str]
    seconds: float | None
    settings: Mapping[str, int]
    emit: Callable[[bytes], None]
    begin: Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Span:
    """A part of the work of a worker: its name, and when it began and ended [ns since the epoch]."""

    name: str
    began: int
    ended: int


WorkerFunction = Callable[[bytes, Call], bytes]
"""Serialized request in, serialized response out; runs in a worker process."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """A calculation to make.

    Attributes:
        method: name of the worker function.
        blobs, seconds: as in :class:`Call`.
        traced: the parts of the work are to be told.
    """

    method: str
    blobs: Mapping[str, str]
    seconds: float | None
    traced: bool


def job_frame(order: Order, request: bytes) -> bytes:
    """The frame that starts a calculation."""
    facts = json.dumps({**vars(order), "blobs": dict(order.blobs)}).encode()
    return frame(Kind.JOB, _LENGTH.pack(len(facts)), facts, request)


def read_job(payload: bytes) -> tuple[Order, bytes]:
    """The order and the request of a ``JOB`` frame."""
    end = _LENGTH.size + _LENGTH.unpack_from(payload)[0]
    return Order(**json.loads(payload[_LENGTH.size : end])), payload[end:]


def trace_frame(spans: Iterable[Span]) -> bytes:
    """The frame of the parts of a calculation: the whole first, then what it is made of."""
    return frame(Kind.TRACE, json.dumps([vars(span) for span in spans]).encode())


def read_trace(payload: bytes) -> list[Span]:
    """The parts that a ``TRACE`` frame holds."""
    return [Span(**facts) for facts in json.loads(payload)]


def error_frame(status: bytes, log: str) -> bytes:
    """The frame of a failed calculation: serialized ``google.rpc.Status``, and text for the server's log only."""
    return frame(Kind.ERROR, _LENGTH.pack(len(status)), status, log.encode())


def read_error(payload: bytes) -> tuple[bytes, str]:
    """Status bytes and log text of an ``ERROR`` frame."""
    end = _LENGTH.size + _LENGTH.unpack_from(payload)[0]
    return payload[_LENGTH.size : end], payload[end:].decode(errors="replace")
