"""Submitted jobs: stored, queued fairly, run by the workers, watched.

The store is the queue: what is accepted, runs and has ended is read there and nowhere else. :mod:`.values` says what a
job is, :mod:`.store` keeps them, :mod:`.salvage` saves what it can from a damaged file, :mod:`.runner` gives them to
workers and tells watchers.

Why: docs/decisions/service.md [0063].
"""

from powerplan_server.jobs.runner import JobRunner
from powerplan_server.jobs.store import MAX_ATTEMPTS, JobStore
from powerplan_server.jobs.values import Event, Job, JobLimits, JobState

__all__ = ["MAX_ATTEMPTS", "Event", "Job", "JobLimits", "JobRunner", "JobState", "JobStore"]
