"""A worker process: one calculation at a time, killable at any moment, gone when the one it works for is.

:func:`serve` is the worker's side. What starts, feeds and kills it: for studies :mod:`powerplan.batch.executors.local`
(a new interpreter, a thread each), for the server ``powerplan_server.workers.pool`` (forked, on an event loop).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue

from powerplan.jobs.frames import Kind, frame, receive

#: environment of a worker: parallel work is many workers, not many threads
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
#: seconds in which a worker must be ready: importing torch and cvxpy on a busy machine
START_TIMEOUT = 300.0
_PR_SET_PDEATHSIG = 1
_READER_STACK = 256 * 1024  # bytes

Emit = Callable[[bytes], None]


def isolate() -> None:
    """Die with the parent, leave Ctrl-C and SIGTERM to it, write no core, calculate in one thread."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


def serve(connection: socket.socket, answer: Callable[[bytes, Emit], bytes]) -> None:
    """Answer jobs until the other side hangs up, which ends the process also in the middle of a calculation.

    Args:
        connection: this end of the socket pair.
        answer: is given the payload of a ``JOB`` and what sends a ``PROGRESS``; gives the frames that end its answer.
    """
    jobs: SimpleQueue[bytes] = SimpleQueue()
    threading.stack_size(_READER_STACK)
    threading.Thread(target=_read, args=(connection, jobs), daemon=True).start()
    threading.stack_size(0)
    with contextlib.suppress(ConnectionError):
        connection.sendall(frame(Kind.READY))
        while True:
            connection.sendall(answer(jobs.get(), lambda message: connection.sendall(frame(Kind.PROGRESS, message))))


def _read(connection: socket.socket, jobs: SimpleQueue[bytes]) -> None:
    """Queue the jobs that come; the parent may be gone although the process that forked this one lives."""
    with contextlib.suppress(EOFError):
        while True:
            jobs.put(receive(connection)[1])
    os._exit(0)


def ending(code: int | None) -> str:
    """How a process ended, in words that do not change from run to run; None: it has not."""
    if code is None:
        return "it hung up without ending"
    if code >= 0:
        return f"it exited with status {code}"
    why = "out of memory, or killed by hand" if -code == signal.SIGKILL else "a crash"
    return f"it was ended by {signal.Signals(-code).name} ({why})"
