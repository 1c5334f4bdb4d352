"""Targets on a part of the chips: planned for, met by simulated chips, refused where chips are not known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import optimize

import powerplan as pp
import powerplan_client as pc
from powerplan.examples import Example
from powerplan.moments.chips import spectrum
from powerplan.planning.plan_file import plan_to_dict
from powerplan.planning.session import Session
from powerplan.planning.settings import PlanSettings
from powerplan.units import significant

HARDWARE = pp.Hardware(programming_noise_std=1.5e-6)


@pytest.mark.parametrize("chips", [0.9, 0.95, 0.99])
def test_as_many_chips_meet_the_target_as_planned(iris_example: Example, chips: float) -> None:
    """Within 1.5, 1 and 0.5 points, three standard errors of 6000 chips added."""
    network, inputs = iris_example.network, iris_example.inputs
    plan = pp.plan(network, HARDWARE, inputs, pp.MaxNMSE(0.01, chips=chips))
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
    assert plan.reached == pytest.approx(0.01, rel=1e-6)
    assert plan.prediction.chips is not None
    assert plan.prediction.chips.nmse.quantile(chips) == pytest.approx(0.01, rel=1e-3)
    simulated = pp.simulate(network, HARDWARE, plan.gains, inputs, draws=6000, seed=1).chips.nmse
    share = simulated.yield_at(0.01)
    assert abs(share - chips) < {0.9: 0.015, 0.95: 0.01, 0.99: 0.005}[chips] + 3 * (chips * (1 - chips) / 6000) ** 0.5


def test_more_chips_cost_more_and_the_mean_costs_least(iris_example: Example) -> None:
    network, inputs = iris_example.network, iris_example.inputs
    mse = pp.MaxMSE(0.05)
    powers = [
        pp.plan(network, HARDWARE, inputs, target).power
        for target in (mse, pp.MaxMSE(0.05, chips=0.9), pp.MaxMSE(0.05, chips=0.99))
    ]
    assert powers == sorted(powers)
    assert powers[2] > 1.1 * powers[0]


def test_in_every_corner(iris_example: Example) -> None:
    network, inputs = iris_example.network, iris_example.inputs
    noisier = HARDWARE.replace(programming_noise_std=2e-6)
    plan = pp.plan(network, HARDWARE, inputs, pp.MaxNMSE(0.02, chips=0.9), corners=[noisier])
    (corner,) = plan.corners
    assert corner.prediction.chips is not None
    assert plan.prediction.chips is not None
    assert corner.prediction.chips.nmse.quantile(0.9) == pytest.approx(0.02, rel=1e-3)
    assert plan.prediction.chips.nmse.quantile(0.9) < 0.02


def test_verification_and_calibration_are_about_the_chips(iris_example: Example) -> None:
    network, inputs = iris_example.network, iris_example.inputs
    plan = pp.plan(network, HARDWARE, inputs, pp.MaxNMSE(0.01, chips=0.9), verify_draws=2000, calibrate=True)
    assert plan.verification is not None
    assert abs(plan.verification.ratio - 1) < 4 * plan.verification.ratio_standard_error
    assert plan.verification.ratio_standard_error < 0.05
    assert plan.verification.nmse < 0.7 * 0.01
    assert plan.verification.chip_yield == pytest.approx(0.9, abs=0.03)


def test_a_verification_tells_the_yield(iris_example: Example) -> None:
    """That of a bound on the mean is little more than half; of a power budget there is none."""
    network, inputs = iris_example.network, iris_example.inputs
    plan = pp.plan(network, HARDWARE, inputs, pp.MaxNMSE(0.01), verify_draws=2000)
    assert plan.verification is not None
    assert plan.verification.chip_yield == pytest.approx(0.6, abs=0.08)
    simulated = pp.simulate(network, HARDWARE, plan.gains, inputs, draws=2000)
    assert plan.verification.chip_yield == simulated.chips.nmse.yield_at(0.01)
    budget = pp.plan(network, HARDWARE, inputs, pp.MaxPower(plan.power), verify_draws=10)
    assert budget.verification is not None
    assert budget.verification.chip_yield is None
    flips = pp.plan(network, HARDWARE, inputs, pp.MaxFlipRate(0.05), verify_draws=500, calibrate=False)
    assert flips.verification is not None
    simulated = pp.simulate(network, HARDWARE, flips.gains, inputs, draws=500)
    rates = (simulated.classes != simulated.ideal_output.argmax(1)).mean(1)
    assert flips.verification.chip_yield == (rates <= 0.05 + 1e-9).mean()


def test_what_cannot_be_reached_is_said_of_the_chips(iris_example: Example) -> None:
    plan = pp.plan(iris_example.network, HARDWARE, iris_example.inputs, pp.MaxNMSE(1e-5, chips=0.9))
    assert plan.termination.outcome is pp.Outcome.INFEASIBLE
    assert "The lowest reachable NMSE of 90 % of the chips is" in plan.termination.message


def test_files_keep_the_part_of_the_chips(iris_example: Example, tmp_path: Path) -> None:
    network, inputs = iris_example.network, iris_example.inputs
    plan = pp.plan(network, HARDWARE, inputs, pp.MaxNMSE(0.01, chips=0.9))
    plan.save(tmp_path / "plan.json")
    assert pp.Plan.load(tmp_path / "plan.json").target == pp.MaxNMSE(0.01, chips=0.9)


@pytest.mark.parametrize("chips", [0.0, 1.0, 95, float("nan"), "most"])
def test_parts_out_of_range_are_refused(chips: object) -> None:
    with pytest.raises(pp.InvalidInput, match=r"target\.chips: got .*a finite number > 0 and < 1\. 95 % is 0\.95"):
        pp.MaxNMSE(0.01, chips=chips)  # type: ignore[arg-type]


def test_rare_errors_and_weights_are_refused_with_the_reason(iris_example: Example) -> None:
    network, inputs = iris_example.network, iris_example.inputs
    target = pp.MaxNMSE(0.01, chips=0.9)
    with pytest.raises(pp.InvalidInput, match=r"target\.chips: got 0\.9; allowed: None where devices are stuck"):
        pp.plan(network, HARDWARE.replace(stuck_on_fraction=1e-3), inputs, target)
    with pytest.raises(
        pp.InvalidInput, match=r"target\.chips: got 0\.9; allowed: None with method 'diagonal'.*linearized"
    ):
        pp.plan(network, HARDWARE, inputs, target, method="diagonal")
    with pytest.raises(pp.InvalidInput, match=r"output_weights: .*None with chips"):
        pp.plan(network, HARDWARE, inputs, target, output_weights=[1, 2, 1])


def test_no_gains_that_keep_the_chips_cost_less(iris_example: Example) -> None:
    """A plan is the cheapest of all that keep 99 % of the chips within the bound, found by a search along it."""
    network, inputs = iris_example.network, iris_example.inputs
    hardware = pp.Hardware(programming_noise_std=1e-6, clip_conductance=False, conductance_max=1e-3)
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.01, chips=0.99))
    start = np.log(np.array(plan.gains.conductance, dtype=float))

    def at(logs: np.ndarray) -> pp.Prediction:
        gains = pp.Gains(conductance=tuple(np.exp(logs)), voltage=plan.gains.voltage)
        return pp.predict(network, hardware, gains, inputs, chip_spread=True)

    def power(tilt: float) -> float:
        along = start + np.array([tilt, -tilt])

        def excess(shift: float) -> float:
            chips = at(along + shift).chips
            assert chips is not None
            return float(np.log(chips.nmse.quantile(0.99) / 0.01))

        return at(along + optimize.brentq(excess, -0.1, 0.1, xtol=1e-7)).power

    own = power(0.0)
    assert own == pytest.approx(plan.power, rel=5e-4)
    for tilt in (-0.03, 0.03):
        assert 1 < power(tilt) / own < 1.01


def test_how_the_ratio_changes_with_the_gains(iris_example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slope that plans are made with is that of the quantile over the mean, clipped devices and a bias included,
    with what the network does beyond the linearised one held."""
    monkeypatch.setattr(spectrum, "stretch", lambda *_: (1.05, 0.0))
    session = Session.of(
        iris_example.network, pp.Hardware(programming_noise_std=4e-6), iris_example.inputs, PlanSettings()
    )
    target, theta = pp.MaxNMSE(0.01, chips=0.95), session.free.upper - 0.2
    (tilt,) = session.spread_at(session.free.gains(theta), target).tilts
    steps = 0.01 * np.eye(len(theta))

    def log_ratio(at: np.ndarray) -> float:
        (ratio,) = session.spread_at(session.free.gains(at), target).ratios(session.free.gains(at))
        return float(np.log(ratio))

    slopes = [(log_ratio(theta + step) - log_ratio(theta - step)) / 0.02 for step in steps]
    assert np.abs(slopes).max() > 0.03
    assert tilt.slope == pytest.approx(slopes, rel=0.01)


