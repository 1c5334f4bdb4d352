"""Jobs from the queue to the workers: taken, calculated, and ended or put back, a bounded number at a time.

While jobs run, the store is told that their server lives. Where others use it too, a server that could not say so for
as long as a lease stops its calculations: others take the jobs up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import grpc

from powerplan_client._generated import v1
from powerplan_server.admission import Admission
from powerplan_server.blobs import BlobStore
from powerplan_server.errors import Reason, ServiceError
from powerplan_server.jobs.book import JobBook
from powerplan_server.jobs.values import Job, JobState
from powerplan_server.statistics import JOB, Statistics
from powerplan_server.storage import Storage
from powerplan_server.tracing import Tracer
from powerplan_server.workers import WorkerPool

log = logging.getLogger(__name__)

BEAT = 2.0  # seconds between words that this server lives
_PROGRESS_INTERVAL = 0.5  # seconds between stored progress events of a job
_INTERRUPTIONS = (Reason.SHUTTING_DOWN, Reason.STORAGE_UNAVAILABLE)  # not the job's fault: it is queued again

_Outcome = tuple[JobState, bytes | None, ServiceError | None]


@dataclass(eq=False)
class _Run:
    """A job that was taken and whose outcome is not stored yet; ``task`` is its calculation once that has begun."""

    job: Job
    task: asyncio.Task[bytes] | None = None

    def interrupt(self) -> None:
        if self.task is not None:
            self.task.cancel()


class JobExecution:
    """Runs queued jobs.

    Args:
        book: the jobs.
        pool, admission, blobs, storage, statistics, tracer: of the server.
        concurrency: jobs that may hold a worker at once.

    Attributes:
        running: every job that was taken and whose outcome is not stored yet.
    """

    def __init__(
        self,
        *,
        book: JobBook,
        pool: WorkerPool,
        admission: Admission,
        blobs: BlobStore,
        storage: Storage,
        statistics: Statistics,
        tracer: Tracer,
        concurrency: int,
    ) -> None:
        self._book = book
        self._pool = pool
        self._admission = admission
        self._blobs = blobs
        self._storage = storage
        self._statistics = statistics
        self._tracer = tracer
        self._concurrency = concurrency
        self._loops: list[asyncio.Task[None]] = []
        self.running: set[_Run] = set()

    def start(self) -> None:
        """Begin to run jobs."""
        self._loops = [asyncio.create_task(self._loop()) for _ in range(self._concurrency)]
        self._loops.append(asyncio.create_task(self._keep_claims()))

    async def close(self) -> None:
        """Stop; what runs is ended without an outcome."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)

    def interrupt(self, identity: str) -> None:
        """End the calculation of a job that its owner has ended."""
        for run in self.running:
            if run.job.id == identity:
                run.interrupt()

    def runs(self, job: Job) -> bool:
        """Whether a running job is one of this server."""
        return any((run.job.number, run.job.claim) == (job.number, job.claim) for run in self.running)

    async def _keep_claims(self) -> None:
        """Say that this server lives; end the calculations of jobs that are no longer its own."""
        book, heard = self._book, time.monotonic()
        while True:
            await asyncio.sleep(BEAT)
            runs, began = list(self.running), time.monotonic()
            lease = book.store.database.lease
            own = {run.job.id for run in runs}
            try:
                async with asyncio.timeout(max(0.0, lease - (began - heard)) if lease else None):
                    own = await book.call(book.store.renew, [run.job for run in runs])
                    heard = began
            except TimeoutError:
                own, heard = set(), time.monotonic()  # what is claimed from now on has leases of its own
                log.error("the job store was not reached for too long; its jobs are left to other servers")
            except ServiceError:
                continue
            except Exception:
                log.exception("claims could not be renewed")
                continue
            for run in runs:
                if run.job.id not in own:
                    run.interrupt()

    async def _loop(self) -> None:
        """Run one job after the other."""
        book = self._book
        while True:
            await book.queued.wait()
            run = None
            try:
                async with self._admission.slot(background=True):
                    run = await self._take()
                    if run is None:
                        continue
                    outcome = await self._calculated(run)
                if outcome is not None:
                    await book.carried(book.end_at_last(run.job, *outcome))
                else:
                    await book.carried(book.requeue(run.job))
            except ServiceError as error:
                if error.reason is Reason.SHUTTING_DOWN:
                    return
                await book.writable()
                book.queued.set()
            except Exception:
                log.exception("the queue of jobs stumbled")
                await asyncio.sleep(1.0)
            finally:
                if run is not None:
                    self.running.discard(run)
                    book.queued.set()  # its tenant may have another one that waits for this

    async def _take(self) -> _Run | None:
        """The next job, noted as running here and in the store at once."""
        book = self._book
        async with book.taking:
            book.queued.clear()
            job = await book.call(book.store.claim)
            if job is None:
                return None
            run = _Run(job)
            self.running.add(run)
            book.queued.set()  # there may be more
        book.tell(job.id)
        self._statistics.add(job.tenant, JOB, queue=(job.started or job.created) - job.created)
        return run

    async def _calculated(self, run: _Run) -> _Outcome | None:
        """How the calculation of a job ended; None if it was interrupted and must run again."""
        job = run.job
        task = run.task = asyncio.create_task(self._calculate(job))
        try:
            return JobState.SUCCEEDED, await asyncio.shield(task), None
        except ServiceError as error:
            return None if error.reason in _INTERRUPTIONS else (JobState.FAILED, None, error)
        except asyncio.CancelledError:
            if task.cancelled() and not _is_being_cancelled():
                return None  # the job was cancelled by its owner, or is no longer this server's
            task.cancel()
            await asyncio.wait([task])
            raise
        except Exception:
            log.exception("a job could not be run", extra={"job": job.id})
            message = "Internal error. The server's log has it under this job's id."
            return JobState.FAILED, None, ServiceError(grpc.StatusCode.INTERNAL, Reason.INTERNAL, message)

    async def _calculate(self, job: Job) -> bytes:
        request = await self._book.call(self._book.store.request, job)
        if request is None:
            raise asyncio.CancelledError  # ended by its owner since it was taken
        carrier = self._book.carriers.get(job.id)
        async with self._blobs.pinned(job.tenant, job.blobs) as paths:
            with self._tracer.span("job", carrier, job=job.id):
                answer = await self._pool.run(
                    "Plan",
                    request,
                    blobs=paths,
                    seconds=job.run_limit,
                    on_progress=self._progress_writer(job),
                    on_trace=self._tracer.on_trace,
                )
        self._statistics.computed(job.tenant, JOB, v1.PlanResponse.FromString(answer).info.timings)
        return answer

    def _progress_writer(self, job: Job) -> Callable[[bytes], Any]:
        last = -_PROGRESS_INTERVAL

        async def write(progress: bytes) -> None:
            nonlocal last
            if time.monotonic() - last >= _PROGRESS_INTERVAL and self._storage.works:
                last = time.monotonic()
                with suppress(ServiceError):  # a calculation goes on while the disk is full
                    await self._book.call(self._book.store.progress, job, progress)
                    self._book.tell(job.id)

        return write


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
