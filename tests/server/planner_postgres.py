"""A PostgreSQL of the tests' own: on a socket in a folder of its own, as a user that may run one."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import psycopg
import pytest


def _programs() -> Path | None:
    """The folder of PostgreSQL's programs, the newest where there are several."""
    found = shutil.which("initdb")
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return Path(found).resolve().parent if found else installed[-1].parent if installed else None


PROGRAMS = _programs()
needed = pytest.mark.skipif(PROGRAMS is None, reason="PostgreSQL's programs (initdb, postgres) are not installed")


class Postgres:
    """A database server in a new folder; it can be stopped, killed and started again."""

    def __init__(self, folder: Path) -> None:
        assert PROGRAMS is not None
        self.folder = folder
        self._user = _user() if os.geteuid() == 0 else None  # it refuses to run as root
        if self._user is not None:
            shutil.chown(folder, self._user)
        self._data = folder / "data"
        options = ["-A", "trust", "-U", "planner", "--no-sync", "-E", "UTF8", "--locale", "C"]
        self._run([PROGRAMS / "initdb", "-D", self._data, *options])
        self._numbers = count()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        assert PROGRAMS is not None
        settings = {"listen_addresses": "", "unix_socket_directories": self.folder, "fsync": "off"}
        command = [PROGRAMS / "postgres", "-D", self._data]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, user=self._user, cwd=self.folder)
        end = time.monotonic() + 20
        while True:
            try:
                psycopg.connect(self.address("postgres"), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < end, (self.folder / "log").read_text()
                time.sleep(0.02)

    def signal(self, number: int) -> None:
        """Send a signal to its main process."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> None:
        """Wait for its end."""
        assert self._process is not None
        self._process.wait(20)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """All its processes stop, those of connections among them: nobody gets an answer, nor an error."""
        assert self._process is not None
        pid = self._process.pid
        self.signal(signal.SIGSTOP)
        pids = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        for child in pids:
            _send(child, signal.SIGSTOP)
        try:
            yield
        finally:
            for child in (pid, *pids):
                _send(child, signal.SIGCONT)

    @contextmanager
    def away(self) -> Iterator[None]:
        """It is stopped, and started again."""
        self.signal(signal.SIGINT)
        self.wait()
        try:
            yield
        finally:
            self.start()

    def address(self, database: str) -> str:
        """The connection URI of a database."""
        return f"postgresql://planner@/{database}?host={self.folder}"

    def new(self) -> str:
        """The address of a new, empty database."""
        name = f"jobs{next(self._numbers)}"
        with psycopg.connect(self.address("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        return self.address(name)

    def _run(self, command: list[str | Path]) -> None:
        subprocess.run(command, check=True, capture_output=True, user=self._user, cwd=self.folder, timeout=60)


def _user() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


@contextmanager
def running() -> Iterator[Postgres]:
    """One that is stopped and removed at the end."""
    with tempfile.TemporaryDirectory(prefix="pg-") as name:  # pytest's own folders are closed to other users
        postgres = Postgres(Path(name))
        try:
            yield postgres
        finally:
            postgres.signal(signal.SIGCONT)
            postgres.signal(signal.SIGQUIT)  # at once
            postgres.wait()


def _send(pid: int, number: int) -> None:
    """Send a signal to a process, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
