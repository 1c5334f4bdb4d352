"""The job store as the event loop uses it, with what this process holds beside it: blobs of jobs, and who watches.

What is written, held and told of a change goes together, and is carried to its end whether or not the caller waits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from powerplan.errors import CorruptFile
from powerplan_client._generated import v1
from powerplan_server.blobs import BlobStore
from powerplan_server.errors import ServiceError
from powerplan_server.jobs.salvage import open_store
from powerplan_server.jobs.store import JobStore
from powerplan_server.jobs.values import Job, JobLimits, JobState
from powerplan_server.metrics import Metrics
from powerplan_server.statistics import JOB
from powerplan_server.storage import Storage

log = logging.getLogger(__name__)

_POLL = 0.1  # seconds between looks whether the disk takes writes
T = TypeVar("T")


class JobBook:
    """The jobs of this server.

    Args:
        path: the database file; a damaged one is replaced, see :mod:`.salvage`.
        limits: how much is accepted and kept.
        blobs, storage, metrics: of the server.

    Attributes:
        store: where jobs are; asked through :meth:`call`.
        held: blobs of each unfinished job, by its id, kept from eviction.
        carriers: what leads to the span of a submission, by the id of its job, see :meth:`Tracer.carrier`.
        queued: something may be in the queue.
        taking: held while jobs are added or taken: what is stored and what is held change together.
        closed: the server stops.

    Raises:
        InvalidInput, CorruptFile: as :func:`.salvage.open_store`.
    """

    def __init__(self, *, path: Path, limits: JobLimits, blobs: BlobStore, storage: Storage, metrics: Metrics) -> None:
        self._path = path
        self._limits = limits
        self._blobs = blobs
        self._storage = storage
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        self._changes: set[asyncio.Task[Any]] = set()
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self.store: JobStore = open_store(path, limits=limits)
        self.held: dict[str, ExitStack] = {}
        self.carriers: dict[str, dict[str, str]] = {}
        self.queued = asyncio.Event()
        self.taking = asyncio.Lock()
        self.closed = False

    async def call(self, function: Callable[..., T], *args: Any, **named: Any) -> T:
        """Make a call of the store in its thread; a cancel does not leave it half done.

        Raises:
            ServiceError: STORAGE_UNAVAILABLE.
        """
        with self._storage.guarding():
            return await asyncio.shield(self._in_thread(lambda: function(*args, **named)))

    async def carried(self, change: Coroutine[Any, Any, T]) -> T:
        """Carry a change to its end, whether or not the caller stays."""
        task = asyncio.create_task(change)
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody else may ask
        return await asyncio.shield(task)

    async def settled(self) -> None:
        """Wait for all changes that are being carried."""
        while self._changes:
            await asyncio.wait(self._changes)

    async def close(self) -> None:
        """Close the store."""
        await self._in_thread(self.store.close)
        self._thread.shutdown(wait=True)

    async def try_storing(self) -> None:
        """Write to the store; a damaged one is replaced.

        Raises:
            InvalidInput: it cannot be written.
        """
        try:
            await self._in_thread(self.store.try_writing)
            if not self._storage.works:
                await self._in_thread(self.store.check)
        except CorruptFile:
            async with self.taking:
                await self._in_thread(self.store.close)
                self.store = await self._in_thread(lambda: open_store(self._path, limits=self._limits))

    async def writable(self) -> None:
        """Return once the disk takes writes again, or the server stops."""
        while not (self._storage.works or self.closed):
            await asyncio.sleep(_POLL)

    async def requeue(self, job: Job) -> None:
        """Put an interrupted job back into the queue."""
        await self.writable()
        await self.call(self.store.requeue, job, count_attempt=False)
        self.tell(job.id)

    async def end_at_last(self, job: Job, state: JobState, response: bytes | None, error: ServiceError | None) -> None:
        """Note how a job ended as soon as the disk takes it. If the server stops before that, the job runs again."""
        while True:
            try:
                await self.end(job, state, response=response, error=error)
                return
            except ServiceError:
                if self.closed:
                    raise
                await self.writable()

    async def end(
        self, job: Job, state: JobState, *, response: bytes | None = None, error: ServiceError | None = None
    ) -> bool:
        """Note how a job ended; False if it had ended already."""
        detail = error_detail(error).SerializeToString() if error is not None else None
        ended = await self.call(self.store.end, job, state, response=response, error=detail)
        if ended:
            self._metrics.jobs.labels(state.name.lower()).inc()
            seconds = time.time() - job.created
            self._metrics.statistics.ended(job.tenant, JOB, seconds, well=state is JobState.SUCCEEDED)
            reason = error.reason if error is not None else ""
            log.info("job ended", extra={"job": job.id, "state": state.name.lower(), "reason": reason})
            self.let_go(job.id)
            self.tell(job.id)
        return ended

    def hold(self, job: Job) -> None:
        """Keep a job's blobs from eviction; one that is gone already fails the job when it runs."""
        stack = self.held[job.id] = ExitStack()
        for sha256 in job.blobs:
            stack.enter_context(self._blobs.held(job.tenant, sha256))

    def let_go(self, identity: str) -> None:
        """Give the blobs of a job free."""
        self.carriers.pop(identity, None)
        self.held.pop(identity, ExitStack()).close()

    @contextmanager
    def watching(self, identity: str) -> Iterator[asyncio.Event]:
        """An event that is set when the job changes."""
        changed = asyncio.Event()
        self._watchers[identity].add(changed)
        try:
            yield changed
        finally:
            self._watchers[identity].discard(changed)
            if not self._watchers[identity]:
                del self._watchers[identity]

    def tell(self, identity: str | None = None) -> None:
        """Tell who watches a job, or any, that something changed."""
        watchers = [self._watchers.get(identity, set())] if identity is not None else list(self._watchers.values())
        for changed in set().union(*watchers):
            changed.set()

    def _in_thread(self, function: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, function)


def error_detail(error: ServiceError) -> v1.ErrorDetail:
    """The error as a job reports it."""
    return v1.ErrorDetail(
        code=error.code.value[0],
        reason=v1.ErrorReason.Value(f"ERROR_REASON_{error.reason}"),
        message=error.message,
        metadata=error.metadata,
        field_violations=[v1.FieldViolation(field=v.field, description=v.description) for v in error.violations],
    )
