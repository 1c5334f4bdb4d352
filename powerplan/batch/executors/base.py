"""What an executor is: workers that plan jobs, wherever they run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from powerplan.batch.job_result import JobResult
from powerplan.batch.jobs import Job


class Busy(Exception):
    """The worker takes no job now. ``seconds`` later it may."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"busy for {seconds:g} s")
        self.seconds = seconds


class Gone(Exception):
    """The worker cannot be reached; its jobs go to the others, and it is tried again later."""


class Stopped(Exception):
    """The worker was stopped with :meth:`Worker.stop`."""


class Worker(Protocol):
    """Plans one list of jobs at a time."""

    def run(self, jobs: Sequence[Job], time_limit: float | None) -> Iterator[JobResult]:
        """One result per job, in order, as they end.

        It ends early after a job that crashed the worker or was stopped for taking longer than ``time_limit`` seconds
        (codes "crashed" and "time_limit"): the jobs that follow were not begun. The next call works again.

        Raises:
            Busy, Gone: the job that is next was not done.
            Stopped: after :meth:`stop`.
            PowerplanError: no worker can be started at all.
        """
        ...

    def stop(self) -> None:
        """End now what runs; called from another thread. The worker is of no use afterwards."""
        ...


class Executor(Protocol):
    """A set of workers."""

    def start(self) -> Sequence[Worker]:
        """The workers, each to be used by one thread at a time.

        Raises:
            PowerplanError: there are none, and why.
        """
        ...

    def close(self) -> None:
        """End all that was started."""
        ...


def too_long(time_limit: float) -> JobResult:
    """The result of a job that was stopped."""
    return JobResult(
        code="time_limit",
        message=f"Stopped after {time_limit:g} s: it did not end at the time limit of one job. "
        "Allow more with --time-limit and powerplan batch retry, or use fewer inputs.",
    )


def crashed(how: str) -> JobResult:
    """The result of a job whose worker process died, and how."""
    return JobResult(
        code="crashed",
        message=f"The worker process died: {how}. Look at the settings of this point, then powerplan batch retry.",
    )
