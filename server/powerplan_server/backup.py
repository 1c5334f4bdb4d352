"""A copy of a data folder while a server uses it: itself a data folder, which another server can be started on."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from powerplan.errors import InvalidInput
from powerplan_server.blobs import Upload
from powerplan_server.config import ServeConfig


def back_up(config: ServeConfig, to: Path) -> tuple[int, int]:
    """Copy jobs and finished uploads; returns how many jobs and how many uploads.

    Jobs are copied first: what they name has been uploaded before. Content that a job named and that left in between,
    which takes the end of that job and a full quota, is missing, and the job fails with BLOB_NOT_FOUND.

    Raises:
        InvalidInput: there is no data folder, or jobs are in a database; ``to`` is not empty or cannot be written.
    """
    if config.database:
        advice = "Copy the database with pg_dump first, then the folder of uploads."
        raise InvalidInput.of("--backup", str(to), "used where jobs are in the data folder", advice)
    data = config.data_path
    jobs = data / "jobs.sqlite"
    if not jobs.is_file():
        raise InvalidInput.of("serve.data_dir", str(data), "the data folder of a server", "There is no jobs.sqlite.")
    try:
        to.mkdir(parents=True, exist_ok=True, mode=0o700)
        if any(to.iterdir()):
            raise InvalidInput.of("--backup", str(to), "a new or empty folder", "Name another.")
        with closing(sqlite3.connect(jobs, timeout=60.0)) as db:
            db.execute("VACUUM INTO ?", (str(to / jobs.name),))  # one moment of the store, whoever writes meanwhile
            count: int = db.execute("SELECT count(*) FROM jobs").fetchone()[0]
        (to / jobs.name).chmod(0o600)
        blobs = config.blob_path
        return count, sum(_copied(path, to / "blobs" / path.relative_to(blobs)) for path in sorted(blobs.glob("*/*")))
    except (OSError, sqlite3.Error) as error:
        raise InvalidInput.of("--backup", str(to), "a folder with room for the copy", f"{error}.") from error


def _copied(path: Path, to: Path) -> bool:
    """Copy a finished upload with the time of its last use; one that has just left is left out."""
    if path.suffix == Upload.SUFFIX:
        return False
    to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(FileNotFoundError):
        shutil.copy2(path, to)
        return True
    return False
