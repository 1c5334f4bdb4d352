"""What a disk does to the server: full, or damaged. Nothing accepted is lost or hangs, and readiness follows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import grpc
import pytest
from planner_fakes import plan_request
from planner_running import Running, failure, wait_for

from powerplan.errors import InvalidInput
from powerplan_client._generated import v1
from powerplan_server.jobs import JobLimits, JobState, JobStore
from powerplan_server.jobs.salvage import open_store
from powerplan_server.jobs.sqlite import FORM, SqliteJobs
from powerplan_server.jobs.values import QueueFull

SERVING, NOT_SERVING = 1, 2
PLENTY = JobLimits(
    unfinished=10_000, unfinished_of_tenant=10_000, running_of_tenant=10, outcomes_of_tenant=2**20, retention=100.0
)


@contextmanager
def _full_disk(server: Running) -> Iterator[None]:
    """Every write of the store fails as on a full disk."""
    store = server.server.jobs.book.store.database
    original = store._transaction

    @contextmanager
    def full() -> Iterator[None]:
        raise InvalidInput.of("job store", "jobs.sqlite", "room", "No space left on the disk.")
        yield

    store._transaction = full  # type: ignore[method-assign]
    try:
        yield
    finally:
        store._transaction = original  # type: ignore[method-assign]


def _submit(server: Running, what: str, salt: float) -> v1.PlanJob:
    request = v1.SubmitPlanRequest(task=plan_request(what, salt=salt).task)
    job: v1.PlanJob = server.stub.SubmitPlan(request, timeout=5).job
    return job


def _state(server: Running, job: v1.PlanJob) -> int:
    return server.stub.GetPlanJob(v1.GetPlanJobRequest(job_id=job.job_id), timeout=5).job.state


def test_outcome_of_a_job_waits_for_a_full_disk(start: Callable[..., Running]) -> None:
    """Its watcher is told, submissions are refused, direct calls go on, health says so; all comes back by itself."""
    server = start(workers=2)
    job = _submit(server, "sleep 0.3", 1.0)
    wait_for(lambda: _state(server, job) == JobState.RUNNING)
    with _full_disk(server):
        wait_for(lambda: server.health() == NOT_SERVING)
        watching = failure(lambda: server.stub.WatchPlanJob(v1.WatchPlanJobRequest(job_id=job.job_id), timeout=10))
        refused = failure(lambda: _submit(server, "", 2.0))
        for failed in (watching, refused):
            assert (failed.code, failed.reason) == (grpc.StatusCode.UNAVAILABLE, "STORAGE_UNAVAILABLE")
            assert failed.retry.retry_delay.ToMilliseconds() > 0
        assert server.stub.Plan(plan_request(salt=3.0), timeout=5).HasField("profile_plan")
        assert _state(server, job) == JobState.RUNNING
    wait_for(lambda: server.health() == SERVING)
    wait_for(lambda: _state(server, job) == JobState.SUCCEEDED)
    wait_for(lambda: server.server.jobs.unfinished == 0)


def test_a_store_damaged_while_the_server_runs_is_replaced(start: Callable[..., Running]) -> None:
    """What can be read of it is in the new one; the old one is kept beside it."""
    server = start(workers=1)
    job = _submit(server, "", 1.0)
    wait_for(lambda: _state(server, job) == JobState.SUCCEEDED)
    store = server.server.jobs.book.store
    path = store.database.path
    server.do(_on_disk(server, "wal_checkpoint(TRUNCATE)"))
    path.write_bytes(b"garbage!" * (path.stat().st_size // 8))
    server.do(_on_disk(server, "shrink_memory"))  # or it would go on with what it remembers
    refused = failure(lambda: [_submit(server, "", 2.0 + i) for i in range(20)])
    assert refused.reason == "STORAGE_UNAVAILABLE"
    wait_for(lambda: server.health() == SERVING and bool(list(path.parent.glob("jobs.sqlite.damaged-*"))), 20)
    again = _submit(server, "", 30.0)
    wait_for(lambda: _state(server, again) == JobState.SUCCEEDED)


async def _on_disk(server: Running, pragma: str) -> None:
    jobs = server.server.jobs
    await jobs.book.call(lambda: jobs.book.store.database._db.execute(f"PRAGMA {pragma}").fetchall())


@pytest.mark.parametrize("page", range(1, 12))
def test_a_damaged_store_gives_what_can_be_read(tmp_path: Path, page: int) -> None:
    """One page after the other is spoilt: every job that is left is one that was stored, as it was."""
    path = tmp_path / "jobs"
    store = JobStore(SqliteJobs(path), limits=PLENTY)
    jobs = {}
    for i in range(40):
        job, _ = store.add(
            tenant="a", request_id=f"r{i}", digest="d" * 64, request=bytes(500), blobs=["ab" * 32], run_limit=1.0
        )
        jobs[job.id] = job
    store.database.close()
    content = bytearray(path.read_bytes())
    assert len(content) > 12 * 4096
    content[page * 4096 : (page + 1) * 4096] = bytes(x ^ 0xFF for x in content[page * 4096 : (page + 1) * 4096])
    path.write_bytes(content)
    saved = open_store(path, limits=PLENTY)
    found = saved.unfinished()
    assert all(job == jobs[job.id] for job in found)
    assert len(list(tmp_path.glob("jobs.damaged-*"))) == 1
    new, existing = saved.add(tenant="a", request_id="new", digest="d", request=b"", blobs=[], run_limit=1.0)
    assert not existing
    assert new.id not in jobs
    saved.database.check()
    saved.database.close()
    assert [job.id for job in open_store(path, limits=PLENTY).unfinished()] == [job.id for job in [*found, new]]


def test_an_intact_store_of_an_older_version_is_taken_up(tmp_path: Path) -> None:
    store = JobStore(SqliteJobs(tmp_path / "jobs"), limits=PLENTY)
    job, _ = store.add(tenant="a", request_id=None, digest="d", request=b"", blobs=[], run_limit=1.0)
    store.database.close()
    with closing(sqlite3.connect(tmp_path / "jobs")) as db:
        db.executescript("DROP INDEX jobs_by_start; DROP INDEX jobs_by_age; DROP TABLE runs; PRAGMA user_version = 1")
    assert open_store(tmp_path / "jobs", limits=PLENTY).unfinished() == [job]
    with closing(sqlite3.connect(tmp_path / "jobs")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (FORM.version,)
        assert "jobs_by_age" in {row[0] for row in db.execute("SELECT name FROM sqlite_master")}


def _limits(**changed: int) -> JobLimits:
    return JobLimits(**vars(PLENTY) | changed)


def _add(store: JobStore, tenant: str) -> str:
    job, _ = store.add(tenant=tenant, request_id=None, digest="d", request=b"", blobs=[], run_limit=1.0)
    return job.id


def test_tenants_take_turns_in_the_queue_of_jobs(tmp_path: Path) -> None:
    """However many jobs one has queued, another waits for one of them at most."""
    store = JobStore(SqliteJobs(tmp_path / "jobs"), limits=PLENTY)
    flood = [_add(store, "flood") for _ in range(6)]
    order = [store.claim()]
    single = [_add(store, "single") for _ in range(2)]
    for _ in range(7):
        store.end(order[-1], JobState.SUCCEEDED)  # type: ignore[arg-type]
        order.append(store.claim())
    assert [job.id for job in order if job] == [flood[0], single[0], flood[1], single[1], *flood[2:]]
    assert store.claim() is None


def test_limits_of_one_tenant(tmp_path: Path) -> None:
    store = JobStore(
        SqliteJobs(tmp_path / "jobs"), limits=_limits(unfinished=5, unfinished_of_tenant=3, running_of_tenant=1)
    )
    for _ in range(3):
        _add(store, "a")
    with pytest.raises(QueueFull) as own:
        _add(store, "a")
    assert (own.value.limit, own.value.of_tenant) == (3, True)
    for _ in range(2):
        _add(store, "b")
    with pytest.raises(QueueFull) as whole:
        _add(store, "c")
    assert (whole.value.limit, whole.value.of_tenant) == (5, False)
    assert {job.tenant for job in (store.claim(), store.claim()) if job} == {"a", "b"}
    assert store.claim() is None  # each has one running


def test_what_deleted_jobs_took_goes_back_to_the_disk(tmp_path: Path) -> None:
    """Also of a store that an older version made, which kept it."""
    path = tmp_path / "old.sqlite"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(FORM.schema)
        old.execute(f"PRAGMA application_id = {FORM.application}")
    store = JobStore(SqliteJobs(path), limits=PLENTY)
    for _ in range(30):
        _add(store, "a")
        job = store.claim()
        assert job is not None
        store.end(job, JobState.SUCCEEDED, response=bytes(30_000))
    for job in store.page("a", [], None, 100):
        assert store.delete(job)
    while store.database.shrink(100):
        pass
    store.database.close()
    assert path.stat().st_size < 200_000


def test_oldest_outcomes_leave_beyond_the_quota(tmp_path: Path) -> None:
    store = JobStore(SqliteJobs(tmp_path / "jobs"), limits=_limits(outcomes_of_tenant=2500 + 2 * 1024))
    ended = []
    for size in (1000, 1000, 1000, 5000):
        _add(store, "a")
        job = store.claim()
        assert job is not None
        store.end(job, JobState.SUCCEEDED, response=bytes(size))
        ended.append(job.id)
        kept = [job.id for job in store.page("a", [], None, 10)]
        assert kept == {1000: ended[::-1][:2], 5000: ended[-1:]}[size]
