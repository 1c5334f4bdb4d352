"""The runner: what fails alone, what is done exactly once, and what survives which interruption."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from study_values import HANG, POISON, make_jobs, register

from powerplan.batch.executors.local import LocalExecutor
from powerplan.batch.job_result import JobResult
from powerplan.batch.jobs import Job
from powerplan.batch.ledger import Entry, Ledger
from powerplan.batch.results import PointState
from powerplan.batch.runner import Progress, Runner
from powerplan.errors import PowerplanError

SCRIPT = Path(__file__).with_name("run_pretending.py")


def run(folder: Path, *, workers: int = 2, time_limit: float | None = 2.0, **options: Any) -> list[Entry]:
    """Run the study "s" with pretending workers in this process."""
    ledger = Ledger(folder)
    executor = LocalExecutor(folder, workers=workers, module="pretending_worker")
    try:
        Runner(ledger, "s", executor, time_limit=time_limit, **options).run()
        return ledger.entries("s")
    finally:
        executor.close()
        ledger.close()


def noted(folder: Path, count: int, seeds: tuple[int, ...] = (), **more: Any) -> None:
    ledger = Ledger(folder)
    register(ledger, make_jobs(count, seeds), **more)
    ledger.close()


def process(folder: Path, *arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), *map(str, arguments)], stderr=subprocess.PIPE, text=True
    )


def ended(runner: subprocess.Popen) -> tuple[int, str]:
    """Exit code and words of a process, once it has ended."""
    said = runner.communicate(timeout=120)[1]
    return runner.returncode, said


def gone(pids: list[int]) -> None:
    """Wait until these processes are gone."""
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}/exe").exists() for pid in pids):
        assert time.monotonic() < end, "a worker outlives its runner"
        time.sleep(0.02)


def wait_for_results(folder: Path, count: int) -> None:
    """Wait until so many jobs are done."""
    end = time.monotonic() + 60
    while sum(row[2] == "done" for row in table(folder)) < count:
        assert time.monotonic() < end, "nothing is done"
        time.sleep(0.02)


def table(folder: Path) -> list[tuple]:
    """All that the ledger says of the jobs and that may not depend on interruptions."""
    with sqlite3.connect(folder / "ledger.db") as db:
        rows = db.execute(
            "SELECT number, key, state, completions, code, message, content FROM points "
            "JOIN jobs USING (key) LEFT JOIN plans USING (key) ORDER BY number"
        ).fetchall()
    db.close()
    return rows


def children(pid: int) -> list[int]:
    """Processes whose parent is ``pid``."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] not in "ZX":
            found.append(int(stat.parent.name))
    return found


def test_a_poison_job_a_hanging_job_and_an_unreadable_network_fail_alone(
    tmp_path: Path, pretending: pytest.MonkeyPatch
) -> None:
    """199 jobs, of which one kills its worker and one never ends, and a point without a network: 197 plans."""
    noted(tmp_path, 199, (0, POISON, 0, HANG), failures={"u" * 64: ("unreadable", "net.npz: no such file")})
    told: list[Progress] = []
    entries = run(tmp_path, progress=told.append)
    assert sum(entry.state is PointState.DONE for entry in entries) == 197
    failures = {entry.failure.code: entry.failure for entry in entries if entry.failure is not None}
    assert set(failures) == {"crashed", "time_limit", "unreadable"}
    assert failures["crashed"].attempts == 3
    assert "SIGKILL" in failures["crashed"].message
    assert failures["time_limit"].attempts == 1
    assert "after 3.5 s" in failures["time_limit"].message
    assert (told[-1].done, told[-1].failed, told[-1].total) == (197, 3, 200)


class _Noting:
    """An executor with one worker that notes what it is asked for."""

    def __init__(self) -> None:
        self.deadlines: list[float | None] = []
        self.limits: list[float | None] = []

    def start(self) -> list[_Noting]:
        return [self]

    def run(self, jobs: Sequence[Job], time_limit: float | None) -> Iterator[JobResult]:
        self.limits.append(time_limit)
        for job in jobs:
            self.deadlines.append(job.options.get("deadline"))
            yield JobResult(code="invalid", message="no plan")

    def stop(self) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize(("time_limit", "killed"), [(None, None), (8.0, 11.0)])
def test_plans_end_at_the_time_limit_and_are_killed_only_after_it(
    tmp_path: Path, time_limit: float | None, killed: float | None
) -> None:
    noted(tmp_path, 3)
    ledger, executor = Ledger(tmp_path), _Noting()
    Runner(ledger, "s", executor, time_limit=time_limit).run()
    ledger.close()
    assert executor.deadlines == [time_limit] * 3
    assert set(executor.limits) == {killed}


def test_what_is_done_is_free(tmp_path: Path, pretending: pytest.MonkeyPatch) -> None:
    noted(tmp_path, 10)
    run(tmp_path)
    before = table(tmp_path)
    noted(tmp_path, 12)  # ten of them known
    run(tmp_path)
    after = table(tmp_path)
    assert after[:10] == before
    assert [row[3] for row in after] == [1] * 12


def test_failed_jobs_can_be_retried(tmp_path: Path, pretending: pytest.MonkeyPatch) -> None:
    noted(tmp_path, 4, (POISON,))
    assert run(tmp_path)[0].failure is not None
    assert run(tmp_path)[0].attempts == 3  # it is not tried again by itself
    ledger = Ledger(tmp_path)
    assert ledger.retry("s") == 1
    ledger.close()
    entries = run(tmp_path, attempts=1)
    assert entries[0].failure is not None
    assert entries[0].failure.attempts == 1


