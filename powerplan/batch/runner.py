"""Runs the jobs of a study: one thread per worker, every step written to the ledger before the next."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from powerplan.batch.executors.base import Busy, Executor, Gone, Stopped, Worker
from powerplan.batch.job_result import JobResult
from powerplan.batch.jobs import Job
from powerplan.batch.ledger import Ledger
from powerplan.batch.queue import JobQueue
from powerplan.batch.results import PointState
from powerplan.errors import PowerplanError
from powerplan.jobs.processes import HEARTBEAT

#: failures that may be chance; the others come again with the same job
_CHANCE = ("crashed",)
#: part of the time limit and seconds that a plan has after it to end by itself, before its worker is killed
_GRACE, _GRACE_SECONDS = 0.25, 1.0
#: seconds between two looks at what other runners do
_LOOK = 1.0
_LONGEST_PAUSE = 15.0

_log = logging.getLogger("powerplan.batch")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a study is.

    Attributes:
        total: different jobs of the study.
        done, failed: how many have ended, in this run or before.
        rate: jobs per second that ended in this run.
        seconds_left: estimate, from the mean time of the jobs of each network; None while none has ended.
        doing: what is being done, in a few words.
    """

    total: int
    done: int
    failed: int
    rate: float
    seconds_left: float | None
    doing: str = "planning"


