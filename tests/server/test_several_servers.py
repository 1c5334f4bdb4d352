"""Servers that share jobs and uploads: each shows every job, and what a dead one leaves is taken up by the others."""

from __future__ import annotations

import asyncio
import hashlib
import signal
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import planner_postgres
import pytest
from planner_fakes import plan_request
from planner_postgres import Postgres
from planner_running import Process, Running, assert_idle, failure, wait_for

from powerplan_client._generated import v1
from powerplan_client._generated.planner_service_pb2_grpc import PlannerServiceStub
from powerplan_server import shared_cache
from powerplan_server.blobs import Upload
from powerplan_server.jobs import execution

pytestmark = planner_postgres.needed

QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED = (v1.PlanJobState.values()[i] for i in range(1, 6))
SERVING, NOT_SERVING = 1, 2
_Server = Running | Process


def _submit(server: _Server, what: str = "", *, label: str | None = None, **blobs: str) -> v1.PlanJob:
    request = v1.SubmitPlanRequest(task=plan_request(what, **blobs).task)
    if label is not None:
        request.request_id = label
    job: v1.PlanJob = server.stub.SubmitPlan(request, timeout=10).job
    return job


def _get(server: _Server, job: v1.PlanJob) -> v1.PlanJob:
    found: v1.PlanJob = server.stub.GetPlanJob(v1.GetPlanJobRequest(job_id=job.job_id), timeout=10).job
    return found


def _events(server: _Server, job: v1.PlanJob) -> list[v1.WatchPlanJobResponse]:
    """The events of a job so far."""
    watch = server.stub.WatchPlanJob(v1.WatchPlanJobRequest(job_id=job.job_id), timeout=60)
    last = _get(server, job).sequence
    events = []
    for event in watch:
        events.append(event)
        if event.sequence >= last:
            break
    watch.cancel()
    return events


def _watch(server: _Server, job: v1.PlanJob) -> list[v1.WatchPlanJobResponse]:
    return list(server.stub.WatchPlanJob(v1.WatchPlanJobRequest(job_id=job.job_id), timeout=60))


@pytest.mark.parametrize("place", ["{}/uploads", "file://{}/objects"])
def test_a_job_is_seen_from_every_server(
    start: Callable[..., Running], sharing: dict[str, str], tmp_path: Path, place: str
) -> None:
    """Watched, listed, fetched, found by its request id, cancelled and deleted; its uploads are there too."""
    sharing["blob_store"] = place.format(tmp_path)
    one, two = start(workers=1, **sharing), start(workers=1, **sharing)
    content = b"x" * 1234
    blob = v1.BlobRef(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    parts = [v1.UploadBlobRequest(start=v1.UploadStart(blob=blob)), v1.UploadBlobRequest(chunk=content)]
    assert one.stub.UploadBlob(iter(parts), timeout=5).status.complete
    busy = [_submit(one, "sleep 30"), _submit(one, "sleep 30")]
    wait_for(lambda: [_get(two, job).state for job in busy] == [RUNNING] * 2)  # one on each server
    job = _submit(one, label="mine", blob=blob.sha256)
    assert two.stub.SubmitPlan(
        v1.SubmitPlanRequest(task=plan_request(blob=blob.sha256).task, request_id="mine")
    ).existing
    for server in (one, two):
        listed = server.stub.ListPlanJobs(v1.ListPlanJobsRequest(states=[RUNNING, QUEUED]), timeout=5).jobs
        assert {found.job_id for found in listed} == {job.job_id, *(other.job_id for other in busy)}
    pids = {server: server.server.pool.pids() for server in (one, two)}
    here = next(server for server in (one, two) if server.server.jobs.running)
    for running in busy:  # both from the second: at least one of them runs on the other server
        two.stub.CancelPlanJob(v1.CancelPlanJobRequest(job_id=running.job_id), timeout=5)
    wait_for(lambda: one.server.admission.running == two.server.admission.running == 0, 5)
    assert _watch(two, job)[-1].job == _get(one, job)
    assert _get(two, job).response.profile_plan.power_watts == len(content)
    assert_idle(here, pids[here])
    last = _submit(one, "sleep 30")
    wait_for(lambda: _get(two, last).state == RUNNING)
    two.stub.DeletePlanJob(v1.DeletePlanJobRequest(job_id=last.job_id), timeout=5)
    assert failure(lambda: _get(one, last)).reason == "JOB_NOT_FOUND"
    wait_for(lambda: one.server.jobs.running + two.server.jobs.running == 0, 5)


def test_a_watcher_learns_at_once_what_another_server_does(
    start: Callable[..., Running], sharing: dict[str, str]
) -> None:
    one, two = start(workers=1, **sharing), start(workers=1, **sharing)
    wait_for(lambda: len(_watch(two, _submit(one))) == 3)  # both listen
    began = time.monotonic()
    for _ in range(5):
        _watch(two, _submit(one))
    assert time.monotonic() - began < 12.0  # by asking the store again it would take 5 s each


def test_uploads_go_on_at_another_server_and_one_at_a_time(
    start: Callable[..., Running], sharing: dict[str, str]
) -> None:
    one, two = start(workers=1, **sharing), start(workers=1, **sharing)
    content = bytes(range(256)) * 8
    blob = v1.BlobRef(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))

    def parts(at: int, to: int) -> list[v1.UploadBlobRequest]:
        upload = v1.UploadStart(blob=blob, offset_bytes=at)
        return [v1.UploadBlobRequest(start=upload), v1.UploadBlobRequest(chunk=content[at:to])]

    one.stub.UploadBlob(iter(parts(0, 700)), timeout=5)
    with Upload(two.config.blob_path / "anonymous" / blob.sha256, len(content)):
        refused = failure(lambda: one.stub.UploadBlob(iter(parts(700, 2048)), timeout=5))
        assert refused.code is grpc.StatusCode.ABORTED
    assert two.stub.UploadBlob(iter(parts(700, 2048)), timeout=5).status.complete
    assert one.stub.GetBlobStatus(v1.GetBlobStatusRequest(blobs=[blob]), timeout=5).statuses[0].complete


