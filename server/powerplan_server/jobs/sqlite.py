"""The jobs of one server in a SQLite file, the default: the data folder is locked, so nobody else runs them."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from powerplan.jobs.database import Database, Format
from powerplan_server.jobs.database import ORPHANS, SCHEMA, VERSION, Told

_WORDS = {
    "number": "INTEGER PRIMARY KEY AUTOINCREMENT",
    "reference": "INTEGER",
    "real": "REAL",
    "bytes": "BLOB",
    "nothing": "x''",
    "by_key": "WITHOUT ROWID",
}
FORM = Format(
    name="job store",
    option="--data-dir",
    application=0x70706C73,
    version=VERSION,
    unmarked=frozenset({"jobs", "events"}),
    durable=True,
    shrinks=True,
    schema=SCHEMA.format(**_WORDS) + ORPHANS,
)


class SqliteJobs(Database):
    """A :class:`.database.JobDatabase` in a file; made if missing.

    Raises:
        InvalidInput, CorruptFile: as :class:`powerplan.jobs.database.Database`.
    """

    lease = 0.0

    def __init__(self, path: Path) -> None:
        super().__init__(path, FORM)
        self._db.create_function("clock", 0, time.time)

    @contextmanager
    def changing(self, *, in_turn: bool = True) -> Iterator[sqlite3.Connection]:
        """Change it, all or nothing; changes of a file always take turns."""
        with self._transaction():
            yield self._db

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Look at it."""
        with self._reading():
            yield self._db

    def listen(self, told: Told) -> None:
        """Nobody else changes it."""
