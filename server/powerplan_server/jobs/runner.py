"""Runs stored jobs on the workers and tells watchers of every change.

A change of state is carried to its end whether or not the caller waits for it: what is written, held and told goes
together. The store is the queue; what this process holds beside it (blobs, running calculations) is brought into line
with the store at the start, after a fault of the disk, and every minute.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, TypeVar

import grpc

from powerplan.errors import CorruptFile
from powerplan_client._generated import v1
from powerplan_server.admission import Admission, draining
from powerplan_server.blobs import BlobStore
from powerplan_server.cache import conflict
from powerplan_server.errors import Reason, ServiceError
from powerplan_server.jobs.salvage import open_store
from powerplan_server.jobs.store import MAX_ATTEMPTS, JobStore
from powerplan_server.jobs.values import Event, Job, JobLimits, JobState, QueueFull
from powerplan_server.metrics import Metrics
from powerplan_server.storage import Storage, unavailable
from powerplan_server.workers import WorkerPool

log = logging.getLogger(__name__)

_POLL = 0.1  # seconds between looks whether the disk takes writes
_LOOK = 1.0  # seconds between looks of a watcher
_PROGRESS_INTERVAL = 0.5  # seconds between stored progress events of a job
_INTERRUPTIONS = (Reason.SHUTTING_DOWN, Reason.STORAGE_UNAVAILABLE)  # not the job's fault: it is queued again
T = TypeVar("T")


class JobRunner:
    """Takes jobs from the store to the workers, a bounded number at a time.

    Args:
        path: the database file of the jobs; a damaged one is replaced, see :mod:`.salvage`.
        limits: how much is accepted and kept.
        pool, admission, blobs, storage, metrics: of the server.
        concurrency: jobs that may hold a worker at once.

    Raises:
        InvalidInput, CorruptFile: as :func:`.salvage.open_store`.
    """

    def __init__(
        self,
        *,
        path: Path,
        limits: JobLimits,
        pool: WorkerPool,
        admission: Admission,
        blobs: BlobStore,
        storage: Storage,
        metrics: Metrics,
        concurrency: int,
    ) -> None:
        self._path = path
        self._limits = limits
        self._store: JobStore = open_store(path, limits=limits)
        self._pool = pool
        self._admission = admission
        self._blobs = blobs
        self._storage = storage
        self._metrics = metrics
        self._concurrency = concurrency
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        self._queued = asyncio.Event()
        self._taking = asyncio.Lock()
        self._pins: dict[str, ExitStack] = {}
        self._running: dict[str, asyncio.Task[bytes] | None] = {}
        self._changes: set[asyncio.Task[Any]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._closed = False

    @property
    def unfinished(self) -> int:
        """Jobs accepted and not ended."""
        return len(self._pins)

    @property
    def running(self) -> int:
        """Jobs that a worker calculates, or whose outcome is being stored."""
        return len(self._running)

    async def start(self) -> None:
        """Take up what an earlier server left, and begin to run jobs."""
        await self.reconcile()
        self._loops = [asyncio.create_task(self._loop()) for _ in range(self._concurrency)]

    async def close(self) -> None:
        """Stop; running jobs go back to the queue of the store, for the next server."""
        self._closed = True
        for waiting in list(self._watchers.values()):
            for changed in waiting:
                changed.set()
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        while self._changes:
            await asyncio.wait(self._changes)
        try:
            for job in await self._db(self._store.unfinished):
                if job.state is JobState.RUNNING:
                    await self._db(self._store.requeue, job, count_attempt=False)
        except ServiceError:
            log.error("running jobs could not be put back into the queue; the next server takes them up")
        await asyncio.get_running_loop().run_in_executor(self._thread, self._store.close)
        self._thread.shutdown(wait=True)

    async def reconcile(self) -> None:
        """Bring what this process holds into line with the store, and take up what nobody runs.

        Raises:
            ServiceError: STORAGE_UNAVAILABLE.
        """
        async with self._taking:
            unfinished = {job.id: job for job in await self._db(self._store.unfinished)}
            for identity in self._pins.keys() - unfinished.keys():
                self._let_go(identity)
            for job in unfinished.values():
                if job.id not in self._pins:
                    self._pins[job.id] = self._hold_blobs(job)
                if job.state is JobState.RUNNING and job.id not in self._running:
                    await self._take_up_again(job)
            if unfinished:  # a loop that looks for nothing would take a slot for it
                self._queued.set()

    async def try_storing(self) -> None:
        """Write to the store; a damaged one is replaced.

        Raises:
            InvalidInput: it cannot be written.
            ServiceError: STORAGE_UNAVAILABLE.
        """
        worked = self._storage.works
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._store.try_writing)
            if not worked:
                await loop.run_in_executor(self._thread, self._store.check)
        except CorruptFile:
            async with self._taking:
                await loop.run_in_executor(self._thread, self._store.close)
                self._store = await loop.run_in_executor(
                    self._thread, lambda: open_store(self._path, limits=self._limits)
                )
        if not worked:
            await self.reconcile()

    async def submit(
        self,
        *,
        tenant: str,
        request_id: str | None,
        digest: str,
        request: bytes,
        blobs: Iterable[str],
        run_limit: float,
    ) -> tuple[Job, bool]:
        """Store a job and queue it; or return the one there is under this request id, and True.

        Raises:
            ServiceError: REQUEST_ID_CONFLICT, BLOB_NOT_FOUND, QUEUE_FULL, STORAGE_UNAVAILABLE, SHUTTING_DOWN.
        """
        blobs = list(blobs)

        async def store() -> tuple[Job, bool]:
            if self._closed or self._admission.closed:
                raise draining()
            with self._blobs.pinned(tenant, blobs):
                async with self._taking:  # nobody takes it before its blobs are held
                    try:
                        job, existing = await self._db(
                            self._store.add,
                            tenant=tenant,
                            request_id=request_id,
                            digest=digest,
                            request=request,
                            blobs=blobs,
                            run_limit=run_limit,
                        )
                    except QueueFull as full:
                        raise _full(full) from None
                    if not existing:
                        self._pins[job.id] = self._hold_blobs(job)
                        self._queued.set()
            if existing and job.digest != digest:
                raise conflict(job.request_id or "")
            return job, existing

        return await self._to_its_end(store())

    async def get(self, tenant: str, identity: str) -> Job:
        """A tenant's job.

        Raises:
            ServiceError: JOB_NOT_FOUND.
        """
        job = await self._db(self._store.get, tenant, identity)
        if job is None:
            raise ServiceError(
                grpc.StatusCode.NOT_FOUND, Reason.JOB_NOT_FOUND, f"No job {identity[:80]!r}; it may have expired."
            )
        return job

    async def outcome(self, job: Job) -> tuple[bytes | None, bytes | None]:
        """Serialized ``PlanResponse`` and ``ErrorDetail`` of a job; one is set once it has ended."""
        return await self._db(self._store.outcome, job)

    async def page(self, tenant: str, states: Iterable[int], before: tuple[float, str] | None, size: int) -> list[Job]:
        """At most ``size`` jobs of a tenant, newest first, older than one created then with that id."""
        return await self._db(self._store.page, tenant, states, before, size)

    async def cancel(self, tenant: str, identity: str) -> Job:
        """Cancel a job unless it has ended, and stop its worker; returns it as it then is."""
        error = ServiceError(grpc.StatusCode.CANCELLED, Reason.CANCELLED, "The job was cancelled by CancelPlanJob.")

        async def cancel() -> Job:
            job = await self.get(tenant, identity)
            if await self._end(job, JobState.CANCELLED, error=error) and (task := self._running.get(job.id)):
                task.cancel()
            return await self.get(tenant, identity)

        return await self._to_its_end(cancel())

    async def watch(self, tenant: str, identity: str, after: int) -> AsyncIterator[Event]:
        """Events of a job after a sequence number, until the one that ends it.

        Raises:
            ServiceError: JOB_NOT_FOUND; STORAGE_UNAVAILABLE or SHUTTING_DOWN (watch again from the last event, here or
                on the next server).
        """
        changed = asyncio.Event()
        await self.get(tenant, identity)
        self._watchers[identity].add(changed)
        try:
            while True:
                changed.clear()
                job = await self.get(tenant, identity)
                for event in await self._db(self._store.events, job, after):
                    after = event.sequence
                    yield event
                if job.state.ended:
                    return
                if self._closed or self._admission.closed:
                    raise draining()
                if not self._storage.works:
                    raise unavailable()  # nothing can change now: watch again from the last event
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK):  # the disk may fail, or the server stop, without a change
                        await changed.wait()
        finally:
            self._watchers[identity].discard(changed)
            if not self._watchers[identity]:
                del self._watchers[identity]

    async def expire(self) -> None:
        """Forget ended jobs whose time is over."""
        await self._db(self._store.expire)

    async def _loop(self) -> None:
        """Run one job after the other."""
        while True:
            await self._queued.wait()
            job = None
            try:
                async with self._admission.slot(background=True):
                    job = await self._take()
                    if job is None:
                        continue
                    outcome = await self._calculated(job)
                if outcome is not None:
                    await self._to_its_end(self._end_at_last(job, *outcome))
                else:
                    await self._to_its_end(self._requeue(job))
            except ServiceError as error:
                if error.reason is Reason.SHUTTING_DOWN:
                    return
                await self._storage_or_end()
                self._queued.set()
            except Exception:
                log.exception("the queue of jobs stumbled")
                await asyncio.sleep(1.0)
            finally:
                if job is not None:
                    self._running.pop(job.id, None)
                    self._queued.set()  # its tenant may have another one that waits for this

    async def _take(self) -> Job | None:
        """The next job, noted as running here and in the store at once."""
        async with self._taking:
            self._queued.clear()
            job = await self._db(self._store.claim)
            if job is not None:
                self._running[job.id] = None
                self._queued.set()  # there may be more
        if job is not None:
            self._tell(job)
        return job

    async def _calculated(self, job: Job) -> tuple[JobState, bytes | None, ServiceError | None] | None:
        """How the calculation of a job ended; None if it was interrupted and must run again."""
        task = self._running[job.id] = asyncio.create_task(self._calculate(job))
        try:
            return JobState.SUCCEEDED, await asyncio.shield(task), None
        except ServiceError as error:
            return None if error.reason in _INTERRUPTIONS else (JobState.FAILED, None, error)
        except asyncio.CancelledError:
            if task.cancelled() and not _is_being_cancelled():
                return None  # the job was cancelled by its owner
            task.cancel()
            await asyncio.wait([task])
            raise
        except Exception:
            log.exception("a job could not be run", extra={"job": job.id})
            message = "Internal error. The server's log has it under this job's id."
            return JobState.FAILED, None, ServiceError(grpc.StatusCode.INTERNAL, Reason.INTERNAL, message)

    async def _calculate(self, job: Job) -> bytes:
        request = await self._db(self._store.request, job)
        if request is None:
            raise asyncio.CancelledError  # ended by its owner since it was taken
        with self._blobs.pinned(job.tenant, job.blobs) as paths:
            return await self._pool.run(
                "Plan", request, blobs=paths, seconds=job.run_limit, on_progress=self._progress_writer(job)
            )

    def _progress_writer(self, job: Job) -> Callable[[bytes], Any]:
        last = -_PROGRESS_INTERVAL

        async def write(progress: bytes) -> None:
            nonlocal last
            if time.monotonic() - last >= _PROGRESS_INTERVAL and self._storage.works:
                last = time.monotonic()
                with suppress(ServiceError):  # a calculation goes on while the disk is full
                    await self._db(self._store.progress, job, progress)
                    self._tell(job)

        return write

    async def _take_up_again(self, job: Job) -> None:
        """A job that was running when its server ended."""
        if job.attempts < MAX_ATTEMPTS:
            await self._db(self._store.requeue, job, count_attempt=True)
            log.info("job taken up again", extra={"job": job.id, "attempts": job.attempts})
            return
        error = ServiceError(
            grpc.StatusCode.UNAVAILABLE,
            Reason.SERVER_RESTARTED,
            f"The server ended {job.attempts} times while this job was running. Submit it again.",
        )
        await self._end(job, JobState.FAILED, error=error)

    async def _requeue(self, job: Job) -> None:
        await self._storage_or_end()
        await self._db(self._store.requeue, job, count_attempt=False)
        self._tell(job)

    async def _end_at_last(self, job: Job, state: JobState, response: bytes | None, error: ServiceError | None) -> None:
        """Note how a job ended as soon as the disk takes it. If the server stops before that, the job runs again."""
        while True:
            try:
                await self._end(job, state, response=response, error=error)
                return
            except ServiceError:
                if self._closed:
                    raise
                await self._storage_or_end()

    async def _end(
        self, job: Job, state: JobState, *, response: bytes | None = None, error: ServiceError | None = None
    ) -> bool:
        detail = error_detail(error).SerializeToString() if error is not None else None
        ended = await self._db(self._store.end, job, state, response=response, error=detail)
        if ended:
            self._metrics.jobs.labels(state.name.lower()).inc()
            reason = error.reason if error is not None else ""
            log.info("job ended", extra={"job": job.id, "state": state.name.lower(), "reason": reason})
            self._let_go(job.id)
            self._tell(job)
        return ended

    def _tell(self, job: Job) -> None:
        for changed in self._watchers.get(job.id, ()):
            changed.set()

    def _hold_blobs(self, job: Job) -> ExitStack:
        """Keep a job's blobs from eviction; one that is gone already fails the job when it runs."""
        stack = ExitStack()
        for sha256 in job.blobs:
            stack.enter_context(self._blobs.held(job.tenant, sha256))
        return stack

    def _let_go(self, identity: str) -> None:
        self._pins.pop(identity, ExitStack()).close()

    async def _storage_or_end(self) -> None:
        """Return once the disk takes writes again, or the server stops."""
        while not (self._storage.works or self._closed):
            await asyncio.sleep(_POLL)

    async def _to_its_end(self, change: Coroutine[Any, Any, T]) -> T:
        """Carry a change to its end, whether or not the caller stays."""
        task = asyncio.create_task(change)
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody else may ask
        return await asyncio.shield(task)

    async def _db(self, function: Callable[..., T], *args: Any, **named: Any) -> T:
        """Run a call of the store in its thread; a cancel does not leave it half done."""
        loop = asyncio.get_running_loop()
        with self._storage.guarding():
            return await asyncio.shield(loop.run_in_executor(self._thread, lambda: function(*args, **named)))


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _full(full: QueueFull) -> ServiceError:
    whose = "of yours " if full.of_tenant else ""
    return ServiceError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.QUEUE_FULL,
        f"{full.limit} jobs {whose}are unfinished. Try again when some have ended.",
        retry_after=10.0,
    )


def error_detail(error: ServiceError) -> v1.ErrorDetail:
    """The error as a job reports it."""
    return v1.ErrorDetail(
        code=error.code.value[0],
        reason=v1.ErrorReason.Value(f"ERROR_REASON_{error.reason}"),
        message=error.message,
        metadata=error.metadata,
        field_violations=[v1.FieldViolation(field=v.field, description=v.description) for v in error.violations],
    )
