"""What goes around every call: who calls, its request id, errors, logs, metrics and spans.

One interceptor does it for all services, so that nothing is served without it. Health checks need no token: probes have
none, and they tell nothing but whether the server works. To gRPC every request is a stream, also where it is one
message: so that the message is asked for here, once it is known who sends it.

Why: docs/decisions/service.md [0062].
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import grpc

from powerplan_server import logs
from powerplan_server.arrivals import Arrivals
from powerplan_server.callers import Callers, host
from powerplan_server.errors import Reason, ServiceError, invalid
from powerplan_server.metrics import Metrics
from powerplan_server.security import ANONYMOUS
from powerplan_server.tracing import Tracer

log = logging.getLogger(__name__)

REQUEST_ID_KEY = "x-request-id"
REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}\Z")
_OPEN_SERVICES = ("/grpc.health.v1.Health/",)
_API = "/powerplan."
_MOST_ARRIVING, _MOST_ARRIVING_OPEN = 128 * 2**20, 16 * 2**20  # bytes of messages that arrive at once

Behaviour = Callable[[Any, grpc.aio.ServicerContext], Any]


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who makes the call at hand."""

    tenant: str
    request_id: str


current_caller: ContextVar[Caller] = ContextVar("current_caller")


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Authenticates, names, times, logs and translates the errors of every call."""

    def __init__(
        self, *, callers: Callers, metrics: Metrics, tracer: Tracer, max_message: int, message_seconds: float
    ) -> None:
        self._callers = callers
        self._metrics = metrics
        self._tracer = tracer
        self._known = Arrivals(most=max(_MOST_ARRIVING // max_message, 4), seconds=message_seconds)
        self._open = Arrivals(most=max(_MOST_ARRIVING_OPEN // max_message, 2), seconds=message_seconds)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """The handler of a method with everything around it; unknown methods get one that says so."""
        method = handler_call_details.method
        handler = await continuation(handler_call_details)
        if handler is None:
            return grpc.stream_unary_rpc_method_handler(self._around("unknown", _unknown(method)))
        answers = "stream" if handler.response_streaming else "unary"
        if handler.request_streaming:
            behaviour = getattr(handler, f"stream_{answers}")
        else:
            behaviour = _of_one(getattr(handler, f"unary_{answers}"))
        build = getattr(grpc, f"stream_{answers}_rpc_method_handler")
        wrapped: grpc.RpcMethodHandler = build(
            self._around(method, behaviour),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
        return wrapped

    def _around(self, method: str, behaviour: Behaviour) -> Behaviour:
        async def call(requests: Any, context: grpc.aio.ServicerContext) -> Any:
            metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
            sent = metadata.get(REQUEST_ID_KEY, "")
            request_id = sent if REQUEST_ID.match(sent) else secrets.token_hex(8)
            logs.request_id.set(request_id)
            context.set_trailing_metadata(((REQUEST_ID_KEY, request_id),))
            began = time.monotonic()
            code, reason, tenant = "UNKNOWN", "", ""
            try:
                try:
                    is_open = method.startswith(_OPEN_SERVICES)
                    tenant = ANONYMOUS if is_open else await self._callers.tenant(metadata, context)
                    current_caller.set(Caller(tenant=tenant, request_id=request_id))
                    arrivals = self._open if is_open else self._known
                    messages = arrivals.messages(f"{tenant} {host(context.peer())}", requests)
                    with self._tracer.span(method, carrier=metadata, called=True, request_id=request_id):
                        answer = await _complete(behaviour(messages, context), context)
                    code = "OK"
                    return answer
                except ServiceError as error:
                    # its traceback would hold this frame, and with it the parsed request, until the collector runs
                    failure = error.with_traceback(None)
                except (asyncio.CancelledError, grpc.aio.AbortError):
                    raise
                except Exception:
                    log.exception("unexpected error", extra={"method": method})
                    failure = ServiceError(
                        grpc.StatusCode.INTERNAL,
                        Reason.INTERNAL,
                        "Internal error. The server's log has it under this request id.",
                    )
                code, reason = failure.code.name, failure.reason
                await context.abort(
                    failure.code,
                    failure.message[:1000],
                    ((REQUEST_ID_KEY, request_id), *failure.trailing_metadata(request_id)),
                )
            except asyncio.CancelledError:
                seconds = context.time_remaining()
                code = "DEADLINE_EXCEEDED" if seconds is not None and seconds <= 0 else "CANCELLED"
                raise
            except grpc.aio.AbortError:
                code = code if reason else getattr(context.code(), "name", "UNKNOWN")
                raise
            finally:
                self._note(method, code, reason, tenant, time.monotonic() - began, context)

        return call

    def _note(
        self, method: str, code: str, reason: str, tenant: str, seconds: float, context: grpc.aio.ServicerContext
    ) -> None:
        self._metrics.requests.labels(method, code).inc()
        self._metrics.latency.labels(method).observe(seconds)
        if tenant and method.startswith(_API):
            name = method.rpartition("/")[2]
            self._metrics.statistics.ended(tenant, name, seconds, well=code == "OK")
        level = logging.INFO if method.startswith(_API) else logging.DEBUG
        facts = {"method": method, "code": code, "seconds": round(seconds, 6), "peer": context.peer()}
        log.log(level, "call", extra=facts | {"reason": reason, "tenant": tenant})


async def _complete(outcome: Any, context: grpc.aio.ServicerContext) -> Any:
    """Await a coroutine, or write out what an asynchronous generator yields."""
    if hasattr(outcome, "__aiter__"):
        async for message in outcome:
            await context.write(message)
        return None
    return await outcome


def _of_one(behaviour: Behaviour) -> Behaviour:
    """A method of one message as one of a stream."""

    async def answer(requests: AsyncIterator[Any], context: grpc.aio.ServicerContext) -> Any:
        request = await anext(requests, None)
        if request is None:
            raise invalid("", "the call brought no message")
        return await _complete(behaviour(request, context), context)

    return answer


def _unknown(method: str) -> Behaviour:
    async def behaviour(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> bytes:
        raise ServiceError(
            grpc.StatusCode.UNIMPLEMENTED,
            Reason.FEATURE_UNAVAILABLE,
            f"No method {method[:200]!r} here. This server serves powerplan.v1.PlannerService.",
        )

    return behaviour
