"""Calibrated plans: the simulation, not the prediction, meets the target; how many draws that takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from random_plans import small_network

import powerplan as pp
from powerplan.planning import policy
from powerplan.planning.verify.calibration import calibrated, planned_bound, recalibrated
from powerplan.planning.verify.draws import draw_work, enough_draws

NOISY = pp.Hardware(programming_noise_std=2e-6)


@pytest.fixture(scope="module")
def planned(network: pp.Network, inputs: np.ndarray) -> pp.Plan:
    """A plan for a flip rate of 20 %, at high noise, with a check of its prediction."""
    return pp.plan(network, NOISY, inputs, pp.MaxFlipRate(0.2), verify_draws=300, calibrate=False, tolerance=1e-4)


class Simulated:
    """Stands in for the solver and the simulator: a plan for D' reaches D' and is simulated to reach factor · D'."""

    def __init__(self, plan: pp.Plan, factor: Callable[[float], float], error: float = 0.01) -> None:
        self.target, self.factor, self.error = plan.target, factor, error
        self.rounds: list[int] = []
        self.first = self.check(replace(plan, reached=plan.target.value), 0)

    def solve(self, bound: pp.MaxFlipRate, near: pp.Plan) -> pp.Plan:
        first, *others = near.gains.conductance
        gains = pp.Gains(conductance=[(1 + bound.value) * first, *others], voltage=near.gains.voltage)
        provenance = {**self.first.provenance, "seconds": {"optimise": 1.0}}
        return replace(near, reached=bound.value, gains=gains, verification=None, provenance=provenance)

    def check(self, plan: pp.Plan, number: int) -> pp.Plan:
        self.rounds.append(number)
        assert self.first.verification if number else True
        verification = replace(
            plan.verification or self.first.verification,
            ratio=self.factor(plan.reached) * plan.reached / self.target.value,
            ratio_standard_error=self.error,
        )
        seconds = {"optimise": 1.0, "verify": 2.0}
        return replace(plan, verification=verification, provenance={**plan.provenance, "seconds": seconds})

    def run(self, stop_at: float | None = None) -> pp.Plan:
        return calibrated(self.first, solve=self.solve, check=self.check, stop_at=stop_at)  # type: ignore[arg-type]


def test_a_constant_ratio_of_simulation_to_prediction_is_calibrated_away_in_one_round(planned: pp.Plan) -> None:
    simulated = Simulated(planned, lambda reached: 1.25)
    plan = simulated.run()
    assert plan.verification is not None
    assert plan.verification.ratio == pytest.approx(1)
    assert planned_bound(plan).value == pytest.approx(0.2 / 1.25) == plan.provenance["calibrated_bound"]
    assert plan.provenance["calibration_rounds"] == 1
    assert plan.provenance["seconds"] == {"optimise": 2.0, "verify": 4.0}, "the time of all plans is told"
    assert simulated.rounds == [0, 1]


def test_a_ratio_that_changes_takes_two_rounds_and_no_more(planned: pp.Plan) -> None:
    simulated = Simulated(planned, lambda reached: (reached / 0.1) ** 0.5, error=1e-6)
    plan = simulated.run()
    assert plan.verification is not None
    ratios = [np.sqrt(2), 2 ** (0.5 - 0.75), 2 ** (0.5 - 0.75 + 0.375)]  # D' falls by the ratio, S as D'^1.5
    assert plan.verification.ratio == pytest.approx(ratios[policy.MOST_CALIBRATIONS])
    assert simulated.rounds == [0, 1, 2]


def test_a_simulation_within_its_standard_error_stays(planned: pp.Plan) -> None:
    for ratio in (0.991, 1.009):
        simulated = Simulated(planned, lambda reached, ratio=ratio: ratio)  # type: ignore[misc]
        assert simulated.run() is simulated.first
        assert "calibrated_bound" not in simulated.first.provenance


def test_no_round_begins_that_would_end_after_the_deadline(planned: pp.Plan) -> None:
    simulated = Simulated(planned, lambda reached: 1.5)
    for left in (-1, 2):  # plan and check took 3 s
        assert simulated.run(stop_at=time.monotonic() + left) is simulated.first


def test_bounds_stay_below_the_ideal_accuracy_and_move_at_most_fourfold(planned: pp.Plan) -> None:
    rarely = Simulated(planned, lambda reached: 1e-3).first
    found = recalibrated(rarely)
    assert found is not None
    assert found.value == pytest.approx(0.6), "halfway from 0.2 to 1, the largest flip rate"
    often = recalibrated(Simulated(planned, lambda reached: 1e3).first)
    assert often is not None
    assert often.value == pytest.approx(0.05)