class Runner:
    """One run of a study's jobs.

    Args:
        ledger: where they are; this process becomes one of its runners.
        digest: of the study.
        executor: who plans them.
        time_limit: seconds after which a plan ends with the best gains until then; a job that does not end soon after
            is stopped. None = no limit.
        attempts: how often a job whose worker crashed is begun.
        patience: seconds without any worker that can be reached, after which the run stops.
        progress: told how far it is.
    """

    def __init__(
        self,
        ledger: Ledger,
        digest: str,
        executor: Executor,
        *,
        time_limit: float | None = None,
        attempts: int = 3,
        patience: float = 60.0,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._ledger = ledger
        self._digest = digest
        self._executor = executor
        self._time_limit = time_limit
        self._attempts = attempts
        self._patience = patience
        self._progress = progress
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._in_work = 0
        self._gone: dict[int, tuple[float, str]] = {}

    def run(self) -> None:
        """Plan all that waits, and wait for what other runners are at.

        Raises:
            PowerplanError: the ledger cannot be written any more, or no worker can be had. What is done is kept.
            KeyboardInterrupt: stopped; likewise.
        """
        entries = {entry.key: entry.state for entry in self._ledger.entries(self._digest)}
        self._total = len(entries)
        self._done = sum(state is PointState.DONE for state in entries.values())
        self._failed = sum(state is PointState.FAILED for state in entries.values())
        self._began = 0.0
        # of the jobs that ended here, by their network
        self._ended: Counter[str] = Counter()
        self._spent: dict[str, float] = {}
        self._ledger.join()
        self._ledger.reclaim()
        waiting = self._ledger.queued(self._digest)
        self._left = Counter(job.network for job in waiting)
        self._workers = 1
        self._report("starting workers" if waiting else "waiting for other runners")
        if not waiting and self._done + self._failed == self._total:
            return
        workers = self._executor.start()
        self._workers = len(workers)
        self._queue = JobQueue(self._workers)
        self._queue.put(waiting)
        threads = [
            threading.Thread(target=self._guarded, args=(self._serve, i, worker), name=f"powerplan-batch-{i}")
            for i, worker in enumerate(workers)
        ]
        threads.append(threading.Thread(target=self._guarded, args=(self._beat,), name="powerplan-batch-heart"))
        try:
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads[:-1]):
                self._stop.wait(0.2) if not self._stop.is_set() else time.sleep(0.01)
                if self._stop.is_set():
                    for worker in workers:
                        worker.stop()
        finally:
            self._stop.set()
            for worker in workers:
                worker.stop()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
            with contextlib.suppress(PowerplanError):  # the first error says more
                self._ledger.leave()
        if self._error is not None:
            raise self._error

    def _guarded(self, function: Callable[..., None], *arguments: object) -> None:
        """A thread's work; its error ends the run."""
        try:
            function(*arguments)
        except Stopped:
            pass
        except BaseException as error:
            with self._changed:
                self._error = self._error or error
            self._stop.set()

    def _beat(self) -> None:
        while not self._stop.wait(HEARTBEAT):
            self._ledger.beat()

    def _serve(self, number: int, worker: Worker) -> None:
        """Give jobs to one worker until none is left anywhere."""
        pause = 0.25
        while not self._stop.is_set():
            jobs = self._take(number)
            if jobs is None:
                return
            if not jobs:
                continue
            waiting = list(jobs)
            try:
                for result in self._results(worker, jobs):
                    self._record(waiting.pop(0), result)
                    pause = 0.25
                    self._gone.pop(number, None)
            except Busy as busy:
                self._give_back(waiting)
                waiting = []
                self._stop.wait(busy.seconds)
            except Gone as gone:
                self._give_back(waiting)
                waiting = []
                self._lost(number, str(gone))
                self._stop.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            finally:
                self._give_back(waiting)

    def _results(self, worker: Worker, jobs: Sequence[Job]) -> Iterator[JobResult]:
        limit = self._time_limit
        if limit is not None:
            jobs, limit = [job.within(limit) for job in jobs], limit * (1 + _GRACE) + _GRACE_SECONDS
        with contextlib.closing(worker.run(jobs, limit)) as results:  # type: ignore[type-var]
            yield from results

    def _take(self, number: int) -> list[Job] | None:
        """Jobs that now are this runner's; none of them if others were faster; None if nothing is left to do."""
        with self._changed:
            jobs = self._queue.take(number)
            self._in_work += len(jobs)
        if jobs:
            leased = self._ledger.lease([job.key for job in jobs])
            self._let_go(len(jobs) - len(leased))
            return [job for job in jobs if job.key in leased]
        with self._changed:
            if self._in_work or len(self._queue):
                self._changed.wait(_LOOK)
                return []
        return [] if self._look_around() else None

    def _look_around(self) -> bool:
        """Whether there is, or may be, more to do: jobs of dead runners, or jobs that others have."""
        self._ledger.reclaim()
        with self._changed:
            if self._in_work or len(self._queue):
                return True
            waiting = self._ledger.queued(self._digest)
            self._queue.put(waiting)
        if waiting:
            return True
        states = {entry.key: entry.state for entry in self._ledger.entries(self._digest)}
        self._done = sum(state is PointState.DONE for state in states.values())
        self._failed = sum(state is PointState.FAILED for state in states.values())
        self._report()
        if self._done + self._failed == len(states):
            return False
        self._stop.wait(_LOOK)
        return True

    def _record(self, job: Job, result: JobResult) -> None:
        """Write a result to the ledger; what may have been chance is queued again."""
        self._queue.measured(result.seconds)
        done = failed = False
        if result.plan is not None:
            done = self._ledger.done(job.key, json.dumps(result.plan, allow_nan=False), result.seconds)
        else:
            _log.info("a job failed (%s): %s", result.code, result.message)
            again = self._attempts if result.code in _CHANCE else 0
            failed = self._ledger.failed(job.key, result.code, result.message, again=again)
            if not failed:
                self._queue.put([job])
        with self._changed:
            self._done += done
            self._failed += failed
            self._left[job.network] -= done or failed
            self._ended[job.network] += 1
            self._spent[job.network] = self._spent.get(job.network, 0.0) + result.seconds
            self._began = self._began or time.monotonic() - result.seconds
        self._let_go(1)
        self._report()

    def _give_back(self, jobs: Sequence[Job]) -> None:
        """Return jobs that were not begun."""
        if not jobs:
            return
        self._ledger.release([job.key for job in jobs])
        self._queue.put(jobs, first=True)
        self._let_go(len(jobs))

    def _let_go(self, count: int) -> None:
        with self._changed:
            self._in_work -= count
            self._changed.notify_all()

    def _lost(self, number: int, why: str) -> None:
        """Note that a worker cannot be reached; stop if none could be for too long."""
        with self._changed:
            since, _ = self._gone.get(number, (time.monotonic(), ""))
            self._gone[number] = (since, why)
            all_gone = len(self._gone) == self._queue.workers
            longest = time.monotonic() - max(since for since, _ in self._gone.values())
        if all_gone and longest > self._patience:
            raise PowerplanError(
                f"No worker could be reached for {self._patience:g} s: {why} "
                "What is done is kept: mend that and run the study again."
            )

    def _seconds_left(self) -> float | None:
        """Of what this runner found waiting, by the mean time of its network, or of all."""
        if not self._ended:
            return None
        of_all = sum(self._spent.values()) / self._ended.total()
        means = {network: spent / self._ended[network] for network, spent in self._spent.items()}
        return sum(count * means.get(network, of_all) for network, count in self._left.items()) / self._workers

    def _report(self, doing: str = "planning") -> None:
        if self._progress is None:
            return
        elapsed = time.monotonic() - self._began if self._ended else 0.0
        rate = self._ended.total() / elapsed if elapsed > 0 else 0.0
        self._progress(
            Progress(
                total=self._total,
                done=self._done,
                failed=self._failed,
                rate=rate,
                seconds_left=self._seconds_left(),
                doing=doing,
            )
        )
