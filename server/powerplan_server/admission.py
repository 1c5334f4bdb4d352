"""Who may use a worker now: a fixed number of slots, and lines bounded by count and by bytes.

Every tenant has a line of its own, and the lines take turns. When all lines together are full, one that arrives from a
shorter line takes the place of the newest in the longest: a burst turns away its own calls, not those of others. Stored
jobs come after all direct calls. Health checks and other cheap calls never pass through here, so an overload cannot
starve them.

Why: docs/decisions/service.md [0061], [0411].
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import grpc

from powerplan_server.errors import Reason, ServiceError

_SMOOTHING = 0.2
_SHORTEST_WAIT, _LONGEST_WAIT = 0.1, 60.0


@dataclass(eq=False)
class _Ticket:
    """One that waits for a slot, or has it once ``turn`` is done."""

    tenant: str
    size: int
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Admission:
    """Slots for calculations, the lines of tenants taking turns.

    Args:
        slots: calculations that may run at once.
        queue_size: direct calls that may wait for a slot.
        queue_bytes: request bytes that may wait for a slot.
        tenant_slots: direct calls of one tenant that may run at once; None = all slots.
        tenant_queue_size: direct calls of one tenant that may wait; None = the whole queue.

    Attributes:
        running: calculations that hold a slot.
        waiting_bytes: request bytes of direct calls that wait.
    """

    def __init__(
        self,
        *,
        slots: int,
        queue_size: int,
        queue_bytes: int,
        tenant_slots: int | None = None,
        tenant_queue_size: int | None = None,
    ) -> None:
        self.slots = slots
        self.running = 0
        self.waiting_bytes = 0
        self.closed = False
        self._queue_size = queue_size
        self._queue_bytes = queue_bytes
        self._tenant_slots = slots if tenant_slots is None else tenant_slots
        self._tenant_queue_size = queue_size if tenant_queue_size is None else tenant_queue_size
        self._lines: OrderedDict[str, deque[_Ticket]] = OrderedDict()  # the tenant whose turn is next comes first
        self._jobs: deque[_Ticket] = deque()
        self._running_of: Counter[str] = Counter()
        self._mean_seconds = 1.0

    @property
    def waiting(self) -> int:
        """How many calculations wait for a slot."""
        return len(self._jobs) + sum(map(len, self._lines.values()))

    def close(self) -> None:
        """Admit nothing from now on, and turn away all that wait."""
        self.closed = True
        for line in (self._jobs, *self._lines.values()):
            for ticket in line:
                _turn_away(ticket, draining())

    @asynccontextmanager
    async def slot(self, tenant: str = "", size: int = 0, *, background: bool = False) -> AsyncIterator[None]:
        """Hold a slot; waits for one if the queue has room.

        Args:
            tenant: whose call it is.
            size: bytes of the request that would wait.
            background: a stored job: comes after all direct calls, and counts against no limit of the queue (jobs have
                their own).

        Raises:
            ServiceError: QUEUE_FULL with the time after which another try makes sense; SHUTTING_DOWN.
        """
        if self.closed:
            raise draining()
        ticket = _Ticket(tenant, 0 if background else size)
        line = self._jobs if background else self._lines.setdefault(tenant, deque())
        line.append(ticket)
        self.waiting_bytes += ticket.size
        self._give_slots()
        try:
            if not (background or ticket.turn.done()):
                self._make_room(ticket)
            await ticket.turn
        except BaseException:
            if ticket.turn.done() and not ticket.turn.cancelled() and ticket.turn.exception() is None:
                self._release(ticket, background)  # the slot came in the same moment as the cancel
            else:
                self._leave(line, ticket)
            raise
        began = time.monotonic()
        try:
            yield
        finally:
            self._mean_seconds += _SMOOTHING * (time.monotonic() - began - self._mean_seconds)
            self._release(ticket, background)

    def _give_slots(self) -> None:
        """Give free slots to the first of the lines, in turn, then to jobs."""
        while self.running < self.slots:
            line, background = self._next_line()
            if line is None:
                return
            ticket = line[0]
            self._leave(line, ticket)
            if ticket.turn.done():
                continue  # its caller has gone, or it was turned away
            self.running += 1
            if not background:
                self._running_of[ticket.tenant] += 1
                if ticket.tenant in self._lines:
                    self._lines.move_to_end(ticket.tenant)
            ticket.turn.set_result(None)

    def _next_line(self) -> tuple[deque[_Ticket] | None, bool]:
        for tenant, line in self._lines.items():
            if self._running_of[tenant] < self._tenant_slots:
                return line, False
        return (self._jobs, True) if self._jobs else (None, True)

    def _leave(self, line: deque[_Ticket], ticket: _Ticket) -> None:
        with suppress(ValueError):
            line.remove(ticket)
            self.waiting_bytes -= ticket.size
        if not line and self._lines.get(ticket.tenant) is line:
            del self._lines[ticket.tenant]

    def _release(self, ticket: _Ticket, background: bool) -> None:
        self.running -= 1
        if not background:
            self._running_of[ticket.tenant] -= 1
            if not self._running_of[ticket.tenant]:
                del self._running_of[ticket.tenant]
        self._give_slots()

    def _make_room(self, ticket: _Ticket) -> None:
        """Turn away the newest of the longest lines until what waits is within the limits; that may be this one.

        Raises:
            ServiceError: QUEUE_FULL: this one is it.
        """
        if len(self._lines[ticket.tenant]) > self._tenant_queue_size:
            raise self._full()
        while self._overfull():
            own = len(self._lines[ticket.tenant])
            longest = max(self._lines.values(), key=len)
            if len(longest) <= own or not len(longest):
                raise self._full()
            newest = longest[-1]
            self._leave(longest, newest)
            _turn_away(newest, self._full())

    def _overfull(self) -> bool:
        direct = sum(map(len, self._lines.values()))
        return direct > self._queue_size or self.waiting_bytes > self._queue_bytes

    def _full(self) -> ServiceError:
        mean = self._mean_seconds * (self.waiting + 1) / self.slots  # until the queue has drained
        return ServiceError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            Reason.QUEUE_FULL,
            "All workers are busy and the queue is full. Try again after the delay given, or submit a job.",
            retry_after=min(max(mean, _SHORTEST_WAIT), _LONGEST_WAIT) * random.uniform(0.75, 1.25),  # not all at once
        )


def _turn_away(ticket: _Ticket, error: ServiceError) -> None:
    if not ticket.turn.done():
        ticket.turn.set_exception(error)


def draining() -> ServiceError:
    """The error for what comes while the server stops."""
    return ServiceError(
        grpc.StatusCode.UNAVAILABLE,
        Reason.SHUTTING_DOWN,
        "The server is shutting down. Try again: another one, or the next, will answer.",
        retry_after=1.0,
    )