def test_a_verified_budget_tells_what_the_part_of_the_chips_keeps_within(iris_example: Example) -> None:
    """Predicted and simulated within four standard errors; in files, on the wire, in words. Of the mean none."""
    case = (iris_example.network, HARDWARE, iris_example.inputs)
    noisier = HARDWARE.replace(programming_noise_std=1.8e-6)
    budget = pp.plan(*case, pp.MaxPower(3e-6, chips=0.9), corners=[noisier], verify_draws=2000)
    for hardware, prediction, check in zip((HARDWARE, noisier), budget.predictions, budget.verifications, strict=True):
        simulated = pp.simulate(case[0], hardware, budget.gains, case[2], draws=2000).chips.mse
        assert check.chip_mse == pytest.approx(simulated.quantile(0.9))
        assert (check.chip_mse_low, check.chip_mse_high) == pytest.approx(simulated.quantile_interval(0.9))
        assert prediction.chips is not None
        error = (check.chip_mse_high - check.chip_mse_low) / (2 * 1.96)
        assert abs(prediction.chips.mse.quantile(0.9) - check.chip_mse) < 4 * error + 0.01 * check.chip_mse
        assert f"({significant(check.chip_mse_low)} to {significant(check.chip_mse_high)}) simulated" in " ".join(
            budget.table().split()
        )
    assert pp.Plan.from_dict(plan_to_dict(budget)).verifications == budget.verifications
    local = pc.PlannerClient.local().plan(*case, pp.MaxPower(3e-6, chips=0.9), verify_draws=20)
    assert local.verification.chip_mse > local.verification.chip_mse_low
    assert local.verification.chip_mse_high is None  # of 20 chips none tells the upper end for 90 %
    assert "or more) simulated" in pp.plan(*case, pp.MaxPower(3e-6, chips=0.9), verify_draws=20).table()
    mean = pp.plan(*case, pp.MaxPower(3e-6), verify_draws=20)
    assert mean.verification is not None
    assert mean.verification.chip_mse is None


