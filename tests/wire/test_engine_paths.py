"""What the engine finds only when it calculates is told by the path of the request's field."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest

import powerplan as pp
from powerplan.errors import InvalidInput
from powerplan_client._generated import v1 as pb
from powerplan_client.building import hardware_message
from powerplan_client.networks import network_message
from powerplan_client.packing import tensor_of
from powerplan_server import calls

INPUTS = np.ones((2, 3))
OVERFLOWING = pp.Network.mlp([np.full((4, 3), 1e200), np.full((2, 4), 1e200)], activation="relu")
PLAIN = pp.Network.mlp([np.eye(3)], activation="relu")
CONTEXT = calls.CallContext()


def _task(network: pb.Network, target: pb.Target | None = None, **settings: object) -> pb.PlanTask:
    return pb.PlanTask(
        network=network,
        hardware=hardware_message(pp.Hardware(programming_noise_std=1e-6)),
        inputs=tensor_of(INPUTS),
        settings=pb.PlanSettings(**settings),  # type: ignore[arg-type]
        target=target,
    )


def _saved(network: pp.Network) -> pb.Network:
    file = io.BytesIO()
    network.save(file)
    return pb.Network(saved_network=pb.FileContent(data=file.getvalue()))


def _plan_refused(task: pb.PlanTask) -> str:
    found = set()
    for checked_only in (True, False):
        with pytest.raises(InvalidInput) as refused:
            calls.run_plan(pb.PlanRequest(task=task, validate_only=checked_only), CONTEXT)
        found.add(str(refused.value))
    (text,) = found
    return text


def test_a_node_of_a_graph_is_named_by_its_place_there() -> None:
    message = network_message(OVERFLOWING)
    place = [node.name for node in message.graph.nodes].index(OVERFLOWING.nodes[-1].name)
    path = f"network.graph.nodes[{place}]: got linear"
    assert f"task.{path}" in _plan_refused(_task(message, pb.Target(max_nmse=0.1)))
    with pytest.raises(InvalidInput, match=r"its value is infinite") as refused:
        calls.run_predict(pb.PredictRequest(network=message, inputs=tensor_of(INPUTS)), CONTEXT)
    assert str(refused.value).startswith(path)


def test_a_node_of_a_file_is_named_beside_the_file() -> None:
    text = _plan_refused(_task(_saved(OVERFLOWING), pb.Target(max_nmse=0.1)))
    assert text.startswith("task.network.saved_network: got linear")
    assert f"(network.nodes[{OVERFLOWING.nodes[-1].name!r}])" in text


def test_a_value_too_large_for_the_memory_is_the_node_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 16, "SC_PHYS_PAGES": 4}[name])
    wide = pp.Network.mlp([np.ones((9, 3)), np.ones((2, 9))], activation="relu")
    text = _plan_refused(_task(network_message(wide), pb.Target(max_nmse=0.1)))
    assert text.startswith("task.network.graph.nodes[0]: got 'a value of 9 entries per input'")
    deep = pp.Network.mlp([np.ones((2, 3))], activation="relu")
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 16, "SC_PHYS_PAGES": 1}[name])
    text = _plan_refused(_task(network_message(deep), pb.Target(max_nmse=0.1)))
    assert text.startswith("task.network.graph.input_shape: got 'a value of 3 entries per input'")


@pytest.mark.parametrize("checked_only", [True, False])
@pytest.mark.parametrize(
    ("target", "path"),
    [
        (pb.Target(max_accuracy_drop=pb.AccuracyDrop(fraction=0.9, labels=[0, 1])), "max_accuracy_drop"),
        (pb.Target(max_accuracy_drop=pb.AccuracyDrop(fraction=0.1, labels=[0])), "max_accuracy_drop.labels"),
    ],
)
def test_the_target_of_a_frontier_that_does_not_fit_is_named(target: pb.Target, path: str, checked_only: bool) -> None:
    task = _task(network_message(PLAIN))
    request = pb.FrontierRequest(task=task, targets=[pb.Target(max_nmse=0.1), target], validate_only=checked_only)
    points: list[pb.FrontierResponse] = []
    with pytest.raises(InvalidInput) as refused:
        calls.run_frontier(request, CONTEXT, points.append)
    assert [violation.field for violation in refused.value.violations] == [f"targets[1].{path}"]
    task.target.CopyFrom(target)
    assert _plan_refused(task).startswith(f"task.target.{path}: ")


def test_the_target_that_a_profile_cannot_decide_is_named() -> None:
    one = pb.Tensor(dtype=pb.DATA_TYPE_FLOAT64, shape=[1, 1], data=np.ones(1).tobytes())
    profile = pb.PlanningProfile(
        power_coefficients_watts=one, power_exponents=[1], mse_coefficients=one, mse_exponents=[1]
    )
    request = pb.FrontierRequest(
        task=pb.PlanTask(profile=profile), targets=[pb.Target(max_mse=0.1), pb.Target(max_output_mse=0.1)]
    )
    with pytest.raises(InvalidInput) as refused:
        calls.run_frontier(request, CONTEXT, lambda _: None)
    assert [violation.field for violation in refused.value.violations] == ["targets[1]"]
