"""The HTTP listener: the library that speaks the Connect protocol, behind an HTTP server, in the process of gRPC's."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import grpc
from connectrpc.code import Code
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import ConnectASGIApplication, Endpoint
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message_factory import GetMessageClass
from hypercorn.asyncio import serve
from hypercorn.config import Config, Sockets
from starlette.middleware.cors import CORSMiddleware

from powerplan_client._generated.planner_service_pb2 import DESCRIPTOR
from powerplan_server.certificates import Certificates
from powerplan_server.config import ServeConfig
from powerplan_server.http.call import Handler, HttpCall, current_call
from powerplan_server.http.listening import Listening
from powerplan_server.http.messages import Body, BodyCodec
from powerplan_server.rpc import REQUEST_ID_KEY, CallInterceptor

_STREAMS = {
    (False, False): StreamType.UNARY,
    (True, False): StreamType.CLIENT_STREAM,
    (False, True): StreamType.SERVER_STREAM,
}
_SENT = ["authorization", "content-type", "connect-protocol-version", "connect-timeout-ms", REQUEST_ID_KEY]
_LINGERING = 2.0  # seconds in which a caller may finish what nobody reads before the answer goes out
_BUFFERED = 2  # parts of a request that wait for who reads them, 64 KiB at most each
_LAST_ANSWERS = 1.0  # seconds that answers on their way get


class HttpServer:
    """Listens for HTTP.

    Args:
        config: the settings, with ``http_listen``.
        certificates: with TLS.
        methods: the service's handlers of gRPC.
        interceptor: what goes around every call.

    Attributes:
        port: the port it listens on.

    Raises:
        InvalidInput: the address is not of this machine, or in use.
    """

    def __init__(
        self,
        config: ServeConfig,
        methods: grpc.GenericRpcHandler,
        interceptor: CallInterceptor,
        certificates: Certificates | None,
    ) -> None:
        self._listening = Listening.at(
            config.http_listen,
            most=config.max_connections,
            keepalive=config.keepalive,
            keepalive_timeout=config.keepalive_timeout,
        )
        self._application = _Application(methods, interceptor, config.max_message, self._listening)
        self._silence = 2 * config.keepalive_timeout
        self.port: int = self._listening.getsockname()[1]
        self._config = _Config(config, self._listening, certificates)
        self._origins = [origin.strip() for origin in config.http_origins.split(",") if origin.strip()]
        self._ended = asyncio.Event()

    def start(self) -> None:
        """Begin to answer."""
        app: Any = self._application
        if self._origins:
            app = CORSMiddleware(
                app,
                allow_origins=self._origins,
                allow_methods=["POST"],
                allow_headers=_SENT,
                expose_headers=[REQUEST_ID_KEY, "retry-after"],
            )
        self._task = asyncio.create_task(serve(app, self._config, shutdown_trigger=self._ended.wait))
        self._sweep = asyncio.create_task(self._end_silent())

    async def stop(self) -> None:
        """End; what is being answered gets a moment."""
        self._sweep.cancel()
        self._ended.set()
        await asyncio.wait([self._task], timeout=_LAST_ANSWERS / 2)
        self._listening.hang_up()  # what is cancelled instead leaves tracebacks on Python 3.11
        await asyncio.wait([self._task], timeout=2 * _LAST_ANSWERS)
        self._task.cancel()
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())  # of a connection that hung

    async def _end_silent(self) -> None:
        """End connections without a call: over HTTP/2 the library waits for ever for a first one."""
        while True:
            await asyncio.sleep(self._silence / 2)
            self._listening.hang_up(silent_for=self._silence)


@dataclass
class _Details:
    """What an interceptor is told of a call before it begins."""

    method: str
    invocation_metadata: tuple[tuple[str, str | bytes], ...] = ()


class _Application:
    """The service as an ASGI application; each call is handed to its handler by :class:`HttpCall`."""

    def __init__(
        self,
        methods: grpc.GenericRpcHandler,
        interceptor: CallInterceptor,
        max_message: int,
        listening: Listening,
    ) -> None:
        self._listening = listening
        self._methods = methods
        self._interceptor = interceptor
        self._service = DESCRIPTOR.services_by_name["PlannerService"]
        self._max_message = max_message
        self._known = {f"/{self._service.full_name}/{m.name}": _endpoint(_info(m)) for m in self._service.methods}
        self._connect = self._serving(self._known)

    def _serving(self, endpoints: dict[str, Any]) -> _ConnectApplication:
        return _ConnectApplication(
            service=self,
            endpoints=lambda _: endpoints,
            interceptors=[self],
            read_max_bytes=self._max_message,
            codecs=[BodyCodec("json"), BodyCodec("proto")],
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        if scope["type"] != "http":
            await self._connect(scope, receive, send)
            return
        request = _Request(receive, send)
        serving = self._connect
        if scope["method"] == "POST" and scope["path"] not in self._known:  # the library's answer would be empty
            serving = self._serving({scope["path"]: _endpoint(_unknown(scope))})
        with self._listening.calling(scope["client"]):
            await serving(scope, request.received, request.sent)

    async def on_start(self, ctx: RequestContext) -> HttpCall:
        """Find out who calls, before anything of the request is read."""
        name = f"/{ctx.method.service_name}/{ctx.method.name}"

        async def found(details: Any) -> grpc.RpcMethodHandler | None:
            return self._methods.service(details)

        handler = await self._interceptor.intercept_service(found, _Details(name))
        call = HttpCall(
            cast(Handler, handler.stream_stream or handler.stream_unary),
            ctx,
            request=ctx.method.input,
            answer=ctx.method.output,
        )
        current_call.set(call)
        try:
            await call.begin()
        except BaseException:
            await call.end()
            raise
        return call

    async def on_end(self, call: HttpCall, ctx: RequestContext, error: Exception | None) -> None:
        """End what still runs; a deadline is told as gRPC's calls are."""
        await call.end()
        if isinstance(error, ConnectError) and error.code is Code.DEADLINE_EXCEEDED and not error.details:
            raise call.overdue()


