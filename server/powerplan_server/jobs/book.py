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
from typing import Any, TypeVar

from powerplan.errors import CorruptFile
from powerplan_client._generated import v1
from powerplan_server.blobs import BlobStore
from powerplan_server.errors import ServiceError
from powerplan_server.jobs.store import JobStore
from powerplan_server.jobs.values import Job, JobState
from powerplan_server.metrics import Metrics
from powerplan_server.statistics import JOB
from powerplan_server.storage import Storage

log = logging.getLogger(__name__)

_POLL = 0.1  # seconds between looks whether changes can be stored
_THREADS = 4  # that wait for the store: word that this server lives must not wait behind calls that hang
T = TypeVar("T")


class JobBook:
    """The jobs, and those of them that this server runs.

    Args:
        opening: opens the store; again where it has been found damaged.
        blobs, storage, metrics: of the server.

    Attributes:
        store: where jobs are; asked through :meth:`call`.
        held: blobs of each unfinished job, by its id, kept from eviction.
        carriers: what leads to the span of a submission, by the id of its job, see :meth:`Tracer.carrier`.
        queued: something may be in the queue.
        taking: held while jobs are added or taken: what is stored and what is held change together.
        closed: the server stops.

    Raises:
        InvalidInput, CorruptFile: as ``opening``.
    """

    def __init__(
        self, *, opening: Callable[[], JobStore], blobs: BlobStore, storage: Storage, metrics: Metrics
    ) -> None:
        self._opening = opening
        self._blobs = blobs
        self._storage = storage
        self._metrics = metrics
        self._thread = ThreadPoolExecutor(_THREADS, thread_name_prefix="jobs")
        self._changes: set[asyncio.Task[Any]] = set()
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self.store = opening()
        self.held: dict[str, ExitStack] = {}
        self.carriers: dict[str, dict[str, str]] = {}
        self.queued = asyncio.Event()
        self.taking = asyncio.Lock()
        self.closed = False

    async def call(self, function: Callable[..., T], *args: Any, **named: Any) -> T:
        """Make a call of the store in a thread; a cancel does not leave it half done.

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
        await self._in_thread(self.store.database.close)
        self._thread.shutdown(wait=True)

    async def try_storing(self) -> None:
        """Write to the store; a damaged one is replaced.

        Raises:
            InvalidInput: it cannot be written.
        """
        try:
            await self._in_thread(self.store.database.try_writing)
            if not self._storage.works:
                await self._in_thread(self.store.database.check)
        except CorruptFile:
            async with self.taking:
                await self._in_thread(self.store.database.close)
                self.store = await self._in_thread(self._opening)

    async def writable(self) -> None:
        """Return once changes can be stored again, or the server stops."""
        while not (self._storage.works or self.closed):
            await asyncio.sleep(_POLL)

    async def requeue(self, job: Job) -> None:
        """Put an interrupted job back into the queue."""
        await self.writable()
        await self.call(self.store.requeue, job, count_attempt=False)
        self.tell(job.id)

    async def end_at_last(self, job: Job, state: JobState, response: bytes | None, error: ServiceError | None) -> None:
        """Note how a job ended as soon as that can be stored. If the server stops before, the job runs again."""
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
        """Note how a job ended that this server runs; False if its claim is over."""
        detail = error_detail(error).SerializeToString() if error is not None else None
        ended = await self.call(self.store.end, job, state, response=response, error=detail)
        if ended:
            self._ended(job, state, error)
        return ended

    async def cancel(self, job: Job, error: ServiceError) -> None:
        """End a job that has not ended, whoever runs it."""
        if await self.call(self.store.cancel, job, error_detail(error).SerializeToString()):
            self._ended(job, JobState.CANCELLED, error)

    async def delete(self, job: Job, error: ServiceError) -> None:
        """Forget a job; one that has not ended counts as cancelled."""
        state = await self.call(self.store.delete, job)
        if state is not None and not state.ended:
            self._ended(job, JobState.CANCELLED, error)
        else:
            self.tell(job.id)

    def _ended(self, job: Job, state: JobState, error: ServiceError | None) -> None:
        self._metrics.jobs.labels(state.name.lower()).inc()
        seconds = max(0.0, time.time() - job.created)  # of two clocks where the store has its own
        self._metrics.statistics.ended(job.tenant, JOB, seconds, well=state is JobState.SUCCEEDED)
        reason = error.reason if error is not None else ""
        log.info("job ended", extra={"job": job.id, "state": state.name.lower(), "reason": reason})
        self.let_go(job.id)
        self.tell(job.id)

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
