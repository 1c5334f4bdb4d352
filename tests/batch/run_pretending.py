"""Runs the study "s" of a ledger with pretending workers: FOLDER WORKERS [largest file in bytes]."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from powerplan.batch.executors.local import LocalExecutor
from powerplan.batch.ledger import Ledger
from powerplan.batch.runner import Runner
from powerplan.errors import PowerplanError

if __name__ == "__main__":
    folder, workers = Path(sys.argv[1]), int(sys.argv[2])
    if len(sys.argv) > 3:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
    try:
        ledger = Ledger(folder)
        executor = LocalExecutor(folder, workers=workers, module="pretending_worker")
        try:
            Runner(ledger, "s", executor, time_limit=2.0).run()
        finally:
            executor.close()
            ledger.close()
    except PowerplanError as error:
        sys.exit(f"refused: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
