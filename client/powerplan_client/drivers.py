"""What drives calls to their ends: a blocking loop, and one on an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

from powerplan_client.calls import Calls
from powerplan_client.compat import Self
from powerplan_client.errors import ClientClosed, PlannerError
from powerplan_client.steps import Call, Emit, Open, Sleep
from powerplan_client.transport import AsyncTransport, Transport

T = TypeVar("T")


class BlockingDriver:
    """A client that waits for what it asks."""

    def _start(self, transport: Transport, calls: Calls, shown: str) -> None:
        self._transport = transport
        self._shown = shown
        self._calls = calls
        self._closed = threading.Event()

    def close(self) -> None:
        """End the connection and the calls that run; closing again does nothing."""
        self._closed.set()
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._shown})"

    def _run(self, call: Call[T | None]) -> T:
        """Drive a call to its result (None only with validate_only)."""
        driver = self._drive(call)
        while True:
            try:
                next(driver)
            except StopIteration as stop:
                result: T = stop.value
                return result

    def _iterate(self, call: Call[Any]) -> Iterator[Any]:
        """Drive a call, handing on what it emits."""
        yield from self._drive(call)

    def _drive(self, call: Call[Any]) -> Generator[Any, None, Any]:
        streams: list[Any] = []
        answer: Any = None
        failure: PlannerError | None = None
        try:
            while True:
                try:
                    step = call.send(answer) if failure is None else call.throw(failure)
                except StopIteration as stop:
                    return stop.value
                answer, failure = None, None
                if isinstance(step, Emit):
                    yield step.value
                elif self._closed.is_set():
                    failure = ClientClosed()
                elif isinstance(step, Sleep):
                    self._closed.wait(step.seconds)
                else:
                    try:
                        answer = self._transport.perform(step)
                    except Exception as error:
                        if not isinstance(error, PlannerError) and not self._closed.is_set():
                            raise
                        failure = ClientClosed() if self._closed.is_set() else error  # type: ignore[assignment]
                    if isinstance(step, Open) and failure is None:
                        streams.append(answer)
        finally:
            call.close()
            for stream in streams:
                self._transport.release(stream)


class AsyncDriver:
    """A client that lets the event loop run on."""

    def _start(self, transport: AsyncTransport, calls: Calls, shown: str) -> None:
        self._transport = transport
        self._shown = shown
        self._calls = calls
        self._closed = asyncio.Event()

    async def close(self) -> None:
        """End the connection and the calls that run; closing again does nothing."""
        self._closed.set()
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._shown})"

    async def _run(self, call: Call[T | None]) -> T:
        """Drive a call to its result (None only with validate_only)."""
        result: list[T] = []
        async for _ in self._drive(call, result):
            pass
        return result[0]

    def _iterate(self, call: Call[Any]) -> AsyncIterator[Any]:
        """Drive a call, handing on what it emits."""
        return self._drive(call, [])

    async def _drive(self, call: Call[Any], result: list[Any]) -> AsyncGenerator[Any, None]:
        """Drive a call, handing on what it emits; its result goes into ``result``."""
        streams: list[Any] = []
        answer: Any = None
        failure: PlannerError | None = None
        try:
            while True:
                try:
                    step = call.send(answer) if failure is None else call.throw(failure)
                except StopIteration as stop:
                    result.append(stop.value)
                    return
                answer, failure = None, None
                if isinstance(step, Emit):
                    yield step.value
                elif self._closed.is_set():
                    failure = ClientClosed()
                elif isinstance(step, Sleep):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._closed.wait(), step.seconds)
                else:
                    try:
                        answer = await self._transport.perform(step)
                    except (Exception, asyncio.CancelledError) as error:
                        closed = self._closed.is_set() and not _is_cancelled()
                        if not isinstance(error, PlannerError) and not closed:
                            raise
                        failure = ClientClosed() if closed else error  # type: ignore[assignment]
                    if isinstance(step, Open) and failure is None:
                        streams.append(answer)
        finally:
            call.close()
            for stream in streams:
                self._transport.release(stream)


def _is_cancelled() -> bool:
    """Whether somebody cancels the task at hand; gRPC cancels what it waits for when the connection is closed."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
