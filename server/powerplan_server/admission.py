"""Who may use a worker now: a fixed number of slots and a queue bounded by count and by bytes.

Health checks and other cheap calls never pass through here, so an overload cannot starve them.

Why: docs/decisions/service.md [0061].
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from powerplan_server.errors import Reason, ServiceError

_SMOOTHING = 0.2
_SHORTEST_WAIT, _LONGEST_WAIT = 0.1, 60.0


class Admission:
    """Slots for calculations, first come first served.

    Args:
        slots: calculations that may run at once.
        queue_size: direct calls that may wait for a slot.
        queue_bytes: request bytes that may wait for a slot.
    """

    def __init__(self, *, slots: int, queue_size: int, queue_bytes: int) -> None:
        self.slots = slots
        self.running = 0
        self.waiting_bytes = 0
        self._queue_size = queue_size
        self._queue_bytes = queue_bytes
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._bounded = 0
        self._mean_seconds = 1.0
        self.closed = False

    @property
    def waiting(self) -> int:
        """How many calculations wait for a slot."""
        return len(self._waiting)

    def close(self) -> None:
        """Admit nothing from now on, and turn away all that wait."""
        self.closed = True
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(_draining())

    @asynccontextmanager
    async def slot(self, size: int = 0, *, bounded: bool = True) -> AsyncIterator[None]:
        """Hold a slot; waits for one if the queue has room.

        Args:
            size: bytes of the request that would wait.
            bounded: count this one against the queue's limits. Stored jobs are not: they have their own limit.

        Raises:
            ServiceError: QUEUE_FULL with the time after which another try makes sense; SHUTTING_DOWN.
        """
        if self.closed:
            raise _draining()
        if self.running >= self.slots or self._waiting:
            await self._wait(size, bounded)
        else:
            self.running += 1
        began = time.monotonic()
        try:
            yield
        finally:
            self._mean_seconds += _SMOOTHING * (time.monotonic() - began - self._mean_seconds)
            self._hand_on()

    async def _wait(self, size: int, bounded: bool) -> None:
        """Return when the slot of another one has been handed over."""
        if bounded and (self._bounded >= self._queue_size or self.waiting_bytes + size > self._queue_bytes):
            raise ServiceError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                Reason.QUEUE_FULL,
                "All workers are busy and the queue is full. Try again after the delay given, or submit a job.",
                retry_after=self._retry_after(),
            )
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        if bounded:
            self._bounded += 1
            self.waiting_bytes += size
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._hand_on()  # the slot came in the same moment as the cancel
            elif future in self._waiting:
                self._waiting.remove(future)
            raise
        finally:
            if bounded:
                self._bounded -= 1
                self.waiting_bytes -= size

    def _hand_on(self) -> None:
        """Give this slot to the first that waits, or free it."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(None)
                return
        self.running -= 1

    def _retry_after(self) -> float:
        """Mean time until the queue has drained, spread so that not all clients return at once."""
        mean = self._mean_seconds * (self.waiting + 1) / self.slots
        return min(max(mean, _SHORTEST_WAIT), _LONGEST_WAIT) * random.uniform(0.75, 1.25)


def _draining() -> ServiceError:
    return ServiceError(
        grpc.StatusCode.UNAVAILABLE,
        Reason.SHUTTING_DOWN,
        "The server is shutting down. Try again: another one, or the next, will answer.",
        retry_after=1.0,
    )
