"""Submitted jobs in SQLite: what was accepted is never lost, whatever happens to the server.

A job is written before it is acknowledged, and what is stored as queued is the queue. After a restart, jobs that were
running are queued again, or reported as failed if the server has already died under them several times. Every change is
an event with a sequence number. Times are seconds since the epoch.

Why: docs/decisions/service.md [0063].
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from powerplan.jobs.database import Database, Format
from powerplan_server.jobs.values import Event, Job, JobLimits, JobState, QueueFull

MAX_ATTEMPTS = 3
_KEPT = 1024  # bytes that an ended job takes beside its outcome, about, with its events
FORM = Format(
    name="job store",
    option="--data-dir",
    application=0x70706C73,
    version=2,
    unmarked=frozenset({"jobs", "events"}),
    durable=True,
    shrinks=True,
    schema="""
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    request_id TEXT,
    digest TEXT NOT NULL,
    state INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    sequence INTEGER NOT NULL DEFAULT 0,
    run_limit REAL NOT NULL,
    created REAL NOT NULL,
    started REAL,
    ended REAL,
    expires REAL,
    blobs TEXT NOT NULL,
    progress BLOB NOT NULL DEFAULT x'',
    request BLOB,
    response BLOB,
    error BLOB
);
CREATE UNIQUE INDEX IF NOT EXISTS jobs_by_request_id ON jobs (tenant, request_id) WHERE request_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, number);
CREATE INDEX IF NOT EXISTS jobs_by_start ON jobs (tenant, started);
CREATE INDEX IF NOT EXISTS jobs_by_age ON jobs (tenant, created, id);
CREATE TABLE IF NOT EXISTS events (
    job INTEGER NOT NULL REFERENCES jobs (number) ON DELETE CASCADE,
    sequence INTEGER NOT NULL,
    time REAL NOT NULL,
    state INTEGER NOT NULL,
    progress BLOB NOT NULL,
    PRIMARY KEY (job, sequence)
) WITHOUT ROWID;
""",
)
_COLUMNS = (
    "number, id, tenant, request_id, digest, state, attempts, sequence, run_limit, created, started, ended, expires, "
    "blobs, progress"
)


class JobStore(Database):
    """The jobs of all tenants. Calls wait for the disk: make them in a thread.

    Args:
        path: the database file; made if missing.
        limits: how much is accepted and kept.

    Raises:
        InvalidInput, CorruptFile: as :class:`powerplan.jobs.database.Database`.
    """

    def __init__(self, path: Path, *, limits: JobLimits) -> None:
        super().__init__(path, FORM)
        self._limits = limits

    def add(
        self,
        *,
        tenant: str,
        request_id: str | None,
        digest: str,
        request: bytes,
        blobs: Iterable[str],
        run_limit: float,
    ) -> tuple[Job, bool]:
        """Store a new job; or give the one there is under this request id, and True.

        Raises:
            QueueFull: too many jobs are unfinished, of this tenant or of all.
        """
        identity = secrets.token_hex(16)
        with self._transaction():
            if request_id is not None:
                existing = self._one("tenant = ? AND request_id = ?", tenant, request_id)
                if existing is not None:
                    return existing, True
            self._check_room(tenant)
            self._db.execute(
                "INSERT INTO jobs (id, tenant, request_id, digest, state, run_limit, created, blobs, request) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    identity,
                    tenant,
                    request_id,
                    digest,
                    JobState.QUEUED,
                    run_limit,
                    time.time(),
                    json.dumps(sorted(set(blobs))),
                    request,
                ),
            )
            self._event(self._db.execute("SELECT last_insert_rowid()").fetchone()[0], JobState.QUEUED, b"")
            job = self._one("id = ?", identity)
        assert job is not None
        return job, False

    def claim(self) -> Job | None:
        """Take a queued job up: of the tenants with the fewest running jobs, of those the one served longest ago.

        None if nothing is queued that may run.
        """
        with self._transaction():
            row = self._db.execute(
                "SELECT number FROM (SELECT tenant, min(number) AS number FROM jobs WHERE state = ? GROUP BY tenant) "
                "AS queued LEFT JOIN (SELECT tenant, count(*) AS running FROM jobs WHERE state = ? GROUP BY tenant) "
                "USING (tenant) WHERE coalesce(running, 0) < ? ORDER BY coalesce(running, 0), "
                "coalesce((SELECT max(started) FROM jobs AS own WHERE own.tenant = queued.tenant), 0), number LIMIT 1",
                (JobState.QUEUED, JobState.RUNNING, self._limits.running_of_tenant),
            ).fetchone()
            if row is None:
                return None
            self._db.execute(
                "UPDATE jobs SET attempts = attempts + 1, started = coalesce(started, ?) WHERE number = ?",
                (time.time(), row[0]),
            )
            self._event(row[0], JobState.RUNNING, b"")
            return self._one("number = ?", row[0])

    def get(self, tenant: str, identity: str) -> Job | None:
        """A tenant's job."""
        return self._one("tenant = ? AND id = ?", tenant, identity)

    def request(self, job: Job) -> bytes | None:
        """The serialized request of a job; None if it has ended or is gone."""
        rows = self._rows("SELECT request FROM jobs WHERE number = ?", job.number)
        return rows[0][0] if rows else None

    def outcome(self, job: Job) -> tuple[bytes | None, bytes | None]:
        """Serialized response and error of a job; one of them is set once it has ended."""
        rows = self._rows("SELECT response, error FROM jobs WHERE number = ?", job.number)
        return rows[0] if rows else (None, None)

    def page(self, tenant: str, states: Iterable[int], before: tuple[float, str] | None, size: int) -> list[Job]:
        """At most ``size`` jobs of a tenant, newest first, older than one created then with that id."""
        wanted = sorted(set(states))
        condition = "tenant = ?"
        values: list[object] = [tenant]
        if wanted:
            condition += f" AND state IN ({', '.join('?' * len(wanted))})"
            values += wanted
        if before is not None:
            condition += " AND (created, id) < (?, ?)"
            values += before
        return self._many(f"{condition} ORDER BY created DESC, id DESC LIMIT ?", *values, size)

    def unfinished(self) -> list[Job]:
        """Every queued or running job, oldest first."""
        return self._many("state <= ? ORDER BY number", JobState.RUNNING)

    def events(self, job: Job, after: int) -> list[Event]:
        """Events of a job after a sequence number."""
        rows = self._rows(
            "SELECT sequence, time, state, progress FROM events WHERE job = ? AND sequence > ? ORDER BY sequence",
            job.number,
            after,
        )
        return [Event(sequence=s, time=t, state=JobState(state), progress=p) for s, t, state, p in rows]

    def progress(self, job: Job, progress: bytes) -> None:
        """Note how far a running job is."""
        with self._transaction():
            if self._state(job) is JobState.RUNNING:
                self._event(job.number, JobState.RUNNING, progress)

    def requeue(self, job: Job, *, count_attempt: bool) -> None:
        """Put a job that was interrupted back into the queue."""
        with self._transaction():
            if self._state(job) is JobState.RUNNING:
                if not count_attempt:
                    self._db.execute("UPDATE jobs SET attempts = attempts - 1 WHERE number = ?", (job.number,))
                self._event(job.number, JobState.QUEUED, b"")

    def end(self, job: Job, state: JobState, *, response: bytes | None = None, error: bytes | None = None) -> bool:
        """Note how a job ended; False if it had ended already."""
        now = time.time()
        with self._transaction():
            changed = self._db.execute(
                "UPDATE jobs SET response = ?, error = ?, ended = ?, expires = ?, request = NULL "
                "WHERE number = ? AND state <= ?",
                (response, error, now, now + self._limits.retention, job.number, JobState.RUNNING),
            ).rowcount
            if changed:
                self._event(job.number, state, None)
                self._keep_quota(job.tenant)
        return bool(changed)

    def delete(self, job: Job) -> bool:
        """Forget a job that has ended; False if it has not, or is gone."""
        with self._transaction():
            return bool(
                self._db.execute(
                    "DELETE FROM jobs WHERE number = ? AND state > ?", (job.number, JobState.RUNNING)
                ).rowcount
            )

    def restore(self, job: Mapping[str, object], events: Iterable[Mapping[str, object]]) -> None:
        """Store a job of another file with its events, column by column.

        Raises:
            ValueError: it is not a job.
            CorruptFile: its columns are others.
        """
        JobState(job["state"])  # type: ignore[arg-type]
        json.loads(str(job["blobs"]))
        with self._transaction():
            for table, row in (("jobs", job), *(("events", event) for event in events)):
                self._db.execute(
                    f"INSERT OR IGNORE INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
                    tuple(row.values()),
                )

    def expire(self) -> int:
        """Forget ended jobs whose time is over; returns how many."""
        with self._transaction():
            return self._db.execute("DELETE FROM jobs WHERE expires < ?", (time.time(),)).rowcount

    def _check_room(self, tenant: str) -> None:
        counts = dict(
            self._rows("SELECT tenant, count(*) FROM jobs WHERE state <= ? GROUP BY tenant", JobState.RUNNING)
        )
        if sum(counts.values()) >= self._limits.unfinished:
            raise QueueFull(self._limits.unfinished, of_tenant=False)
        if counts.get(tenant, 0) >= self._limits.unfinished_of_tenant:
            raise QueueFull(self._limits.unfinished_of_tenant, of_tenant=True)

    def _keep_quota(self, tenant: str) -> None:
        """Forget a tenant's oldest outcomes beyond what is kept; the newest stays."""
        self._db.execute(
            "DELETE FROM jobs WHERE number IN (SELECT number FROM (SELECT number, "
            f"sum({_KEPT} + coalesce(length(response), 0) + coalesce(length(error), 0)) OVER later AS kept, "
            "row_number() OVER later AS place FROM jobs WHERE tenant = ? AND state > ? "
            "WINDOW later AS (ORDER BY ended DESC, number DESC)) WHERE kept > ? AND place > 1)",
            (tenant, JobState.RUNNING, self._limits.outcomes_of_tenant),
        )

    def _event(self, number: int, state: JobState, progress: bytes | None) -> None:
        """Change a job's state and add the event that says so; progress None keeps what there was."""
        self._db.execute(
            "UPDATE jobs SET state = ?, sequence = sequence + 1, progress = coalesce(?, progress) WHERE number = ?",
            (state, progress, number),
        )
        self._db.execute(
            "INSERT INTO events SELECT number, sequence, ?, state, progress FROM jobs WHERE number = ?",
            (time.time(), number),
        )

    def _state(self, job: Job) -> JobState | None:
        rows = self._rows("SELECT state FROM jobs WHERE number = ?", job.number)
        return JobState(rows[0][0]) if rows else None

    def _one(self, condition: str, *values: object) -> Job | None:
        jobs = self._many(f"{condition} LIMIT 1", *values)
        return jobs[0] if jobs else None

    def _many(self, condition: str, *values: object) -> list[Job]:
        return [_job(row) for row in self._rows(f"SELECT {_COLUMNS} FROM jobs WHERE {condition}", *values)]

    def _rows(self, query: str, *values: object) -> list[tuple]:
        with self._reading():
            return self._db.execute(query, values).fetchall()


def _job(row: tuple) -> Job:
    named = dict(zip(_COLUMNS.split(", "), row, strict=True))
    return Job(**(named | {"state": JobState(named["state"]), "blobs": tuple(json.loads(named["blobs"]))}))
