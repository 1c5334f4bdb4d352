"""Connections to a server: the blocking and the asyncio one."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

import grpc
from google.protobuf.message import Message

from powerplan_client._generated import v1 as pb
from powerplan_client._generated.planner_service_pb2_grpc import PlannerServiceStub
from powerplan_client.engine import local_transport
from powerplan_client.errors import PlannerError, error_from_status, invalid
from powerplan_client.reasons import explained
from powerplan_client.rpc_status import PUSHBACK_KEY, STATUS_KEY, StatusDetails, parse_pushback, parse_status
from powerplan_client.settings import Settings
from powerplan_client.steps import Next, Open, Unary, Upload


class Transport(Protocol):
    """Carries out steps; raises PlannerError."""

    def perform(self, step: Unary | Upload | Open | Next) -> Any:
        """The answer to a step."""
        ...

    def release(self, stream: Any) -> None:
        """End a stream that is not read to its end."""
        ...

    def close(self) -> None:
        """End the connection."""
        ...


class AsyncTransport(Protocol):
    """Carries out steps on an event loop; raises PlannerError."""

    async def perform(self, step: Unary | Upload | Open | Next) -> Any:
        """The answer to a step."""
        ...

    def release(self, stream: Any) -> None:
        """End a stream that is not read to its end."""
        ...

    async def close(self) -> None:
        """End the connection."""
        ...


class GrpcTransport:
    """A blocking connection."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        options = settings.channel_options()
        target = str(settings.target)
        if settings.is_plain:
            self._channel = grpc.insecure_channel(target, options)
        else:
            self._channel = grpc.secure_channel(target, _credentials(settings), options)
        self._stub = PlannerServiceStub(self._channel)

    def perform(self, step: Unary | Upload | Open | Next) -> Any:
        """The answer to a step."""
        if isinstance(step, Next):
            call, request_id = step.stream
            try:
                return next(call)
            except StopIteration:
                return None
            except grpc.RpcError as error:
                raise _error(error, request_id, self._settings) from None
        request_id = uuid.uuid4().hex
        metadata = self._settings.metadata(request_id)
        try:
            if isinstance(step, Upload):
                parts = upload_parts(step, self._settings.chunk_bytes)
                return self._stub.UploadBlob(parts, timeout=step.timeout, metadata=metadata)
            call = getattr(self._stub, step.rpc)(step.request, timeout=step.timeout, metadata=metadata)
        except grpc.RpcError as error:
            raise _error(error, request_id, self._settings) from None
        return (call, request_id) if isinstance(step, Open) else call

    def release(self, stream: Any) -> None:
        """End a stream that is not read to its end."""
        stream[0].cancel()

    def close(self) -> None:
        """End the connection."""
        self._channel.close()


class AsyncGrpcTransport:
    """A connection on the running event loop, opened with the first step."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._channel: grpc.aio.Channel | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stub: Any = None

    async def perform(self, step: Unary | Upload | Open | Next) -> Any:
        """The answer to a step."""
        if self._loop not in (None, asyncio.get_running_loop()):
            raise invalid("client", "its connection belongs to another event loop; allowed: one client per asyncio.run")
        if isinstance(step, Next):
            call, request_id = step.stream
            try:
                response = await call.read()
            except grpc.RpcError as error:
                raise _error(error, request_id, self._settings) from None
            return None if response is grpc.aio.EOF else response
        if self._stub is None:
            self._connect()
        request_id = uuid.uuid4().hex
        metadata = self._settings.metadata(request_id)
        try:
            if isinstance(step, Upload):
                parts = _async_parts(upload_parts(step, self._settings.chunk_bytes))
                return await self._stub.UploadBlob(parts, timeout=step.timeout, metadata=metadata)
            call = getattr(self._stub, step.rpc)(step.request, timeout=step.timeout, metadata=metadata)
            return (call, request_id) if isinstance(step, Open) else await call
        except grpc.RpcError as error:
            raise _error(error, request_id, self._settings) from None

    def _connect(self) -> None:
        options = self._settings.channel_options()
        target = str(self._settings.target)
        if self._settings.is_plain:
            self._channel = grpc.aio.insecure_channel(target, options)
        else:
            self._channel = grpc.aio.secure_channel(target, _credentials(self._settings), options)
        self._stub = PlannerServiceStub(self._channel)
        self._loop = asyncio.get_running_loop()

    def release(self, stream: Any) -> None:
        """End a stream that is not read to its end."""
        stream[0].cancel()

    async def close(self) -> None:
        """End the connection; one of another event loop ends with that."""
        if self._channel is not None and self._loop is asyncio.get_running_loop():
            await self._channel.close()


class LocalThreads:
    """The in-process service, off the event loop."""

    def __init__(self) -> None:
        self._local = local_transport()

    async def perform(self, step: Unary | Upload | Open | Next) -> Any:
        """The answer to a step."""
        return await asyncio.to_thread(self._local.perform, step)

    def release(self, stream: Any) -> None:
        """End a stream that is not read to its end."""
        self._local.release(stream)

    async def close(self) -> None:
        """Nothing to end."""


def upload_parts(step: Upload, chunk_bytes: int) -> Iterator[pb.UploadBlobRequest]:
    """The messages of an upload."""
    ref = pb.BlobRef(sha256=step.sha256, size_bytes=step.content.nbytes)
    yield pb.UploadBlobRequest(start=pb.UploadStart(blob=ref, offset_bytes=step.offset))
    for start in range(step.offset, step.content.nbytes, chunk_bytes):
        yield pb.UploadBlobRequest(chunk=bytes(step.content[start : start + chunk_bytes]))


async def _async_parts(parts: Iterator[Message]) -> AsyncIterator[Message]:
    for part in parts:
        yield part


def _credentials(settings: Settings) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=settings.root_certificates,
        private_key=settings.client_key,
        certificate_chain=settings.client_certificate,
    )


def _error(error: Any, request_id: str, settings: Settings) -> PlannerError:
    """The client's error for one of gRPC."""
    details, pushback = StatusDetails(), None
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_KEY:
            details = parse_status(value)
        elif key == PUSHBACK_KEY:
            pushback = parse_pushback(value)
    code, message = error.code().name, error.details() or ""
    if not details.reason:  # not of the planning service, but of what lies before it
        message = explained(message, settings)
    return error_from_status(code, message, details, request_id, pushback)
