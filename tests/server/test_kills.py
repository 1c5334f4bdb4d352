"""kill -9 of the server, of the fork server and of workers at random moments, under load."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from planner_fakes import plan_request
from planner_running import Process, wait_for

from powerplan_client._generated import v1

KILLS = int(os.environ.get("POWERPLAN_TEST_KILLS", "9"))


def _processes(session: int) -> dict[int, int]:
    """Parent by process id, of those that live in a session."""
    found = {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit():
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session and fields[0] not in "ZX":
                    found[int(entry.name)] = int(fields[1])
    return found


@pytest.mark.slow
def test_kills_at_random_moments_lose_no_job_and_leave_no_process(tmp_path: Path) -> None:
    """Every job that was accepted ends; only one that was running when its worker was killed may fail, and says so."""
    rng = random.Random(0)
    data, log = tmp_path / "data", tmp_path / "log"
    accepted: dict[str, str] = {}
    server = Process.fake(data, log, "workers=2", "job_workers=2", session=True)
    for kill in range(KILLS):
        session = server.process.pid
        for number in range(6):
            label = f"{kill}-{number}"
            request = v1.SubmitPlanRequest(task=plan_request("sleep 0.1").task, request_id=label)
            with suppress(grpc.RpcError):
                accepted[server.stub.SubmitPlan(request, timeout=5).job.job_id] = label
        time.sleep(rng.uniform(0, 0.4))
        tree = _processes(session)
        fork_servers = [pid for pid, parent in tree.items() if parent == session]
        workers = [pid for pid, parent in tree.items() if parent in fork_servers]
        victim = rng.choice([group for group in ([session], fork_servers, workers) if group])
        os.kill(rng.choice(victim), signal.SIGKILL)
        if victim == [session]:
            server.kill(signal.SIGKILL)
            wait_for(lambda session=session: not _processes(session), 5)
            server = Process.fake(data, log, "workers=2", "job_workers=2", session=True)
    ended = {}
    for identity, label in accepted.items():
        events = list(server.stub.WatchPlanJob(v1.WatchPlanJobRequest(job_id=identity), timeout=60))
        ended[label] = events[-1].job
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    reasons = {v1.ErrorReason.Name(job.error.reason) for job in ended.values() if job.HasField("error")}
    assert reasons <= {"ERROR_REASON_WORKER_CRASHED", "ERROR_REASON_SERVER_RESTARTED"}
    assert len(accepted) >= 5 * KILLS
    assert sum(job.HasField("response") for job in ended.values()) >= len(accepted) - 2 * KILLS
    server.kill(signal.SIGTERM)
    wait_for(lambda: not _processes(server.process.pid), 5)
