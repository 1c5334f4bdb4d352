"""Worker functions for tests of the server's infrastructure: the name of the network's output says what to do."""

from __future__ import annotations

import os
import signal
import time

from powerplan.errors import InvalidInput, Violation
from powerplan_client._generated import v1
from powerplan_server.workers.protocol import Call


def plan_request(what: str = "", *, label: str | None = None, salt: float = 1.0, **blobs: str) -> v1.PlanRequest:
    """A request for the fake Plan; ``salt`` makes it differ from others."""
    request = v1.PlanRequest(task=v1.PlanTask(target=v1.Target(max_mse=salt)))
    request.task.network.graph.output = what
    for sha256 in blobs.values():
        request.task.network.saved_network.blob.sha256 = sha256
    if label is not None:
        request.request_id = label
    return request


def _plan(data: bytes, call: Call) -> bytes:
    call.begin("reading")
    request = v1.PlanRequest.FromString(data)
    call.begin("acting")
    what, _, value = request.task.network.graph.output.partition(" ")
    answer = v1.PlanResponse(info=v1.ResponseInfo(timings=v1.Timings(solve_seconds=0.5, verify_seconds=0.25)))
    answer.profile_plan.power_watts = time.monotonic()  # every calculation gives another answer
    answer.profile_plan.mse = os.getpid()
    end = time.monotonic() + (float(value) if what in ("burn", "sleep") else 0)
    if what == "burn":
        while time.monotonic() < end:
            sum(range(1000))
            call.emit(v1.Progress(stage="plan", fraction=0.5).SerializeToString())
    elif what == "sleep":
        call.emit(v1.Progress(stage="plan", fraction=0.5).SerializeToString())
        time.sleep(float(value))
    elif what == "crash":
        os.kill(os.getpid(), getattr(signal, value))
    elif what == "allocate":
        answer.profile_plan.power_watts = len(bytearray(int(value)))
    elif what == "fail":
        raise RuntimeError("secret detail of the server")
    elif what == "refuse":
        raise InvalidInput(
            *(Violation(field=f"task.field{i}", value="1", allowed="2", advice="Say 2.") for i in range(int(value)))
        )
    elif what == "deadline":
        answer.profile_plan.termination.outcome = v1.Outcome.OUTCOME_DEADLINE
    if call.blobs:
        answer.profile_plan.power_watts = sum(os.path.getsize(path) for path in call.blobs.values())
    return answer.SerializeToString()


def _simulate(data: bytes, call: Call) -> bytes:
    for done in range(1, 4):
        call.emit(v1.SimulateResponse(estimate=v1.RunningEstimate(draws_done=done)).SerializeToString())
    last = v1.SimulateResponse(simulation=v1.Simulation(draws=3, mse=time.monotonic()), info=v1.ResponseInfo())
    call.emit(last.SerializeToString())
    return b""


def _info(data: bytes, call: Call) -> bytes:
    return v1.GetServerInfoResponse(api_versions=["v1"]).SerializeToString()


CALLS = {"Plan": _plan, "Simulate": _simulate, "GetServerInfo": _info}
