"""What this process holds beside the store, brought into line with it; and jobs whose server is gone, taken up again.

That is done at the start, after a fault of the store, and every few seconds: where other servers use the store too,
they change it, and may die. What they change is told at once as well.
"""

from __future__ import annotations

import asyncio
import logging
from itertools import count

import grpc

from powerplan_server.errors import Reason, ServiceError
from powerplan_server.jobs.book import JobBook
from powerplan_server.jobs.execution import BEAT, JobExecution
from powerplan_server.jobs.store import MAX_ATTEMPTS
from powerplan_server.jobs.values import Job, JobState

log = logging.getLogger(__name__)

_BEATS = 5  # after which what is held is compared with the store


class Following:
    """Follows what becomes of the jobs of the store, whoever changes it.

    Args:
        book: the jobs.
        execution: what runs those of this server.
    """

    def __init__(self, book: JobBook, execution: JobExecution) -> None:
        self._book = book
        self._execution = execution

    def listen(self) -> None:
        """Be told of changes by other servers."""
        loop = asyncio.get_running_loop()

        def told(identity: str | None, state: JobState | None) -> None:
            loop.call_soon_threadsafe(self._told, identity, state)

        self._book.store.database.listen(told)

    async def reconcile(self) -> None:
        """Bring what this process holds into line with the store, and take up what nobody runs.

        Raises:
            ServiceError: STORAGE_UNAVAILABLE.
        """
        book = self._book
        async with book.taking:
            unfinished = {job.id: job for job in await book.call(book.store.unfinished)}
            for identity in book.held.keys() - unfinished.keys():
                book.let_go(identity)
            for job in unfinished.values():
                if job.id not in book.held:
                    book.hold(job)
            if any(job.state is JobState.QUEUED for job in unfinished.values()):
                book.queued.set()  # a loop that looks for nothing would take a slot for it
            await self._take_up()

    async def follow(self) -> None:
        """Take up what servers leave that die, and keep what this process holds in line with the store."""
        for beat in count(1):
            await asyncio.sleep(BEAT)
            try:
                if beat % _BEATS:
                    async with self._book.taking:
                        await self._take_up()
                else:
                    await self.reconcile()
            except ServiceError:
                continue  # the fault of the store is in the log
            except Exception:
                log.exception("the store could not be followed")

    def _told(self, identity: str | None, state: JobState | None) -> None:
        """Somebody, here or on another server, has changed a job, or something may have been missed."""
        self._book.tell(identity)
        if state is not JobState.RUNNING:
            self._book.queued.set()
        if identity is not None and state is not None and state.ended:
            self._execution.interrupt(identity)
            self._book.let_go(identity)

    async def _take_up(self) -> None:
        """Queue what nobody runs any more, or give it up."""
        for job in await self._book.call(self._book.store.abandoned):
            if not self._execution.runs(job):
                await self._take_up_again(job)
                self._book.queued.set()

    async def _take_up_again(self, job: Job) -> None:
        """A job that was running when its server ended."""
        if job.attempts < MAX_ATTEMPTS:
            if await self._book.call(self._book.store.requeue, job, count_attempt=True):
                self._book.tell(job.id)
                log.info("job taken up again", extra={"job": job.id, "attempts": job.attempts})
            return
        error = ServiceError(
            grpc.StatusCode.UNAVAILABLE,
            Reason.SERVER_RESTARTED,
            f"The server ended {job.attempts} times while this job was running. Submit it again.",
        )
        await self._book.end(job, JobState.FAILED, error=error)
