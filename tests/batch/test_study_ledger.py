"""The ledger: leases, and what is said of ledgers that cannot be used."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from study_values import make_jobs, register

from powerplan.batch.ledger import FILE, Ledger
from powerplan.batch.results import PointState
from powerplan.errors import CorruptFile, InvalidInput
from powerplan.jobs.processes import SILENCE

PLAN = '{"a": 1}'


@pytest.fixture
def ledgers(tmp_path: Path) -> Iterator[tuple[Ledger, Ledger]]:
    """Two runners of one ledger with three jobs."""
    pair = Ledger(tmp_path), Ledger(tmp_path)
    register(pair[0], make_jobs(3))
    for ledger in pair:
        ledger.join()
    yield pair
    for ledger in pair:
        ledger.close()


def test_a_job_is_leased_to_one_runner_only(ledgers: tuple[Ledger, Ledger]) -> None:
    one, two = ledgers
    keys = [job.key for job in make_jobs(3)]
    assert one.lease(keys[:2]) == set(keys[:2])
    assert two.lease(keys) == {keys[2]}
    assert not two.done(keys[0], PLAN, 1.0)
    assert one.done(keys[0], PLAN, 1.0)
    assert not one.done(keys[0], PLAN, 1.0)
    assert one.plan(keys[0]) == PLAN
    assert two.plan(keys[1]) is None


def test_who_leaves_gives_back_what_he_holds(ledgers: tuple[Ledger, Ledger]) -> None:
    one, two = ledgers
    keys = [job.key for job in make_jobs(3)]
    one.lease(keys)
    two.release(keys)  # not his
    assert two.queued("s") == []
    one.leave()
    assert [job.key for job in two.queued("s")] == keys


def test_jobs_of_a_runner_on_another_machine_are_free_once_it_is_silent(ledgers: tuple[Ledger, Ledger]) -> None:
    one, two = ledgers
    keys = [job.key for job in make_jobs(3)]
    one.lease(keys)
    with sqlite3.connect(two.path) as db:
        db.execute("UPDATE runners SET place = 'elsewhere', pid = 1 WHERE id = 1")
    assert two.reclaim() == 0
    with sqlite3.connect(two.path) as db:
        db.execute("UPDATE runners SET heartbeat = ? WHERE id = 1", (time.time() - SILENCE - 1,))
    db.close()
    assert two.runners() == 1
    assert two.reclaim() == 3
    assert not one.done(keys[0], PLAN, 1.0)  # he comes back too late
    assert two.lease(keys) == set(keys)


def test_what_a_dead_runner_held_counts_as_waiting(ledgers: tuple[Ledger, Ledger]) -> None:
    """Nobody is at work on it: the next run takes it up."""
    one, two = ledgers
    one.lease([job.key for job in make_jobs(3)])
    assert {entry.state for entry in two.entries("s")} == {PointState.RUNNING}
    with sqlite3.connect(two.path) as db:
        db.execute("UPDATE runners SET pid = 0 WHERE id = 1")
    db.close()
    assert two.runners() == 1
    assert {entry.state for entry in two.entries("s")} == {PointState.QUEUED}


def test_attempts_are_bounded(ledgers: tuple[Ledger, Ledger]) -> None:
    one, _ = ledgers
    key = make_jobs(1)[0].key
    for last in (False, False, True):
        one.lease([key])
        assert one.failed(key, "crashed", "it died", again=3) is last
    entry = one.entries("s")[0]
    assert entry.state is PointState.FAILED
    assert entry.failure is not None
    assert (entry.failure.attempts, entry.failure.message) == (3, "it died")


def test_an_unreadable_network_that_is_mended_becomes_a_job(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    register(ledger, [], {"u": ("unreadable", "no such file")})
    assert ledger.entries("s")[0].state is PointState.FAILED
    assert ledger.retry("s") == 0
    register(ledger, make_jobs(1))
    assert ledger.entries("s")[0].state is PointState.QUEUED
    ledger.close()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"not a database, but long enough to be looked at" * 100, "not a database"),
        (b"SQLite format 3\x00" + b"\xff" * 5000, "Move it away"),
    ],
)
def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(CorruptFile, match=said):
        Ledger(tmp_path)
    assert (tmp_path / FILE).read_bytes() == content


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("CREATE TABLE photos (a)")
    db.close()
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(CorruptFile, match="another database"):
        Ledger(tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


def test_a_damaged_ledger_is_said_to_be(tmp_path: Path) -> None:
    """Pages overwritten in the middle: an error that names the file and the next step, at the latest when read."""
    ledger = Ledger(tmp_path)
    register(ledger, make_jobs(300))
    ledger.close()
    content = bytearray((tmp_path / FILE).read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(CorruptFile, match=r"ledger.*Move it away"):
        _read(tmp_path)


def _read(folder: Path) -> None:
    ledger = Ledger(folder)
    try:
        ledger.entries("s")
    finally:
        ledger.close()


def test_a_newer_ledger_asks_for_an_upgrade(tmp_path: Path) -> None:
    Ledger(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(CorruptFile, match="Upgrade powerplan"):
        Ledger(tmp_path)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """A file in the way; where nobody may write; and as an ordinary user a folder without permission."""
    (tmp_path / "file").write_text("")
    places = [tmp_path / "file" / "folder", Path("/proc/powerplan")]
    if os.geteuid() != 0:
        (tmp_path / "closed").mkdir(mode=0o500)
        places.append(tmp_path / "closed")
    for place in places:
        with pytest.raises(InvalidInput, match=r"ledger.*--folder"):
            Ledger(place)


def test_results_without_a_run_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="Run the study first"):
        Ledger(tmp_path, create=False)
    assert list(tmp_path.iterdir()) == []
