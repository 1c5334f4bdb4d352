"""The service in this process: the same calls by the same conversion, without a server. Needs the engine.

Streams run in a thread of their own, so that estimates and points arrive as they are made.
"""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Callable
from typing import Any

from powerplan_client._generated import v1 as pb
from powerplan_client.errors import Cancelled, FeatureUnavailable, PlannerError, error_from_status
from powerplan_client.rpc_status import StatusDetails
from powerplan_client.steps import Next, Open, Unary, Upload

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


class LocalTransport:
    """Carries out steps with the engine.

    Raises:
        FeatureUnavailable: the engine is not installed.
    """

    def __init__(self) -> None:
        try:
            from powerplan_server import calls, wire
        except ImportError as error:
            raise FeatureUnavailable(
                "The engine is not installed. Run: pip install powerplan, or name a server with target=...",
                code="UNIMPLEMENTED",
                reason="FEATURE_UNAVAILABLE",
            ) from error
        self._calls: Any = calls
        self._wire: Any = wire

    def perform(self, step: Unary | Upload | Open | Next) -> Any:
        """The answer to a step; everything goes inline, so there are no uploads."""
        if isinstance(step, Next):
            return step.stream.next()
        if isinstance(step, Open) and step.rpc in ("Simulate", "Frontier"):
            run = self._calls.run_simulate if step.rpc == "Simulate" else self._calls.run_frontier
            return _Stream(lambda emit, context: self._checked(run, step.request, context, emit), self._context)
        if isinstance(step, Unary) and step.rpc in ("Plan", "Predict"):
            run = self._calls.run_plan if step.rpc == "Plan" else self._calls.run_predict
            return self._checked(run, step.request, self._context())
        if isinstance(step, Unary) and step.rpc == "GetServerInfo":
            return self._calls.describe_engine()
        name = "UploadBlob" if isinstance(step, Upload) else step.rpc
        raise FeatureUnavailable(
            f"{name} needs a server; this client runs in process.", code="UNIMPLEMENTED", reason="FEATURE_UNAVAILABLE"
        )

    def release(self, stream: Any) -> None:
        """End a stream that is not read to its end."""
        stream.cancel()

    def close(self) -> None:
        """Nothing to end."""

    def _context(self, progress: Callable[[pb.Progress], None] | None = None) -> Any:
        return self._calls.CallContext() if progress is None else self._calls.CallContext(progress=progress)

    def _checked(self, run: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return run(*arguments)
        except PlannerError:
            raise
        except (self._wire.PowerplanError, MemoryError) as error:
            raise self._error(error) from error

    def _error(self, error: Exception) -> PlannerError:
        reason = self._wire.reason_of(error)
        violations = [
            (v.field, f"got {v.value}; allowed: {v.allowed}. {v.advice}") for v in getattr(error, "violations", ())
        ]
        message = str(error) if not violations else ": ".join(violations[0])
        details = StatusDetails(reason=reason, violations=tuple(violations))
        return error_from_status(_CODES.get(reason, "INTERNAL"), message, details, uuid.uuid4().hex)


class _Stream:
    """Messages of a call that runs in a thread."""

    def __init__(self, run: Callable[[Any, Any], None], context: Callable[..., Any]) -> None:
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._cancelled = threading.Event()
        self._ended = False

        def check(_: pb.Progress) -> None:
            if self._cancelled.is_set():
                raise Cancelled("The stream was closed.", code="CANCELLED")

        def work() -> None:
            try:
                run(self._messages.put, context(check))
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
