"""The service in the caller's process: the same calls by the same conversion, without a server.

Streams run in a thread of their own, so that estimates and points arrive as they are made.
"""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Callable
from typing import Any

from powerplan.errors import PowerplanError
from powerplan_client._generated import v1 as pb
from powerplan_client.errors import Cancelled, FeatureUnavailable, PlannerError, error_from_status
from powerplan_client.rpc_status import StatusDetails
from powerplan_client.steps import Next, Open, Unary, Upload
from powerplan_server import calls
from powerplan_server.calls import CallContext
from powerplan_server.wire import reason_of

_CODES = {
    "INVALID_REQUEST": "INVALID_ARGUMENT",
    "UNSUPPORTED_OPERATION": "INVALID_ARGUMENT",
    "IMPLAUSIBLE": "INVALID_ARGUMENT",
    "CORRUPT_FILE": "INVALID_ARGUMENT",
    "REQUEST_TOO_LARGE": "INVALID_ARGUMENT",
    "FEATURE_UNAVAILABLE": "UNIMPLEMENTED",
    "BLOB_NOT_FOUND": "NOT_FOUND",
    "OUT_OF_MEMORY": "RESOURCE_EXHAUSTED",
}

_ANSWERS: dict[str, Callable[..., Any]] = {"Plan": calls.run_plan, "Predict": calls.run_predict}
_STREAMS: dict[str, Callable[..., None]] = {"Simulate": calls.run_simulate, "Frontier": calls.run_frontier}


class LocalTransport:
    """Carries out the steps of a client with the engine."""

    def perform(self, step: Unary | Upload | Open | Next) -> Any:
        """The answer to a step; everything goes inline, so there are no uploads."""
        if isinstance(step, Next):
            return step.stream.next()
        if isinstance(step, Open) and step.rpc in _STREAMS:
            stream = _STREAMS[step.rpc]
            return _Stream(lambda emit, context: self._checked(stream, step.request, context, emit))
        if isinstance(step, Unary) and step.rpc in _ANSWERS:
            return self._checked(_ANSWERS[step.rpc], step.request, CallContext())
        if isinstance(step, Unary) and step.rpc == "GetServerInfo":
            return calls.describe_engine()
        name = "UploadBlob" if isinstance(step, Upload) else step.rpc
        raise FeatureUnavailable(
            f"{name} needs a server; this client runs in process.", code="UNIMPLEMENTED", reason="FEATURE_UNAVAILABLE"
        )

    def release(self, stream: Any) -> None:
        """End a stream that is not read to its end."""
        stream.cancel()

    def close(self) -> None:
        """Nothing to end."""

    def _checked(self, run: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return run(*arguments)
        except PlannerError:
            raise
        except (PowerplanError, MemoryError) as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> PlannerError:
        reason = reason_of(error)
        violations = [(v.field, v.description) for v in getattr(error, "violations", ())]
        message = str(error) if not violations else ": ".join(violations[0])
        details = StatusDetails(reason=reason, violations=tuple(violations))
        return error_from_status(_CODES.get(reason, "INTERNAL"), message, details, uuid.uuid4().hex)


class _Stream:
    """Messages of a call that runs in a thread."""

    def __init__(self, run: Callable[[Callable[[Any], None], CallContext], None]) -> None:
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._cancelled = threading.Event()
        self._ended = False

        def check(_: pb.Progress) -> None:
            if self._cancelled.is_set():
                raise Cancelled("The stream was closed.", code="CANCELLED")

        def work() -> None:
            try:
                run(self._messages.put, CallContext(progress=check))
                self._messages.put(None)
            except Exception as error:  # handed to the reader
                self._messages.put(error)

        threading.Thread(target=work, daemon=True, name="powerplan-local").start()

    def next(self) -> Any:
        """The next message; None at the end."""
        if self._ended:
            return None
        message = self._messages.get()
        self._ended = message is None or isinstance(message, Exception)
        if isinstance(message, Exception):
            raise message
        return message

    def cancel(self) -> None:
        """Let the thread end at its next progress."""
        self._cancelled.set()
