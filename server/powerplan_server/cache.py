"""Answers to repeated requests, and the memory of request ids."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc

from powerplan_server.errors import Reason, ServiceError

_MAX_REQUEST_IDS = 100_000


@dataclass(frozen=True, kw_only=True)
class RequestKey:
    """What makes two requests the same: tenant, method, version and canonical bytes without the request id."""

    tenant: str
    digest: str

    @classmethod
    def of(cls, tenant: str, method: str, version: str, canonical: bytes) -> RequestKey:
        """The key of a request; ``canonical`` is its deterministic serialization."""
        digest = hashlib.sha256()
        for part in (method.encode(), version.encode(), canonical):
            digest.update(len(part).to_bytes(8, "big") + part)
        return cls(tenant=tenant, digest=digest.hexdigest())


@dataclass
class AnswerCache:
    """Least-recently-used answers, bounded by their bytes.

    An answer is the tuple of serialized messages that the call sent. Planning is deterministic, so a kept answer equals
    a new one; only answers that ended on their own (no deadline) are put in.
    """

    capacity: int
    used: int = 0
    _answers: OrderedDict[RequestKey, tuple[bytes, ...]] = field(default_factory=OrderedDict)

    def get(self, key: RequestKey) -> tuple[bytes, ...] | None:
        """The answer kept for a request, if there is one."""
        answer = self._answers.get(key)
        if answer is not None:
            self._answers.move_to_end(key)
        return answer

    def put(self, key: RequestKey, answer: tuple[bytes, ...]) -> None:
        """Keep an answer; the least recently used ones make room."""
        size = sum(map(len, answer))
        if size > self.capacity or key in self._answers:
            return
        self._answers[key] = answer
        self.used += size
        while self.used > self.capacity:
            _, old = self._answers.popitem(last=False)
            self.used -= sum(map(len, old))

    async def find(self, key: RequestKey) -> tuple[bytes, ...] | None:
        """The answer kept for a request, here or where other servers keep theirs."""
        return self.get(key)

    async def keep(self, key: RequestKey, answer: tuple[bytes, ...]) -> None:
        """Keep an answer for this server, and for others if there are any."""
        self.put(key, answer)

    async def prune(self) -> None:
        """Forget what other servers' answers leave no room for."""


@dataclass
class _Use:
    digest: str
    calls: int = 0
    answered: bool = False


@dataclass
class RequestIds:
    """Which request each request id of a tenant stands for; the oldest are forgotten."""

    _seen: OrderedDict[tuple[str, str], _Use] = field(default_factory=OrderedDict)

    @contextmanager
    def standing_for(self, key: RequestKey, request_id: str) -> Iterator[None]:
        """While a call goes on the id stands for its request, and afterwards if it was answered: not if it failed.

        Raises:
            ServiceError: REQUEST_ID_CONFLICT if it stands for another one.
        """
        place = (key.tenant, request_id)
        use = self._seen.setdefault(place, _Use(key.digest))
        if use.digest != key.digest:
            raise conflict(request_id)
        use.calls += 1
        try:
            yield
            use.answered = True
        finally:
            use.calls -= 1
            if not (use.answered or use.calls) and self._seen.get(place) is use:
                del self._seen[place]
        while len(self._seen) > _MAX_REQUEST_IDS:
            self._seen.popitem(last=False)


def conflict(request_id: str) -> ServiceError:
    """The error for a request id that stands for another request."""
    return ServiceError(
        grpc.StatusCode.ALREADY_EXISTS,
        Reason.REQUEST_ID_CONFLICT,
        f"request_id {request_id!r} was used before with another request. Use a new one.",
    )
