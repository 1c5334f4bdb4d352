"""The ledger: every job of a folder's studies and how it ended, in SQLite, whatever happens to the runners.

A job is queued, running, done or failed. A runner *leases* jobs: they are running in its name as long as it lives
(its process on this machine, or its heartbeat). Only the holder of the lease can end a job, so that two runners never
record the same job twice, and what a killed runner held is queued again. Times are seconds since the epoch.

Why: docs/decisions/studies.md [0141].
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from powerplan.batch.jobs import Job
from powerplan.batch.results import Failure, PointState
from powerplan.errors import CorruptFile, InvalidInput
from powerplan.jobs.database import Database, Format, read_only
from powerplan.jobs.processes import birth, lives, this_place

FILE = "ledger.db"
_FORM = Format(
    name="ledger",
    option="--folder",
    application=0x70706C6E,
    version=1,
    schema="""
CREATE TABLE runners (
    id INTEGER PRIMARY KEY, place TEXT NOT NULL, pid INTEGER NOT NULL, born TEXT NOT NULL,
    started REAL NOT NULL, heartbeat REAL NOT NULL, ended REAL
);
CREATE TABLE jobs (
    key TEXT PRIMARY KEY, job TEXT, state TEXT NOT NULL, runner INTEGER REFERENCES runners (id),
    attempts INTEGER NOT NULL DEFAULT 0, completions INTEGER NOT NULL DEFAULT 0,
    started REAL, ended REAL, seconds REAL, code TEXT, message TEXT
);
CREATE INDEX jobs_by_state ON jobs (state);
CREATE TABLE plans (key TEXT PRIMARY KEY REFERENCES jobs (key), content BLOB NOT NULL);
CREATE TABLE studies (
    digest TEXT PRIMARY KEY, name TEXT NOT NULL, provenance TEXT NOT NULL, registered REAL NOT NULL
);
CREATE TABLE points (
    study TEXT NOT NULL REFERENCES studies (digest), number INTEGER NOT NULL, key TEXT NOT NULL REFERENCES jobs (key),
    PRIMARY KEY (study, number)
) WITHOUT ROWID;
""",
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the ledger says of one point's job, without the plan."""

    key: str
    state: PointState
    attempts: int
    started: float | None
    ended: float | None
    seconds: float | None
    failure: Failure | None


