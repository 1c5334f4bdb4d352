"""A plan meets its target at the least power, and proves it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scipy import optimize

import powerplan as pp
from powerplan.examples import Example
from powerplan.moments.predictor import Predictor
from powerplan.planning.problem.terms import Terms
from powerplan.planning.problem.variables import free_gains, hold


def best_of_slsqp(network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, nmse: float, starts: int) -> float:
    """Least power found by SLSQP on the full predictor from several random starts."""
    held = hold(network, hardware, inputs, None, None)
    free = free_gains(network, hardware, inputs, granularity="layer", optimize=("conductance",), held_gains=held)
    predictor = Predictor.of(network, hardware, inputs)
    terms, bound = Terms(predictor, free), nmse * predictor.signal_power
    lower, upper = free.lower, free.upper
    rng = np.random.default_rng(0)
    best = np.inf

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        power = terms.gradients(theta)[0]
        return np.log(power.total), power.log_gradient

    def slack(theta: np.ndarray) -> float:
        return float(-np.log(terms.values(theta)[1].total / bound))

    def slack_gradient(theta: np.ndarray) -> np.ndarray:
        return -terms.gradients(theta)[1].log_gradient

    for _ in range(starts):
        found = optimize.minimize(
            objective,
            np.clip(upper - rng.uniform(0.0, 2.5, upper.shape), lower, upper),
            jac=True,
            method="SLSQP",
            bounds=list(zip(lower, upper, strict=True)),
            constraints=[{"type": "ineq", "fun": slack, "jac": slack_gradient}],
            options={"ftol": 1e-12, "maxiter": 200},
        )
        if slack(found.x) > -1e-6:
            best = min(best, float(np.exp(found.fun)))
    assert np.isfinite(best)
    return best


def assert_certified(plan: pp.Plan) -> None:
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
    assert plan.certificate is not None
    assert plan.certificate.kkt_residual < 1e-6
    assert plan.certificate.duality_gap < 1e-6
    assert plan.certificate.constraint_violation < 1e-9


@pytest.mark.parametrize("nmse", [0.01, 0.1, 0.3])
def test_plan_is_within_1e_4_of_multistart_slsqp_on_a_small_network(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, nmse: float
) -> None:
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(nmse))
    assert_certified(plan)
    assert plan.nmse == pytest.approx(nmse, rel=1e-9)
    assert plan.power <= best_of_slsqp(network, hardware, inputs, nmse, starts=4) * (1 + 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "nmse"), [*itertools.product(["iris", "digits"], [0.01, 0.1, 0.3]), ("mnist", 0.1)])
def test_plan_is_within_1e_4_of_multistart_slsqp_on_the_examples(
    example: Callable[[str], Example], name: str, nmse: float
) -> None:
    chosen = example(name)
    network, inputs = chosen.network, chosen.inputs[: 4 if name == "mnist" else 12]
    hardware = pp.Hardware(programming_noise_std=5e-7)
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(nmse))
    assert_certified(plan)
    assert plan.power <= best_of_slsqp(network, hardware, inputs, nmse, starts=4) * (1 + 1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"clip_conductance": False},
        {"read_noise_std": 2e-8, "feedback_resistance": 1e4},
        {"programming_noise_polynomial": (3e-7, 2e-6, -1e-6), "conductance_min": 1e-6, "input_noise_std": 1e-3},
        {"programming_noise_proportional": 0.02},
    ],
)
@pytest.mark.parametrize("granularity", ["network", "layer"])
def test_every_plan_carries_a_certificate(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, changes: dict[str, object], granularity: str
) -> None:
    plan = pp.plan(network, hardware.replace(**changes), inputs, pp.MaxNMSE(0.03), granularity=granularity)
    assert_certified(plan)
    assert plan.nmse <= 0.03 * (1 + 1e-9)


def test_a_layer_plan_costs_no_more_than_a_network_plan_or_the_baseline(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    layer = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02))
    shared = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02), granularity="network")
    assert layer.power <= shared.power * (1 + 1e-9)
    assert layer.baseline_power is not None
    assert layer.power <= layer.baseline_power * (1 + 1e-9)
    assert len(set(shared.gains.conductance)) == 1


def test_the_baseline_uses_one_conductance_range_and_meets_the_same_target(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02))
    assert plan.baseline_gains is not None
    ranges = [
        gain * np.abs(node.op.weight).max()
        for gain, node in zip(plan.baseline_gains.conductance, network.crossbars, strict=True)
    ]
    assert np.ptp(ranges) < 1e-12
    predicted = pp.predict(network, hardware, plan.baseline_gains, inputs)
    assert predicted.nmse == pytest.approx(0.02, rel=1e-8)
    assert predicted.power == pytest.approx(plan.baseline_power, rel=1e-12)


def test_a_power_budget_mirrors_an_error_target(network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray) -> None:
    plan = pp.plan(network, hardware, inputs, pp.MaxMSE(0.05))
    mirrored = pp.plan(network, hardware, inputs, pp.MaxPower(plan.power))
    assert_certified(mirrored)
    assert mirrored.mse == pytest.approx(0.05, rel=1e-7)
    assert np.array(mirrored.gains.conductance) == pytest.approx(np.array(plan.gains.conductance), rel=1e-5)
    assert mirrored.shadow_prices is not None
    assert plan.shadow_prices is not None
    assert mirrored.shadow_prices.target == pytest.approx(1 / plan.shadow_prices.target, rel=1e-4)


def test_mse_and_nmse_targets_agree(network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray) -> None:
    relative = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02))
    absolute = pp.plan(network, hardware, inputs, pp.MaxMSE(0.02 * relative.prediction.signal_power))
    assert absolute.power == pytest.approx(relative.power, rel=1e-9)


def test_a_budget_beyond_every_limit_puts_all_gains_at_their_limits(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    top = pp.predict(network, hardware, pp.Gains.uniform(network, hardware, inputs=inputs), inputs)
    plan = pp.plan(network, hardware, inputs, pp.MaxPower(10 * top.power))
    assert plan.power == pytest.approx(top.power, rel=1e-9)
    assert plan.shadow_prices is not None
    assert plan.shadow_prices.target == 0
    assert len(plan.shadow_prices.limits) == len(network.crossbars)


def test_the_target_price_is_the_finite_difference_of_power(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    step = 1e-3
    low, middle, high = (pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02 * np.exp(s))) for s in (-step, 0.0, step))
    slope = (np.log(high.power) - np.log(low.power)) / (2 * step)
    assert middle.shadow_prices is not None
    assert middle.shadow_prices.target == pytest.approx(slope, rel=1e-5)


def test_the_limit_price_is_the_finite_difference_of_power(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    """Holding a layer slightly below its limit changes the power by the price of that limit."""
    target = pp.MaxNMSE(_tight_target(network, hardware, inputs))
    plan = pp.plan(network, hardware, inputs, target)
    assert plan.shadow_prices is not None
    prices = {p.layer: p.price for p in plan.shadow_prices.limits}
    assert 0 < len(prices) < len(network.crossbars), "the target should make some but not all limits bind"
    step = 1e-3
    for layer, price in prices.items():
        assert price < 0
        powers = [_power_with_limit(network, hardware, inputs, target.value, layer, s) for s in (step, -step)]
        assert np.log(powers[0] / powers[1]) / (2 * step) == pytest.approx(price, rel=1e-3)


def _tight_target(network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray) -> float:
    gains = pp.Gains.uniform(network, hardware, inputs=inputs)
    return 1.3 * pp.predict(network, hardware, gains, inputs).nmse


def _power_with_limit(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, nmse: float, layer: str, shift: float
) -> float:
    """Least power with one layer's limit multiplied by exp(shift), by SLSQP started at the plan."""
    held = hold(network, hardware, inputs, None, None)
    free = free_gains(network, hardware, inputs, granularity="layer", optimize=("conductance",), held_gains=held)
    predictor = Predictor.of(network, hardware, inputs)
    terms, bound = Terms(predictor, free), nmse * predictor.signal_power
    upper = free.upper + shift * np.array([name == layer for name in network.layer_names])
    start = np.log(np.array(pp.plan(network, hardware, inputs, pp.MaxNMSE(nmse)).gains.conductance))

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        power = terms.gradients(theta)[0]
        return np.log(power.total), power.log_gradient

    found = optimize.minimize(
        objective,
        np.minimum(start, upper),
        jac=True,
        method="SLSQP",
        bounds=list(zip(free.lower, upper, strict=True)),
        constraints=[
            {
                "type": "ineq",
                "fun": lambda x: -np.log(terms.values(x)[1].total / bound),
                "jac": lambda x: -terms.gradients(x)[1].log_gradient,
            }
        ],
        options={"ftol": 1e-14, "maxiter": 300},
    )
    return float(np.exp(found.fun))


def test_planning_is_reproducible_bit_for_bit(network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray) -> None:
    first, second = (pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02)) for _ in range(2))
    assert first.gains.to_dict() == second.gains.to_dict()


def test_the_derivatives_of_power_and_error_equal_finite_differences(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    noisy = hardware.replace(read_noise_std=1e-8, input_noise_std=1e-3, feedback_resistance=1e4)
    held = hold(network, noisy, inputs, None, None)
    free = free_gains(network, noisy, inputs, granularity="layer", optimize=("conductance", "voltage"), held_gains=held)
    terms = Terms(Predictor.of(network, noisy, inputs), free)
    theta = free.upper - np.linspace(0.3, 1.5, free.count)
    exact = terms.derivatives(theta)
    for i in range(len(theta)):
        step = np.zeros_like(theta)
        step[i] = 1e-5
        above, below = terms.values(theta + step), terms.values(theta - step)
        for e, a, b in zip(exact, above, below, strict=True):
            scale = np.abs(e.terms).sum()
            assert e.jacobian[:, i] / scale == pytest.approx((a.terms - b.terms) / 2e-5 / scale, abs=1e-8)