def test_an_answer_is_calculated_once_for_all_servers(
    start: Callable[..., Running], sharing: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Streams too; as long as there is room for it."""
    monkeypatch.setattr(shared_cache, "_LONGEST", 5.0)  # the machine may be busy
    one, two = start(workers=1, cache_size=200, **sharing), start(workers=1, cache_size=200, **sharing)

    def kept() -> tuple[int, int]:
        with two.server.jobs.book.store.database.reading() as db:
            return db.execute("SELECT count(*), coalesce(sum(size), 0) FROM answers").fetchone()  # type: ignore[no-any-return]

    first = one.stub.Plan(plan_request(), timeout=5)
    wait_for(lambda: kept()[0] == 1)
    again = two.stub.Plan(plan_request(), timeout=5)
    assert (again.info.cache_hit, again.profile_plan) == (True, first.profile_plan)
    sent = [*one.stub.Simulate(v1.SimulateRequest(), timeout=5)][-1]
    wait_for(lambda: kept()[0] == 2)
    assert [*two.stub.Simulate(v1.SimulateRequest(), timeout=5)][-1].simulation == sent.simulation
    for salt in range(2, 12):
        one.stub.Plan(plan_request(salt=float(salt)), timeout=5)
    wait_for(lambda: kept()[0] == 12)
    one.do(one.server.cache.prune())
    count, size = kept()
    assert 1 <= count < 12
    assert size <= 200


@pytest.mark.slow
def test_an_outage_of_the_database_is_told_and_passes(start: Callable[..., Running], tmp_path: Path) -> None:
    """Calls say why, direct ones go on, health says so; then all comes back by itself, and what ran ends once."""
    with planner_postgres.running() as postgres:
        settings = {"database": postgres.new(), "blob_store": str(tmp_path / "uploads"), "workers": 2}
        servers = [start(**settings), start(**settings)]
        job = _submit(servers[0], "sleep 3")
        wait_for(lambda: _get(servers[1], job).state == RUNNING)
        with postgres.away():
            for server in servers:
                wait_for(lambda server=server: server.health() == NOT_SERVING, 15)
                refused = failure(lambda server=server: _submit(server))
                assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "STORAGE_UNAVAILABLE")
                assert server.stub.Plan(plan_request(salt=3.0), timeout=5).HasField("profile_plan")
        for server in servers:
            wait_for(lambda server=server: server.health() == SERVING, 15)
        states = [event.state for event in _watch(servers[1], job)]
        assert (states.count(SUCCEEDED), states[-1]) == (1, SUCCEEDED)
        assert _watch(servers[0], _submit(servers[1]))[-1].state == SUCCEEDED


@pytest.mark.slow
def test_a_lease_that_ran_out_with_the_database_silent_is_over(
    start: Callable[..., Running], postgres: Postgres, sharing: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The calculation is stopped; once the database answers, the job runs again to its end, undisturbed."""
    monkeypatch.setattr(execution, "BEAT", 0.2)
    server = start(workers=1, **sharing)
    server.server.jobs.book.store.database.lease = 1.5
    job = _submit(server, "sleep 3")
    wait_for(lambda: _get(server, job).state == RUNNING)
    with postgres.silent():
        wait_for(lambda: server.server.admission.running == 0, 10)
        assert server.stub.Plan(plan_request(), timeout=5).HasField("profile_plan")
    wait_for(lambda: server.health() == SERVING, 20)
    assert _changes(_watch(server, job)) == [QUEUED, RUNNING, QUEUED, RUNNING, SUCCEEDED]


@pytest.mark.slow
def test_a_server_that_slept_through_its_lease_does_not_write(tmp_path: Path, sharing: dict[str, str]) -> None:
    """Awake again, it has the outcome of a job that another has taken up: only the other's counts."""
    settings = [f"{name}={value}" for name, value in sharing.items()]
    one, two = (
        Process.fake(tmp_path / name, tmp_path / f"log-{name}", *settings, "workers=1") for name in ("one", "two")
    )
    try:
        busy = two.stub.Plan.future(plan_request("sleep 1"))
        job = _submit(one, "sleep 2")
        wait_for(lambda: _get(two, job).state == RUNNING)
        one.process.send_signal(signal.SIGSTOP)
        assert busy.result(10).HasField("profile_plan")  # until then the job could run on the first only
        wait_for(lambda: [event.state for event in _events(two, job)].count(QUEUED) == 2, 20)
        one.process.send_signal(signal.SIGCONT)
        changes = _changes(_watch(two, job))
        assert changes == [QUEUED, RUNNING, QUEUED, RUNNING, SUCCEEDED]
        assert _watch(one, _submit(one))[-1].state == SUCCEEDED
    finally:
        for server in (one, two):
            server.kill(signal.SIGKILL)


@pytest.mark.slow
def test_servers_that_are_killed_lose_no_job(tmp_path: Path, sharing: dict[str, str]) -> None:
    """500 jobs on three servers, two of which are killed: each is done once, seen to its end from the third."""
    settings = [f"{name}={value}" for name, value in sharing.items()]
    servers = [
        Process.fake(tmp_path / name, tmp_path / f"log-{name}", *settings, "workers=2", "job_workers=2")
        for name in ("one", "two", "three")
    ]
    survivor = servers[-1]
    try:
        jobs = [_submit(servers[i % 3], "sleep 0.1", label=str(i)) for i in range(500)]
        ends = asyncio.run(_watched_while_killed(survivor.port, jobs, servers[:2]))
        assert len({job.job_id for job in jobs}) == 500
        assert all(events[-1].state == SUCCEEDED for events in ends)
        for events in ends:
            assert [event.sequence for event in events] == list(range(1, len(events) + 1))
            assert sum(event.state >= SUCCEEDED for event in events) == 1
        again = [events for events in ends if _changes(events) != [QUEUED, RUNNING, SUCCEEDED]]
        assert len(again) <= 4  # those that the two killed servers ran, at most two each
        assert all(_changes(events) == [QUEUED, RUNNING, QUEUED, RUNNING, SUCCEEDED] for events in again)
    finally:
        for server in servers:
            server.kill(signal.SIGKILL)


async def _watched_while_killed(
    port: int, jobs: list[v1.PlanJob], victims: list[Process]
) -> list[list[v1.WatchPlanJobResponse]]:
    """The events of all jobs as one server tells them; others are killed when a fifth, and two fifths, have ended."""
    ended = 0

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = PlannerServiceStub(channel)

        async def watch(job: v1.PlanJob) -> list[v1.WatchPlanJobResponse]:
            nonlocal ended
            events = [
                event async for event in stub.WatchPlanJob(v1.WatchPlanJobRequest(job_id=job.job_id), timeout=150)
            ]
            ended += 1
            return events

        async def kill() -> None:
            for number, victim in enumerate(victims, start=1):
                while ended < 100 * number:
                    await asyncio.sleep(0.01)
                await asyncio.to_thread(victim.kill, signal.SIGKILL)

        *ends, _ = await asyncio.gather(*map(watch, jobs), kill())
    return ends


def _changes(events: list[v1.WatchPlanJobResponse]) -> list[int]:
    """The states a job went through."""
    states = [event.state for event in events]
    return [state for i, state in enumerate(states) if i == 0 or state != states[i - 1]]
