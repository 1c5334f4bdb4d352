"""The calls as functions: the same answers as the engine's own, and streams in the right order."""

from __future__ import annotations

import numpy as np
import pytest

import powerplan as pp
from powerplan.errors import InvalidInput
from powerplan_client._generated import v1 as pb
from powerplan_client.building import hardware_message
from powerplan_client.networks import network_message
from powerplan_client.packing import tensor_of
from powerplan_server import calls

RNG = np.random.default_rng(3)
NETWORK = pp.Network.mlp([RNG.normal(size=(6, 4)), RNG.normal(size=(3, 6))])
HARDWARE = pp.Hardware(read_noise_std=1e-8)
INPUTS = RNG.normal(size=(5, 4))
LABELS = [0, 1, 2, 0, 1]


def context() -> calls.CallContext:
    return calls.CallContext()


def task(**fields: object) -> pb.PlanTask:
    return pb.PlanTask(
        network=network_message(NETWORK),
        hardware=hardware_message(HARDWARE),
        inputs=tensor_of(INPUTS),
        **fields,  # type: ignore[arg-type]
    )


def test_a_plan_has_the_gains_of_the_engine_bit_for_bit() -> None:
    settings = pb.PlanSettings(optimize=[pb.GAIN_KIND_CONDUCTANCE, pb.GAIN_KIND_VOLTAGE], verify_draws=50, seed=4)
    progress: list[pb.Progress] = []
    response = calls.run_plan(
        pb.PlanRequest(task=task(target=pb.Target(max_nmse=0.02), settings=settings), request_id="r1"),
        calls.CallContext(progress=progress.append),
    )
    plan = pp.plan(
        NETWORK, HARDWARE, INPUTS, pp.MaxNMSE(0.02), optimize=("conductance", "voltage"), verify_draws=50, seed=4
    )
    assert [g.scalar for g in response.plan.gains.conductance_siemens] == list(plan.gains.conductance)
    assert [g.scalar for g in response.plan.gains.voltage_volts] == list(plan.gains.voltage)
    assert plan.verification is not None
    assert response.plan.verification.mse == plan.verification.mse
    assert response.info.request_id == "r1"
    assert 0 < response.info.timings.solve_seconds <= response.info.timings.total_seconds
    assert response.info.timings.verify_seconds > 0
    steps = [told for told in progress if told.stage == "optimising" and told.HasField("iteration")]
    assert [told.iteration for told in steps[-2:]] == [len(steps) - 2, len(steps) - 1]
    assert steps[-1].objective == pytest.approx(plan.power, rel=1e-3)
    assert steps[-1].objective_bound == pytest.approx(plan.power, rel=1e-2)
    assert [told.fraction for told in progress] == sorted(told.fraction for told in progress)


def test_an_infeasible_target_is_an_answer() -> None:
    plan = calls.run_plan(pb.PlanRequest(task=task(target=pb.Target(max_nmse=1e-12))), context()).plan
    assert plan.termination.outcome == pb.OUTCOME_INFEASIBLE
    assert plan.termination.best_reachable > 1e-12
    assert not plan.HasField("certificate")


def test_a_frontier_gives_a_point_per_target_in_order() -> None:
    points: list[pb.FrontierResponse] = []
    targets = [pb.Target(max_nmse=0.1), pb.Target(max_mse=0.01)]
    calls.run_frontier(pb.FrontierRequest(task=task(), targets=targets), context(), points.append)
    assert [point.index for point in points] == [0, 1]
    assert [point.plan.target for point in points] == targets
    assert all(point.HasField("info") for point in points)


def test_a_prediction_at_no_gains_is_made_at_the_whole_range() -> None:
    request = pb.PredictRequest(
        network=network_message(NETWORK), hardware=hardware_message(HARDWARE), inputs=tensor_of(INPUTS),
        labels=LABELS,
    )  # fmt: skip
    response = calls.run_predict(request, context())
    prediction = pp.predict(NETWORK, HARDWARE, pp.Gains.full_range(NETWORK, HARDWARE, INPUTS), INPUTS)
    assert response.prediction.mse == prediction.mse
    assert response.prediction.accuracy == prediction.accuracy(LABELS)
    assert response.prediction.ideal_accuracy == prediction.ideal_accuracy(LABELS)
    assert response.prediction.accuracy_standard_error == prediction.accuracy_standard_error(LABELS)


