"""Times, flags, names and arrays of the wrong kind are refused by name, before anything is sent."""

from __future__ import annotations

import asyncio
import dataclasses
import decimal
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from planner_server import FakePlanner

import powerplan as pp
import powerplan_client as pc
from powerplan_client.building import plan_task, target_message
from powerplan_client.packing import Packer

TARGET = pc.MaxNMSE(0.1)
NO_TIMES = ["5", math.nan, -1, 0, True, [5], decimal.Decimal(5), -math.inf]


@pytest.mark.parametrize("timeout", [None, math.inf, 1e12, 1e300, 10**400, np.float32(50), 50])
def test_no_time_is_too_long(address: str, timeout: Any) -> None:
    async def later() -> str:
        async with pc.AsyncPlannerClient(address, timeout=timeout) as client:
            await client.server_info(timeout=timeout)
            return (await client.server_info()).server_version

    with pc.PlannerClient(address, timeout=timeout) as client:
        client.server_info(timeout=timeout)
        assert client.server_info().server_version == asyncio.run(later())


@pytest.mark.parametrize("value", NO_TIMES, ids=repr)
def test_every_call_refuses_what_is_no_time(
    planner: FakePlanner, address: str, weights: list[np.ndarray], inputs: np.ndarray, value: Any
) -> None:
    calls: dict[str, Callable[[pc.PlannerClient], Any]] = {
        "plan": lambda c: c.plan(weights, None, inputs, TARGET, timeout=value),
        "predict": lambda c: c.predict(weights, None, None, inputs, timeout=value),
        "simulate": lambda c: c.simulate(weights, None, None, inputs, timeout=value),
        "simulate_stream": lambda c: list(c.simulate_stream(weights, None, None, inputs, timeout=value)),
        "frontier": lambda c: list(c.frontier(weights, None, inputs, [TARGET], timeout=value)),
        "submit": lambda c: c.submit(weights, None, inputs, TARGET, timeout=value),
        "get_job": lambda c: c.get_job("job1", timeout=value),
        "cancel_job": lambda c: c.cancel_job("job1", timeout=value),
        "list_jobs": lambda c: list(c.list_jobs(timeout=value)),
        "watch_job": lambda c: list(c.watch_job("job1", timeout=value)),
        "wait_job": lambda c: c.wait_job("job1", timeout=value),
        "server_info": lambda c: c.server_info(timeout=value),
    }
    for make in (lambda: pc.PlannerClient(address), pc.PlannerClient.local):
        with make() as client:
            for call in calls.values():
                with pytest.raises(pc.InvalidRequest, match="seconds > 0") as caught:
                    call(client)
                assert caught.value.violations[0].field == "timeout"
            for name in ("time_limit", "run_limit"):
                with pytest.raises(pc.InvalidRequest, match=name):
                    client.submit(weights, None, inputs, TARGET, **{name: value})  # type: ignore[arg-type]
    for make_with in (pc.PlannerClient.local, pc.AsyncPlannerClient.local):
        with pytest.raises(pc.InvalidRequest, match="timeout"):
            make_with(timeout=value)
    for kind in (pc.PlannerClient, pc.AsyncPlannerClient):
        with pytest.raises(pc.InvalidRequest, match="timeout"):
            kind(address, timeout=value)
    assert planner.seen == []


async def _later(client: pc.AsyncPlannerClient, value: Any) -> None:
    await client.server_info(timeout=value)


def test_the_asyncio_client_refuses_them_too(address: str) -> None:
    async def run() -> None:
        async with pc.AsyncPlannerClient(address) as client:
            for value in NO_TIMES:
                with pytest.raises(pc.InvalidRequest, match="timeout"):
                    await client.server_info(timeout=value)
                with pytest.raises(pc.InvalidRequest, match="timeout"):
                    await anext(client.watch_job("job1", timeout=value))

    asyncio.run(run())


def test_infinite_limits_of_a_plan_are_none(
    planner: FakePlanner, address: str, weights: list[np.ndarray], inputs: np.ndarray
) -> None:
    with pc.PlannerClient(address) as client:
        client.plan(weights, None, inputs, TARGET, time_limit=math.inf)
        client.submit(weights, None, inputs, TARGET, run_limit=math.inf)
    assert not planner.submitted[0].HasField("run_limit_seconds")


