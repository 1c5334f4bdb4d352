"""The ledger: every job of a folder's studies and how it ended, in SQLite, whatever happens to the runners.

A job is queued, running, done or failed. A runner *leases* jobs: they are running in its name as long as it lives
(its process on this machine, or its heartbeat). Only the holder of the lease can end a job, so that two runners never
record the same job twice, and what a killed runner held is queued again. Times are seconds since the epoch.

Why: docs/decisions/studies.md [0141].
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import threading
import time
import zlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from powerplan.batch.jobs import Job
from powerplan.batch.results import Failure, PointState
from powerplan.errors import CorruptFile, InvalidInput, PowerplanError

FILE = "ledger.db"
#: seconds between two signs of life, and after how many without one a runner counts as dead
HEARTBEAT, SILENCE = 5.0, 30.0

_APPLICATION = 0x70706C6E
_VERSION = 1
_SCHEMA = """
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
"""


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


class Ledger:
    """The ledger of a folder; made if missing unless ``create`` is False. Safe to share between threads.

    Raises:
        InvalidInput: the folder cannot be written (or, without ``create``, holds no ledger); the disk is full.
        CorruptFile: the file is not a ledger, is damaged, or is of a newer version.
    """

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        self.path = folder / FILE
        self._lock = threading.RLock()
        self._runner: int | None = None
        if not create and not self.path.is_file():
            raise InvalidInput.of(
                "study folder", str(folder), "a folder with a ledger", "Run the study first: powerplan batch run."
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(self.path, str(error.strerror)) from error
        with self._explained():
            self._db = sqlite3.connect(self.path, timeout=60.0, isolation_level=None, check_same_thread=False)
            try:
                self._open()
            except BaseException:
                self._db.close()
                raise

    def _open(self) -> None:
        db = self._db
        fresh = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
        application, version = (
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        if not fresh and application != _APPLICATION:
            raise CorruptFile.of("ledger", str(self.path), "a ledger of powerplan", "It is another database. Move it.")
        if version > _VERSION:
            raise CorruptFile.of("ledger", f"version {version}", f"at most {_VERSION}", "Upgrade powerplan.")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last results, never the ledger
        db.execute("PRAGMA foreign_keys = ON")
        with self._transaction():
            if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {_APPLICATION}")
                db.execute(f"PRAGMA user_version = {_VERSION}")

    def close(self) -> None:
        """End this runner's leases and close the file."""
        with self._lock:
            try:
                if self._runner is not None:
                    self.leave()
            finally:
                self._db.close()

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
        with self._explained(), self._lock:
            row = self._db.execute("SELECT provenance FROM studies WHERE digest = ?", (digest,)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def entries(self, digest: str) -> list[Entry]:
        """What is known of every point of a study, in order. What a dead runner held waits for the next one."""
        with self._explained(), self._lock:
            rows = self._db.execute(
                "SELECT key, state, attempts, started, ended, seconds, code, message, runner FROM points "
                "JOIN jobs USING (key) WHERE study = ? ORDER BY number",
                (digest,),
            ).fetchall()
            living = {member[0] for member in self._members() if _lives(member)}
        return [_entry(row, living) for row in rows]

    def damaged(self, digest: str) -> set[str]:
        """Keys of the jobs of a study that are done but whose plan is gone or cannot be read. Looks at every plan."""
        with self._explained(), self._lock:
            rows = self._db.execute(
                "SELECT key, content FROM jobs LEFT JOIN plans USING (key) "
                "WHERE state = 'done' AND key IN (SELECT key FROM points WHERE study = ?)",
                (digest,),
            )
            return {key for key, content in rows if _text(content) is None}

    def plan(self, key: str) -> str | None:
        """The plan of a job that is done, as JSON."""
        with self._explained(), self._lock:
            return _plan(self._db, key)

    # leases

    def join(self) -> None:
        """Become a runner: from now on this process shows signs of life with :meth:`beat`."""
        now = time.time()
        with self._transaction():
            found = self._db.execute(
                "INSERT INTO runners (place, pid, born, started, heartbeat) VALUES (?, ?, ?, ?, ?) RETURNING id",
                (_place(), os.getpid(), _born(os.getpid()), now, now),
            ).fetchone()
            self._runner = int(found[0])

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
        with self._explained(), self._lock:
            return sum(map(_lives, self._members()))

    def reclaim(self) -> int:
        """Queue again what dead runners held; returns how many jobs."""
        with self._transaction():
            dead = [row[0] for row in self._members() if not _lives(row)]
            count = self._queue_again(dead)
            now = time.time()
            self._db.executemany("UPDATE runners SET ended = ? WHERE id = ?", ((now, runner) for runner in dead))
        return count

    def queued(self, digest: str) -> list[Job]:
        """The jobs of a study that wait, each once, in the order of its points."""
        with self._explained(), self._lock:
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

    def _members(self) -> list[tuple]:
        return self._db.execute("SELECT id, place, pid, born, heartbeat FROM runners WHERE ended IS NULL").fetchall()

    def _queue_again(self, runners: Sequence[int | None]) -> int:
        return sum(
            self._db.execute(
                "UPDATE jobs SET state = 'queued', runner = NULL, started = NULL "
                "WHERE state = 'running' AND runner = ?",
                (runner,),
            ).rowcount
            for runner in runners
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._explained(), self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors of SQLite in words that help."""
        try:
            yield
        except sqlite3.Error as error:
            raise _explain(self.path, error) from error


def read_plan(folder: Path, key: str) -> str:
    """The plan of a job in the ledger of a folder, as JSON; nothing is written, and nothing is kept open.

    Raises:
        InvalidInput: the ledger is gone, or holds no such plan.
        CorruptFile: it is damaged.
    """
    path = folder / FILE
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=60.0)) as db:
            text = _plan(db, key)
    except sqlite3.Error as error:
        if path.is_file():
            raise _explain(path, error) from error
        text = None
    if text is None:
        allowed = f"a ledger that holds the plan {key[:12]}"
        raise InvalidInput.of("study folder", str(folder), allowed, "Run the study again, or keep its folder.")
    return text


def _plan(db: sqlite3.Connection, key: str) -> str | None:
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


def _explain(path: Path, error: sqlite3.Error) -> PowerplanError:
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_SCHEMA")):
        return CorruptFile.of(
            "ledger",
            str(path),
            "an undamaged ledger",
            f"{error}. Move it away and run again, or restore a copy.",
        )
    if name.startswith("SQLITE_FULL"):
        return _unusable(path, "No space left on the disk")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return _unusable(path, "It is read-only" if path.exists() else "The folder cannot be written")
    if name.startswith("SQLITE_IOERR"):
        return _unusable(path, f"The disk reports an error or is full ({name})")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return _unusable(path, "Another program keeps it locked")
    return CorruptFile.of("ledger", str(path), "a ledger of powerplan", f"{error}. Move it away and run again.")


def _unusable(path: Path, reason: str) -> InvalidInput:
    return InvalidInput.of(
        "ledger",
        str(path),
        "a file that can be written, with room on the disk",
        f"{reason}. Mend that and run again, or name another folder with --folder; what is done is kept.",
    )


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


def _lives(row: tuple) -> bool:
    """Whether a runner lives: for one of this machine its process does, for another its heart has beaten lately."""
    _, place, pid, born, heartbeat = row
    if place and place == _place():
        return bool(born) and _born(pid) == born
    return bool(time.time() - heartbeat < SILENCE)


@lru_cache(maxsize=1)
def _place() -> str:
    """This machine since it was started, and its space of process ids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
    return f"{socket.gethostname()} {boot} {space}"


def _born(pid: int) -> str:
    """When a process began, in ticks since the machine was started; "" if it is gone (or a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
