"""Answers to repeated requests that servers share in their database, behind those that each has in memory.

It is only ever a help: a database that is away or slow is a miss, and nobody waits for an answer to be kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

from powerplan_server.cache import AnswerCache, RequestKey
from powerplan_server.config import ServeConfig
from powerplan_server.jobs import JobDatabase
from powerplan_server.storage import Storage

_LONGEST = 0.25  # seconds that a call waits for an answer of another server
_THREADS = 2
_PENDING = 64  # answers that wait to be kept; further ones are kept in memory only
T = TypeVar("T")


def open_cache(config: ServeConfig, database: JobDatabase, storage: Storage) -> AnswerCache:
    """The cache of answers that the settings name."""
    if config.database and config.cache_size:
        return SharedCache(config.cache_size, database, storage)
    return AnswerCache(config.cache_size)


class SharedCache(AnswerCache):
    """Answers in memory and, for all servers, in a database; of either the oldest leave.

    Args:
        capacity: bytes of answers kept in memory, and as many in the database.
        database: of PostgreSQL.
        storage: while it does not work, the database is not asked.
    """

    def __init__(self, capacity: int, database: JobDatabase, storage: Storage) -> None:
        super().__init__(capacity)
        self._database = database
        self._storage = storage
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="answers")
        self._keeping: set[asyncio.Task[None]] = set()

    async def find(self, key: RequestKey) -> tuple[bytes, ...] | None:
        """The answer kept for a request, in memory or in the database."""
        answer = self.get(key)
        if answer is None and self._storage.works:
            with suppress(OSError):  # a TimeoutError is one
                async with asyncio.timeout(_LONGEST):
                    answer = await self._in_thread(self._read, key)
            if answer is not None:
                self.put(key, answer)
        return answer

    async def keep(self, key: RequestKey, answer: tuple[bytes, ...]) -> None:
        """Keep an answer in memory, and soon in the database."""
        self.put(key, answer)
        if self._storage.works and len(self._keeping) < _PENDING and sum(map(len, answer)) <= self.capacity:
            task = asyncio.create_task(self._write_soon(key, answer))
            self._keeping.add(task)
            task.add_done_callback(self._keeping.discard)

    async def prune(self) -> None:
        """Forget the oldest answers of the database beyond what is kept."""
        with suppress(OSError):
            await self._in_thread(self._forget)

    async def _write_soon(self, key: RequestKey, answer: tuple[bytes, ...]) -> None:
        with suppress(OSError):
            await self._in_thread(self._write, key, answer)

    def _read(self, key: RequestKey) -> tuple[bytes, ...] | None:
        with self._database.reading() as db:
            row = db.execute(
                "SELECT parts FROM answers WHERE tenant = ? AND digest = ?", (key.tenant, key.digest)
            ).fetchone()
        return tuple(row[0]) if row else None

    def _write(self, key: RequestKey, answer: tuple[bytes, ...]) -> None:
        with self._database.changing(in_turn=False) as db:
            db.execute(
                "INSERT INTO answers VALUES (?, ?, ?, ?, clock()) ON CONFLICT DO NOTHING",
                (key.tenant, key.digest, sum(map(len, answer)), list(answer)),
            )

    def _forget(self) -> None:
        with self._database.changing() as db:
            db.execute(
                "DELETE FROM answers WHERE (tenant, digest) IN (SELECT tenant, digest FROM (SELECT tenant, digest, "
                "sum(size) OVER (ORDER BY kept DESC, digest) AS taken FROM answers) AS newest WHERE taken > ?)",
                (self.capacity,),
            )

    async def _in_thread(self, function: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: function(*arguments))