PROFILE = pc.Profile(power_coefficients="a", power_exponents=1, mse_coefficients=[1], mse_exponents=None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda c, w, x: c.plan(None, None, x, TARGET), "network"),
        (lambda c, w, x: c.plan({"weights": w}, None, x, TARGET), "network"),
        (lambda c, w, x: c.plan(pc.Onnx(None), None, x, TARGET), "network"),
        (lambda c, w, x: c.plan(pc.Network(input_shape=None, nodes=None), None, x, TARGET), "network"),
        (lambda c, w, x: c.plan("a\0b", None, x, TARGET), "network"),
        (lambda c, w, x: c.plan(w, 5, x, TARGET), "hardware"),
        (lambda c, w, x: c.plan(w, {"voltage_max": "high"}, x, TARGET), "hardware.voltage_max"),
        (lambda c, w, x: c.plan(w, None, x, TARGET, corners=["hot"]), "corners[0]"),
        (lambda c, w, x: c.plan(w, None, x, TARGET, corners=5), "corners"),
        (lambda c, w, x: c.plan(w, None, ["a", "b"], TARGET), "inputs"),
        (lambda c, w, x: c.plan(w, None, [[1, 2], [3]], TARGET), "inputs"),
        (lambda c, w, x: c.plan(w, None, x, 0.1), "target"),
        (lambda c, w, x: c.plan(w, None, x, pc.MaxNMSE), "target"),
        (lambda c, w, x: c.plan(w, None, x, pc.MaxNMSE("low")), "target.MaxNMSE"),
        (lambda c, w, x: c.plan(w, None, x, pc.MaxAccuracyDrop(0.1, None)), "target.labels"),
        (lambda c, w, x: c.plan(w, None, x, TARGET, request_id=5), "request_id"),
        (lambda c, w, x: c.plan(w, None, x, TARGET, granularty="layer"), "granularty"),
        (lambda c, w, x: c.plan(w, None, x, TARGET, optimize=5), "optimize"),
        (lambda c, w, x: c.plan(w, None, x, TARGET, conductance=5), "conductance"),
        (lambda c, w, x: c.plan(w, None, x, TARGET, voltage_steps=5), "voltage_steps"),
        (lambda c, w, x: c.plan(w, None, x, TARGET, output_weights="a"), "output_weights"),
        (lambda c, w, x: c.plan(w, None, x, TARGET, validate_only="no"), "validate_only"),
        (lambda c, w, x: c.plan(w, None, x, TARGET, calibrate="no"), "calibrate"),
        (lambda c, w, x: c.plan(w, None, x, TARGET, on_upload=3), "on_upload"),
        (lambda c, w, x: c.predict(w, None, 5, x), "gains"),
        (lambda c, w, x: c.predict(w, None, pc.Gains(conductance=1.0, voltage=1.0), x), "gains"),
        (lambda c, w, x: c.predict(w, None, None, x, labels=[0.5] * 6), "labels"),
        (lambda c, w, x: c.simulate(w, None, None, x, progress=3), "progress"),
        (lambda c, w, x: list(c.frontier(w, None, x, 5)), "targets"),
        (lambda c, w, x: c.plan_profile(w, TARGET), "profile"),
        (lambda c, w, x: c.plan_profile(PROFILE, TARGET), "profile.power_coefficients"),
        (lambda c, w, x: c.plan_profile(PROFILE, TARGET, granularity="layer"), "granularity"),
        (lambda c, w, x: c.get_job(5), "job_id"),
        (lambda c, w, x: c.wait_job(""), "job_id"),
        (lambda c, w, x: list(c.watch_job("job1", after="x")), "after"),
        (lambda c, w, x: list(c.watch_job("job1", after=2**70)), "after"),
        (lambda c, w, x: list(c.list_jobs(["done"])), "states"),
        (lambda c, w, x: list(c.list_jobs(5)), "states"),
        (lambda c, w, x: list(c.list_jobs(page_size=2**40)), "page_size"),
        (lambda c, w, x: c.server_info(granularity="layer"), "granularity"),
        (lambda c, w, x: pc.Network.mlp(5), "weights"),
        (lambda c, w, x: pc.Network.mlp([[[1, 2], [3]]]), "weights[0]"),
        (lambda c, w, x: pc.Network.mlp(w, biases=5), "biases"),
        (lambda c, w, x: pc.Network.mlp(w, activation=5), "activation"),
    ],
)
def test_values_of_the_wrong_kind_are_refused_by_name(
    planner: FakePlanner, address: str, weights: list[np.ndarray], inputs: np.ndarray, call: Any, field: str
) -> None:
    for make in (lambda: pc.PlannerClient(address), pc.PlannerClient.local):
        with make() as client, pytest.raises(pc.InvalidRequest) as caught:
            call(client, weights, inputs)
        assert caught.value.violations[0].field == field
        assert str(caught.value).count(str(caught.value.violations[0])) == 1
    assert planner.seen == []


