"""Calculations end at once when they are unwanted, and a crash touches nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import grpc
import pytest
from planner_fakes import plan_request
from planner_running import HERE, Running, assert_idle, failure, wait_for


@pytest.fixture(autouse=True)
def _both_workers_ready(server: Running) -> None:
    wait_for(lambda: server.server.pool.idle == 2)


def test_deadline_ends_the_work(server: Running) -> None:
    pids, killed = server.server.pool.pids(), server.metric("powerplan_workers_killed_total", why="cancel")
    began = time.monotonic()
    failed = failure(lambda: server.stub.Plan(plan_request("burn 10"), timeout=0.5))
    assert failed.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 1
    assert_idle(server, pids)
    deadline = server.metric("powerplan_workers_killed_total", why="deadline")
    assert deadline + server.metric("powerplan_workers_killed_total", why="cancel") > killed


def test_cancel_ends_the_work(server: Running) -> None:
    pids = server.server.pool.pids()
    call = server.stub.Plan.future(plan_request("burn 10"))
    wait_for(lambda: server.server.admission.running == 1)
    call.cancel()
    assert_idle(server, pids)


def test_vanished_client_ends_the_work(server: Running) -> None:
    """The process of the client is killed: no goodbye is sent but the connection's end."""
    script = textwrap.dedent(f"""
        import sys; sys.path.insert(0, {str(HERE)!r})
        import grpc
        from planner_fakes import plan_request
        from powerplan_client._generated.planner_service_pb2_grpc import PlannerServiceStub
        PlannerServiceStub(grpc.insecure_channel("localhost:{server.server.port}")).Plan(plan_request("burn 20"))
    """)
    pids = server.server.pool.pids()
    client = subprocess.Popen([sys.executable, "-c", script])
    wait_for(lambda: server.server.admission.running == 1, 20)
    client.kill()
    client.wait()
    assert_idle(server, pids)


def test_limit_of_the_server_is_told_apart(start) -> None:
    """A calculation beyond the server's own limit ends with the reason, though the client set no deadline."""
    server = start(workers=1, max_solve_seconds=0.3)
    failed = failure(lambda: server.stub.Plan(plan_request("burn 10")))
    assert (failed.code, failed.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    assert server.stub.Plan(plan_request(), timeout=10).HasField("profile_plan")


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGABRT"])
def test_crash_fails_its_own_call_and_says_why(server: Running, name: str) -> None:
    other = server.stub.Plan.future(plan_request("sleep 0.5", salt=hash(name) % 1000 + 1.0))
    failed = failure(lambda: server.stub.Plan(plan_request(f"crash {name}"), timeout=10))
    assert (failed.code, failed.reason) == (grpc.StatusCode.INTERNAL, "WORKER_CRASHED")
    assert name in failed.message
    assert other.result(10).HasField("profile_plan")
    wait_for(lambda: len(server.server.pool.pids()) == 2)
    assert server.stub.Plan(plan_request(salt=3.0), timeout=10).HasField("profile_plan")


def test_killed_from_outside_while_idle(server: Running) -> None:
    """A worker that died while idle is noticed before it is given work."""
    for pid in server.server.pool.pids():
        os.kill(pid, signal.SIGKILL)
    time.sleep(0.1)
    answer = server.stub.Plan(plan_request(salt=time.monotonic()), timeout=10)
    assert answer.HasField("profile_plan")


def test_absurd_allocation_is_refused_by_the_system(start) -> None:
    server = start(workers=1, worker_memory=2**29)
    failed = failure(lambda: server.stub.Plan(plan_request(f"allocate {2**31}"), timeout=20))
    assert (failed.code, failed.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OUT_OF_MEMORY")
    assert failed.trailing["grpc-retry-pushback-ms"] == "-1"  # another try would need as much
    assert server.stub.Plan(plan_request(f"allocate {2**27}"), timeout=20).profile_plan.power_watts == 2**27


def test_worker_is_reused_and_replaced_in_time(start) -> None:
    server = start(workers=1, worker_max_requests=3)
    pids = [server.stub.Plan(plan_request(salt=i + 1), timeout=20).profile_plan.mse for i in range(4)]
    assert len(set(pids[:3])) == 1
    assert pids[3] != pids[0]
    assert server.server.metrics.registry.get_sample_value("powerplan_workers_killed_total") is None


def test_internal_error_tells_nothing(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    """The trace is in the log and not in the answer."""
    failed = failure(lambda: server.stub.Plan(plan_request("fail"), timeout=10))
    assert (failed.code, failed.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    told = failed.message + str(failed.status)
    assert "secret detail" not in told
    assert "Traceback" not in told
    assert any("secret detail" in getattr(record, "trace", "") for record in caplog.records)


def test_no_worker_outlives_the_server(tmp_path: Path) -> None:
    running = Running(tmp_path)
    pids = running.server.pool.pids()
    thread = threading.Thread(target=lambda: failure(lambda: running.stub.Plan(plan_request("burn 30"))))
    thread.start()
    wait_for(lambda: running.server.admission.running == 1)
    running.stop(0.1)
    thread.join(10)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