class _Request:
    """What a request still brings: nothing that its handler has given up is kept.

    An HTTP server waits until somebody takes what arrives, also while it sends the answer; and a caller hears no answer
    before it has sent everything. So what nobody wants any more is thrown away: for a while before the answer, then
    beside it, behind which the connection is closed.
    """

    def __init__(self, receive: Any, send: Any) -> None:
        self._receive, self._send = receive, send
        self._more = True

    async def received(self) -> Any:
        """The next part of the request.

        Raises:
            ConnectError: the call has been ended while it was waited for.
        """
        call = current_call.get()
        reading = asyncio.ensure_future(self._receive())
        try:
            if call is not None and not call.task.done():
                await asyncio.wait([reading, call.task], return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    raise call.failure()
            message = await reading
        finally:
            reading.cancel()
        self._more = bool(message.get("more_body", False))
        return message

    async def sent(self, message: Any) -> None:
        """Send a part of the answer."""
        if self._more:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LINGERING):
                    await self._throw_away()
        rest = asyncio.ensure_future(self._throw_away())
        try:
            await self._send(message)
        finally:
            rest.cancel()

    async def _throw_away(self) -> None:
        while self._more:
            self._more = bool((await self._receive()).get("more_body", False))


class _ConnectApplication(ConnectASGIApplication[_Application]):
    """The library's application; it wants to be told where it is mounted."""

    @property
    def path(self) -> str:
        """Where it is mounted."""
        return "/" + DESCRIPTOR.services_by_name["PlannerService"].full_name


async def _unary(body: Body, ctx: RequestContext) -> bytes:
    call = _call()
    await call.feed(body)
    await call.feed(None)
    return await call.outcome()


async def _server_stream(body: Body, ctx: RequestContext) -> AsyncIterator[bytes]:
    call = _call()
    await call.feed(body)
    await call.feed(None)
    async for answer in call.outcomes():
        yield answer


async def _client_stream(bodies: AsyncIterator[Body], ctx: RequestContext) -> bytes:
    call = _call()
    async for body in bodies:
        await call.feed(body)
    await call.feed(None)
    return await call.outcome()


def _call() -> HttpCall:
    call = current_call.get()
    assert call is not None  # set by on_start
    return call


def _info(method: MethodDescriptor) -> MethodInfo:
    return MethodInfo(
        name=method.name,
        service_name=method.containing_service.full_name,
        input=GetMessageClass(method.input_type),
        output=GetMessageClass(method.output_type),
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=_STREAMS[method.client_streaming, method.server_streaming],
    )


def _unknown(scope: Any) -> MethodInfo:
    """The method that a request names, which there is not: of one message, or of streams if the request is one."""
    service, _, name = scope["path"].removeprefix("/").rpartition("/")
    streams = dict(scope["headers"]).get(b"content-type", b"").startswith(b"application/connect+")
    return MethodInfo(
        name=name,
        service_name=service,
        input=Empty,
        output=Empty,
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=_STREAMS[False, streams],
    )


def _endpoint(info: MethodInfo) -> Any:
    """What the library calls for a method; it does not export the kinds of it."""
    match info.stream_type:
        case StreamType.UNARY:
            return Endpoint.unary(info, _unary)
        case StreamType.SERVER_STREAM:
            return Endpoint.server_stream(info, _server_stream)
        case _:
            return Endpoint.client_stream(info, _client_stream)


class _Config(Config):
    """The settings of the HTTP server.

    Args:
        config: those of this server.
        listening: where it listens.
        certificates: with TLS; looked at in every handshake.
    """

    def __init__(self, config: ServeConfig, listening: Listening, certificates: Certificates | None) -> None:
        super().__init__()
        self._listening = listening
        self._certificates = certificates
        self.errorlog = logging.getLogger(__name__)
        self.errorlog.setLevel(logging.WARNING)  # it tells its address by itself, as if it were alone
        self.include_server_header = False
        self.keep_alive_timeout = self.ssl_handshake_timeout = config.keepalive_timeout
        self.max_app_queue_size = _BUFFERED
        self.graceful_timeout = _LAST_ANSWERS
        if config.tls_certificate:
            self.certfile, self.keyfile = config.tls_certificate, config.tls_key
        if config.tls_client_ca:
            self.ca_certs, self.verify_mode = config.tls_client_ca, ssl.CERT_REQUIRED

    def create_sockets(self) -> Sockets:
        """The socket there is."""
        listening: list[socket.socket] = [self._listening]
        return Sockets(listening, [], []) if self.ssl_enabled else Sockets([], listening, [])

    def create_ssl_context(self) -> ssl.SSLContext | None:
        """TLS as gRPC has it, also after the certificate was renewed."""
        context = super().create_ssl_context()
        certificates = self._certificates
        if context is None or certificates is None:
            return context
        used, current = certificates.version, context

        def newer(handshake: ssl.SSLSocket | ssl.SSLObject, *_: object) -> None:
            nonlocal used, current
            if certificates.look() != used:
                used, current = certificates.version, super(_Config, self).create_ssl_context() or current
            handshake.context = current

        context.sni_callback = newer
        return context