def test_a_budget_is_spent_on_a_part_of_the_chips(iris_example: Example) -> None:
    """99 % of the chips keep within less than those of the plan for the mean, at its power; and no less power is needed
    for what they keep within."""
    network, inputs = iris_example.network, iris_example.inputs
    hardware = HARDWARE.replace(conductance_max=1e-3)
    mean = pp.plan(network, hardware, inputs, pp.MaxPower(5e-5), granularity="column", chip_spread=True)
    budget = pp.plan(network, hardware, inputs, pp.MaxPower(5e-5, chips=0.99), granularity="column")
    assert mean.prediction.chips is not None
    assert budget.prediction.chips is not None
    kept = budget.prediction.chips.nmse.quantile(0.99)
    assert budget.power == pytest.approx(5e-5, rel=1e-6)
    assert kept < 0.998 * mean.prediction.chips.nmse.quantile(0.99)
    assert budget.baseline_mse is not None
    least = pp.plan(network, hardware, inputs, pp.MaxNMSE(kept, chips=0.99), granularity="column")
    assert least.power == pytest.approx(5e-5, rel=1e-3)
    assert budget.saving == pytest.approx(1 - kept * budget.prediction.signal_power / budget.baseline_mse)
    assert budget.objective.quantity == "MSE of 99 % of the chips"
