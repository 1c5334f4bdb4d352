"""Submitted jobs in a database: what was accepted is never lost, whatever happens to a server.

A job is written before it is acknowledged, and what is stored as queued is the queue. A job that runs is claimed by
one server: the number of its claim is what lets that server write, until the job is ended or put back. Jobs whose
server is gone are queued again, or reported as failed if that has happened several times. Every change is an event with
a sequence number. Times are seconds since the epoch, by the clock of the database.

Why: docs/decisions/service.md [0063], [0626].
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from collections.abc import Iterable, Mapping, Sequence

from powerplan_server.jobs.database import ORPHANS, JobDatabase, Statements
from powerplan_server.jobs.rows import add_event, many, one, released
from powerplan_server.jobs.values import Event, Job, JobLimits, JobState, QueueFull

MAX_ATTEMPTS = 3
_KEPT = 1024  # bytes that an ended job takes beside its outcome, about, with its events


class JobStore:
    """The jobs of all tenants. Calls wait for the database: make them in a thread.

    Args:
        database: where they are.
        limits: how much is accepted and kept, over all servers.
    """

    def __init__(self, database: JobDatabase, *, limits: JobLimits) -> None:
        self.database = database
        self._limits = limits
        self._server = f"{socket.gethostname()} {os.getpid()} {secrets.token_hex(4)}"

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
        with self.database.changing() as db:
            if request_id is not None:
                existing = one(db, "tenant = ? AND request_id = ?", tenant, request_id)
                if existing is not None:
                    return existing, True
            self._check_room(db, tenant)
            db.execute(
                "INSERT INTO jobs (id, tenant, request_id, digest, state, run_limit, created, blobs, request) "
                "VALUES (?, ?, ?, ?, ?, ?, clock(), ?, ?)",
                (
                    identity,
                    tenant,
                    request_id,
                    digest,
                    JobState.QUEUED,
                    run_limit,
                    json.dumps(sorted(set(blobs))),
                    request,
                ),
            )
            number = db.execute("SELECT number FROM jobs WHERE id = ?", (identity,)).fetchone()[0]
            add_event(db, number, JobState.QUEUED, b"")
            job = one(db, "number = ?", number)
        assert job is not None
        return job, False

    def claim(self) -> Job | None:
        """Take a queued job up: of the tenants with the fewest running jobs, of those the one served longest ago.

        None if nothing is queued that may run.
        """
        if not self._rows("SELECT 1 FROM jobs WHERE state = ? LIMIT 1", JobState.QUEUED):
            return None  # without waiting for a turn
        with self.database.changing() as db:
            row = db.execute(
                "SELECT number FROM (SELECT tenant, min(number) AS number FROM jobs WHERE state = ? GROUP BY tenant) "
                "AS queued LEFT JOIN (SELECT tenant, count(*) AS running FROM jobs WHERE state = ? GROUP BY tenant) "
                "AS busy USING (tenant) WHERE coalesce(running, 0) < ? ORDER BY coalesce(running, 0), "
                "coalesce((SELECT max(started) FROM jobs AS own WHERE own.tenant = queued.tenant), 0), number LIMIT 1",
                (JobState.QUEUED, JobState.RUNNING, self._limits.running_of_tenant),
            ).fetchone()
            if row is None:
                return None
            db.execute(
                "UPDATE jobs SET attempts = attempts + 1, started = coalesce(started, clock()) WHERE number = ?", row
            )
            add_event(db, row[0], JobState.RUNNING, b"")
            db.execute(
                "INSERT INTO runs SELECT number, sequence, ?, clock() + ? FROM jobs WHERE number = ?",
                (self._server, self.database.lease, row[0]),
            )
            return one(db, "number = ?", row[0])

    def renew(self, jobs: Sequence[Job]) -> set[str]:
        """Say that this server lives and runs these jobs; returns the ids of those that are still its own to run."""
        if not jobs:
            return set()
        claims = [value for job in jobs for value in (job.number, job.claim)]
        which = f"(job, claim) IN (VALUES {', '.join(['(?, ?)'] * len(jobs))})"
        if lease := self.database.lease:
            with self.database.changing(in_turn=False) as db:
                db.execute(f"UPDATE runs SET until = clock() + ? WHERE {which}", (lease, *claims))
        own = {row[0] for row in self._rows(f"SELECT job FROM runs WHERE {which}", *claims)}
        return {job.id for job in jobs if job.number in own}

    def abandoned(self) -> list[Job]:
        """Running jobs whose server has not been heard of for too long."""
        return self._many("until <= clock() ORDER BY number")

    def claimed(self) -> list[Job]:
        """Running jobs that this server has claimed."""
        return self._many("server = ? ORDER BY number", self._server)

    def get(self, tenant: str, identity: str) -> Job | None:
        """A tenant's job."""
        with self.database.reading() as db:
            return one(db, "tenant = ? AND id = ?", tenant, identity)

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
        """Note how far a running job is, unless its claim is over."""
        with self.database.changing(in_turn=False) as db:
            values = (self.database.lease, job.number, job.claim)
            if db.execute("UPDATE runs SET until = clock() + ? WHERE job = ? AND claim = ?", values).rowcount:
                add_event(db, job.number, JobState.RUNNING, progress)

    def requeue(self, job: Job, *, count_attempt: bool) -> bool:
        """Put a job that was interrupted back into the queue; False if its claim is over."""
        with self.database.changing() as db:
            if not released(db, job):
                return False
            if not count_attempt:
                db.execute("UPDATE jobs SET attempts = attempts - 1 WHERE number = ?", (job.number,))
            add_event(db, job.number, JobState.QUEUED, b"")
        return True

    def end(self, job: Job, state: JobState, *, response: bytes | None = None, error: bytes | None = None) -> bool:
        """Note how a claimed job ended; False if its claim is over."""
        with self.database.changing() as db:
            if not released(db, job):
                return False
            self._end(db, job, state, response, error)
        return True

    def cancel(self, job: Job, error: bytes) -> bool:
        """End a job, whoever runs it; False if it has ended."""
        with self.database.changing() as db:
            if not db.execute(
                "SELECT 1 FROM jobs WHERE number = ? AND state <= ?", (job.number, JobState.RUNNING)
            ).fetchall():
                return False
            db.execute("DELETE FROM runs WHERE job = ?", (job.number,))
            self._end(db, job, JobState.CANCELLED, None, error)
        return True

    def delete(self, job: Job) -> JobState | None:
        """Forget a job, whoever runs it; returns the state it was in, None if it is gone already."""
        with self.database.changing() as db:
            rows = db.execute("SELECT state FROM jobs WHERE number = ?", (job.number,)).fetchall()
            db.execute("DELETE FROM runs WHERE job = ?", (job.number,))
            db.execute("DELETE FROM jobs WHERE number = ?", (job.number,))
        return JobState(rows[0][0]) if rows else None

    def restore(self, job: Mapping[str, object], events: Iterable[Mapping[str, object]]) -> None:
        """Store a job of another file with its events, column by column.

        Raises:
            ValueError: it is not a job.
            CorruptFile: its columns are others.
        """
        JobState(job["state"])  # type: ignore[arg-type]
        json.loads(str(job["blobs"]))
        with self.database.changing() as db:
            for table, row in (("jobs", job), *(("events", event) for event in events)):
                db.execute(
                    f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))}) "
                    "ON CONFLICT DO NOTHING",
                    tuple(row.values()),
                )
            db.execute(ORPHANS)

    def expire(self) -> int:
        """Forget ended jobs whose time is over; returns how many."""
        with self.database.changing() as db:
            return db.execute("DELETE FROM jobs WHERE expires < clock()").rowcount

    def _check_room(self, db: Statements, tenant: str) -> None:
        rows = db.execute("SELECT tenant, count(*) FROM jobs WHERE state <= ? GROUP BY tenant", (JobState.RUNNING,))
        counts = dict(rows.fetchall())
        if sum(counts.values()) >= self._limits.unfinished:
            raise QueueFull(self._limits.unfinished, of_tenant=False)
        if counts.get(tenant, 0) >= self._limits.unfinished_of_tenant:
            raise QueueFull(self._limits.unfinished_of_tenant, of_tenant=True)

    def _end(self, db: Statements, job: Job, state: JobState, response: bytes | None, error: bytes | None) -> None:
        db.execute(
            "UPDATE jobs SET response = ?, error = ?, ended = clock(), expires = clock() + ?, request = NULL "
            "WHERE number = ?",
            (response, error, self._limits.retention, job.number),
        )
        add_event(db, job.number, state, None)
        db.execute(  # the oldest outcomes of the tenant beyond what is kept leave; the newest stays
            "DELETE FROM jobs WHERE number IN (SELECT number FROM (SELECT number, "
            f"sum({_KEPT} + coalesce(length(response), 0) + coalesce(length(error), 0)) OVER later AS kept, "
            "row_number() OVER later AS place FROM jobs WHERE tenant = ? AND state > ? "
            "WINDOW later AS (ORDER BY ended DESC, number DESC)) AS outcomes WHERE kept > ? AND place > 1)",
            (job.tenant, JobState.RUNNING, self._limits.outcomes_of_tenant),
        )

    def _many(self, condition: str, *values: object) -> list[Job]:
        with self.database.reading() as db:
            return many(db, condition, *values)

    def _rows(self, query: str, *values: object) -> list[tuple]:
        with self.database.reading() as db:
            return db.execute(query, values).fetchall()
