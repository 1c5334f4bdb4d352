"""What callers ask of jobs: to submit, find, cancel and watch them; and their way through the life of the server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress

import grpc

from powerplan_server.admission import Admission, draining
from powerplan_server.blobs import BlobStore
from powerplan_server.cache import conflict
from powerplan_server.errors import Reason, ServiceError
from powerplan_server.jobs.book import JobBook
from powerplan_server.jobs.execution import JobExecution
from powerplan_server.jobs.following import Following
from powerplan_server.jobs.values import Event, Job, QueueFull
from powerplan_server.storage import Storage, unavailable

log = logging.getLogger(__name__)

_PAGES = 1024  # of the store, that are given back at a time; other calls go on in between
_LOOK = 1.0  # seconds between looks of a watcher whether it is told anything
_LOOKS = 5  # after which it asks the store itself


class JobRunner:
    """Takes jobs from callers, has them run, and tells how they ended.

    Args:
        book: the jobs.
        execution: what runs them.
        admission, blobs, storage: of the server.
    """

    def __init__(
        self, *, book: JobBook, execution: JobExecution, admission: Admission, blobs: BlobStore, storage: Storage
    ) -> None:
        self.book = book
        self._execution = execution
        self._following = Following(book, execution)
        self._admission = admission
        self._blobs = blobs
        self._storage = storage

    @property
    def unfinished(self) -> int:
        """Jobs accepted and not ended."""
        return len(self.book.held)

    @property
    def running(self) -> int:
        """Jobs that a worker calculates, or whose outcome is being stored."""
        return len(self._execution.running)

    async def start(self) -> None:
        """Take up what an earlier server left, and begin to run jobs."""
        self._following.listen()
        await self._following.reconcile()
        self._execution.start()

    async def close(self) -> None:
        """Stop; running jobs go back to the queue of the store, for the next server."""
        book = self.book
        book.closed = True
        book.tell()
        await self._execution.close()
        await book.settled()
        try:
            for job in await book.call(book.store.claimed):
                await book.call(book.store.requeue, job, count_attempt=False)
        except ServiceError:
            log.error("running jobs could not be put back into the queue; the next server takes them up")
        await book.close()

    async def reconcile(self) -> None:
        """Bring what this process holds into line with the store; as :meth:`.following.Following.reconcile`."""
        await self._following.reconcile()

    async def follow(self) -> None:
        """Keep it in line, until cancelled."""
        await self._following.follow()

    async def try_storing(self) -> None:
        """Write to the store; a damaged one is replaced.

        Raises:
            InvalidInput: it cannot be written.
            ServiceError: STORAGE_UNAVAILABLE.
        """
        worked = self._storage.works
        await self.book.try_storing()
        if not worked:
            await self._following.reconcile()

    async def submit(
        self,
        *,
        tenant: str,
        request_id: str | None,
        digest: str,
        request: bytes,
        blobs: Iterable[str],
        run_limit: float,
        carrier: Mapping[str, str] | None = None,
    ) -> tuple[Job, bool]:
        """Store a job and queue it; or return the one there is under this request id, and True.

        ``carrier`` leads to the span of the submission, which its calculation goes on unless the server ends between.

        Raises:
            ServiceError: REQUEST_ID_CONFLICT, BLOB_NOT_FOUND, QUEUE_FULL, STORAGE_UNAVAILABLE, SHUTTING_DOWN.
        """
        book = self.book
        blobs = list(blobs)

        async def store() -> tuple[Job, bool]:
            if book.closed or self._admission.closed:
                raise draining()
            async with self._blobs.pinned(tenant, blobs), book.taking:  # nobody takes it before its blobs are held
                try:
                    job, existing = await book.call(
                        book.store.add,
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
                    book.hold(job)
                    book.carriers[job.id] = dict(carrier or {})
                    book.queued.set()
            if existing and job.digest != digest:
                raise conflict(job.request_id or "")
            return job, existing

        return await book.carried(store())

    async def get(self, tenant: str, identity: str) -> Job:
        """A tenant's job.

        Raises:
            ServiceError: JOB_NOT_FOUND.
        """
        job = await self.book.call(self.book.store.get, tenant, identity)
        if job is None:
            raise ServiceError(
                grpc.StatusCode.NOT_FOUND, Reason.JOB_NOT_FOUND, f"No job {identity[:80]!r}; it may have expired."
            )
        return job

    async def outcome(self, job: Job) -> tuple[bytes | None, bytes | None]:
        """Serialized ``PlanResponse`` and ``ErrorDetail`` of a job; one is set once it has ended."""
        return await self.book.call(self.book.store.outcome, job)

    async def page(self, tenant: str, states: Iterable[int], before: tuple[float, str] | None, size: int) -> list[Job]:
        """At most ``size`` jobs of a tenant, newest first, older than one created then with that id."""
        return await self.book.call(self.book.store.page, tenant, states, before, size)

    async def cancel(self, tenant: str, identity: str) -> Job:
        """Cancel a job unless it has ended, and stop its worker; returns it as it then is."""

        async def cancel() -> Job:
            await self.book.cancel(await self.get(tenant, identity), _cancelled("CancelPlanJob"))
            self._execution.interrupt(identity)
            return await self.get(tenant, identity)

        return await self.book.carried(cancel())

    async def delete(self, tenant: str, identity: str) -> None:
        """Forget a job with its outcome, cancelled first if it has not ended; who watches it is told that it is gone.

        Raises:
            ServiceError: JOB_NOT_FOUND.
        """

        async def delete() -> None:
            await self.book.delete(await self.get(tenant, identity), _cancelled("DeletePlanJob"))
            self._execution.interrupt(identity)

        await self.book.carried(delete())

    async def watch(self, tenant: str, identity: str, after: int) -> AsyncIterator[Event]:
        """Events of a job after a sequence number, until the one that ends it.

        Raises:
            ServiceError: JOB_NOT_FOUND; STORAGE_UNAVAILABLE or SHUTTING_DOWN (watch again from the last event, here or
                on the next server).
        """
        book = self.book
        await self.get(tenant, identity)
        with book.watching(identity) as changed:
            while True:
                changed.clear()
                job = await self.get(tenant, identity)
                for event in await book.call(book.store.events, job, after):
                    after = event.sequence
                    yield event
                if job.state.ended:
                    return
                await self._change(changed)

    async def _change(self, changed: asyncio.Event) -> None:
        """Wait until something has changed, or may have."""
        for _ in range(_LOOKS):
            if self.book.closed or self._admission.closed:
                raise draining()
            if not self._storage.works:
                raise unavailable()  # nothing can change now: watch again from the last event
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK):  # the store may fail, or the server stop, without a change
                    await changed.wait()
                    return

    async def expire(self) -> None:
        """Forget ended jobs whose time is over, and give what deleted ones took back to the disk, bit by bit."""
        await self.book.call(self.book.store.expire)
        before = None
        while (left := await self.book.call(self.book.store.database.shrink, _PAGES)) and left != before:
            before = left


def _cancelled(by: str) -> ServiceError:
    return ServiceError(grpc.StatusCode.CANCELLED, Reason.CANCELLED, f"The job was cancelled by {by}.")


def _full(full: QueueFull) -> ServiceError:
    whose = "of yours " if full.of_tenant else ""
    return ServiceError(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.QUEUE_FULL,
        f"{full.limit} jobs {whose}are unfinished. Try again when some have ended.",
        retry_after=10.0,
    )
