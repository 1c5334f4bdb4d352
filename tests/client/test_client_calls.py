"""The client over gRPC and in process: the same answers, the same calls in both clients."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path

import grpc
import numpy as np
import pytest
import torch
from planner_server import FakePlanner, status_bytes

import powerplan as pp
import powerplan_client as pc
from powerplan_client._generated import v1 as pb

TARGET = pc.MaxNMSE(0.01)


def test_remote_local_and_engine_agree_bit_for_bit(address: str, weights: list[np.ndarray], inputs: np.ndarray) -> None:
    engine = pp.plan(pp.Network.mlp(weights), pp.Hardware(), inputs, pp.MaxNMSE(0.01))
    with pc.PlannerClient(address) as remote, pc.PlannerClient.local() as local:
        for client in (remote, local):
            plan = client.plan(pc.Network.mlp(weights), pc.Hardware(), inputs, TARGET)
            assert plan.gains.conductance == engine.gains.conductance
            assert (plan.power, plan.saving, plan.mse) == (engine.power, engine.saving, engine.mse)
            assert plan.hardware.conductance_max == 100e-6
            assert plan.info is not None


def test_networks_are_taken_in_every_form(
    address: str, weights: list[np.ndarray], inputs: np.ndarray, tmp_path: Path
) -> None:
    network = pp.Network.mlp(weights)
    network.save(tmp_path / "network.npz")
    module = torch.nn.Sequential(torch.nn.Linear(4, 8, bias=False), torch.nn.ReLU(), torch.nn.Linear(8, 3, bias=False))
    with torch.no_grad():
        for layer, weight in zip((module[0], module[2]), weights, strict=True):
            layer.weight.copy_(torch.as_tensor(weight))
    with pc.PlannerClient(address) as client:
        expected = client.predict(pc.Network.mlp(weights), None, None, inputs).mse
        for form in (weights, network, tmp_path / "network.npz", str(tmp_path / "network.npz")):
            assert client.predict(form, None, None, inputs).mse == expected
        of_torch = client.predict(module, None, None, inputs, input_shape=(4,)).mse
        assert of_torch == pytest.approx(expected, rel=1e-5)
        with pytest.raises(pc.InvalidRequest, match="input_shape"):
            client.predict(module, None, None, inputs)
        with pytest.raises(pc.InvalidRequest, match="network"):
            client.predict(3.0, None, None, inputs)
        with pytest.raises(pc.InvalidRequest, match="cannot be read"):
            client.predict("nowhere.npz", None, None, inputs)


def test_onnx_is_refused_before_it_is_sent_where_the_server_has_no_importer(
    planner: FakePlanner, address: str, inputs: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("powerplan_server.calls.onnx_available", lambda: False)
    with pc.PlannerClient(address) as client, pytest.raises(pc.FeatureUnavailable, match="onnx"):
        client.plan(pc.Onnx(b"model"), None, inputs, TARGET)
    assert planner.count("Plan") == 0


def test_streams_give_estimates_then_the_result(address: str, weights: list[np.ndarray], inputs: np.ndarray) -> None:
    seen: list[pc.RunningEstimate] = []
    with pc.PlannerClient(address) as client:
        *running, last = client.simulate_stream(weights, None, None, inputs, draws=300, labels=[0, 1, 2, 0, 1, 2])
        simulation = client.simulate(weights, None, None, inputs, draws=300, progress=seen.append, keep_draws=True)
        points = list(client.frontier(weights, None, inputs, [pc.MaxNMSE(0.1), pc.MaxNMSE(0.01)]))
    assert isinstance(last, pc.Simulation)
    assert all(isinstance(estimate, pc.RunningEstimate) for estimate in running)
    assert last.accuracy is not None
    assert running
    assert seen
    assert simulation.mse == last.mse
    assert simulation.mse_by_draw is not None
    assert simulation.mse_by_draw.mean() == pytest.approx(simulation.mse)
    assert [point.target.value for point in points] == [0.1, 0.01]


def test_a_stream_that_is_left_is_cancelled(address: str, weights: list[np.ndarray], inputs: np.ndarray) -> None:
    for client in (pc.PlannerClient(address), pc.PlannerClient.local()):
        with client:
            points = client.frontier(weights, None, inputs, [pc.MaxNMSE(0.1), pc.MaxNMSE(0.01)])
            next(points)
            points.close()


def test_a_profile_is_planned_without_weights(planner: FakePlanner, address: str) -> None:
    profile = pc.Profile(
        power_coefficients=np.ones((2, 1)), power_exponents=[1], mse_coefficients=np.ones((2, 1)), mse_exponents=[2]
    )
    with pc.PlannerClient(address) as client:
        plan = client.plan_profile(profile, pc.MaxMSE(0.1))
        (point,) = client.frontier(profile, None, None, [pc.MaxMSE(0.1)])
    assert plan.gains == pytest.approx([20**0.5] * 2)
    assert plan.solver == "closed_form"
    assert np.array_equal(point.gains, plan.gains)


def test_validate_only_answers_none_or_all_violations(
    address: str, weights: list[np.ndarray], inputs: np.ndarray
) -> None:
    with pc.PlannerClient(address) as client:
        assert client.plan(weights, None, inputs, TARGET, validate_only=True) is None
        with pytest.raises(pc.InvalidRequest) as caught:
            client.plan(weights, pc.Hardware(voltage_max=-1), inputs[:, :2], pc.MaxNMSE(-1))
    fields = {violation.field for violation in caught.value.violations}
    assert fields == {"task.hardware.voltage_max_volts", "task.inputs.shape", "task.target.max_nmse"}
    assert caught.value.reason == "INVALID_REQUEST"
    assert caught.value.request_id


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"granularity": "fine"}, "granularity"),
        ({"optimize": ["gain"]}, "optimize"),
        ({"method": "exact"}, "method"),
        ({"seed": 2**70}, "seed"),
        ({"verify_draws": "many"}, "verify_draws"),
        ({"timeout": -1}, "timeout"),
    ],
)
def test_options_that_cannot_be_sent_are_refused_here(
    planner: FakePlanner, address: str, weights: list[np.ndarray], inputs: np.ndarray, options: dict, field: str
) -> None:
    with pc.PlannerClient(address) as client, pytest.raises(pc.InvalidRequest) as caught:
        client.plan(weights, None, inputs, TARGET, **options)
    assert caught.value.violations[0].field == field
    assert planner.seen == []


def test_the_asyncio_client_has_the_same_methods_and_answers(
    address: str, weights: list[np.ndarray], inputs: np.ndarray
) -> None:
    def signatures(kind: type) -> dict[str, list[str]]:
        methods = inspect.getmembers(kind, inspect.isfunction)
        return {n: list(inspect.signature(f).parameters) for n, f in methods if not n.startswith("_")}

    assert signatures(pc.PlannerClient) == signatures(pc.AsyncPlannerClient)

    async def run() -> tuple[float, int, list[float], list[str]]:
        async with pc.AsyncPlannerClient(address) as client:
            plan = await client.plan(weights, None, inputs, TARGET)
            estimates = [e async for e in client.simulate_stream(weights, None, None, inputs, draws=200)]
            points = [p.power async for p in client.frontier(weights, None, inputs, [TARGET])]
            jobs = [job.job_id async for job in client.list_jobs()]
            with pytest.raises(pc.InvalidRequest):
                await client.plan(weights, None, inputs, pc.MaxNMSE(-1))
        async with pc.AsyncPlannerClient.local() as client:
            assert (await client.plan(weights, None, inputs, TARGET)).power == plan.power
        return plan.power, len(estimates), points, jobs

    power, count, points, jobs = asyncio.run(run())
    with pc.PlannerClient(address) as client:
        assert client.plan(weights, None, inputs, TARGET).power == power == points[0]
    assert count >= 2
    assert jobs == [f"job{i}" for i in range(5)]


def test_errors_carry_code_reason_metadata_and_the_time_to_wait(
    planner: FakePlanner, address: str, weights: list[np.ndarray], inputs: np.ndarray
) -> None:
    codes = {
        grpc.StatusCode.UNAUTHENTICATED: pc.Unauthenticated,
        grpc.StatusCode.PERMISSION_DENIED: pc.PermissionDenied,
        grpc.StatusCode.RESOURCE_EXHAUSTED: pc.ResourceExhausted,
        grpc.StatusCode.DEADLINE_EXCEEDED: pc.DeadlineExceeded,
        grpc.StatusCode.ALREADY_EXISTS: pc.Conflict,
        grpc.StatusCode.UNAVAILABLE: pc.Unavailable,
        grpc.StatusCode.INTERNAL: pc.ServerError,
        grpc.StatusCode.UNIMPLEMENTED: pc.FeatureUnavailable,
    }
    with pc.PlannerClient(address, retries=False) as client:
        for code, kind in codes.items():
            status = status_bytes("QUEUE_FULL", metadata={"request_id": "r7"}, retry_seconds=3)
            planner.faults["Plan"] = [(code, status, ())]
            with pytest.raises(kind) as caught:
                client.plan(weights, None, inputs, TARGET)
            error = caught.value
            assert (error.code, error.reason, error.request_id) == (code.name, "QUEUE_FULL", "r7")
            assert error.retry_after == 3


def test_retries_follow_the_servers_pushback_and_can_be_switched_off(
    planner: FakePlanner, address: str, weights: list[np.ndarray], inputs: np.ndarray
) -> None:
    fault = (grpc.StatusCode.RESOURCE_EXHAUSTED, status_bytes("QUEUE_FULL"), (("grpc-retry-pushback-ms", "1"),))
    planner.faults["Plan"] = [fault, fault]
    with pc.PlannerClient(address) as client:
        client.plan(weights, None, inputs, TARGET, validate_only=True)
    assert planner.count("Plan") == 3
    stop = (grpc.StatusCode.RESOURCE_EXHAUSTED, status_bytes("QUEUE_FULL"), (("grpc-retry-pushback-ms", "-1"),))
    planner.faults["Plan"] = [stop]
    with pc.PlannerClient(address) as client, pytest.raises(pc.ResourceExhausted):
        client.plan(weights, None, inputs, TARGET)
    planner.faults["Plan"] = [fault]
    with pc.PlannerClient(address, retries=False) as client, pytest.raises(pc.ResourceExhausted):
        client.plan(weights, None, inputs, TARGET)
    assert planner.count("Plan") == 5


def test_the_token_travels_as_bearer_and_every_call_has_an_id(planner: FakePlanner, address: str) -> None:
    with pc.PlannerClient(address, token="secret-token") as client:
        client.server_info()
        assert "secret" not in repr(client)
    metadata = planner.seen[0][1]
    assert metadata["authorization"] == "Bearer secret-token"
    assert len(metadata["x-request-id"]) == 32


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pc.PlannerClient("127.0.0.1:1", retries=False, timeout=5) as client, pytest.raises(pc.Unavailable):
        client.server_info()


def job_events() -> list[pb.WatchPlanJobResponse]:
    plan = pb.ProfilePlan(gains=[1.0], target=pb.Target(max_mse=1), solver=2, termination=pb.Termination(outcome=1))
    job = pb.PlanJob(job_id="job1", state=3, response=pb.PlanResponse(profile_plan=plan))
    states = [1, 2, 2, 2]
    events = [pb.WatchPlanJobResponse(sequence=i + 1, state=s) for i, s in enumerate(states)]  # type: ignore[arg-type]
    return [*events, pb.WatchPlanJobResponse(sequence=5, state=3, job=job)]


def test_a_job_is_watched_across_a_broken_connection(planner: FakePlanner, address: str) -> None:
    planner.events = job_events()
    planner.break_watch_at = 3
    with pc.PlannerClient(address, retries=False) as client:
        events = list(client.watch_job("job1"))
        assert client.wait_job("job1").gains == [1.0]
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
    assert events[-1].job is not None
    assert events[-1].state is pc.JobState.SUCCEEDED
    assert planner.count("WatchPlanJob") == 3


def test_a_failed_job_raises_its_error(planner: FakePlanner, address: str) -> None:
    error = pb.ErrorDetail(code=13, reason=18, message="the worker died")
    job = pb.PlanJob(job_id="job1", state=4, error=error)
    planner.events = [pb.WatchPlanJobResponse(sequence=1, state=4, job=job)]
    with pc.PlannerClient(address) as client, pytest.raises(pc.ServerError) as caught:
        client.wait_job("job1")
    assert caught.value.reason == "WORKER_CRASHED"


def test_jobs_are_submitted_with_an_idempotency_key(
    planner: FakePlanner, address: str, weights: list[np.ndarray], inputs: np.ndarray
) -> None:
    with pc.PlannerClient(address) as client:
        client.submit(weights, None, inputs, TARGET, run_limit=5)
        client.submit(weights, None, inputs, TARGET, request_id="mine")
        assert [job.job_id for job in client.list_jobs([pc.JobState.RUNNING])] == [f"job{i}" for i in range(5)]
    first, second = planner.submitted
    assert len(first.request_id) == 32
    assert first.run_limit_seconds == 5
    assert second.request_id == "mine"


def test_jobs_need_a_server(weights: list[np.ndarray], inputs: np.ndarray) -> None:
    with pc.PlannerClient.local() as client, pytest.raises(pc.FeatureUnavailable, match="needs a server"):
        client.submit(weights, None, inputs, TARGET)
