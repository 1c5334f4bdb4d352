"""What a study would cost, from a few of its jobs that are run and measured; nothing is recorded."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from powerplan.batch.executors.local import LocalWorker, available_processors
from powerplan.batch.jobs import Job
from powerplan.batch.ledger import FILE, Ledger
from powerplan.batch.prepare import Prepared, prepare
from powerplan.batch.results import PointState

if TYPE_CHECKING:
    from powerplan.batch.study import Study

#: most jobs that are measured, and seconds that one of them may take
SAMPLE, _SAMPLE_LIMIT = 6, 60.0
_ENDED = (PointState.DONE, PointState.FAILED)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Counts, time and memory of a study.

    Attributes:
        points: of the study.
        jobs: different jobs among them.
        done: jobs whose plan is already in the folder.
        failed: jobs that failed there; a run leaves them alone, ``powerplan batch retry`` does not.
        left: jobs that a run would do. If there are none, nothing is measured: times and memory are 0.
        unreadable: points whose network or inputs cannot be read.
        workers: processes that were assumed.
        sample: jobs that were run and measured.
        sample_failed: how many of them failed or took longer than a minute.
        seconds_per_job: mean over the jobs that are left, from the sample [s].
        seconds: wall time of a run [s].
        memory: of one worker [bytes], the largest seen.
    """

    points: int
    jobs: int
    done: int
    failed: int
    left: int
    unreadable: int
    workers: int
    sample: int
    sample_failed: int
    seconds_per_job: float
    seconds: float
    memory: int


def estimate(study: Study, *, folder: Path | None = None, workers: int | None = None) -> Estimate:
    """Measure a sample of the jobs of a study that are not done in ``folder``, which is not changed.

    Raises:
        InvalidInput: the folder's ledger cannot be read.
    """
    place = study.folder if folder is None else folder
    count = workers or study.values.get("run", {}).get("workers") or available_processors()
    with tempfile.TemporaryDirectory(prefix="powerplan-") as scratch:
        prepared = prepare(study, Path(scratch))
        states = _states(study, place)
        remaining = [job for key, job in prepared.jobs.items() if states.get(key) not in _ENDED]
        measured, failed, memory = _measure(_sample(remaining), prepared)
    mean = sum(_expected(job, measured) for job in remaining) / len(remaining) if measured else 0.0
    return Estimate(
        points=len(study.points),
        jobs=len(prepared.jobs) + len(prepared.failures),
        done=sum(states.get(key) is PointState.DONE for key in prepared.jobs),
        failed=sum(states.get(key) is PointState.FAILED for key in prepared.jobs),
        left=len(remaining),
        unreadable=sum(key in prepared.failures for key in prepared.keys),
        workers=count,
        sample=len(measured),
        sample_failed=failed,
        seconds_per_job=mean,
        seconds=mean * len(remaining) / min(count, max(1, len(remaining))),
        memory=memory,
    )


def _states(study: Study, folder: Path) -> dict[str, PointState]:
    """State of the jobs that the folder knows, by key."""
    if not (folder / FILE).is_file():
        return {}
    ledger = Ledger(folder, create=False)
    try:
        return {entry.key: entry.state for entry in ledger.entries(study.digest)}
    finally:
        ledger.close()


def _sample(jobs: list[Job]) -> list[Job]:
    """A few jobs, evenly over the study, so that networks and options are mixed as in it."""
    if len(jobs) <= SAMPLE:
        return jobs
    return [jobs[(2 * i + 1) * len(jobs) // (2 * SAMPLE)] for i in range(SAMPLE)]


def _measure(jobs: list[Job], prepared: Prepared) -> tuple[list[tuple[Job, float]], int, int]:
    """Jobs with their seconds, how many failed, and the worker's memory."""
    worker = LocalWorker(prepared.blobs.folder)
    measured: list[tuple[Job, float]] = []
    failed = 0
    try:
        for job in jobs:
            for result in worker.run([job], _SAMPLE_LIMIT):
                measured.append((job, result.seconds or _SAMPLE_LIMIT))
                failed += result.plan is None
    finally:
        worker.close()
    return measured, failed, worker.memory


def _expected(job: Job, measured: list[tuple[Job, float]]) -> float:
    """Expected seconds of a job: the mean over the sample of the same network, or over all of it."""
    same = [seconds for other, seconds in measured if other.network == job.network]
    chosen = same or [seconds for _, seconds in measured]
    return sum(chosen) / len(chosen)
