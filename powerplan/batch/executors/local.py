"""Processes of this machine, one thread each, killed when they take too long.

Why: docs/decisions/studies.md [0142].
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from powerplan.batch.executors.base import Stopped, crashed, too_long
from powerplan.batch.job_result import JobResult
from powerplan.batch.jobs import Job
from powerplan.errors import PowerplanError
from powerplan.jobs.frames import Kind, frame, receive
from powerplan.jobs.worker import ONE_THREAD, START_TIMEOUT, ending

_STARTS, _START_PAUSE = 3, 0.5
_TAIL = 400


class LocalExecutor:
    """Worker processes of this machine.

    Args:
        folder: where networks and inputs are stored by content.
        workers: how many; None = the processors that this process may use.
        module: what a worker runs.
    """

    def __init__(
        self, folder: Path, *, workers: int | None = None, module: str = "powerplan.batch.executors.child"
    ) -> None:
        self._workers = [LocalWorker(folder, module=module) for _ in range(workers or available_processors())]

    def start(self) -> Sequence[LocalWorker]:
        """The workers; each starts its process with its first job."""
        return self._workers

    def close(self) -> None:
        """End all processes."""
        for worker in self._workers:
            worker.close()


class LocalWorker:
    """One process, started when it is first needed and again after it was killed.

    Attributes:
        memory: largest resident memory of the process so far [bytes], as it last said.
    """

    def __init__(self, folder: Path, *, module: str = "powerplan.batch.executors.child") -> None:
        self.memory = 0
        self._folder = folder
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._errors: IO[bytes] | None = None
        self._stopped = False

    def run(self, jobs: Sequence[Job], time_limit: float | None) -> Iterator[JobResult]:
        """As :meth:`powerplan.batch.executors.base.Worker.run`."""
        self._send({"do": "plan", "jobs": [job.to_json() for job in jobs]})
        for _ in jobs:
            try:
                head, plan = self._receive(time_limit)
            except TimeoutError:
                self._kill()
                yield too_long(time_limit or 0.0)
                return
            except EOFError:
                yield crashed(self._ending())
                return
            self.memory = head.pop("memory")
            yield JobResult(plan=json.loads(plan) if plan else None, **head)

    def read(self, what: str, definition: Mapping[str, Any], base: Path, time_limit: float) -> dict[str, Any]:
        """What :mod:`powerplan.batch.sources` says of a network or of inputs, or {"code", "message"} of a failure."""
        self._send({"do": what, "definition": definition, "base": str(base)})
        try:
            return self._receive(time_limit)[0]
        except TimeoutError:
            self._kill()
            return {"code": "unreadable", "message": f"Reading it was stopped after {time_limit:g} s."}
        except EOFError:
            return {"code": "unreadable", "message": f"Reading it ended the process: {self._ending()}."}

    def stop(self) -> None:
        """Kill the process; the thread that waits for it clears it away."""
        self._stopped = True
        process = self._process
        if process is not None:
            process.kill()

    def close(self) -> None:
        """Kill the process and clear it away; no other thread may be using it."""
        self._stopped = True
        self._kill()

    def _send(self, request: Mapping[str, Any]) -> None:
        """Send a request to the process, which is started if there is none."""
        if self._connection is not None and self._process is not None and self._process.poll() is not None:
            self._kill()  # it died between two jobs
        if self._connection is None:
            self._start()
        assert self._connection is not None
        with contextlib.suppress(ConnectionError):  # then there is no answer, which says how it died
            self._connection.sendall(frame(Kind.JOB, json.dumps(request).encode()))

    def _start(self) -> None:
        """Start the process; a machine that is short of memory or processes gets a few tries."""
        for starts_left in reversed(range(_STARTS)):
            self._launch()
            try:
                self._receive(START_TIMEOUT)
                return
            except (EOFError, TimeoutError):
                how = self._ending()
            if starts_left:
                time.sleep(_START_PAUSE)
        raise PowerplanError(f"A worker process does not start: {how}. Check the installation.")

    def _launch(self) -> None:
        if self._stopped:
            raise Stopped
        ours, theirs = socket.socketpair()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", self._module, str(theirs.fileno()), str(self._folder)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                env={**os.environ, **ONE_THREAD},
                process_group=0,  # the terminal's Ctrl-C is not for it
            )
        self._connection = ours
        if self._stopped:  # in the meantime
            self._process.kill()

    def _receive(self, seconds: float | None) -> tuple[dict[str, Any], bytes]:
        """The next answer: its head and what follows it."""
        assert self._connection is not None
        try:
            head, _, rest = receive(self._connection, seconds)[1].partition(b"\n")
        except EOFError:
            if self._stopped:
                raise Stopped from None
            raise
        return json.loads(head or b"{}"), rest

    def _ending(self) -> str:
        """How the process ended, in words that do not change from run to run; the process is cleared away."""
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10.0)
        code = self._process.poll()
        last = self._last_words()
        self._kill()
        if self._stopped:
            raise Stopped
        return ending(code) + (f" ({last})" if code is not None and code >= 0 and last else "")

    def _last_words(self) -> str:
        """The last line that the process wrote to its standard error."""
        assert self._errors is not None
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, size - _TAIL))
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return " ".join(lines[-1].split()) if lines else ""

    def _kill(self) -> None:
        """End the process now and forget it."""
        process, connection, errors = self._process, self._connection, self._errors
        if process is not None:
            process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5.0)
        self._process = self._connection = self._errors = None
        for thing in (connection, errors):
            if thing is not None:
                thing.close()


def available_processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