def test_options_of_a_prediction_reach_the_engine() -> None:
    request = pb.PredictRequest(
        network=network_message(NETWORK), hardware=hardware_message(HARDWARE), inputs=tensor_of(INPUTS),
        labels=LABELS, output_combinations=3, marginal_fields=0, seed=5, memory_limit_bytes=1,
    )  # fmt: skip
    response = calls.run_predict(request, context())
    gains = pp.Gains.full_range(NETWORK, HARDWARE, INPUTS)
    prediction = pp.predict(
        NETWORK, HARDWARE, gains, INPUTS, output_combinations=3, marginal_fields=0, seed=5, memory_limit=1
    )
    assert response.prediction.mse == prediction.mse
    assert response.prediction.mse_standard_error == prediction.mse_standard_error > 0
    assert not response.prediction.HasField("accuracy")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("output_combinations", v) for v in (-1, 1, 4097)),
        *(("marginal_fields", v) for v in (-1, 65537)),
        ("seed", -1),
        *(("memory_limit_bytes", v) for v in (0, -5, 2**30 + 1)),
    ],
)
def test_options_of_a_prediction_out_of_range_are_named(field: str, value: int) -> None:
    request = pb.PredictRequest(network=network_message(NETWORK), inputs=tensor_of(INPUTS), **{field: value})
    with pytest.raises(InvalidInput, match=rf"{field}: got"):
        calls.run_predict(request, context())


def test_a_simulation_ends_with_the_result_of_the_engine() -> None:
    gains = pp.Gains.full_range(NETWORK, HARDWARE, INPUTS)
    request = pb.SimulateRequest(
        network=network_message(NETWORK), hardware=hardware_message(HARDWARE), inputs=tensor_of(INPUTS),
        draws=300, seed=9, labels=LABELS,
    )  # fmt: skip
    messages: list[pb.SimulateResponse] = []
    calls.run_simulate(request, context(), messages.append)
    kinds = [message.WhichOneof("event") for message in messages]
    assert kinds[-1] == "simulation"
    assert set(kinds[:-1]) == {"estimate"}
    first = messages[0].estimate
    assert first.mse.confidence_low < first.mse.mean < first.mse.confidence_high
    simulation = pp.simulate(NETWORK, HARDWARE, gains, INPUTS, draws=300, seed=9)
    assert messages[-1].simulation.mse == simulation.mse
    assert messages[-1].simulation.accuracy == simulation.accuracy(LABELS)
    assert messages[-1].simulation.ideal_accuracy == simulation.ideal_accuracy(LABELS)
    assert messages[-1].simulation.accuracy_standard_error == simulation.accuracy_standard_error(LABELS)


@pytest.mark.parametrize("labels", [[0, 1], [0, 1, 2, 3, 0], [-1, 0, 0, 0, 0]])
def test_labels_that_do_not_fit_are_refused(labels: list[int]) -> None:
    request = pb.PredictRequest(network=network_message(NETWORK), inputs=tensor_of(INPUTS), labels=labels)
    with pytest.raises(InvalidInput, match="labels"):
        calls.run_predict(request, context())


def test_warnings_of_the_engine_reach_the_caller() -> None:
    gains = pb.Gains(
        conductance_siemens=[pb.Gain(scalar=1e-6)] * 2, voltage_volts=[pb.Gain(scalar=1.0), pb.Gain(scalar=1.0)]
    )
    request = pb.PredictRequest(network=network_message(NETWORK), inputs=tensor_of(INPUTS), gains=gains)
    assert any("voltage_max" in text for text in calls.run_predict(request, context()).info.warnings)


