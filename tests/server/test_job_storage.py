"""What every database of jobs must do, tested on each; and what only one that is shared by servers must do."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import planner_postgres
import pytest
from planner_postgres import Postgres
from planner_running import wait_for

from powerplan.errors import CorruptFile, InvalidInput
from powerplan_server.jobs import Job, JobLimits, JobState, JobStore
from powerplan_server.jobs.postgres import PostgresJobs, look_at
from powerplan_server.jobs.sqlite import SqliteJobs
from powerplan_server.jobs.values import QueueFull

PLENTY = JobLimits(
    unfinished=1000, unfinished_of_tenant=1000, running_of_tenant=1000, outcomes_of_tenant=2**20, retention=100.0
)
Opening = Callable[..., JobStore]


@pytest.fixture
def shared(postgres: Postgres) -> Iterator[Opening]:
    """Opens stores on one new database in PostgreSQL, each as another server would."""
    address, stores = postgres.new(), []

    def opening(**changed: float) -> JobStore:
        stores.append(JobStore(PostgresJobs(address), limits=_limits(**changed)))
        return stores[-1]

    yield opening
    for store in stores:
        store.database.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=planner_postgres.needed)])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Opening:
    """Opens stores on one new database."""
    if request.param == "postgres":
        return request.getfixturevalue("shared")
    return lambda **changed: JobStore(SqliteJobs(tmp_path / "jobs"), limits=_limits(**changed))


def _limits(**changed: float) -> JobLimits:
    return JobLimits(**vars(PLENTY) | changed)


def _add(store: JobStore, tenant: str = "a", label: str | None = None) -> Job:
    return store.add(
        tenant=tenant, request_id=label, digest="d", request=b"\0request", blobs=["b", "a"], run_limit=1.5
    )[0]


def _claim(store: JobStore) -> Job:
    job = store.claim()
    assert job is not None
    return job


def test_a_job_from_its_submission_to_its_end(opening: Opening) -> None:
    store = opening()
    before = time.time()
    job = _add(store, label="mine")
    assert (job.state, job.sequence, job.blobs, job.run_limit, job.claim) == (1, 1, ("a", "b"), 1.5, None)
    assert before - 1 <= job.created <= time.time() + 1
    again, existing = store.add(tenant="a", request_id="mine", digest="e", request=b"", blobs=[], run_limit=1.0)
    assert (again, existing) == (job, True)
    claimed = _claim(store)
    assert (claimed.id, claimed.state, claimed.attempts, claimed.claim) == (job.id, JobState.RUNNING, 1, 2)
    assert store.request(claimed) == b"\0request"
    store.progress(claimed, b"\xffhalf")
    assert store.end(claimed, JobState.SUCCEEDED, response=b"\0answer")
    assert store.outcome(claimed) == (b"\0answer", None)
    ended = store.get("a", job.id)
    assert ended is not None
    assert (ended.state, ended.progress, ended.claim, ended.sequence) == (3, b"\xffhalf", None, 4)
    assert ended.ended is not None
    assert ended.expires == pytest.approx(ended.ended + 100, abs=1)
    assert [(e.sequence, e.state, e.progress) for e in store.events(job, 0)] == [
        (1, JobState.QUEUED, b""),
        (2, JobState.RUNNING, b""),
        (3, JobState.RUNNING, b"\xffhalf"),
        (4, JobState.SUCCEEDED, b"\xffhalf"),
    ]
    assert [e.sequence for e in store.events(job, 2)] == [3, 4]
    assert (store.request(ended), store.get("b", job.id)) == (None, None)
    assert store.delete(ended) is JobState.SUCCEEDED
    assert (store.get("a", job.id), store.events(job, 0), store.delete(ended)) == (None, [], None)


def test_what_a_claim_that_is_over_writes_does_not_count(opening: Opening) -> None:
    """The job was put back and taken again: only the second run may say how it ended."""
    store = opening()
    _add(store)
    first = _claim(store)
    assert store.requeue(first, count_attempt=False)
    second = _claim(store)
    assert (second.id, second.attempts) == (first.id, 1)
    store.progress(first, b"late")
    assert not store.end(first, JobState.SUCCEEDED, response=b"late")
    assert not store.requeue(first, count_attempt=True)
    assert store.renew([first, second]) == {second.id}
    assert store.renew([first]) == store.renew([]) == set()
    assert store.end(second, JobState.SUCCEEDED, response=b"right")
    assert store.outcome(second) == (b"right", None)
    assert b"late" not in [event.progress for event in store.events(second, 0)]


def test_a_cancelled_job_is_nobodys_to_run(opening: Opening) -> None:
    store = opening()
    queued, running = _add(store), _add(store)
    claimed = _claim(store)
    assert claimed.id == queued.id
    for job in (queued, running):
        assert store.cancel(job, b"why")
        assert not store.cancel(job, b"again")
        assert store.outcome(job) == (None, b"why")
    assert store.renew([claimed]) == set()
    assert not store.end(claimed, JobState.SUCCEEDED, response=b"late")
    assert not store.requeue(claimed, count_attempt=True)
    assert (store.claim(), store.unfinished(), store.abandoned()) == (None, [], [])


def test_a_deleted_job_is_gone_whoever_runs_it(opening: Opening) -> None:
    store = opening()
    _add(store)
    claimed = _claim(store)
    store.progress(claimed, b"half")
    assert store.delete(claimed) is JobState.RUNNING
    store.progress(claimed, b"late")
    assert not store.end(claimed, JobState.SUCCEEDED, response=b"late")
    assert (store.renew([claimed]), store.unfinished(), store.events(claimed, 0)) == (set(), [], [])


def test_limits_and_turns(opening: Opening) -> None:
    store = opening(unfinished=5, unfinished_of_tenant=3, running_of_tenant=1)
    for _ in range(3):
        _add(store, "a")
    with pytest.raises(QueueFull) as own:
        _add(store, "a")
    assert own.value.of_tenant
    for _ in range(2):
        _add(store, "b")
    with pytest.raises(QueueFull) as whole:
        _add(store, "c")
    assert not whole.value.of_tenant
    first, second = _claim(store), _claim(store)
    assert (first.tenant, second.tenant, store.claim()) == ("a", "b", None)
    assert store.end(first, JobState.SUCCEEDED)
    assert _claim(store).tenant == "a"


def test_pages_and_expiry(opening: Opening) -> None:
    store = opening(retention=-1.0)
    jobs = [_add(store) for _ in range(5)]
    assert store.page("a", [], None, 2) == jobs[:2:-1]
    assert store.page("a", [], (jobs[3].created, jobs[3].id), 10) == jobs[2::-1]
    assert store.page("a", [JobState.RUNNING, JobState.FAILED], None, 10) == []
    assert store.expire() == 0
    assert store.end(_claim(store), JobState.FAILED, error=b"e")
    assert store.expire() == 1
    assert [job.id for job in store.page("a", [JobState.QUEUED], None, 10)] == [job.id for job in jobs[:0:-1]]


def test_the_oldest_outcomes_leave_beyond_the_quota(opening: Opening) -> None:
    store = opening(outcomes_of_tenant=2500 + 2 * 1024)
    ended = []
    for size in (1000, 1000, 1000, 5000):
        _add(store)
        ended.append(_claim(store))
        assert store.end(ended[-1], JobState.SUCCEEDED, response=bytes(size))
        kept = [job.id for job in store.page("a", [], None, 10)]
        assert kept == [job.id for job in ended[::-1][: 2 if size == 1000 else 1]]


def test_calls_side_by_side_take_every_job_once(opening: Opening) -> None:
    """And a request id, submitted by all at once, is one job."""
    store = opening()
    jobs = [_add(store) for _ in range(40)]
    with ThreadPoolExecutor(4) as threads:
        claimed = [job for job in threads.map(lambda _: store.claim(), range(50)) if job is not None]
        assert sorted(job.id for job in claimed) == sorted(job.id for job in jobs)
        ended = threads.map(lambda job: store.end(job, JobState.SUCCEEDED), claimed * 2)
        assert sum(ended) == 40
        assert len({job.id for job in threads.map(lambda _: _add(store, label="one"), range(8))}) == 1


def test_jobs_that_run_are_taken_up_when_their_server_is_gone(tmp_path: Path) -> None:
    """A file has one server: what runs at its start is nobody's. One of the version before says so too."""
    first = JobStore(SqliteJobs(tmp_path / "jobs"), limits=PLENTY)
    _add(first)
    claimed = _claim(first)
    first.database.close()
    with closing(sqlite3.connect(tmp_path / "jobs")) as db:
        db.executescript("DROP TABLE runs; PRAGMA user_version = 2")
    second = JobStore(SqliteJobs(tmp_path / "jobs"), limits=PLENTY)
    assert second.claimed() == []
    assert second.abandoned() == [claimed]
    assert second.requeue(claimed, count_attempt=True)
    assert _claim(second).attempts == 2


