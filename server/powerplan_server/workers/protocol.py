"""What the server and a worker process say to each other, in the frames of :mod:`powerplan.jobs.frames`."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

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
    """

    blobs: Mapping[str, str]
    seconds: float | None
    settings: Mapping[str, int]
    emit: Callable[[bytes], None]


WorkerFunction = Callable[[bytes, Call], bytes]
"""Serialized request in, serialized response out; runs in a worker process."""


def job_frame(method: str, request: bytes, blobs: Mapping[str, str], seconds: float | None) -> bytes:
    """The frame that starts a calculation."""
    facts = json.dumps({"method": method, "blobs": dict(blobs), "seconds": seconds}).encode()
    return frame(Kind.JOB, _LENGTH.pack(len(facts)), facts, request)


def read_job(payload: bytes) -> tuple[str, bytes, dict[str, str], float | None]:
    """Method, request, blob paths and time limit of a ``JOB`` frame."""
    end = _LENGTH.size + _LENGTH.unpack_from(payload)[0]
    facts: dict[str, Any] = json.loads(payload[_LENGTH.size : end])
    return facts["method"], payload[end:], facts["blobs"], facts["seconds"]


def error_frame(status: bytes, log: str) -> bytes:
    """The frame of a failed calculation: serialized ``google.rpc.Status``, and text for the server's log only."""
    return frame(Kind.ERROR, _LENGTH.pack(len(status)), status, log.encode())


def read_error(payload: bytes) -> tuple[bytes, str]:
    """Status bytes and log text of an ``ERROR`` frame."""
    end = _LENGTH.size + _LENGTH.unpack_from(payload)[0]
    return payload[_LENGTH.size : end], payload[end:].decode(errors="replace")