def profile(**fields: object) -> pb.PlanningProfile:
    """κ = (1, 2, 3), p = (1, 1, 1): the closed form of the source paper's problem."""
    return pb.PlanningProfile(
        power_coefficients_watts=tensor_of(np.ones((3, 1))),
        power_exponents=[1],
        mse_coefficients=tensor_of(np.array([[1.0], [2.0], [3.0]])),
        mse_exponents=[2],
        **fields,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("solver", [0, 1, 2, 3])
def test_every_solver_gives_the_closed_form_of_a_profile(solver: int) -> None:
    """S = Σ κ^{1/3} p^{2/3}: P* = S^{3/2} D^{-1/2}."""
    request = pb.PlanRequest(task=pb.PlanTask(profile=profile(solver=solver), target=pb.Target(max_mse=0.1)))
    plan = calls.run_plan(request, context()).profile_plan
    total = sum(k ** (1 / 3) for k in (1, 2, 3))
    assert plan.power_watts == pytest.approx(total**1.5 * 0.1**-0.5, rel=1e-7)
    assert plan.mse == pytest.approx(0.1, rel=1e-7)
    assert plan.shadow_prices.target == pytest.approx(-0.5, rel=1e-5)
    assert sum(plan.power_by_gain_watts) == pytest.approx(plan.power_watts)
    assert list(plan.gain_names) == ["gain1", "gain2", "gain3"]


def test_a_power_budget_is_the_reverse_of_an_error_bound() -> None:
    power = (sum(k ** (1 / 3) for k in (1, 2, 3))) ** 1.5 * 0.1**-0.5
    request = pb.PlanRequest(task=pb.PlanTask(profile=profile(), target=pb.Target(max_power_watts=power)))
    assert calls.run_plan(request, context()).profile_plan.mse == pytest.approx(0.1, rel=1e-7)


def test_a_profile_says_which_limits_make_its_target_unreachable() -> None:
    limited = profile(upper=tensor_of(np.array([1.0, np.inf, 1.0])), signal_power=2.0)
    request = pb.PlanRequest(task=pb.PlanTask(profile=limited, target=pb.Target(max_nmse=0.1)))
    termination = calls.run_plan(request, context()).profile_plan.termination
    assert termination.outcome == pb.OUTCOME_INFEASIBLE
    assert termination.best_reachable == pytest.approx((1 + 3) / 2, rel=1e-6)
    assert "gain1: upper" in termination.binding_limits


def test_a_profile_stands_alone() -> None:
    request = pb.PlanRequest(task=task(profile=profile(), target=pb.Target(max_nmse=0.1)))
    with pytest.raises(InvalidInput) as caught:
        calls.run_plan(request, context())
    fields = {violation.field for violation in caught.value.violations}
    assert fields == {"task.network", "task.hardware", "task.inputs", "task.profile.signal_power"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mse_coefficients", np.array([[1.0], [0.0], [1.0]])),
        ("mse_coefficients", np.array([[1.0], [-1.0], [1.0]])),
        ("mse_coefficients", np.ones((2, 1))),
        ("lower", np.array([1.0, np.nan, 1.0])),
        ("lower", np.full(3, -1.0)),
        ("upper", np.zeros(3)),
        ("upper", np.ones(2)),
    ],
)
def test_profiles_that_make_no_sense_are_refused(field: str, value: np.ndarray) -> None:
    spoiled = profile()
    getattr(spoiled, field).CopyFrom(tensor_of(value))
    with pytest.raises(InvalidInput, match=r"task\.profile"):
        calls.run_plan(pb.PlanRequest(task=pb.PlanTask(profile=spoiled, target=pb.Target(max_mse=1))), context())


def test_the_engine_describes_what_it_can_do() -> None:
    info = calls.describe_engine()
    operations = {operation.type: operation for operation in info.operations}
    assert operations["linear"].is_crossbar
    assert "relu" in operations["activation"].kinds
    assert info.engine_version == pp.__version__
