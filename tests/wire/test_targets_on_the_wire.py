"""Corners, output weights and targets on outputs and classes cross the wire; bad ones are refused by path."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import powerplan as pp
import powerplan_client as client
from powerplan.errors import InvalidInput
from powerplan_client import parsing
from powerplan_client._generated import v1 as pb
from powerplan_client.building import plan_task
from powerplan_client.networks import network_message
from powerplan_client.packing import Packer, tensor_of
from powerplan_server.calls import CallContext, run_plan


def network() -> pp.Network:
    rng = np.random.default_rng(0)
    return pp.Network.mlp([rng.normal(size=(5, 4)), rng.normal(size=(3, 5))])


INPUTS = np.random.default_rng(1).uniform(0, 1, (6, 4))
HARDWARE = pp.Hardware(programming_noise_std=1e-6)


def task_of(target: object, options: dict[str, object]) -> pb.PlanTask:
    """The task that the client builds."""
    return plan_task(Packer(1 << 20), network(), HARDWARE, INPUTS, target, options)


def request(target: pb.Target) -> pb.PlanRequest:
    task = pb.PlanTask(
        network=network_message(network()),
        inputs=tensor_of(INPUTS),
        target=target,
        hardware=pb.Hardware(programming_noise_std_siemens=1e-6),
    )
    return pb.PlanRequest(task=task)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::powerplan.PlausibilityWarning")
@pytest.mark.parametrize(
    ("given", "engine"),
    [
        (client.MaxOutputMSE(0.02), pp.MaxOutputMSE(0.02)),
        (client.MaxFlipRate(0.02), pp.MaxFlipRate(0.02)),
        (client.MaxAccuracyDrop(0.02, np.array([0, 1, 2, 0, 1, 2.0])), pp.MaxAccuracyDrop(0.02, [0, 1, 2, 0, 1, 2])),
    ],
)
@pytest.mark.parametrize("from_engine", [False, True])
def test_the_served_plan_is_the_engines(given: object, engine: object, from_engine: bool) -> None:
    """A plan with corners and a new target, asked for through the client's building, is the Python call's."""
    corner = HARDWARE.replace(read_noise_std=2e-8)
    options = {"corners": [corner], "verify_draws": 20, "calibrate": False}
    if isinstance(engine, pp.MaxOutputMSE):
        options["output_weights"] = [1, 2, 0.5]
    target = engine if from_engine else given
    message = pb.PlanRequest(task=task_of(target, options), accept_implausible=True)
    answer = run_plan(pb.PlanRequest.FromString(message.SerializeToString()), CallContext())
    plan = pp.plan(network(), HARDWARE, INPUTS, engine, **options)  # type: ignore[arg-type]
    back = parsing.parse_plan(answer.plan)
    assert back.reached == plan.reached
    assert back.output_weights == plan.output_weights
    assert [c.prediction.power for c in back.corners] == [c.prediction.power for c in plan.corners]
    assert back.corners[0].hardware.read_noise_std == 2e-8
    assert back.shadow_prices is not None
    assert plan.shadow_prices is not None
    assert [(p.corner, p.output, p.price) for p in back.shadow_prices.constraints] == [
        (p.corner, p.output, p.price) for p in plan.shadow_prices.constraints
    ]
    assert back.verification is not None
    assert back.verification.ratio_standard_error == plan.verification.ratio_standard_error  # type: ignore[union-attr]
    assert back.corners[0].verification is not None
    assert type(back.target).__name__ == type(engine).__name__
    assert answer.plan.gains.conductance_siemens[0].scalar == plan.gains.conductance[0]


def no_labels(request: pb.PlanRequest) -> None:
    request.task.target.max_accuracy_drop.fraction = 0.01


def few_labels(request: pb.PlanRequest) -> None:
    request.task.target.max_accuracy_drop.CopyFrom(pb.AccuracyDrop(fraction=0.01, labels=[0, 1]))


def negative_label(request: pb.PlanRequest) -> None:
    request.task.target.max_accuracy_drop.CopyFrom(pb.AccuracyDrop(fraction=0.01, labels=[-1] * 6))


def large_drop(request: pb.PlanRequest) -> None:
    request.task.target.max_accuracy_drop.CopyFrom(pb.AccuracyDrop(fraction=1.5, labels=[0] * 6))


def large_rate(request: pb.PlanRequest) -> None:
    request.task.target.max_flip_rate = 1.0


def negative_output_mse(request: pb.PlanRequest) -> None:
    request.task.target.max_output_mse = -1.0


def bad_corner(request: pb.PlanRequest) -> None:
    request.task.corners.add(voltage_max_volts=-1)


def many_corners(request: pb.PlanRequest) -> None:
    request.task.corners.extend([pb.Hardware()] * 65)


def wrong_weights(request: pb.PlanRequest) -> None:
    request.task.settings.output_weights.extend([1.0, 2.0])


def infinite_weights(request: pb.PlanRequest) -> None:
    request.task.settings.output_weights.extend([float("inf"), 2.0, 1.0])


def calibration_of_nothing(request: pb.PlanRequest) -> None:
    request.task.settings.calibrate = True


def calibration_without_draws(request: pb.PlanRequest) -> None:
    request.task.target.max_flip_rate = 0.1
    request.task.settings.calibrate = True
    request.task.settings.verify_draws = 0


def profile_with_corners(request: pb.PlanRequest) -> None:
    profile(request)
    request.task.target.max_mse = 1.0
    request.task.corners.add()


def profile_with_flips(request: pb.PlanRequest) -> None:
    profile(request)
    request.task.target.max_flip_rate = 0.1


def profile(request: pb.PlanRequest) -> None:
    for field in ("network", "hardware", "inputs"):
        request.task.ClearField(field)
    request.task.profile.CopyFrom(
        pb.PlanningProfile(
            power_coefficients_watts=tensor_of(np.ones((1, 1))),
            power_exponents=[1.0],
            mse_coefficients=tensor_of(np.ones((1, 1))),
            mse_exponents=[2.0],
        )
    )


@pytest.mark.parametrize("validate_only", [False, True])
@pytest.mark.parametrize(
    ("spoil", "path"),
    [
        (no_labels, "task.target.max_accuracy_drop.labels"),
        (few_labels, "task.target.max_accuracy_drop.labels"),
        (negative_label, "task.target.max_accuracy_drop.labels"),
        (large_drop, "task.target.max_accuracy_drop"),
        (large_rate, "task.target.max_flip_rate"),
        (negative_output_mse, "task.target.max_output_mse"),
        (bad_corner, "task.corners[0].voltage_max_volts"),
        (many_corners, "task.corners"),
        (wrong_weights, "task.settings.output_weights"),
        (infinite_weights, "task.settings.output_weights"),
        (calibration_of_nothing, "task.settings.calibrate"),
        (calibration_without_draws, "task.settings.calibrate"),
        (profile_with_corners, "task.corners"),
        (profile_with_flips, "task.target"),
    ],
)
def test_bad_requests_are_refused_by_path(
    spoil: Callable[[pb.PlanRequest], None], path: str, validate_only: bool
) -> None:
    message = request(pb.Target(max_nmse=0.02))
    message.validate_only = validate_only
    spoil(message)
    with pytest.raises(InvalidInput) as caught:
        run_plan(message, CallContext())
    assert path in {violation.field for violation in caught.value.violations}, str(caught.value)


@pytest.mark.parametrize("labels", [["a"], [0.5], None, object()])
def test_the_client_refuses_labels_that_are_no_classes(labels: object) -> None:
    with pytest.raises(client.InvalidRequest, match="labels"):
        task_of(client.MaxAccuracyDrop(0.01, labels), {})  # type: ignore[arg-type]
