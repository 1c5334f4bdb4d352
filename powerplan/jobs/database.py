"""A database file in SQLite: whole changes or none, threads and processes side by side, errors in words that help."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from powerplan.errors import CorruptFile, InvalidInput, PowerplanError

_INCREMENTAL = 2  # SQLite's auto_vacuum that keeps what is free in order, and gives it back when asked


@dataclass(frozen=True, kw_only=True)
class Format:
    """What a database file holds, and what it is called.

    Attributes:
        name: of the file in errors, as "ledger".
        option: of the command line that names another folder.
        application: number that marks the file (SQLite's ``application_id``).
        version: of the schema; newer files are refused.
        schema: statements, separated by semicolons, that make what is missing, in new files and in those of older
            versions.
        unmarked: tables that tell a file from before there was a mark.
        durable: a change that was acknowledged survives a power cut; else the last ones may be lost, never the file.
        shrinks: what deletions left free can be given back to the disk, see :meth:`Database.shrink`.
    """

    name: str
    option: str
    application: int
    version: int
    schema: str
    unmarked: frozenset[str] = frozenset()
    durable: bool = False
    shrinks: bool = False


class Database:
    """An open database file; made if missing. Safe to share between threads.

    Raises:
        InvalidInput: the folder cannot be written; the disk is full.
        CorruptFile: the file is another database, is damaged, or is of a newer version.
    """

    def __init__(self, path: Path, form: Format) -> None:
        self.path = path
        self._form = form
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(path, form, str(error.strerror)) from error
        with explained(path, form):
            self._db = sqlite3.connect(path, timeout=60.0, isolation_level=None, check_same_thread=False)
            try:
                self._open()
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def check(self) -> None:
        """Read the whole file.

        Raises:
            CorruptFile: a part of it is damaged.
        """
        with self._reading():
            _check(self._db, self.path, self._form)

    def shrink(self, pages: int) -> int:
        """Give pages that deletions left free back to the disk, at most so many; returns how many are left."""
        with self._reading():
            self._db.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
            return self._pragma("freelist_count")

    def try_writing(self) -> None:
        """Write to the file without changing what it holds.

        Raises:
            InvalidInput, CorruptFile: it cannot be written now; as for any change.
        """
        with self._transaction():
            self._db.execute(f"PRAGMA user_version = {self._form.version}")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Look at the file; other threads wait."""
        with explained(self.path, self._form), self._lock:
            yield

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Change the file: all of it, or nothing if an exception leaves the context."""
        with self._reading():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _open(self) -> None:
        form = self._form
        version = self._pragma("user_version")
        tables = self._tables()  # before the mark: another process may be making both
        if not self._is_marked() and tables and not (form.unmarked and tables >= form.unmarked):
            raise CorruptFile.of(
                form.name, str(self.path), f"a {form.name} of powerplan", "It is another database. Move it."
            )
        if version > form.version:
            raise CorruptFile.of(form.name, f"version {version}", f"at most {form.version}", "Upgrade powerplan.")
        if form.shrinks and self._pragma("auto_vacuum") != _INCREMENTAL:
            self._db.execute(f"PRAGMA auto_vacuum = {_INCREMENTAL}")
            with suppress(sqlite3.OperationalError):  # there may be no room for it: then the next time
                self._db.execute("VACUUM")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(f"PRAGMA synchronous = {'FULL' if form.durable else 'NORMAL'}")
        self._db.execute("PRAGMA foreign_keys = ON")
        with self._transaction():
            if not self._is_marked() or self._pragma("user_version") < form.version:
                for statement in filter(str.strip, form.schema.split(";")):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA application_id = {form.application}")
                self._db.execute(f"PRAGMA user_version = {form.version}")

    def _is_marked(self) -> bool:
        return self._pragma("application_id") == self._form.application

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    def _tables(self) -> set[str]:
        return {row[0] for row in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


@contextmanager
def read_only(path: Path, form: Format) -> Iterator[sqlite3.Connection]:
    """A file to look into; nothing is written, and nothing is kept open.

    Raises:
        InvalidInput: it cannot be opened.
        CorruptFile: it is damaged.
    """
    with (
        explained(path, form),
        closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=60.0)) as db,
    ):
        yield db


def check_file(path: Path, form: Format) -> None:
    """Read a whole file without changing it.

    Raises:
        InvalidInput: it cannot be opened.
        CorruptFile: it is another database, damaged, or of a newer version.
    """
    with read_only(path, form) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > form.version:
            raise CorruptFile.of(form.name, f"version {version}", f"at most {form.version}", "Upgrade powerplan.")
        _check(db, path, form)


def _check(db: sqlite3.Connection, path: Path, form: Format) -> None:
    faults = [row[0] for row in db.execute("PRAGMA quick_check(1)")]
    if faults != ["ok"]:
        raise _damaged(path, form, str(faults[0]).splitlines()[-1])


@contextmanager
def explained(path: Path, form: Format) -> Iterator[None]:
    """Errors of SQLite in words that help."""
    try:
        yield
    except sqlite3.Error as error:
        raise _explain(path, form, error) from error


def _explain(path: Path, form: Format, error: sqlite3.Error) -> PowerplanError:
    code = getattr(error, "sqlite_errorname", "") or ""
    if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT", "SQLITE_SCHEMA")):
        return _damaged(path, form, str(error))
    if code.startswith("SQLITE_FULL"):
        return _unusable(path, form, "No space left on the disk")
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return _unusable(path, form, "It is read-only" if path.exists() else "The folder cannot be written")
    if code.startswith("SQLITE_IOERR"):
        return _unusable(path, form, f"The disk reports an error or is full ({code})")
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return _unusable(path, form, "Another program keeps it locked")
    return CorruptFile.of(form.name, str(path), f"a {form.name} of powerplan", f"{error}. Move it away and run again.")


def _damaged(path: Path, form: Format, reason: str) -> InvalidInput:
    advice = f"{reason}. Move it away and run again, or restore a copy."
    return CorruptFile.of(form.name, str(path), f"an undamaged {form.name}", advice)


def _unusable(path: Path, form: Format, reason: str) -> InvalidInput:
    return InvalidInput.of(
        form.name,
        str(path),
        "a file that can be written, with room on the disk",
        f"{reason}. Mend that and run again, or name another folder with {form.option}; what is done is kept.",
    )
