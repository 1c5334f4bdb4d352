"""The worker process: ``python -m powerplan.batch.executors.child FD FOLDER``, requests in and answers out over FD.

A request is JSON, in a frame of :mod:`powerplan.jobs.frames`; an answer is a line of JSON and, for a plan, the plan's
JSON after it.
"""

from __future__ import annotations

import json
import resource
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from powerplan.jobs.frames import Kind, frame
from powerplan.jobs.worker import Emit, isolate, serve

#: gives the frames that end the answer to a request
Answer = Callable[[bytes, Emit], bytes]


def main(build: Callable[[Path], Answer] | None = None) -> None:
    """Serve until the connection closes."""
    answer = (build or answer_requests)(Path(sys.argv[2]))
    isolate()
    serve(socket.socket(fileno=int(sys.argv[1])), answer)


def answer_requests(folder: Path) -> Answer:
    """What answers one request after another, with what the folder stores."""
    from powerplan.batch import sources
    from powerplan.batch.blobs import Blobs
    from powerplan.batch.job_result import JobResult
    from powerplan.batch.jobs import Job
    from powerplan.batch.work import Planner, failure_of

    blobs = Blobs(folder)
    planner = Planner(blobs.get)

    def answer(data: bytes, emit: Emit) -> bytes:
        request: dict[str, Any] = json.loads(data)
        if request["do"] == "plan":
            planner.run([Job.from_json(text) for text in request["jobs"]], lambda result: emit(written(result)))
            return b""  # the parent knows how many there are
        read = {"network": sources.read_network, "inputs": sources.read_inputs}[request["do"]]
        try:
            known = read(request["definition"], Path(request["base"]), blobs)
        except Exception as error:
            code, message = failure_of(error)
            file = request["definition"].get("file", "")  # as the study file has it, wherever that lies
            message = message.replace(str(Path(request["base"]) / file), file) if file else message
            known = {"code": "unreadable" if code == "invalid" else code, "message": message}
        return frame(Kind.RESULT, json.dumps(known).encode())

    def written(result: JobResult) -> bytes:
        head = {"seconds": result.seconds, "code": result.code, "message": result.message, "memory": _memory()}
        plan = b"" if result.plan is None else json.dumps(result.plan, allow_nan=False).encode()
        return json.dumps(head).encode() + b"\n" + plan

    return answer


def _memory() -> int:
    """Largest resident memory of this process so far [bytes]."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


if __name__ == "__main__":
    main()
