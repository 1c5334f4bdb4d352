"""Targets on a part of the inputs, and plans for inputs that were not calibrated with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import powerplan as pp
import powerplan_client as pc
from powerplan.examples import Example
from powerplan.per_input import Inputs, student

HARDWARE = pp.Hardware(programming_noise_std=1.5e-6)


def _inputs(result: pp.Prediction | pp.Simulation) -> Inputs:
    assert result.inputs is not None
    return result.inputs


@pytest.mark.parametrize("target", [pp.MaxNMSE(0.01, inputs=0.9), pp.MaxMSE(0.05, inputs=0.9)])
def test_a_part_of_the_inputs_keeps_the_bound(iris_example: Example, target: pp.MaxNMSE | pp.MaxMSE) -> None:
    network, inputs = iris_example.network, iris_example.inputs
    plan = pp.plan(network, HARDWARE, inputs, target, verify_draws=3000)
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
    told = _inputs(plan.prediction)
    quantile = told.mse_quantile(0.9) if isinstance(target, pp.MaxMSE) else told.nmse_quantile(0.9)
    assert quantile == pytest.approx(target.value, rel=1e-3)
    assert plan.reached == pytest.approx(target.value, rel=1e-6)
    assert plan.verification is not None
    assert plan.verification.ratio == pytest.approx(1, abs=0.12)
    assert plan.verification.chip_yield is None
    assert target.quantity.endswith("of 90 % of the inputs")


def test_for_other_inputs_the_upper_end_meets_the_bound(iris_example: Example) -> None:
    network, inputs = iris_example.network, iris_example.inputs
    mean = pp.plan(network, HARDWARE, inputs, pp.MaxNMSE(0.01))
    upper = pp.plan(network, HARDWARE, inputs, pp.MaxNMSE(0.01), calibration="upper")
    assert _inputs(upper.prediction).nmse_interval()[1] == pytest.approx(0.01, rel=1e-3)
    assert upper.reached == pytest.approx(0.01, rel=1e-6)
    assert upper.power > mean.power
    assert upper.calibration == "upper"
    assert "upper end" in upper.table()


def test_for_other_inputs_with_weights_corners_and_chips(iris_example: Example) -> None:
    network, inputs = iris_example.network, iris_example.inputs
    noisier = HARDWARE.replace(programming_noise_std=2e-6)
    weights = np.array([2.0, 1.0, 0.0])
    plan = pp.plan(
        network, HARDWARE, inputs, pp.MaxMSE(0.05), calibration="upper", output_weights=weights, corners=[noisier]
    )
    (corner,) = plan.corners
    ideal, mean, covariance = (
        getattr(corner.prediction, name) for name in ("ideal_output", "output_mean", "output_covariance")
    )
    errors = (((mean - ideal) ** 2 + np.diagonal(covariance, axis1=1, axis2=2)) * weights).mean(1)
    end = errors.mean() + student(len(errors) - 1) * errors.std(ddof=1) / np.sqrt(len(errors))
    assert end == pytest.approx(0.05, rel=1e-3)
    both = pp.plan(network, HARDWARE, inputs, pp.MaxNMSE(0.01, chips=0.9), calibration="upper")
    assert both.prediction.chips is not None
    factor = _inputs(both.prediction).nmse_interval()[1] / both.nmse
    assert both.prediction.chips.nmse.quantile(0.9) * factor == pytest.approx(0.01, rel=2e-3)


def test_for_other_inputs_classes_are_verified_at_the_upper_end(iris_example: Example) -> None:
    network, inputs = iris_example.network, iris_example.inputs
    plan = pp.plan(network, HARDWARE, inputs, pp.MaxFlipRate(0.05), calibration="upper")
    assert plan.meets_target
    assert plan.verification is not None
    simulation = pp.simulate(network, HARDWARE, plan.gains, inputs, draws=4000, seed=5)
    flips = (simulation.classes != simulation.ideal_output.argmax(1)).mean(0)
    end = flips.mean() + student(len(flips) - 1) * flips.std(ddof=1) / np.sqrt(len(flips))
    assert end == pytest.approx(0.05, rel=0.15)


def test_for_other_inputs_a_quantile_needs_enough_of_them(iris_example: Example) -> None:
    network, inputs = iris_example.network, iris_example.inputs
    with pytest.raises(pp.InvalidInput, match=r"inputs: got 32; allowed: at least 72 .* inputs=0\.95"):
        pp.plan(network, HARDWARE, inputs, pp.MaxNMSE(0.01, inputs=0.95), calibration="upper")
    with pytest.raises(pp.InvalidInput, match=r"inputs: got 1; allowed: at least 2 .*calibration='upper'"):
        pp.plan(network, HARDWARE, inputs[:1], pp.MaxNMSE(0.01), calibration="upper")
    plan = pp.plan(network, HARDWARE, inputs, pp.MaxNMSE(0.01, inputs=0.6), calibration="upper")
    errors = _inputs(plan.prediction).nmse_by_input
    assert (errors <= 0.01 * 1.001).mean() > 0.7


@pytest.mark.parametrize("target", [pp.MaxOutputMSE(0.1), pp.MaxPower(1e-3)])
def test_what_is_no_mean_over_inputs_is_refused(iris_example: Example, target: pp.MaxOutputMSE) -> None:
    with pytest.raises(pp.InvalidInput, match="calibration: got 'upper'; allowed: 'mean' with"):
        pp.plan(iris_example.network, HARDWARE, iris_example.inputs, target, calibration="upper")


def test_chips_and_inputs_are_not_bounded_at_once() -> None:
    with pytest.raises(pp.InvalidInput, match=r"target\.inputs: got 0\.9; allowed: None with chips"):
        pp.MaxNMSE(0.01, chips=0.9, inputs=0.9)


@pytest.mark.parametrize("part", [0.0, 1.0, 95, "most"])
def test_parts_out_of_range_are_refused(part: object) -> None:
    with pytest.raises(pp.InvalidInput, match=r"target\.inputs: got .*0\.95"):
        pp.MaxNMSE(0.01, inputs=part)  # type: ignore[arg-type]


def test_files_and_clients_keep_both(iris_example: Example, tmp_path: Path) -> None:
    network, inputs = iris_example.network, iris_example.inputs
    plan = pp.plan(network, HARDWARE, inputs, pp.MaxNMSE(0.01, inputs=0.5), calibration="upper")
    plan.save(tmp_path / "plan.json")
    again = pp.Plan.load(tmp_path / "plan.json")
    assert again.target == pp.MaxNMSE(0.01, inputs=0.5)
    assert again.calibration == "upper"
    client = pc.PlannerClient.local()
    answer = client.plan(network, HARDWARE, inputs, pc.MaxNMSE(0.01, inputs=0.5), calibration="upper")
    assert answer.target == pc.MaxNMSE(0.01, inputs=0.5)
    assert answer.calibration == "upper"
    assert answer.gains.conductance == plan.gains.conductance
    relaxed = {change.parameter: change for change in again.explain(network, inputs).relaxations}
    assert relaxed["target"].resolved == pytest.approx(relaxed["target"].predicted, rel=0.2)
