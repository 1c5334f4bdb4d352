"""Callers that go away and writes that fail, at every step of every change of a job's state.

After each: what the store holds, what is queued, the gauges and the workers agree; no job is lost or run twice.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from planner_fakes import plan_request
from planner_running import Running

from powerplan.errors import InvalidInput
from powerplan_client._generated import v1
from powerplan_server.errors import ServiceError
from powerplan_server.jobs import Job, JobRunner, JobState

TENANT = "anonymous"
STEPS = 40  # turns of the event loop after which a caller goes away; a change takes fewer


class _Faults:
    """Fails calls of the job store as a full disk does: before the change, or after it (the answer is lost)."""

    def __init__(self, jobs: JobRunner) -> None:
        self._jobs = jobs
        self._call: Callable[..., Any] = jobs.book.call
        self.injected = 0
        self.next: str | None = None

    async def db(self, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if self.next is None or function.__name__ in ("unfinished", "get", "page", "request", "outcome"):
            return await self._call(function, *args, **named)
        when, self.next = self.next, None
        self.injected += 1

        def failing(*args: Any, **named: Any) -> None:
            if when == "after":
                function(*args, **named)
            raise InvalidInput.of("job store", "jobs.sqlite", "room", "No space left on the disk.")

        return await self._call(failing, *args, **named)


def _submission(jobs: JobRunner, label: str, what: str = "") -> Coroutine[Any, Any, tuple[Job, bool]]:
    request = v1.PlanRequest(task=plan_request(what).task).SerializeToString()
    return jobs.submit(tenant=TENANT, request_id=label, digest=label, request=request, blobs=[], run_limit=10.0)


async def _cut_off(change: Coroutine[Any, Any, Any], after: int) -> None:
    """Let a caller go away after some turns of the event loop."""
    task = asyncio.ensure_future(change)
    for _ in range(after):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _settled(server: Running, seconds: float = 20.0) -> None:
    """Everything agrees: nothing unfinished in the store, in the gauges, at the workers."""
    jobs = server.server.jobs
    async with asyncio.timeout(seconds):
        while jobs.book._changes or jobs.unfinished or jobs.running or server.server.admission.running:
            await asyncio.sleep(0.005)
    assert await jobs.book.call(jobs.book.store.unfinished) == []
    assert (server.server.admission.waiting, server.server.blobs._pins) == (0, {})


async def _ended_early(jobs: JobRunner, job: Job, faults: _Faults, rng: random.Random, deleted: set[str]) -> None:
    """Some jobs are cancelled with a fault on the way, some deleted, of these a third without."""
    if rng.random() < 0.3:
        faults.next = rng.choice(["before", "after"])
        await jobs.cancel(TENANT, job.id)
    if rng.random() < 0.2:
        faults.next = rng.choice(["before", "after", None])
        deleted.add(job.id)
        await jobs.delete(TENANT, job.id)


async def _stored(jobs: JobRunner) -> list[Job]:
    return await jobs.page(TENANT, [], None, 10_000)


async def _assert_run_once(jobs: JobRunner, job: Job) -> None:
    """Its events follow each other without a gap, and it was started once more than it was put back."""
    events = await jobs.book.call(jobs.book.store.events, job, 0)
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    states = [event.state for event in events]
    changes = [state for i, state in enumerate(states) if i == 0 or state != states[i - 1]]
    assert changes[0] is JobState.QUEUED
    assert changes[-1].ended
    assert all(state is JobState.QUEUED for state in changes[0:-1:2]), changes
    assert sum(state.ended for state in states) == 1


@pytest.mark.slow
def test_callers_that_go_away_at_every_step(start: Callable[..., Running]) -> None:
    """Of submissions and of cancels: what was stored ends, once, and its id gives it back."""
    server = start(workers=2, job_workers=2)
    jobs = server.server.jobs

    async def submissions() -> None:
        for after in range(STEPS):
            await _cut_off(_submission(jobs, f"submit {after}"), after)
        await _settled(server)
        assert len(await _stored(jobs)) >= STEPS - 1  # all but one that was cut off before it began
        for job in await _stored(jobs):
            assert job.state is JobState.SUCCEEDED
            await _assert_run_once(jobs, job)
            again, existing = await _submission(jobs, job.request_id or "")
            assert (again.id, existing) == (job.id, True)

    async def cancels() -> None:
        for after in range(STEPS):
            for what in ("", "sleep 5"):
                job, _ = await _submission(jobs, f"cancel {after} {what}", what)
                if after % 2:
                    await asyncio.sleep(0.03)  # it has been started by now
                await _cut_off(jobs.cancel(TENANT, job.id), after)
                await jobs.cancel(TENANT, job.id)
        await _settled(server)
        for job in await _stored(jobs):
            await _assert_run_once(jobs, job)

    server.do(submissions())
    server.do(cancels())
    assert server.metric("powerplan_jobs_total", state="succeeded") + server.metric(
        "powerplan_jobs_total", state="cancelled"
    ) == len(server.do(_stored(jobs)))


@pytest.mark.slow
def test_callers_that_go_away_while_they_delete(start: Callable[..., Running]) -> None:
    """Whatever step they leave at, a second call ends it: nothing of the job stays, nor runs."""
    server = start(workers=2, job_workers=2)
    jobs = server.server.jobs

    async def deletions() -> None:
        for after in range(STEPS):
            for what in ("", "sleep 5"):
                job, _ = await _submission(jobs, f"delete {after} {what}", what)
                if after % 2:
                    await asyncio.sleep(0.03)  # it has been started by now
                await _cut_off(jobs.delete(TENANT, job.id), after)
                with suppress(ServiceError):  # it is gone
                    await jobs.delete(TENANT, job.id)
        await _settled(server)
        assert await _stored(jobs) == []

    server.do(deletions())


@pytest.mark.slow
def test_writes_that_fail_at_every_change(
    start: Callable[..., Running], storing: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 writes fail at random, before or after the change took place, while jobs come and are cancelled."""
    server = start(workers=2, job_workers=2, job_queue_size=10_000, **storing)
    jobs = server.server.jobs
    faults = _Faults(jobs)
    monkeypatch.setattr(jobs.book, "call", faults.db)
    monkeypatch.setattr("powerplan_server.storage._RETRY", 0.01)
    rng = random.Random(0)
    accepted: dict[str, str] = {}
    deleted: set[str] = set()  # or tried to be
    reasons: set[str] = set()

    async def one(number: int) -> None:
        if rng.random() < 0.8:
            faults.next = rng.choice(["before", "after"])
        try:
            job, _ = await _submission(jobs, f"job {number}")
            accepted[job.id] = f"job {number}"
            await _ended_early(jobs, job, faults, rng, deleted)
        except ServiceError as error:
            reasons.add(error.reason)
        while not server.server.storage.works and rng.random() < 0.9:
            await asyncio.sleep(0.002)

    async def storm() -> None:
        number = 0
        while faults.injected < 500:
            await one(number)
            number += 1
        faults.next = None
        async with asyncio.timeout(20):
            while not server.server.storage.works:
                await asyncio.sleep(0.01)
        await jobs.reconcile()
        await _settled(server)
        stored = {job.id: job for job in await _stored(jobs)}
        assert accepted.keys() - deleted <= stored.keys()
        assert deleted - stored.keys()
        for job in stored.values():
            assert job.state in (JobState.SUCCEEDED, JobState.CANCELLED)
            await _assert_run_once(jobs, job)

    asyncio.run_coroutine_threadsafe(storm(), server.loop).result(180)
    assert faults.injected >= 500
    assert reasons == {"STORAGE_UNAVAILABLE"}


def test_what_is_held_beside_the_store_is_brought_into_line(start: Callable[..., Running], tmp_path: Path) -> None:
    """A job that another hand stored, one that nobody runs, and one that is gone."""
    server = start(workers=1)
    jobs = server.server.jobs

    async def scenario() -> None:
        store = jobs.book.store
        request = v1.PlanRequest(task=plan_request().task).SerializeToString()
        await jobs.book.call(
            store.add, tenant=TENANT, request_id=None, digest="d", request=request, blobs=["ab" * 32], run_limit=1.0
        )
        jobs.book.held["gone"] = ExitStack()
        await jobs.reconcile()
        await _settled(server)
        assert [job.state for job in await _stored(jobs)] == [JobState.FAILED]  # its blob was never here

    server.do(scenario())
