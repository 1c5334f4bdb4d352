"""Runs stored jobs on the workers and tells watchers of every change."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, TypeVar

import grpc

from powerplan_client._generated import v1
from powerplan_server.admission import Admission
from powerplan_server.blobs import BlobStore
from powerplan_server.cache import conflict
from powerplan_server.errors import Reason, ServiceError
from powerplan_server.jobs import MAX_ATTEMPTS, Event, Job, JobState, JobStore
from powerplan_server.metrics import Metrics
from powerplan_server.workers import WorkerPool

log = logging.getLogger(__name__)

_PROGRESS_INTERVAL = 0.5  # seconds between stored progress events of a job
T = TypeVar("T")


class JobRunner:
    """Takes jobs from the store to the workers, a bounded number at a time.

    Args:
        store: where jobs are kept; used from one thread only.
        pool, admission, blobs, metrics: of the server.
        concurrency: jobs that may hold a worker at once.
        queue_size: unfinished jobs accepted.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        pool: WorkerPool,
        admission: Admission,
        blobs: BlobStore,
        metrics: Metrics,
        concurrency: int,
        queue_size: int,
    ) -> None:
        self._store = store
        self._pool = pool
        self._admission = admission
        self._blobs = blobs
        self._metrics = metrics
        self._concurrency = concurrency
        self._queue_size = queue_size
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        self._queue: asyncio.Queue[Job] = asyncio.Queue()
        self._pins: dict[str, ExitStack] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._closed = False

    @property
    def unfinished(self) -> int:
        """Jobs accepted and not ended."""
        return len(self._pins)

    async def start(self) -> None:
        """Take up what an earlier server left, and begin to run jobs."""
        for job in await self._db(self._store.unfinished):
            self._pins[job.id] = self._hold_blobs(job)
            if job.state is JobState.RUNNING and job.attempts >= MAX_ATTEMPTS:
                await self._end(
                    job,
                    JobState.FAILED,
                    error=ServiceError(
                        grpc.StatusCode.UNAVAILABLE,
                        Reason.SERVER_RESTARTED,
                        f"The server ended {job.attempts} times while this job was running. Submit it again.",
                    ),
                )
                continue
            await self._db(self._store.requeue, job, count_attempt=True)
            log.info("job taken up again", extra={"job": job.id, "attempts": job.attempts})
            self._queue.put_nowait(job)
        self._loops = [asyncio.create_task(self._loop()) for _ in range(self._concurrency)]

    async def close(self) -> None:
        """Stop; running jobs go back to the queue of the store, for the next server."""
        self._closed = True
        for waiting in list(self._watchers.values()):
            for changed in waiting:
                changed.set()
        for task in (*self._loops, *self._running.values()):
            task.cancel()
        await asyncio.gather(*self._loops, *self._running.values(), return_exceptions=True)
        await self._db(self._store.close)
        self._thread.shutdown(wait=True)

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
            ServiceError: REQUEST_ID_CONFLICT, BLOB_NOT_FOUND, QUEUE_FULL, SHUTTING_DOWN.
        """
        blobs = list(blobs)
        with self._blobs.pinned(tenant, blobs):
            if self._closed or self._admission.closed:
                raise ServiceError(
                    grpc.StatusCode.UNAVAILABLE, Reason.SHUTTING_DOWN, "The server is shutting down.", retry_after=1.0
                )
            if self.unfinished >= self._queue_size:
                raise ServiceError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    Reason.QUEUE_FULL,
                    f"{self._queue_size} jobs are unfinished. Try again when some have ended.",
                    retry_after=10.0,
                )
            job, existing = await self._db(
                self._store.add,
                tenant=tenant,
                request_id=request_id,
                digest=digest,
                request=request,
                blobs=blobs,
                run_limit=run_limit,
            )
            if existing and job.digest != digest:
                raise conflict(job.request_id or "")
            if not existing:
                self._pins[job.id] = self._hold_blobs(job)
                self._queue.put_nowait(job)
        return job, existing

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

    async def page(self, tenant: str, states: Iterable[int], before: int | None, size: int) -> list[Job]:
        """At most ``size`` jobs of a tenant, newest first, older than number ``before``."""
        return await self._db(self._store.page, tenant, states, before, size)

    async def cancel(self, tenant: str, identity: str) -> Job:
        """Cancel a job unless it has ended, and stop its worker; returns it as it then is."""
        job = await self.get(tenant, identity)
        error = ServiceError(grpc.StatusCode.CANCELLED, Reason.CANCELLED, "The job was cancelled by CancelPlanJob.")
        if await self._end(job, JobState.CANCELLED, error=error) and (task := self._running.get(job.id)):
            task.cancel()
        return await self.get(tenant, identity)

    async def watch(self, tenant: str, identity: str, after: int) -> AsyncIterator[Event]:
        """Events of a job after a sequence number, until the one that ends it.

        Raises:
            ServiceError: JOB_NOT_FOUND; SHUTTING_DOWN (watch again from the last event, here or on the next server).
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
                    raise ServiceError(
                        grpc.StatusCode.UNAVAILABLE,
                        Reason.SHUTTING_DOWN,
                        "The server is shutting down.",
                        retry_after=1.0,
                    )
                await changed.wait()
        finally:
            self._watchers[identity].discard(changed)
            if not self._watchers[identity]:
                del self._watchers[identity]

    async def expire(self) -> None:
        """Forget ended jobs whose time is over."""
        await self._db(self._store.expire)

    async def _loop(self) -> None:
        while True:
            job = await self._queue.get()
            task = asyncio.create_task(self._run(job))
            self._running[job.id] = task
            try:
                await asyncio.wait([task])
            finally:
                if not task.done():  # this loop is being cancelled, and the job with it
                    task.cancel()
                    await asyncio.wait([task])
                del self._running[job.id]
            if not task.cancelled() and (error := task.exception()):
                log.error("a job could not be run", extra={"job": job.id}, exc_info=error)

    async def _run(self, job: Job) -> None:
        try:
            with self._blobs.pinned(job.tenant, job.blobs) as paths:
                async with self._admission.slot(bounded=False):
                    if not await self._db(self._store.start, job):
                        return  # cancelled while it waited
                    self._tell(job)
                    response = await self._pool.run(
                        "Plan",
                        await self._db(self._store.request, job),
                        blobs=paths,
                        seconds=job.run_limit,
                        on_progress=self._progress_writer(job),
                    )
            await self._end(job, JobState.SUCCEEDED, response=response)
        except ServiceError as error:
            if error.reason is Reason.SHUTTING_DOWN:
                await self._requeue(job)
            else:
                await self._end(job, JobState.FAILED, error=error)
        except asyncio.CancelledError:
            await self._requeue(job)  # without effect if it was cancelled by its owner
            raise

    def _progress_writer(self, job: Job) -> Callable[[bytes], Any]:
        last = -_PROGRESS_INTERVAL

        async def write(progress: bytes) -> None:
            nonlocal last
            if time.monotonic() - last >= _PROGRESS_INTERVAL:
                last = time.monotonic()
                await self._db(self._store.progress, job, progress)
                self._tell(job)

        return write

    async def _requeue(self, job: Job) -> None:
        await self._db(self._store.requeue, job, count_attempt=False)
        self._tell(job)

    async def _end(
        self, job: Job, state: JobState, *, response: bytes | None = None, error: ServiceError | None = None
    ) -> bool:
        detail = error_detail(error).SerializeToString() if error is not None else None
        ended = await self._db(self._store.end, job, state, response=response, error=detail)
        if ended:
            self._metrics.jobs.labels(state.name.lower()).inc()
            reason = error.reason if error is not None else ""
            log.info("job ended", extra={"job": job.id, "state": state.name.lower(), "reason": reason})
            self._pins.pop(job.id, ExitStack()).close()
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

    async def _db(self, function: Callable[..., T], *args: Any, **named: Any) -> T:
        """Run a call of the store in its thread; a cancel does not leave it half done."""
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._thread, lambda: function(*args, **named)))


def error_detail(error: ServiceError) -> v1.ErrorDetail:
    """The error as a job reports it."""
    return v1.ErrorDetail(
        code=error.code.value[0],
        reason=v1.ErrorReason.Value(f"ERROR_REASON_{error.reason}"),
        message=error.message,
        metadata=error.metadata,
        field_violations=[v1.FieldViolation(field=v.field, description=v.description) for v in error.violations],
    )
