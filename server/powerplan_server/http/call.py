"""One call over HTTP, carried to the handler that gRPC's calls have: what that handler sees is gRPC's context."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import ContextVar
from typing import Any

import grpc
from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from connectrpc.request import RequestContext
from google.protobuf import json_format
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from protobuf import Message as AnyMessage
from protobuf.wkt import Any as PackedMessage, Struct

from powerplan_server.errors import STATUS_DETAILS_KEY, Reason, ServiceError
from powerplan_server.http.messages import Body
from powerplan_server.rpc import REQUEST_ID_KEY

Handler = Callable[[AsyncIterator[bytes], "HttpCall"], Coroutine[Any, Any, bytes | None]]

_CODES = {
    code.value[0]: Code.CANCELED if code is grpc.StatusCode.CANCELLED else Code(code.name.lower())
    for code in grpc.StatusCode
    if code is not grpc.StatusCode.OK
}

#: the call at hand, for what reads its messages
current_call: ContextVar[HttpCall | None] = ContextVar("current_call", default=None)


class HttpCall:
    """A call, and to its handler the context of it.

    The handler runs in a task of its own and asks for messages once it knows the caller; only then are they read.

    Args:
        handler: the method with everything around it.
        context: the library's view of the request.
        request, answer: classes of the messages.
    """

    def __init__(
        self, handler: Handler, context: RequestContext, *, request: type[Message], answer: type[Message]
    ) -> None:
        self._context = context
        self._request, self._answer = request, answer
        self._bodies: asyncio.Queue[Body | None] = asyncio.Queue(1)
        self._written: asyncio.Queue[bytes] = asyncio.Queue(1)
        self._asked = asyncio.Event()
        self._status: Status | None = None
        self._body = Body(codec="proto", data=b"")
        self.task = asyncio.ensure_future(handler(self._messages(), self))
        self.task.add_done_callback(lambda task: task.cancelled() or task.exception())  # told by failure()

    # What the library asks for

    async def begin(self) -> None:
        """Wait until the handler asks for a message: the caller is known then.

        Raises:
            ConnectError: it refused the call.
        """
        await self._first(self._asked.wait())
        if self.task.done():
            raise self.failure()

    async def feed(self, body: Body | None) -> None:
        """Hand on a message; None is the end of them."""
        self._body = body or self._body
        await self._first(self._bodies.put(body))

    async def outcome(self) -> bytes:
        """The answer to a call that has one.

        Raises:
            ConnectError: the call failed.
        """
        try:
            data = await self.task
        except grpc.aio.AbortError:
            raise self.failure() from None
        return await self._body.answer(data or b"", self._answer)

    async def outcomes(self) -> AsyncIterator[bytes]:
        """The answers of a stream, as they come."""
        while not (self.task.done() and self._written.empty()):
            data = await self._first(self._written.get())
            if data is not None:
                yield await self._body.answer(data, self._answer)
        await self.outcome()

    async def end(self) -> None:
        """End the handler if it has not ended by itself."""
        self.task.cancel()
        await asyncio.wait([self.task])

    def failure(self) -> ConnectError:
        """Why the call failed, as the library wants it told."""
        cancelled = ServiceError(grpc.StatusCode.CANCELLED, Reason.CANCELLED, "The call was cancelled.")
        status = self._status or cancelled.to_status()
        return ConnectError(_CODES[status.code], status.message, [_Detail(detail) for detail in status.details])

    def overdue(self) -> ConnectError:
        """What is told when the caller's deadline is over."""
        late = grpc.StatusCode.DEADLINE_EXCEEDED
        self._status = ServiceError(late, Reason.DEADLINE_EXCEEDED, "The call's time is over.").to_status()
        return self.failure()

    async def _first(self, waiting: Coroutine[Any, Any, Any]) -> Any:
        """What is waited for, or None if the handler ends before."""
        task = asyncio.ensure_future(waiting)
        try:
            await asyncio.wait([task, self.task], return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()

    async def _messages(self) -> AsyncIterator[bytes]:
        while True:
            self._asked.set()
            body = await self._bodies.get()
            if body is None:
                return
            yield await body.to_proto(self._request)

    # What the handler asks for, by the names of gRPC's context

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """The headers."""
        return tuple(self._context.request_headers.allitems())

    def set_trailing_metadata(self, metadata: tuple[tuple[str, str], ...]) -> None:
        """The request id, as a header."""
        self._context.response_headers.update(metadata)

    def peer(self) -> str:
        """Address of the caller as gRPC writes it."""
        address = self._context.client_address or "unknown:0"
        return f"ipv6:{address}" if address.count(":") > 1 else f"ipv4:{address}"

    def auth_context(self) -> dict[str, list[bytes]]:
        """Nothing: the library does not tell the certificate of a caller."""
        return {}

    def time_remaining(self) -> float | None:
        """Seconds until the caller's deadline."""
        left = self._context.timeout_ms
        return None if left is None else left / 1000

    def code(self) -> grpc.StatusCode | None:
        """Code set by a handler itself; none does."""
        return None

    async def write(self, message: bytes) -> None:
        """Send an answer of a stream; waits while the one before has not left."""
        await self._written.put(message)

    async def abort(self, code: grpc.StatusCode, details: str, metadata: tuple[tuple[str, Any], ...]) -> None:
        """End the call with an error.

        Raises:
            grpc.aio.AbortError: always.
        """
        told = dict(metadata)
        self._status = Status.FromString(told[STATUS_DETAILS_KEY])
        for detail in self._status.details:
            retry = RetryInfo()
            if detail.Unpack(retry):
                seconds = retry.retry_delay.seconds + (retry.retry_delay.nanos > 0)
                self._context.response_headers["retry-after"] = str(seconds)
        self._context.response_headers[REQUEST_ID_KEY] = told[REQUEST_ID_KEY]
        raise grpc.aio.AbortError


class _Detail(ErrorDetail):
    """A detail of an error that can also be read without protobuf: as JSON, in "debug"."""

    def __init__(self, detail: Any) -> None:
        super().__init__(PackedMessage(type_url=detail.type_url, value=detail.value))
        self._plain: dict[str, Any] = {}
        for kind in (ErrorInfo, BadRequest, RetryInfo):
            message = kind()
            if detail.Unpack(message):
                self._plain = json_format.MessageToDict(message)

    def value(self, *_: Any) -> AnyMessage | None:  # type: ignore[override]
        """The detail as a plain object."""
        return Struct.from_python(self._plain)
