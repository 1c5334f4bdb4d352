"""A worker process without the engine: a plan is made up from its job, and two seeds misbehave.

``python -m pretending_worker FD FOLDER``; the environment variable PRETEND names a saved plan.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from powerplan.batch.executors.child import Answer, main
from powerplan.jobs.worker import Emit

POISON, HANG = 666, 667


def build(folder: Path) -> Answer:
    plan = json.loads(Path(os.environ["PRETEND"]).read_text())
    pause = float(os.environ.get("PRETEND_SECONDS", "0"))

    def answer(data: bytes, emit: Emit) -> bytes:
        for text in json.loads(data)["jobs"]:
            job = json.loads(text)
            if job["options"].get("seed") == POISON:
                os.kill(os.getpid(), signal.SIGKILL)
            if job["options"].get("seed") == HANG:
                time.sleep(600)
            time.sleep(pause)
            plan["prediction"]["power"] = job["target"]["max_nmse"] * 3
            head = {"seconds": pause, "code": "", "message": "", "memory": 0}
            emit(json.dumps(head).encode() + b"\n" + json.dumps(plan).encode())
        return b""

    return answer


if __name__ == "__main__":
    if sys.argv[1:] == ["broken"]:
        sys.exit("it never starts")
    main(build)
