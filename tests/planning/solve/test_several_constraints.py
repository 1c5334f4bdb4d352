"""Plans with several constraints: single outputs and corners, each at the least power and with honest prices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from random_plans import small_network
from scipy import optimize

import powerplan as pp
from powerplan.moments.predictor import Predictor
from powerplan.planning.problem.problem import Problem
from powerplan.planning.problem.requirement import requirement
from powerplan.planning.problem.terms import Terms
from powerplan.planning.problem.variables import free_gains, hold


def corners_of(hardware: pp.Hardware) -> list[pp.Hardware]:
    """Read noise, and proportional noise: each hurts other layers."""
    return [
        hardware.replace(read_noise_std=4e-8),
        hardware.replace(programming_noise_proportional=0.03),
    ]


def problem_of(
    network: pp.Network, hardwares: list[pp.Hardware], inputs: np.ndarray, target: object, weights: np.ndarray | None
) -> Problem:
    """The optimisation problem of a target on the full predictor."""
    nominal = hardwares[0]
    held = hold(network, nominal, inputs, None, None)
    free = free_gains(network, nominal, inputs, granularity="layer", optimize=("conductance",), held_gains=held)
    predictors = [Predictor.of(network, hardware, inputs) for hardware in hardwares]
    wanted = requirement(target, predictors, weights)  # type: ignore[arg-type]
    terms = Terms(
        predictors[0], free, objective=wanted.objective, constraints=wanted.constraints, corners=predictors[1:]
    )
    return Problem(terms=terms, lower=free.lower, upper=free.upper)


def best_of_slsqp(problem: Problem, starts: int) -> float:
    """Least objective found by SLSQP on the full predictor from random starts."""
    rng = np.random.default_rng(0)
    best = np.inf

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        value = problem.terms.gradients(theta)[0]
        return np.log(value.total), value.log_gradient

    def slopes(theta: np.ndarray) -> np.ndarray:
        return -np.stack([c.log_gradient for c in problem.terms.gradients(theta)[1:]])

    for _ in range(starts):
        found = optimize.minimize(
            objective,
            np.clip(problem.upper - rng.uniform(0.0, 2.0, problem.upper.shape), problem.lower, problem.upper),
            jac=True,
            method="SLSQP",
            bounds=list(zip(problem.lower, problem.upper, strict=True)),
            constraints=[{"type": "ineq", "fun": lambda t: -problem.excesses(t), "jac": slopes}],
            options={"ftol": 1e-12, "maxiter": 200},
        )
        if problem.excess(np.clip(found.x, problem.lower, problem.upper)) < 1e-6:
            best = min(best, float(np.exp(found.fun)))
    assert np.isfinite(best)
    return best


def assert_certified(plan: pp.Plan) -> None:
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
    assert plan.certificate is not None
    assert plan.certificate.kkt_residual < 1e-6
    assert plan.certificate.duality_gap < 1e-6
    assert plan.certificate.constraint_violation < 1e-9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "weights"),
    [(pp.MaxOutputMSE(0.02), None), (pp.MaxNMSE(0.02), (1.0, 3.0, 0.5)), (pp.MaxOutputMSE(0.03), (1.0, 3.0, 0.5))],
)
def test_plans_over_corners_equal_multistart_slsqp(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, target: object, weights: tuple[float, ...] | None
) -> None:
    corners = corners_of(hardware)
    plan = pp.plan(network, hardware, inputs, target, corners=corners, output_weights=weights)  # type: ignore[arg-type]
    assert_certified(plan)
    scaled = None if weights is None else np.array(weights) * len(weights) / sum(weights)
    problem = problem_of(network, [hardware, *corners], inputs, target, scaled)
    assert plan.power <= best_of_slsqp(problem, starts=2) * (1 + 1e-4)
    assert plan.reached <= target.value * (1 + 1e-9)  # type: ignore[attr-defined]


def test_a_power_budget_over_corners_equals_multistart_slsqp(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    weights = np.array([2.0, 0.0, 1.0])
    corners = corners_of(hardware)
    plan = pp.plan(network, hardware, inputs, pp.MaxPower(1.5e-5), corners=corners, output_weights=weights)
    assert_certified(plan)
    problem = problem_of(network, [hardware, *corners], inputs, plan.target, weights)
    error = float((plan.prediction.mse_by_output * weights).mean())
    assert error <= best_of_slsqp(problem, starts=2) * (1 + 1e-4)
    assert max(p.power for p in plan.predictions) == pytest.approx(1.5e-5, rel=1e-9)


def test_two_gains_equal_brute_force(hardware: pp.Hardware) -> None:
    """On a grid of two conductance gains no feasible point is cheaper than the plan, and one is nearly as cheap."""
    network = small_network(widths=(4, 6, 2))
    inputs = np.random.default_rng(2).uniform(0, 1, (8, 4))
    corner = hardware.replace(read_noise_std=6e-8)
    target = pp.MaxOutputMSE(0.01)
    plan = pp.plan(network, hardware, inputs, target, corners=[corner])
    assert_certified(plan)
    problem = problem_of(network, [hardware, corner], inputs, target, None)
    at = np.log(np.array(plan.gains.conductance))
    steps = np.linspace(-0.5, 0.5, 21)
    grid = [np.minimum(at + np.array(s), problem.upper) for s in itertools.product(steps, steps)]
    feasible = [problem.objective(theta) for theta in grid if problem.excess(theta) <= 0]
    assert plan.power <= min(feasible) * (1 + 1e-9)
    assert plan.power >= min(feasible) * 0.97


def test_the_binding_corner_is_named_and_prices_are_finite_differences(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    plans = [
        pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02), corners=[hardware.replace(read_noise_std=s)])
        for s in (0.0, 3e-8)
    ]
    assert plans[0].power == pytest.approx(pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02)).power, rel=1e-9)
    assert plans[1].binding_corners == (1,)
    step = 1e-3
    out = [pp.plan(network, hardware, inputs, pp.MaxOutputMSE(0.02 * np.exp(s))) for s in (-step, 0.0, step)]
    prices = out[1].shadow_prices
    assert prices is not None
    slope = (np.log(out[2].power) - np.log(out[0].power)) / (2 * step)
    assert prices.target == pytest.approx(slope, rel=1e-4)
    assert sum(p.price for p in prices.constraints) == pytest.approx(prices.target)


def two_sided() -> tuple[pp.Network, pp.Hardware, np.ndarray]:
    """A network whose first layer disturbs only the first output; the second layer disturbs both."""
    weights = [np.eye(2), np.diag([1.0, 0.02])]
    return (
        pp.Network.mlp(weights, activation="identity"),
        pp.Hardware(programming_noise_std=1e-6, clip_conductance=False),
        np.random.default_rng(0).uniform(0.2, 1, (6, 2)),
    )


def test_two_outputs_bind_with_weights_that_balance_them() -> None:
    """With enough weight on the second output both bind, and the KKT residual needs both multipliers."""
    network, hardware, inputs = two_sided()

    def binding(ratio: float) -> set[int | None]:
        plan = pp.plan(network, hardware, inputs, pp.MaxOutputMSE(3e-3), output_weights=(1.0, ratio))
        assert_certified(plan)
        assert plan.shadow_prices is not None
        return {price.output for price in plan.shadow_prices.constraints}

    assert binding(0.5) == {0}
    assert binding(20.0) == {0, 1}


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000), factor=st.floats(0.5, 1.6), read=st.floats(0, 4e-8))
def test_a_corner_never_lowers_the_power(seed: int, factor: float, read: float) -> None:
    network = small_network(seed, widths=(4, 6, 3))
    inputs = np.random.default_rng(seed).uniform(0, 1, (6, 4))
    hardware = pp.Hardware(programming_noise_std=1e-6)
    corner = hardware.replace(programming_noise_std=factor * 1e-6, read_noise_std=read)
    alone = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.03))
    both = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.03), corners=[corner])
    if both.termination.outcome is not pp.Outcome.INFEASIBLE:
        assert both.power >= alone.power * (1 - 1e-8)
        assert max(p.nmse for p in both.predictions) <= 0.03 * (1 + 1e-9)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000), bound=st.floats(5e-3, 5e-2))
def test_a_bound_on_every_output_costs_at_least_that_on_their_mean(seed: int, bound: float) -> None:
    network = small_network(seed, widths=(4, 6, 3))
    inputs = np.random.default_rng(seed).uniform(0, 1, (6, 4))
    hardware = pp.Hardware(programming_noise_std=1e-6)
    mean = pp.plan(network, hardware, inputs, pp.MaxMSE(bound))
    every = pp.plan(network, hardware, inputs, pp.MaxOutputMSE(bound))
    if every.termination.outcome is not pp.Outcome.INFEASIBLE:
        assert every.power >= mean.power * (1 - 1e-8)
        assert every.prediction.mse_by_output.max() <= bound * (1 + 1e-9)


def test_equal_weights_change_nothing_and_a_weight_of_zero_leaves_an_output_out(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    plain = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02))
    equal = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02), output_weights=[5.0, 5.0, 5.0])
    assert equal.power == pytest.approx(plain.power, rel=1e-9)
    only = pp.plan(network, hardware, inputs, pp.MaxMSE(0.02), output_weights=[0, 1, 0])
    single = pp.plan(network, hardware, inputs, pp.MaxOutputMSE(0.06), output_weights=[0, 1, 0])
    # a single weight of mean 1 is 3: the mean of three outputs is then that output's own error
    assert only.prediction.mse_by_output[1] == pytest.approx(0.02, rel=1e-9)
    assert single.prediction.mse_by_output[1] == pytest.approx(0.02, rel=1e-9)
    assert single.power == pytest.approx(only.power, rel=1e-8)


def test_limits_hold_in_every_corner(network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray) -> None:
    small = hardware.replace(conductance_max=0.6 * hardware.conductance_max, voltage_max=0.5 * hardware.voltage_max)
    plan = pp.plan(network, hardware, inputs, pp.MaxPower(1.0), corners=[small])
    plan.gains.check(network, small)
    rows = [np.abs(plan.gains.voltage[0]) * np.abs(inputs).max()]
    assert max(rows) == pytest.approx(small.voltage_max)
    ranges = [
        gain * np.abs(node.op.weight).max()  # type: ignore[attr-defined]
        for gain, node in zip(plan.gains.conductance, network.crossbars, strict=True)
    ]
    assert max(ranges) == pytest.approx(small.conductance_max, rel=1e-9)


def test_an_unreachable_corner_is_named_with_the_lowest_reachable_value(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    hot = hardware.replace(programming_noise_std=3e-5)
    plan = pp.plan(network, hardware, inputs, pp.MaxOutputMSE(0.02), corners=[hardware, hot])
    assert plan.termination.outcome is pp.Outcome.INFEASIBLE
    assert "corner 2" in plan.termination.message
    assert plan.termination.best_reachable == pytest.approx(plan.reached)
    assert plan.reached == pytest.approx(plan.corners[1].prediction.mse_by_output.max(), rel=1e-9)
    problem = problem_of(network, [hardware, hardware, hot], inputs, plan.target, None)
    rng = np.random.default_rng(0)
    for _ in range(200):
        theta = rng.uniform(problem.upper - 2.0, problem.upper)
        assert problem.reached(theta) >= plan.reached * (1 - 1e-6)


def test_every_corner_is_verified(network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray) -> None:
    corners = corners_of(hardware)
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02), corners=corners, verify_draws=1500)
    assert len(plan.verifications) == len(plan.predictions) == 3
    for prediction, check in zip(plan.predictions, plan.verifications, strict=True):
        assert abs(check.nmse - prediction.nmse) < 5 * check.nmse_standard_error + 0.02 * prediction.nmse
        assert check.ratio == pytest.approx(check.nmse / 0.02)
    tuned = pp.plan(
        network, hardware, inputs, pp.MaxNMSE(0.02), corners=corners, verify_draws=1500, calibrate=True, seed=3
    )
    worst = max(tuned.verifications, key=lambda check: check.ratio)
    assert worst.ratio == pytest.approx(1, abs=0.01 + 5 * worst.ratio_standard_error)


def test_weighted_and_worst_output_errors_are_verified_as_such(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    for target in (pp.MaxMSE(0.02), pp.MaxNMSE(0.02), pp.MaxOutputMSE(0.02)):
        plan = pp.plan(network, hardware, inputs, target, output_weights=(1, 2, 4), verify_draws=1500)
        assert plan.verification is not None
        assert abs(plan.verification.ratio - 1) < 5 * plan.verification.ratio_standard_error + 0.02


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"corners": "hot"}, "corners"),
        ({"corners": pp.Hardware()}, "corners"),
        ({"corners": [None]}, r"corners\[0\]"),
        ({"corners": [pp.Hardware()] * 65}, "corners"),
        ({"corners": None}, "corners"),
        ({"corners": [pp.Hardware(programming_noise_std=0.0)]}, "without noise"),
        ({"output_weights": (1.0, 2.0)}, "output_weights"),
        ({"output_weights": (1.0, -2.0, 1.0)}, "output_weights"),
        ({"output_weights": (0.0, 0.0, 0.0)}, "output_weights"),
        ({"output_weights": (1.0, float("nan"), 1.0)}, "output_weights"),
        ({"output_weights": (1.0, float("inf"), 1.0)}, "output_weights"),
        ({"output_weights": "abc"}, "output_weights"),
        ({"output_weights": [[1.0, 1.0, 1.0]]}, "output_weights"),
        ({"output_weights": 3.0}, "output_weights"),
    ],
)
def test_bad_corners_and_weights_are_refused_by_name(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, options: dict[str, object], field: str
) -> None:
    with pytest.raises(pp.InvalidInput, match=field):
        pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02), **options)  # type: ignore[arg-type]


def test_huge_and_tiny_weights_are_scaled(network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray) -> None:
    plain = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02))
    for scale in (1e300, 1e-300):
        scaled = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02), output_weights=[scale] * 3)
        assert scaled.power == pytest.approx(plain.power, rel=1e-9)
