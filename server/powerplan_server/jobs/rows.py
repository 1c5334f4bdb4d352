"""Rows of the job store: jobs as they are read, the event of a change, the end of a claim."""

from __future__ import annotations

import json

from powerplan_server.jobs.database import Statements
from powerplan_server.jobs.values import Job, JobState

_COLUMNS = (
    "number, id, tenant, request_id, digest, state, attempts, sequence, run_limit, created, started, ended, expires, "
    "blobs, progress"
)


def released(db: Statements, job: Job) -> bool:
    """Give a claim up; False if it is over: the job was ended, or taken from a server that was not heard of."""
    return bool(db.execute("DELETE FROM runs WHERE job = ? AND claim = ?", (job.number, job.claim)).rowcount)


def add_event(db: Statements, number: int, state: JobState, progress: bytes | None) -> None:
    """Change a job's state and add the event that says so; progress None keeps what there was."""
    db.execute(
        "UPDATE jobs SET state = ?, sequence = sequence + 1, progress = coalesce(?, progress) WHERE number = ?",
        (state, progress, number),
    )
    db.execute(
        "INSERT INTO events SELECT number, sequence, clock(), state, progress FROM jobs WHERE number = ?", (number,)
    )


def one(db: Statements, condition: str, *values: object) -> Job | None:
    """The first job of a condition."""
    jobs = many(db, f"{condition} LIMIT 1", *values)
    return jobs[0] if jobs else None


def many(db: Statements, condition: str, *values: object) -> list[Job]:
    """The jobs of a condition, with their claims."""
    statement = f"SELECT {_COLUMNS}, claim FROM jobs LEFT JOIN runs ON job = number WHERE {condition}"
    return [_job(row) for row in db.execute(statement, values).fetchall()]


def _job(row: tuple) -> Job:
    named = dict(zip((*_COLUMNS.split(", "), "claim"), row, strict=True))
    return Job(**(named | {"state": JobState(named["state"]), "blobs": tuple(json.loads(named["blobs"]))}))
