"""Plans for arrays whose wires have resistance: the least error lies inside the limits, and a target can be met at two
gains."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from random_plans import small_network

import powerplan as pp
from powerplan.planning.problem.problem import Problem, scale_onto
from powerplan.planning.problem.sums import Sum
from powerplan.planning.problem.watch import Watch
from powerplan.planning.solve.descent import descend
from powerplan.planning.solve.scan import best_of_all, nearest_of_all

INPUTS = np.random.default_rng(1).uniform(0, 1, (8, 24))
WIRED = pp.Hardware(
    array_rows=24,
    array_columns=16,
    wire_resistance_row=80.0,
    wire_resistance_column=80.0,
    driver_resistance=100.0,
    sense_resistance=50.0,
)


@pytest.fixture(scope="module")
def one_layer() -> tuple[pp.Network, np.ndarray, np.ndarray, np.ndarray]:
    """A layer, gains all over its range, and their NMSE and power."""
    network = small_network(1, (24, 8), "identity")
    (largest,) = pp.Gains.full_range(network, WIRED, INPUTS).conductance
    gains = np.geomspace(0.05, 1, 40) * largest
    (voltage,) = pp.Gains.full_range(network, WIRED, INPUTS).voltage
    predictions = [pp.predict(network, WIRED, pp.Gains(conductance=(c,), voltage=(voltage,)), INPUTS) for c in gains]
    return network, gains, np.array([p.nmse for p in predictions]), np.array([p.power for p in predictions])


def test_of_two_gains_that_meet_a_target_the_cheaper_is_taken(one_layer: Any) -> None:
    network, gains, nmse, _ = one_layer
    assert 5 < nmse.argmin() < 35
    target = 1.3 * nmse.min()
    assert nmse[-1] > target
    plan = pp.plan(network, WIRED, INPUTS, pp.MaxNMSE(target))
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
    assert plan.nmse == pytest.approx(target, rel=1e-9)
    first = int((nmse <= target).argmax())
    assert gains[first - 1] < plan.gains.conductance[0] <= gains[first]
    assert "of all gains near it" in plan.termination.message
    assert "found no better ones" in plan.termination.message
    assert plan.certificate is not None
    assert plan.certificate.scanned > 20
    assert plan.certificate.scan_gap == 0
    assert plan.baseline_power == pytest.approx(plan.power)


def test_a_target_below_the_least_error_is_infeasible_there(one_layer: Any) -> None:
    network, _, nmse, _ = one_layer
    plan = pp.plan(network, WIRED, INPUTS, pp.MaxNMSE(0.8 * nmse.min()))
    assert plan.termination.outcome is pp.Outcome.INFEASIBLE
    assert plan.termination.best_reachable == pytest.approx(nmse.min(), rel=2e-3)
    assert plan.termination.best_reachable <= nmse.min()
    assert plan.termination.binding_limits == ()
    assert "gains over the whole range came no closer" in plan.termination.message
    assert {part.parameter for part in plan.termination.floor_parts} >= {"wire_resistance_row", "programming_noise_std"}


@pytest.mark.parametrize(("part", "spent"), [(0.3, 1.0), (1.0, 0.51)])
def test_a_budget_is_spent_only_as_far_as_it_lowers_the_error(one_layer: Any, part: float, spent: float) -> None:
    network, _, nmse, power = one_layer
    plan = pp.plan(network, WIRED, INPUTS, pp.MaxPower(part * power[-1]))
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
    within = nmse[power <= part * power[-1]]
    assert plan.nmse == pytest.approx(within.min(), rel=0.02)
    assert plan.power == pytest.approx(spent * part * power[-1], rel=0.01 if spent < 1 else 1e-9)


@pytest.mark.parametrize("part", [1.3, 0.99])
def test_the_best_step_may_be_one_inside(one_layer: Any, part: float) -> None:
    """The cheapest of steps that meet the target; where none does, the one with the least error."""
    network, gains, nmse, _ = one_layer
    steps = gains[1::6]
    target = part * nmse[1::6].min()
    plan = pp.plan(network, WIRED, INPUTS, pp.MaxNMSE(target), conductance_steps=pp.Steps(values=steps))
    assert plan.meets_target is (part > 1)
    best = int((nmse[1::6] <= target).argmax()) if part > 1 else int(nmse[1::6].argmin())
    assert 0 < best < len(steps) - 1
    assert plan.gains.conductance[0] == pytest.approx(steps[best], rel=1e-9)


@pytest.mark.parametrize("granularity", ["layer", pytest.param("column", marks=pytest.mark.slow)])
def test_plans_of_networks_hold_in_simulations_and_in_corners(granularity: str) -> None:
    network = small_network(3, (24, 16, 6), "relu")
    warm = WIRED.replace(wire_resistance_row=90.0)
    plan = pp.plan(network, WIRED, INPUTS, pp.MaxNMSE(0.16), granularity=granularity, corners=(warm,), verify_draws=400)
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
    assert plan.corners[0].prediction.nmse == pytest.approx(0.16, rel=1e-9)
    assert plan.nmse < 0.16
    for check, hardware in zip(plan.verifications, (WIRED, warm), strict=True):
        exact = pp.simulate(network, hardware, plan.gains, INPUTS, draws=400)
        assert check.mse == pytest.approx(exact.mse, rel=2e-3)
    worst = plan.verifications[1]
    assert worst.ratio == pytest.approx(1, abs=0.03 + 3 * worst.ratio_standard_error)
    assert plan.baseline_power is not None
    assert plan.power < plan.baseline_power


def test_wires_alone_bound_no_power() -> None:
    with pytest.raises(pp.InvalidInput, match="no noise of any kind"):
        pp.plan(small_network(1, (24, 8)), WIRED.replace(programming_noise_std=0.0), INPUTS, pp.MaxNMSE(0.1))


class TwoDips:
    """Power e^θ of a gain and an error that is low at two of them: as deep at 1e-2 as at 1, or ``deeper`` there."""

    layout = SimpleNamespace(blocks=(np.zeros(1),), count=1, power_exponents=np.ones(1))
    watch = Watch()
    bounds = np.ones(1)

    def __init__(self, deeper: float) -> None:
        self.deeper = deeper
        self.layout = SimpleNamespace(blocks=[SimpleNamespace(upper=np.zeros(1))], count=1, power_exponents=np.ones(1))
        self.objective = SimpleNamespace(rises=True, exponents=lambda layout: np.ones(1))
        measure = SimpleNamespace(exponents=lambda layout: np.full(1, -2.0))
        self.constraints = (SimpleNamespace(measure=measure),)

    def gradients(self, theta: np.ndarray) -> tuple[Sum, ...]:
        near, far = (0.5 * (theta - at) ** 2 for at in (-0.5, -4.5))
        slopes = theta + 0.5, theta + 4.5
        first = near < far
        log = np.where(first, near - 1, far - 1 - self.deeper)
        slope = np.where(first, *slopes)
        power, error = np.exp(theta), np.exp(log)
        return Sum(terms=power, jacobian=power[:, None]), Sum(terms=error, jacobian=(error * slope)[:, None])

    values = gradients

    def seconds(self, *kinds: str) -> float:
        return 0.0


def two_dips(deeper: float, bound: float) -> Problem:
    terms: Any = TwoDips(deeper)
    terms.bounds = np.array([bound])
    return Problem(terms=terms, lower=np.full(1, -14.0), upper=np.zeros(1), turns=True)


def test_a_scan_leads_to_a_cheaper_plan_that_no_certificate_knows() -> None:
    problem = two_dips(0.0, 0.5)

    def down(start: np.ndarray) -> Any:
        return descend(problem, start, tolerance=1e-9, max_iterations=60, stop_at=None)

    start = scale_onto(problem, np.zeros(1), first=0.0)
    assert start is not None
    first = down(start)
    assert first.reason == "optimal"
    assert first.theta[0] > -2
    best, scan = best_of_all(problem, first, down)
    assert best.reason == "optimal"
    # (θ + 4.5)²/2 − 1 = log 0.5
    assert best.theta[0] == pytest.approx(-4.5 - np.sqrt(2 * (1 + np.log(0.5))), abs=1e-6)
    assert scan.gap < 1e-6


def test_a_scan_leads_to_a_lower_error() -> None:
    problem = two_dips(1.0, 1e-3)
    theta, scan = nearest_of_all(problem, np.full(1, -0.5))
    assert theta[0] == pytest.approx(-4.5, abs=1e-4)
    assert scan.gap == 0