def killed_at_random(folder: Path, kills: int, longest: float) -> None:
    """Kill runner after runner at random moments, then let one end."""
    moments = random.Random(0)
    for _ in range(kills):
        runner = process(folder, 2)
        time.sleep(moments.uniform(0.2, longest))
        workers = children(runner.pid)
        runner.kill()
        ended(runner)
        gone(workers)
    assert ended(process(folder, 2)) == (0, "")


def test_killed_runners_lose_nothing_and_repeat_nothing(tmp_path: Path, pretending: pytest.MonkeyPatch) -> None:
    """kill -9 at random moments: afterwards every job was recorded once, with what an undisturbed run records."""
    pretending.setenv("PRETEND_SECONDS", "0.02")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        noted(folder, 150)
    run(whole)
    killed_at_random(broken, kills=4, longest=1.5)
    assert {row[3] for row in table(broken)} == {1}
    assert table(broken) == table(whole)


def test_two_runners_share_a_ledger(tmp_path: Path, pretending: pytest.MonkeyPatch) -> None:
    """Both work, no job is recorded twice, and both end when all is done."""
    pretending.setenv("PRETEND_SECONDS", "0.02")
    noted(tmp_path, 200)
    runners = [process(tmp_path, 1) for _ in range(2)]
    assert [ended(runner) for runner in runners] == [(0, ""), (0, "")]
    assert {row[3] for row in table(tmp_path)} == {1}
    with sqlite3.connect(tmp_path / "ledger.db") as db:
        shares = [count for (count,) in db.execute("SELECT count(*) FROM jobs GROUP BY runner")]
    db.close()
    assert len(shares) == 2
    assert sum(shares) == 200


def test_ctrl_c_stops_cleanly(tmp_path: Path, pretending: pytest.MonkeyPatch) -> None:
    """Soon over, no worker left, nothing half-done: every job is either done or waits."""
    pretending.setenv("PRETEND_SECONDS", "0.2")
    noted(tmp_path, 100)
    runner = process(tmp_path, 2)
    wait_for_results(tmp_path, 3)
    workers = children(runner.pid)
    begin = time.monotonic()
    runner.send_signal(signal.SIGINT)
    assert ended(runner)[0] == 130
    assert time.monotonic() - begin < 5
    gone(workers)
    states = {row[2] for row in table(tmp_path)}
    assert states == {"done", "queued"}


def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path: Path, pretending: pytest.MonkeyPatch) -> None:
    """A ledger that cannot grow stops the run with an explanation; with room again, the run goes on."""
    noted(tmp_path, 300)
    limit = sum(path.stat().st_size for path in tmp_path.iterdir() if path.name == "ledger.db") + 60_000
    code, said = ended(process(tmp_path, 2, limit))
    assert code == 1
    assert "ledger" in said
    assert "full" in said or "No space" in said
    done = sum(row[2] == "done" for row in table(tmp_path))
    assert all(entry.state is PointState.DONE for entry in run(tmp_path))
    assert {row[3] for row in table(tmp_path)} == {1}
    assert done < 300


def test_a_worker_that_does_not_start_ends_the_run_with_its_words(
    tmp_path: Path, pretending: pytest.MonkeyPatch
) -> None:
    noted(tmp_path, 3)
    pretending.setenv("PRETEND", str(tmp_path / "missing"))
    with pytest.raises(PowerplanError, match=r"does not start.*No such file"):
        run(tmp_path)
    pretending.undo()
    assert {row[2] for row in table(tmp_path)} == {"queued"}


def test_a_runner_in_a_thread_can_be_watched(tmp_path: Path, pretending: pytest.MonkeyPatch) -> None:
    """Another connection sees jobs end while the run goes on."""
    pretending.setenv("PRETEND_SECONDS", "0.05")
    noted(tmp_path, 60)
    thread = threading.Thread(target=run, args=(tmp_path,))
    thread.start()
    ledger = Ledger(tmp_path, create=False)
    seen = set()
    while thread.is_alive():
        seen.add(sum(entry.state is PointState.DONE for entry in ledger.entries("s")))
        assert ledger.runners() <= 1
        time.sleep(0.05)
    thread.join()
    ledger.close()
    assert len(seen) > 3


def test_the_runner_costs_less_than_ten_milliseconds_per_job(tmp_path: Path, pretending: pytest.MonkeyPatch) -> None:
    """Processor time of the runner's process for jobs that take no time, ledger and plans included."""
    count = 400
    noted(tmp_path, count)
    before = time.process_time()
    run(tmp_path)
    assert (time.process_time() - before) / count < 0.010


def test_workers_are_kept_busy(tmp_path: Path, pretending: pytest.MonkeyPatch) -> None:
    """Jobs that sleep: two workers take little more than half the time of one, whatever else the machine does."""
    pretending.setenv("PRETEND_SECONDS", "0.02")
    seconds = []
    for workers in (1, 2):
        folder = tmp_path / str(workers)
        noted(folder, 150)
        moments: list[float] = []
        run(folder, workers=workers, progress=lambda told, moments=moments: moments.append(time.monotonic()))
        seconds.append(moments[-1] - moments[1])
    assert seconds[0] / seconds[1] > 1.5
