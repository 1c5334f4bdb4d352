"""The worker process: ``python -m powerplan.batch.executors.child FD FOLDER``, requests in and answers out over FD.

A request is one JSON message; an answer is a line of JSON and, for a plan, the plan's JSON after it. Nothing is
pickled. The process ends when the connection does, or its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import resource
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1


def main(serve: Callable[[Connection, Path], None] | None = None) -> None:
    """Serve until the connection closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    with contextlib.suppress(EOFError, ConnectionError):
        (serve or serve_requests)(Connection(int(sys.argv[1])), Path(sys.argv[2]))


def serve_requests(connection: Connection, folder: Path) -> None:
    """Answer requests one after another."""
    import torch

    from powerplan.batch import sources
    from powerplan.batch.blobs import Blobs
    from powerplan.batch.jobs import Job
    from powerplan.batch.outcome import Outcome
    from powerplan.batch.work import Planner, failure_of

    torch.set_num_threads(1)
    blobs = Blobs(folder)
    planner = Planner(blobs.get)

    def emit(outcome: Outcome) -> None:
        head = {"seconds": outcome.seconds, "code": outcome.code, "message": outcome.message, "memory": _memory()}
        plan = b"" if outcome.plan is None else json.dumps(outcome.plan, allow_nan=False).encode()
        connection.send_bytes(json.dumps(head).encode() + b"\n" + plan)

    connection.send_bytes(b"{}\n")  # ready
    while True:
        request: dict[str, Any] = json.loads(connection.recv_bytes())
        if request["do"] == "plan":
            planner.run([Job.from_json(text) for text in request["jobs"]], emit)
            continue
        read = {"network": sources.read_network, "inputs": sources.read_inputs}[request["do"]]
        try:
            answer = read(request["definition"], Path(request["base"]), blobs)
        except Exception as error:
            code, message = failure_of(error)
            given = request["definition"].get("file", "")  # as the study file has it, wherever that lies
            message = message.replace(str(Path(request["base"]) / given), given) if given else message
            answer = {"code": "unreadable" if code == "invalid" else code, "message": message}
        connection.send_bytes(json.dumps(answer).encode() + b"\n")


def _memory() -> int:
    """Largest resident memory of this process so far [bytes]."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


if __name__ == "__main__":
    main()
