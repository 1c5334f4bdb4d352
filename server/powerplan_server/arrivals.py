"""Messages on their way in: not before it is known who sends them, not for ever, and not more than there is room for.

gRPC takes a whole message into memory as soon as somebody asks for it. So nobody asks before the caller is known, a
message that stops arriving ends its call, and when too many arrive at once, the oldest of the caller with the most is
given up: a burst of unfinished messages costs its sender, not others.

Why: docs/decisions/service.md [0413].
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator

import grpc

from powerplan_server.errors import Reason, ServiceError


class Arrivals:
    """The messages that are arriving.

    Args:
        most: how many may arrive at once.
        seconds: how long one may take.
    """

    def __init__(self, *, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._arriving: defaultdict[str, dict[asyncio.Task[bytes | None], None]] = defaultdict(dict)

    def __len__(self) -> int:
        return sum(map(len, self._arriving.values()))

    async def messages(self, sender: str, requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """What a sender's stream brings, message by message."""
        while (message := await self._next(sender, requests)) is not None:
            yield message

    async def _next(self, sender: str, requests: AsyncIterator[bytes]) -> bytes | None:
        """The next message; None at the end of the stream.

        Raises:
            ServiceError: DEADLINE_EXCEEDED: it takes too long; QUEUE_FULL: it was given up for others.
        """
        task: asyncio.Task[bytes | None] = asyncio.ensure_future(_awaited(requests))
        self._arriving[sender][task] = None
        if len(self) > self._most:
            most = max(self._arriving, key=lambda name: len(self._arriving[name]))
            next(iter(self._arriving[most])).cancel()
        try:
            done, _ = await asyncio.wait([task], timeout=self._seconds)
            if not done:
                raise ServiceError(
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                    Reason.DEADLINE_EXCEEDED,
                    f"No whole message arrived for {self._seconds:g} s. What an upload brought is kept: continue from "
                    "the committed length.",
                )
            if task.cancelled():
                raise ServiceError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    Reason.QUEUE_FULL,
                    f"More than {self._most} messages are arriving, most of them from here. Send fewer at once.",
                    retry_after=1.0,
                )
            return task.result()
        finally:
            task.cancel()
            del self._arriving[sender][task]
            if not self._arriving[sender]:
                del self._arriving[sender]


async def _awaited(requests: AsyncIterator[bytes]) -> bytes | None:
    return await anext(requests, None)
