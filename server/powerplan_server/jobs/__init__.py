"""Submitted jobs: stored, queued fairly, run by the workers, watched.

The store is the queue: what is accepted, runs and has ended is read there and nowhere else. :mod:`.values` says what a
job is, :mod:`.store` keeps them in a database (:mod:`.database`: :mod:`.sqlite` or :mod:`.postgres`), :mod:`.salvage`
saves what it can from a damaged file, :mod:`.book` makes every change whole, :mod:`.execution` gives jobs to workers,
:mod:`.following` takes up those of dead servers, :mod:`.runner` answers callers.

Why: docs/decisions/service.md [0063].
"""

from powerplan_server.jobs.book import JobBook
from powerplan_server.jobs.database import JobDatabase
from powerplan_server.jobs.execution import JobExecution
from powerplan_server.jobs.opening import open_jobs
from powerplan_server.jobs.runner import JobRunner
from powerplan_server.jobs.store import MAX_ATTEMPTS, JobStore
from powerplan_server.jobs.values import Event, Job, JobLimits, JobState

__all__ = [
    "MAX_ATTEMPTS",
    "Event",
    "Job",
    "JobBook",
    "JobDatabase",
    "JobExecution",
    "JobLimits",
    "JobRunner",
    "JobState",
    "JobStore",
    "open_jobs",
]