@planner_postgres.needed
def test_a_job_is_its_servers_while_that_is_heard_of(shared: Opening) -> None:
    """By the clock of the database, and another one cannot take it before."""
    one, two = shared(), shared()
    one.database.lease = 1.5
    _add(one)
    job = _claim(one)
    assert (one.claimed(), two.claimed()) == ([job], [])
    for _ in range(4):
        time.sleep(0.5)
        assert one.renew([job]) == {job.id}
        assert two.abandoned() == []
    wait_for(lambda: two.abandoned() == [job], 5)
    assert two.requeue(job, count_attempt=True)
    assert one.renew([job]) == set()
    assert not one.end(job, JobState.SUCCEEDED, response=b"late")
    again = _claim(two)
    assert (again.attempts, two.outcome(again)) == (2, (None, None))


@planner_postgres.needed
def test_servers_hold_limits_together(shared: Opening) -> None:
    """However many ask at once, there are no more jobs than are allowed, nor do more run."""
    stores = [shared(unfinished_of_tenant=10, running_of_tenant=3) for _ in range(4)]

    def add(number: int) -> bool:
        try:
            return bool(_add(stores[number % 4]))
        except QueueFull:
            return False

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(add, range(40))) == 10
        assert sum(job is not None for job in threads.map(lambda i: stores[i % 4].claim(), range(16))) == 3


