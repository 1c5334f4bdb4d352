"""What the job store needs of a database: changes that take turns, looks, and word of what other servers changed.

The statements are the store's and the same everywhere: values stand for ``?``, ``clock()`` is the database's own time
in seconds since the epoch, so that the clocks of servers do not matter.

Why: docs/decisions/service.md [0626].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from powerplan_server.jobs.values import JobState

VERSION = 3
#: statements, separated by semicolons, that make what is missing; words in braces are those of the database
SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    number {number},
    id TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    request_id TEXT,
    digest TEXT NOT NULL,
    state INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    sequence INTEGER NOT NULL DEFAULT 0,
    run_limit {real} NOT NULL,
    created {real} NOT NULL,
    started {real},
    ended {real},
    expires {real},
    blobs TEXT NOT NULL,
    progress {bytes} NOT NULL DEFAULT {nothing},
    request {bytes},
    response {bytes},
    error {bytes}
);
CREATE UNIQUE INDEX IF NOT EXISTS jobs_by_request_id ON jobs (tenant, request_id) WHERE request_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, number);
CREATE INDEX IF NOT EXISTS jobs_by_start ON jobs (tenant, started);
CREATE INDEX IF NOT EXISTS jobs_by_age ON jobs (tenant, created, id);
CREATE TABLE IF NOT EXISTS events (
    job {reference} NOT NULL REFERENCES jobs (number) ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    time {real} NOT NULL,
    state INTEGER NOT NULL,
    progress {bytes} NOT NULL,
    PRIMARY KEY (job, sequence)
) {by_key};
CREATE TABLE IF NOT EXISTS runs (
    job {reference} PRIMARY KEY REFERENCES jobs (number) ON DELETE CASCADE,
    claim INTEGER NOT NULL,
    server TEXT NOT NULL,
    until {real} NOT NULL
);
"""
#: every running job has a run; one of an older file, or saved from a damaged one, that of a server which is gone
ORPHANS = (
    "INSERT INTO runs SELECT number, sequence, '', 0 FROM jobs WHERE state = 2 AND number NOT IN (SELECT job FROM runs)"
)


class Rows(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int:
        """How many rows it changed."""

    def fetchone(self) -> Any:
        """The next row, or None."""

    def fetchall(self) -> list[Any]:
        """All rows."""


class Statements(Protocol):
    """Carries out statements."""

    def execute(self, statement: str, values: Sequence[Any] = (), /) -> Rows:
        """Carry out one statement with its values."""


#: of whoever changed a job: its id and the state it came to; None, None if something may have been missed
Told = Callable[[str | None, JobState | None], None]


class JobDatabase(Protocol):
    """A database of jobs; safe to share between threads.

    Whatever cannot be done now raises an OSError, InvalidInput or CorruptFile, after a few seconds at most.

    Attributes:
        lease: seconds that a claimed job is its server's without word from it; 0 if nobody else can use the database.
    """

    lease: float

    def changing(self, *, in_turn: bool = True) -> AbstractContextManager[Statements]:
        """Change it: all or nothing, and one after the other over all servers unless ``in_turn`` is false."""

    def reading(self) -> AbstractContextManager[Statements]:
        """Look at it."""

    def listen(self, told: Told) -> None:
        """Have changes by other servers told, from a thread of its own, until it is closed."""

    def try_writing(self) -> None:
        """Write without changing what it holds."""

    def check(self) -> None:
        """Raise CorruptFile if a part of it is damaged."""

    def shrink(self, pages: int, /) -> int:
        """Give what deletions left free back to the disk, at most so many pages; returns how many are left."""

    def close(self) -> None:
        """Close it."""
