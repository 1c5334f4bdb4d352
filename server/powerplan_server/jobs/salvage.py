"""A damaged job store: it is moved aside, and what can still be read of it goes into a new one."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path

from powerplan.errors import CorruptFile
from powerplan_server.jobs.sqlite import SqliteJobs
from powerplan_server.jobs.store import JobStore
from powerplan_server.jobs.values import JobLimits

log = logging.getLogger(__name__)

_BESIDE = ("", "-wal", "-shm")  # SQLite's files of one database
_MOST = 1_000_000  # numbers that are tried where the file does not tell the last one
_GIVE_UP = 1000  # numbers in a row that cannot be read


def open_store(path: Path, *, limits: JobLimits) -> JobStore:
    """The job store at ``path``; a damaged one is moved to ``<path>.damaged-<time>`` and what is readable saved.

    Raises:
        InvalidInput: the folder cannot be written.
        CorruptFile: the file is another database, or of a newer version: nothing is touched.
    """
    try:
        store = JobStore(SqliteJobs(path), limits=limits)
        try:
            store.database.check()
        except CorruptFile:
            store.database.close()
            raise
        return store
    except CorruptFile:
        if not _is_damaged(path):
            raise
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
    for suffix in _BESIDE:
        with suppress(FileNotFoundError):
            os.replace(f"{path}{suffix}", f"{aside}{suffix}")
    store = JobStore(SqliteJobs(path), limits=limits)
    saved, lost = _copy(aside, store)
    log.error(
        "the job store was damaged; what could be read is in a new one",
        extra={"moved_to": str(aside), "jobs_saved": saved, "jobs_unreadable": lost},
    )
    return store


def _is_damaged(path: Path) -> bool:
    """Whether a file that cannot be used is one of ours, damaged, rather than somebody else's or a newer one."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            return [row[0] for row in db.execute("PRAGMA quick_check(1)")] != ["ok"]
    except sqlite3.DatabaseError:
        return True


def _copy(damaged: Path, store: JobStore) -> tuple[int, int]:
    """Copy job by job, each with its events; returns how many were saved, and how many could not be read."""
    saved = lost = in_a_row = 0
    with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(damaged, isolation_level=None)) as old:
        old.row_factory = sqlite3.Row
        for number in _numbers(old):
            try:
                job = old.execute("SELECT * FROM jobs WHERE number = ?", (number,)).fetchone()
                if job is not None:
                    events = old.execute("SELECT * FROM events WHERE job = ?", (number,)).fetchall()
                    store.restore(dict(job), [dict(event) for event in events])
                    saved += 1
                in_a_row = 0
            except (sqlite3.DatabaseError, CorruptFile, ValueError):
                lost += 1
                in_a_row += 1
                if in_a_row == _GIVE_UP:
                    break
    return saved, lost


def _numbers(old: sqlite3.Connection) -> range:
    """The numbers that jobs may have, as far as the file tells."""
    first, last = 1, _MOST
    for query in ("SELECT seq FROM sqlite_sequence WHERE name = 'jobs'", "SELECT max(number) FROM jobs"):
        with suppress(sqlite3.DatabaseError):
            last = min(last, (old.execute(query).fetchone() or (last,))[0] or 0)
    with suppress(sqlite3.DatabaseError):
        first = old.execute("SELECT min(number) FROM jobs").fetchone()[0] or 1
    return range(first, last + 1)
