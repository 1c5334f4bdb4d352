"""Real planning, except that two seeds misbehave: for every kind of worker."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence

from powerplan.batch.job_result import JobResult
from powerplan.batch.jobs import Job
from powerplan.batch.work import Planner

POISON, HANG = 666, 667


def misbehave(seed: int) -> None:
    """Kill this process, or never return, for the two seeds."""
    if seed == POISON:
        os.kill(os.getpid(), signal.SIGKILL)
    if seed == HANG:
        time.sleep(600)


class MisbehavingPlanner(Planner):
    """Plans, unless the seed says otherwise."""

    def run(self, jobs: Sequence[Job], emit: Callable[[JobResult], None]) -> None:
        for job in jobs:
            misbehave(job.options.get("seed", 0))
            super().run([job], emit)


def _server() -> None:
    """A planning server: PORT DATA_DIR."""
    import asyncio

    from powerplan_server import logs
    from powerplan_server.config import load_config
    from powerplan_server.server import PlannerServer

    logs.set_up("warning")
    config = load_config(overrides={"listen": f"127.0.0.1:{sys.argv[1]}", "data_dir": sys.argv[2], "workers": 2})
    asyncio.run(PlannerServer(config, calls="misbehaving_calls:CALLS").run())


if __name__ == "__main__":
    _server()