class Ledger(Database):
    """The ledger of a folder; made if missing unless ``create`` is False. Safe to share between threads.

    Raises:
        InvalidInput: the folder cannot be written (or, without ``create``, holds no ledger); the disk is full.
        CorruptFile: the file is not a ledger, is damaged, or is of a newer version.
    """

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        if not create and not (folder / FILE).is_file():
            raise InvalidInput.of(
                "study folder", str(folder), "a folder with a ledger", "Run the study first: powerplan batch run."
            )
        self._runner: int | None = None
        super().__init__(folder / FILE, _FORM)

    def close(self) -> None:
        """End this runner's leases and close the file."""
        try:
            if self._runner is not None:
                self.leave()
        finally:
            super().close()

    # studies

    def register(
        self,
        *,
        digest: str,
        name: str,
        provenance: Mapping[str, Any],
        keys: Sequence[str],
        jobs: Iterable[Job],
        failures: Mapping[str, tuple[str, str]],
    ) -> None:
        """Note a study's points by the keys of their jobs, and the jobs that are new.

        Args:
            keys: key of every point, in order.
            jobs: the different jobs among them.
            failures: code and message of keys without a job: what they need cannot be had.
        """
        now = time.time()
        with self._transaction():
            self._db.executemany(
                "INSERT INTO jobs (key, job, state) VALUES (?, ?, 'queued') ON CONFLICT DO NOTHING",
                ((job.key, job.to_json()) for job in jobs),
            )
            self._db.executemany(
                "INSERT INTO jobs (key, state, attempts, ended, code, message) VALUES (?, 'failed', 1, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET state = 'failed', ended = excluded.ended, code = excluded.code, "
                "message = excluded.message",
                ((key, now, code, message) for key, (code, message) in failures.items()),
            )
            self._db.execute(
                "INSERT OR REPLACE INTO studies VALUES (?, ?, ?, ?)", (digest, name, json.dumps(provenance), now)
            )
            self._db.execute("DELETE FROM points WHERE study = ?", (digest,))
            self._db.executemany(
                "INSERT INTO points VALUES (?, ?, ?)", ((digest, number, key) for number, key in enumerate(keys))
            )

    def provenance(self, digest: str) -> dict[str, Any] | None:
        """What was noted with a study; None if it was never registered."""
        with self._reading():
            row = self._db.execute("SELECT provenance FROM studies WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def entries(self, digest: str) -> list[Entry]:
        """What is known of every point of a study, in order. What a dead runner held waits for the next one."""
        with self._reading():
            rows = self._db.execute(
                "SELECT key, state, attempts, started, ended, seconds, code, message, runner FROM points "
                "JOIN jobs USING (key) WHERE study = ? ORDER BY number",
                (digest,),
            ).fetchall()
            living = {runner for runner, alive in self._members().items() if alive}
        return [_entry(row, living) for row in rows]

    def damaged(self, digest: str) -> set[str]:
        """Keys of the jobs of a study that are done but whose plan is gone or cannot be read. Looks at every plan."""
        with self._reading():
            rows = self._db.execute(
                "SELECT key, content FROM jobs LEFT JOIN plans USING (key) "
                "WHERE state = 'done' AND key IN (SELECT key FROM points WHERE study = ?)",
                (digest,),
            )
            return {key for key, content in rows if _text(content) is None}

    def plan(self, key: str) -> str | None:
        """The plan of a job that is done, as JSON."""
        with self._reading():
            return _plan(self._db, key)

    # leases

    def join(self) -> None:
        """Become a runner: from now on this process shows signs of life with :meth:`beat`."""
        now = time.time()
        with self._transaction():
            row = self._db.execute(
                "INSERT INTO runners (place, pid, born, started, heartbeat) VALUES (?, ?, ?, ?, ?) RETURNING id",
                (this_place(), os.getpid(), birth(os.getpid()), now, now),
            ).fetchone()
            self._runner = int(row[0])

    def beat(self) -> None:
        """Show a sign of life."""
        with self._transaction():
            self._db.execute("UPDATE runners SET heartbeat = ? WHERE id = ?", (time.time(), self._runner))

    def leave(self) -> None:
        """Stop being a runner; what it still held is queued again."""
        with self._transaction():
            self._queue_again([self._runner])
            self._db.execute("UPDATE runners SET ended = ? WHERE id = ?", (time.time(), self._runner))
        self._runner = None

    def runners(self) -> int:
        """How many runners live."""
        with self._reading():
            return sum(self._members().values())

    def reclaim(self) -> int:
        """Queue again what dead runners held; returns how many jobs."""
        with self._transaction():
            living = {runner for runner, alive in self._members().items() if alive}
            dead = [
                row[0] for row in self._db.execute("SELECT id FROM runners WHERE ended IS NULL") if row[0] not in living
            ]
            count = self._queue_again(dead)
            now = time.time()
            self._db.executemany("UPDATE runners SET ended = ? WHERE id = ?", ((now, runner) for runner in dead))
        return count

    def queued(self, digest: str) -> list[Job]:
        """The jobs of a study that wait, each once, in the order of its points."""
        with self._reading():
            rows = self._db.execute(
                "SELECT job, min(number) AS first FROM points JOIN jobs USING (key) "
                "WHERE study = ? AND state = 'queued' GROUP BY key ORDER BY first",
                (digest,),
            ).fetchall()
        return [Job.from_json(row[0]) for row in rows]

    def lease(self, keys: Sequence[str]) -> set[str]:
        """Take those of the jobs that still wait; returns their keys."""
        now = time.time()
        taken = set()
        with self._transaction():
            for key in keys:
                if self._db.execute(
                    "UPDATE jobs SET state = 'running', runner = ?, started = ? WHERE key = ? AND state = 'queued'",
                    (self._runner, now, key),
                ).rowcount:
                    taken.add(key)
        return taken

    def release(self, keys: Sequence[str]) -> None:
        """Give jobs back that were taken but not begun."""
        with self._transaction():
            self._db.executemany(
                "UPDATE jobs SET state = 'queued', runner = NULL, started = NULL "
                "WHERE key = ? AND state = 'running' AND runner = ?",
                ((key, self._runner) for key in keys),
            )

    def done(self, key: str, plan: str, seconds: float) -> bool:
        """Record the plan of a job; False if this runner does not hold it any more."""
        with self._transaction():
            if not self._end(key, "done", seconds):
                return False
            self._db.execute("INSERT OR REPLACE INTO plans VALUES (?, ?)", (key, zlib.compress(plan.encode(), level=1)))
        return True

    def failed(self, key: str, code: str, message: str, *, again: int = 0) -> bool:
        """Record a failed attempt; the job is queued again if fewer than ``again`` attempts have failed.

        Returns:
            True if the job has failed for good, False if it is queued again or not held any more.
        """
        with self._transaction():
            row = self._db.execute("SELECT attempts FROM jobs WHERE key = ?", (key,)).fetchone()
            last = row is None or row[0] + 1 >= again
            ended = self._end(key, "failed" if last else "queued", None, code, message)
            if ended and not last:
                self._db.execute("UPDATE jobs SET runner = NULL, started = NULL WHERE key = ?", (key,))
        return ended and last

    def retry(self, digest: str) -> int:
        """Queue the failed jobs of a study again, and those whose plan is damaged, with fresh attempts.

        Returns:
            how many jobs.
        """
        damaged = self.damaged(digest)  # outside of the transaction: other runners need not wait
        with self._transaction():
            for key in damaged:
                content = self._db.execute("SELECT content FROM plans WHERE key = ?", (key,)).fetchone()
                if _text(content and content[0]) is None:  # nobody was faster
                    self._db.execute("DELETE FROM plans WHERE key = ?", (key,))
                    self._db.execute(
                        "UPDATE jobs SET state = 'failed', completions = 0 WHERE key = ? AND state = 'done'", (key,)
                    )
            return self._db.execute(
                "UPDATE jobs SET state = 'queued', attempts = 0, code = NULL, message = NULL, ended = NULL "
                "WHERE state = 'failed' AND job IS NOT NULL AND key IN (SELECT key FROM points WHERE study = ?)",
                (digest,),
            ).rowcount

    def _end(
        self, key: str, state: str, seconds: float | None, code: str | None = None, message: str | None = None
    ) -> bool:
        return bool(
            self._db.execute(
                "UPDATE jobs SET state = ?, attempts = attempts + 1, completions = completions + (? = 'done'), "
                "ended = ?, seconds = ?, code = ?, message = ? WHERE key = ? AND state = 'running' AND runner = ?",
                (state, state, time.time(), seconds, code, message, key, self._runner),
            ).rowcount
        )

    def _members(self) -> dict[int, bool]:
        """Whether the process lives, of every runner that has not left."""
        rows = self._db.execute("SELECT id, place, pid, born, heartbeat FROM runners WHERE ended IS NULL")
        return {runner: lives(*process) for runner, *process in rows}

    def _queue_again(self, runners: Sequence[int | None]) -> int:
        return sum(
            self._db.execute(
                "UPDATE jobs SET state = 'queued', runner = NULL, started = NULL "
                "WHERE state = 'running' AND runner = ?",
                (runner,),
            ).rowcount
            for runner in runners
        )


def read_plan(folder: Path, key: str) -> str:
    """The plan of a job in the ledger of a folder, as JSON; nothing is written, and nothing is kept open.

    Raises:
        InvalidInput: the ledger is gone, or holds no such plan.
        CorruptFile: it is damaged.
    """
    path = folder / FILE
    text = None
    if path.is_file():
        with read_only(path, _FORM) as db:
            text = _plan(db, key)
    if text is None:
        allowed = f"a ledger that holds the plan {key[:12]}"
        raise InvalidInput.of("study folder", str(folder), allowed, "Run the study again, or keep its folder.")
    return text


def _plan(db: Connection, key: str) -> str | None:
    row = db.execute("SELECT content FROM plans WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    text = _text(row[0])
    if text is None:
        advice = "Plan it again: powerplan batch retry STUDY."
        raise CorruptFile.of("ledger", f"plan {key[:12]}", "an undamaged plan", advice)
    return text


def _text(content: Any) -> str | None:
    """The JSON of a stored plan; None if it is gone or damaged, which its checksum tells."""
    try:
        return zlib.decompress(content).decode()
    except (zlib.error, ValueError, TypeError):
        return None


def _entry(row: tuple, living: Container[int]) -> Entry:
    key, state, attempts, started, ended, seconds, code, message, runner = row
    if state == "running" and runner not in living:
        state = "queued"
    failure = Failure(code=code, message=message, attempts=attempts) if state == "failed" else None
    return Entry(
        key=key,
        state=PointState(state),
        attempts=attempts,
        started=started,
        ended=ended,
        seconds=seconds,
        failure=failure,
    )