def test_steps_that_leave_slack_are_not_tightened_where_the_simulation_meets_the_target(planned: pp.Plan) -> None:
    """Reached 0.17 of 0.2 predicted, 0.19 simulated: D · F/S = 0.179 would ask for more than is needed."""
    slack = Simulated(planned, lambda reached: 1.0).check(replace(planned, reached=0.17), 0)
    assert slack.verification is not None
    assert recalibrated(replace(slack, verification=replace(slack.verification, ratio=0.95))) is None


def test_plans_on_classes_are_verified_and_calibrated_by_default(network: pp.Network, inputs: np.ndarray) -> None:
    """High noise, where predictions are off; other targets are planned from predictions alone."""
    targets = [pp.MaxFlipRate(0.2), pp.MaxNMSE(0.1)]
    classes, error = pp.frontier(network, NOISY, inputs, targets=targets, tolerance=1e-4, seed=4)
    assert error.verification is None
    check = classes.verification
    assert check is not None
    assert check.draws == policy.MOST_DRAWS or check.ratio_standard_error * 0.2 < 1.1e-3
    judged = pp.simulate(network, NOISY, classes.gains, inputs, draws=check.draws, seed=99)
    rate = float(pp.MaxFlipRate(0.2).wrong_rates(judged).mean())
    assert abs(rate - 0.2) < 5 * 0.2 * check.ratio_standard_error


def test_calibration_and_verification_can_be_declined(
    network: pp.Network, inputs: np.ndarray, planned: pp.Plan
) -> None:
    target = pp.MaxFlipRate(0.2)
    assert pp.plan(network, NOISY, inputs, target, verify_draws=0, tolerance=1e-2).verification is None
    assert planned.verification is not None
    assert not planned.verification.calibrated
    assert "calibrated_bound" not in planned.provenance


@pytest.mark.filterwarnings("ignore::powerplan.PlausibilityWarning")
def test_an_explanation_relaxes_what_was_planned_for() -> None:
    """The bound that calibration found, not the target: relaxing it by 10 % saves what its price says."""
    network, inputs = small_network(widths=(4, 5, 3)), np.random.default_rng(2).uniform(0, 1, (8, 4))
    plan = pp.plan(network, NOISY, inputs, pp.MaxFlipRate(0.25), verify_draws=0, tolerance=1e-6)
    provenance = {**plan.provenance, "calibrated_bound": 0.25}
    plan = replace(plan, target=pp.MaxFlipRate(0.3), provenance=provenance)
    target = next(r for r in plan.explain(network, inputs).relaxations if r.parameter == "target")
    assert target.resolved is not None
    assert target.predicted is not None
    assert target.resolved == pytest.approx(target.predicted, rel=0.1)


def test_draws_reach_the_standard_error_within_their_limits(
    network: pp.Network, inputs: np.ndarray, planned: pp.Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (network, [NOISY], planned.gains, inputs)
    draws = enough_draws(*arguments, pp.MaxFlipRate(0.2), seed=0, stop_at=None)
    assert policy.FEWEST_DRAWS < draws <= policy.MOST_DRAWS
    if draws < policy.MOST_DRAWS:
        spread = pp.MaxFlipRate(0.2).wrong_rates(pp.simulate(network, NOISY, planned.gains, inputs, draws=draws)).std()
        assert spread / np.sqrt(draws) == pytest.approx(1e-3, rel=0.2)
    assert enough_draws(*arguments, pp.MaxFlipRate(1e-9), seed=0, stop_at=None) == policy.MOST_DRAWS
    assert enough_draws(*arguments, pp.MaxFlipRate(0.2), seed=0, stop_at=time.monotonic() - 1) == 0
    work = draw_work(network, NOISY, len(inputs))
    assert work == sum(w.size for w in (n.op.weight for n in network.crossbars)) * (24 + 100)  # type: ignore[attr-defined]
    monkeypatch.setattr("powerplan.planning.policy.VERIFICATION_WORK", 300 * work)
    assert enough_draws(*arguments, pp.MaxFlipRate(1e-9), seed=0, stop_at=None) == 300
    monkeypatch.setattr("powerplan.planning.policy.VERIFICATION_WORK", 200 * work)
    assert enough_draws(*arguments, pp.MaxFlipRate(1e-9), seed=0, stop_at=None) == 0


def test_no_change_in_any_draw_is_not_taken_for_certainty(network: pp.Network, inputs: np.ndarray) -> None:
    quiet = pp.Hardware(programming_noise_std=1e-9)
    plan = pp.plan(network, quiet, inputs, pp.MaxFlipRate(1e-5), verify_draws=20, tolerance=1e-3)
    check = plan.verification
    assert check is not None
    if check.ratio == 0:
        assert check.ratio_standard_error == pytest.approx(1 / (20 * len(inputs)) / 1e-5)
        assert not check.calibrated