@pytest.mark.parametrize(
    ("target", "field", "value", "allowed"),
    [
        (pc.MaxNMSE(0.1, chips="abc"), "target.chips", "'abc'", "a number > 0 and < 1"),
        (pc.MaxNMSE(0.1, chips="0.9"), "target.chips", "'0.9'", "a number > 0 and < 1"),
        (pc.MaxNMSE(0.1, inputs=True), "target.inputs", "True", "a number > 0 and < 1"),
        (pc.MaxNMSE("0.1"), "target.MaxNMSE", "'0.1'", "a number > 0"),
        (pc.MaxPower(10**400), "target.MaxPower", "1000", "a number > 0"),
        (pc.MaxFlipRate([0.1]), "target.MaxFlipRate", "[0.1]", "a number > 0"),
        (pc.MaxAccuracyDrop("1%", [0, 1]), "target.MaxAccuracyDrop", "'1%'", "a number > 0"),
    ],
)
def test_numbers_of_a_target_are_refused_by_name(target: Any, field: str, value: str, allowed: str) -> None:
    """As the engine's targets refuse them."""
    with pytest.raises(pc.InvalidRequest) as caught:
        target_message(target)
    (violation,) = caught.value.violations
    assert violation.field == field
    assert violation.description.startswith(f"got {value}")
    assert violation.description.endswith(f"; allowed: {allowed}")
    arguments = [getattr(target, each.name) for each in dataclasses.fields(target)]
    with pytest.raises(pp.InvalidInput) as by_engine:
        getattr(pp, type(target).__name__)(*arguments)
    assert by_engine.value.violations[0].field == field
    assert target_message(pc.MaxNMSE(np.float32(0.5), chips=np.float64(0.9))).max_nmse == 0.5


@pytest.mark.parametrize(
    ("options", "field", "allowed"),
    [
        ({"max_iterations": "a"}, "max_iterations", "a whole number of at most 64 bits"),
        ({"max_iterations": 2.5}, "max_iterations", "a whole number of at most 64 bits"),
        ({"seed": 2**70}, "seed", "a whole number of at most 64 bits"),
        ({"tolerance": "a"}, "tolerance", "a number"),
        ({"time_limit": "a"}, "time_limit", "a number"),
        ({"memory_limit": "1GB"}, "memory_limit", "a whole number of at most 64 bits"),
        ({"corners": [{"thermal_noise": "yes"}]}, "corners[0].thermal_noise", "True or False"),
        ({"corners": [{"read_time": "1ns"}]}, "corners[0].read_time", "a number"),
        ({"corners": [{"preset": 4}]}, "corners[0].preset", "a text"),
    ],
)
def test_plain_values_are_refused_by_the_callers_name_for_them(
    weights: list[np.ndarray], inputs: np.ndarray, options: dict[str, Any], field: str, allowed: str
) -> None:
    with pytest.raises(pc.InvalidRequest) as caught:
        plan_task(Packer(), weights, None, inputs, TARGET, options)
    (violation,) = caught.value.violations
    assert violation.field == field
    assert violation.description.startswith("got ")
    assert violation.description.endswith(f"; allowed: {allowed}")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"retries": 3}, "retries"),
        ({"insecure": "no"}, "insecure"),
        ({"inline_bytes": -1}, "inline_bytes"),
        ({"inline_bytes": "1MB"}, "inline_bytes"),
        ({"token": 5}, "token"),
        ({"token": "0123456789abcdef\n"}, "token"),
        ({"token": "pässword"}, "token"),
        ({"root_certificates": "ca.pem"}, "root_certificates"),
        ({"root_certificates": b""}, "root_certificates"),
        ({"client_certificate": 3, "client_key": b"k"}, "client_certificate"),
        ({"client_certificate": b"c"}, "client_key"),
    ],
)
def test_both_clients_refuse_settings_of_the_wrong_kind(options: Any, field: str) -> None:
    for kind in (pc.PlannerClient, pc.AsyncPlannerClient):
        with pytest.raises(pc.InvalidRequest) as caught:
            kind("localhost:50051", **options)
        assert caught.value.violations[0].field == field
        assert "0123456789abcdef" not in str(caught.value)


@pytest.mark.slow
def test_a_torch_module_without_a_model_is_refused_by_the_client_too(address: str, inputs: np.ndarray) -> None:
    import torch

    with pc.PlannerClient(address) as client, pytest.raises(pc.InvalidRequest, match="GRU"):
        client.plan(torch.nn.GRU(4, 3), None, inputs, TARGET, input_shape=(4,))