@planner_postgres.needed
def test_every_server_is_told_of_changes(shared: Opening) -> None:
    one, two = shared(), shared()
    told: list[tuple[str | None, JobState | None]] = []
    two.database.listen(lambda identity, state: told.append((identity, state)))
    wait_for(lambda: told == [(None, None)])
    job = _add(one)
    one.progress(_claim(one), b"half")
    one.cancel(job, b"")
    other = _add(one)
    one.delete(other)
    states = (JobState.QUEUED, JobState.RUNNING, JobState.RUNNING, JobState.CANCELLED)
    expected = [(job.id, state) for state in states]
    wait_for(lambda: told[1:] == [*expected, (other.id, JobState.QUEUED), (other.id, JobState.CANCELLED)], 3)


@pytest.mark.slow
@planner_postgres.needed
def test_a_database_that_goes_away_or_falls_silent_is_an_error_in_time() -> None:
    """Of every thread and call; what was begun is not half done, and all comes back by itself."""
    with planner_postgres.running() as postgres:
        store = JobStore(PostgresJobs(postgres.new()), limits=PLENTY)
        told: list[str | None] = []
        store.database.listen(lambda identity, state: told.append(identity))
        job = _add(store)
        for outage in (postgres.silent, postgres.away):
            with outage(), ThreadPoolExecutor(3) as threads:
                began = time.monotonic()
                calls = [threads.submit(store.claim), threads.submit(_add, store), threads.submit(store.unfinished)]
                failures = [call.exception() for call in calls]
                assert all(isinstance(failure, OSError) for failure in failures), failures
                assert time.monotonic() - began < 12
            assert [job.state for job in store.unfinished()] == [JobState.QUEUED]
            wait_for(lambda: _is_told(store, told), 15)
        assert _claim(store).id == job.id
        store.database.close()


def _is_told(store: JobStore, told: list[str | None]) -> bool:
    """Whether a change is told now."""
    job = _add(store, "other")
    store.cancel(job, b"")
    time.sleep(0.1)
    return job.id in told


@planner_postgres.needed
def test_a_copy_of_the_database_can_be_used(postgres: Postgres, tmp_path: Path) -> None:
    """As the documentation says how to make it and put it back, where there is something already."""
    addresses = [postgres.new(), postgres.new()]
    store, other = (JobStore(PostgresJobs(address), limits=PLENTY) for address in addresses)
    ended, queued = _add(store), _add(store)
    assert store.end(_claim(store), JobState.SUCCEEDED, response=b"\0answer")
    _add(other)
    for opened in (store, other):
        opened.database.close()
    dump = str(tmp_path / "jobs.dump")
    assert planner_postgres.PROGRAMS is not None
    for program, *arguments in (
        ("pg_dump", "--schema", "powerplan", "--format", "custom", "--file", dump, addresses[0]),
        ("pg_restore", "--clean", "--if-exists", "--dbname", addresses[1], dump),
    ):
        subprocess.run([planner_postgres.PROGRAMS / program, *arguments], check=True, timeout=60)
    copy = JobStore(PostgresJobs(addresses[1]), limits=PLENTY)
    assert copy.outcome(ended) == (b"\0answer", None)
    assert _claim(copy).id == queued.id
    assert _add(copy).number > queued.number
    copy.database.close()


@planner_postgres.needed
def test_a_database_that_cannot_be_used_is_told(postgres: Postgres, shared: Opening) -> None:
    address = postgres.new()
    assert "will be made" in look_at(address)
    PostgresJobs(address).close()
    assert "holds 0 jobs" in look_at(address)
    store = JobStore(PostgresJobs(address), limits=PLENTY)
    store.database.try_writing()
    with store.database.changing() as db:
        db.execute("UPDATE format SET version = 99")
    store.database.close()
    for opens in (PostgresJobs, look_at):
        with pytest.raises(CorruptFile, match=r"database.*Upgrade powerplan"):
            opens(address)
        with pytest.raises(InvalidInput, match=r"database.*does not exist"):
            opens(postgres.address("none"))
        with pytest.raises(InvalidInput, match=r"database.*reach"):
            opens("postgresql://planner@127.0.0.1:1/jobs")
