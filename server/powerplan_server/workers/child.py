"""The worker's side: limits on itself, then calculations one after another until the server hangs up."""

from __future__ import annotations

import importlib
import os
import resource
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Mapping

import grpc
from google.protobuf.message import DecodeError

from powerplan.errors import InvalidInput, PowerplanError
from powerplan.jobs.frames import Kind, frame
from powerplan.jobs.worker import Emit, isolate, serve
from powerplan_server.errors import FieldViolation, Reason, ServiceError, invalid, invalid_fields
from powerplan_server.wire.errors import reason_of
from powerplan_server.workers.protocol import Call, Span, WorkerFunction, error_frame, read_job, trace_frame

_MAX_STATUS_BYTES = 2**20  # the server cuts it for the header; a job keeps it all
_CODES = {
    Reason.BLOB_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Reason.FEATURE_UNAVAILABLE: grpc.StatusCode.UNIMPLEMENTED,
}


def load_calls(path: str) -> Mapping[str, WorkerFunction]:
    """The table of worker functions at ``module:attribute``."""
    module, _, attribute = path.partition(":")
    table: Mapping[str, WorkerFunction] = getattr(importlib.import_module(module), attribute)
    return table


def worker_main(connection: socket.socket, calls: str, settings: Mapping[str, int], memory: int) -> None:
    """Serve calculations until the connection closes.

    Args:
        connection: this end of the socket pair.
        calls: ``module:attribute`` of the table of worker functions.
        settings: plain values for every worker function.
        memory: bytes of data this process may allocate beyond what it was born with.
    """
    isolate()
    table = load_calls(calls)
    _limit_memory(memory)
    serve(connection, lambda job, emit: _answer(table, settings, job, emit))


def _answer(table: Mapping[str, WorkerFunction], settings: Mapping[str, int], job: bytes, emit: Emit) -> bytes:
    """Run one calculation; its result or its error as a frame, behind its trace if it is asked for."""
    parts = [(f"worker {os.getpid()}", time.time_ns())]  # of the work: name, and when it began
    traced = False
    try:
        order, request = read_job(job)
        traced = order.traced
        call = Call(
            blobs=order.blobs,
            seconds=order.seconds,
            settings=settings,
            emit=emit,
            begin=lambda name: parts.append((name, time.time_ns())),
        )
        answer = frame(Kind.RESULT, table[order.method](request, call))
    except ConnectionError:
        raise
    except Exception as error:
        known = service_error(error)
        log = traceback.format_exc() if known.reason is Reason.INTERNAL else ""
        answer = error_frame(known.to_status(most_bytes=_MAX_STATUS_BYTES).SerializeToString(), log)
    return trace_frame(_spans(parts)) + answer if traced else answer


def _spans(parts: list[tuple[str, int]]) -> Iterator[Span]:
    """The whole, then its parts, each of which ends where the next begins."""
    now = time.time_ns()
    (whole, began), *rest = parts
    yield Span(name=whole, began=began, ended=now)
    for (name, began), (_, ended) in zip(rest, [*rest[1:], ("", now)], strict=True):
        yield Span(name=name, began=began, ended=ended)


def service_error(error: Exception) -> ServiceError:
    """The error that a caller sees for an exception of the engine."""
    if isinstance(error, ServiceError):
        return error
    reason = Reason(reason_of(error))
    if isinstance(error, InvalidInput):
        failure = invalid_fields(
            [FieldViolation(field=v.field, description=v.description) for v in error.violations],
            reason=reason,
        )
        failure.code = _CODES.get(reason, failure.code)
        return failure
    if isinstance(error, DecodeError):
        return invalid("", "the bytes are not the message that the method expects")
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return ServiceError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            Reason.OUT_OF_MEMORY,
            "The calculation needs more memory than a worker may use. Send fewer inputs, or have worker_memory raised.",
        )
    if isinstance(error, PowerplanError):
        return ServiceError(_CODES.get(reason, grpc.StatusCode.INTERNAL), reason, str(error))
    return ServiceError(
        grpc.StatusCode.INTERNAL, Reason.INTERNAL, "Internal error. The server's log has it under this request id."
    )


def _limit_memory(memory: int) -> None:
    """Cap private writable memory, so that an absurd allocation fails here and not on the whole machine."""
    if sys.platform == "linux":
        with open("/proc/self/statm") as file:
            born_with = int(file.read().split()[5]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (born_with + memory, born_with + memory))
