"""What an explanation says is true: shadow prices against plans made again, bounds against lifted limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from random_plans import small_network

import powerplan as pp
from powerplan.hardware import curves as shapes
from powerplan.hardware.aging import LogTimeDrift, LowFrequencyNoise
from powerplan.hardware.curve_values import curve_values
from powerplan.planning.explain.relaxing import Change, relaxed
from powerplan.units import si

HARDWARE = pp.Hardware(conductance_min=1e-6, programming_noise_std=1e-6, read_noise_std=3e-8)


@pytest.fixture(scope="module")
def network() -> pp.Network:
    return small_network(1, (5, 8, 3))


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 1, (12, 5))


@pytest.fixture(scope="module")
def explained(network: pp.Network, x: np.ndarray) -> tuple[pp.Plan, pp.Explanation]:
    plan = pp.plan(network, HARDWARE, x, pp.MaxNMSE(0.02), optimize=("conductance", "voltage"))
    return plan, plan.explain(network, x)


def test_every_relaxation_is_a_plan_made_again(
    explained: tuple[pp.Plan, pp.Explanation], network: pp.Network, x: np.ndarray
) -> None:
    """``resolved`` equals an own plan with the parameter changed, and the shadow price is close to it."""
    plan, found = explained
    names = {r.parameter for r in found.relaxations}
    assert names == {
        "target",
        "conductance_max",
        "voltage_max",
        "conductance_min",
        "programming_noise_std",
        "read_noise_std",
    }
    for r in found.relaxations:
        target, hardware = plan.target, HARDWARE
        if r.parameter == "target":
            target = pp.MaxNMSE(0.02 * r.factor)
        else:
            hardware = HARDWARE.replace(**{r.parameter: getattr(HARDWARE, r.parameter) * r.factor})
        again = pp.plan(network, hardware, x, target, optimize=("conductance", "voltage"))
        assert r.resolved == pytest.approx(again.power / plan.power - 1, abs=1e-5)
        assert r.price is not None
        assert r.predicted == pytest.approx(r.factor**r.price - 1)
        assert r.predicted == pytest.approx(r.resolved, abs=0.1 * abs(r.resolved or 0) + 1e-4)
    assert [r.resolved for r in found.relaxations] == sorted(r.resolved or 0 for r in found.relaxations)


def test_the_price_of_the_target_is_the_plans_own(explained: tuple[pp.Plan, pp.Explanation]) -> None:
    """The envelope theorem by finite differences agrees with the multiplier of the certificate."""
    plan, found = explained
    assert plan.shadow_prices is not None
    (price,) = [r.price for r in found.relaxations if r.parameter == "target"]
    assert price == pytest.approx(plan.shadow_prices.target, rel=1e-3)


def test_shares_and_binding_limits_are_the_plans(explained: tuple[pp.Plan, pp.Explanation]) -> None:
    plan, found = explained
    assert sum(layer.power for layer in found.layers) == pytest.approx(1)
    assert sum(layer.error for layer in found.layers) == pytest.approx(1)
    assert plan.shadow_prices is not None
    assert {(b.layer, b.limit) for b in found.limits} == {(p.layer, p.limit) for p in plan.shadow_prices.limits}
    assert found.limits
    assert found.unlimited is None  # with free voltages nothing bounds the power from below
    assert any("no bound without limits" in sentence for sentence in found.sentences)


def test_the_bound_without_limits_is_below_and_reached_without_them(network: pp.Network, x: np.ndarray) -> None:
    """Lifting conductance_max and idle conductance gives the bound; a plan on such hardware is at it."""
    lowest = pp.plan(network, HARDWARE, x, pp.MaxNMSE(1e-9)).termination.best_reachable
    assert lowest is not None
    plan = pp.plan(network, HARDWARE, x, pp.MaxNMSE(1.2 * lowest))
    found = pp.explain(plan, network, x)
    assert found.limits  # so near the lowest reachable error a limit binds
    assert found.unlimited is not None
    assert found.gap is not None
    assert found.gap > 0
    volts = list(plan.gains.voltage)
    free = HARDWARE.replace(conductance_max=50e-4, conductance_min=0.0)
    wide = pp.plan(network, free, x, plan.target, voltage=volts)
    assert wide.power == pytest.approx(found.unlimited, rel=1e-5)
    again = pp.explain(wide, network, x)
    assert again.gap == pytest.approx(0, abs=1e-5)
    assert any("cost nothing" in sentence for sentence in again.sentences)


def test_an_infeasible_target_says_what_would_help(network: pp.Network, x: np.ndarray) -> None:
    lowest = pp.plan(network, HARDWARE, x, pp.MaxNMSE(1e-9)).termination.best_reachable
    assert lowest is not None
    plan = pp.plan(network, HARDWARE, x, pp.MaxNMSE(0.95 * lowest))
    found = plan.explain(network, x)
    assert found.objective == "reached"
    assert found.value == pytest.approx(lowest)
    reaching = {r.parameter for r in found.relaxations if r.reaches_target}
    for r in found.relaxations:
        if r.parameter in ("conductance_max", "programming_noise_std"):
            hardware = HARDWARE.replace(**{r.parameter: getattr(HARDWARE, r.parameter) * r.factor})
            again = pp.plan(network, hardware, x, plan.target)
            assert (again.termination.outcome is not pp.Outcome.INFEASIBLE) is (r.parameter in reaching)
            # such a plan ends at the target: its power is told, not how far the target is from the least error
            assert (r.resolved, r.objective) == (None, pytest.approx(again.power, rel=1e-4))
    assert "conductance_max" in reaching
    (wider,) = [r for r in found.relaxations if r.parameter == "conductance_max"]
    words = f"Raising conductance_max by 10 % reaches the target, with power {si(wider.objective, 'W')}."
    assert words in found.sentences
    held = [r for r in found.relaxations if not r.reaches_target]
    assert all(r.objective is None and r.resolved is not None for r in held)
    assert list(found.relaxations[len(reaching) :]) == held


@pytest.mark.slow
def test_with_steps_plans_are_made_again_on_steps(network: pp.Network, x: np.ndarray) -> None:
    steps = pp.Steps.geometric(1e-6, 1e-3, decibel=2)
    plan = pp.plan(network, HARDWARE, x, pp.MaxNMSE(0.05), conductance_steps=steps)
    found = plan.explain(network, x)
    (looser,) = [r for r in found.relaxations if r.parameter == "target"]
    again = pp.plan(network, HARDWARE, x, pp.MaxNMSE(0.055), conductance_steps=steps)
    assert looser.resolved == pytest.approx(again.power / plan.power - 1, abs=1e-5)


def test_a_power_budget_is_explained_in_terms_of_the_error(network: pp.Network, x: np.ndarray) -> None:
    budget = pp.MaxPower(pp.plan(network, HARDWARE, x, pp.MaxNMSE(0.05)).power)
    plan = pp.plan(network, HARDWARE, x, budget)
    found = plan.explain(network, x)
    assert found.objective == "error"
    assert found.value == plan.mse
    (more,) = [r for r in found.relaxations if r.parameter == "target"]
    again = pp.plan(network, HARDWARE, x, pp.MaxPower(1.1 * budget.value))
    assert more.resolved == pytest.approx(again.mse / plan.mse - 1, abs=1e-5)
    assert more.resolved < 0


def test_another_network_or_other_inputs_are_refused(
    explained: tuple[pp.Plan, pp.Explanation], network: pp.Network, x: np.ndarray
) -> None:
    plan, _ = explained
    with pytest.raises(pp.InvalidInput, match="the inputs of the plan"):
        plan.explain(network, x[:4])
    with pytest.raises(pp.InvalidInput, match="the network of the plan"):
        plan.explain(small_network(7, (5, 8, 3)), x)
    with pytest.raises(pp.InvalidInput, match="the network of the plan"):
        plan.explain(network.with_analog(digital=0), x)  # other layers on crossbars: fewer gains


#: hardware with every kind of field that an explanation relaxes, by what it must name
READ_OUTS = {
    "converters": (
        {"dac_bits": 6, "adc_bits": 7, "adc_headroom": 1.2, "dac_energy": 1e-15, "adc_energy": 1e-14},
        {"dac_bits", "adc_bits", "adc_headroom", "dac_energy", "adc_energy", "read_time"},
    ),
    "converters of the columns": (
        {"adc_bits": 7, "adc_headroom": 1.1, "adc_energy": 1e-14, "read_noise_std": 1e-8},
        {"adc_bits", "adc_headroom", "adc_energy", "read_time", "read_noise_std"},
    ),
    "amplifier noise": (
        {"thermal_noise": True, "bandwidth": 5e6, "feedback_resistance": 1e4},
        {"temperature", "bandwidth", "feedback_resistance"},
    ),
    "curve": (
        {"programming_noise_curve": shapes.Table(points=(0.0, 1.0), values=(1e-6, 2e-6))},
        {"programming_noise_curve"},
    ),
    "drift": (
        {"drift": LogTimeDrift(shift_slope=-1e-7, std_slope=1e-7), "time": 3600.0, "drift_compensation": True},
        {"drift", "time"},
    ),
    "slow noise": (
        {
            "low_frequency_noise": LowFrequencyNoise(std=shapes.Polynomial(coefficients=(0.02,)), read_time=1e-6),
            "time": 100.0,
        },
        {"low_frequency_noise", "time"},
    ),
    "divider": (
        {"read_out": "divider", "load_conductance": 1e-3, "conductance_min": 1e-6, "read_noise_std": 3e-8},
        {"load_conductance", "conductance_min", "read_noise_std"},
    ),
    # often enough that the fields of so small a network are not their chance
    "stuck": ({"stuck_on_fraction": 3e-3, "stuck_off_fraction": 3e-2}, {"stuck_on_fraction", "stuck_off_fraction"}),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", READ_OUTS)
def test_whatever_the_hardware_has_is_relaxed(kind: str, network: pp.Network, x: np.ndarray) -> None:
    """Every field in effect is named, and its shadow price agrees with planning again where it has one."""
    given, names = READ_OUTS[kind]
    hardware = pp.Hardware(programming_noise_std=5e-7, **given)
    lowest = pp.predict(network, hardware, pp.Gains.full_range(network, hardware, x), x).nmse
    found = pp.plan(network, hardware, x, pp.MaxNMSE(2 * lowest)).explain(network, x)
    base = {"target", "conductance_max", "voltage_max", "programming_noise_std"}
    assert {r.parameter for r in found.relaxations} == base | names
    for r in found.relaxations:
        assert r.resolved is not None, r.note
        if r.parameter in ("dac_bits", "adc_bits"):
            assert (r.bits, r.price, r.predicted) == (1, None, None)
            assert f"Raising {r.parameter} by 1 bit" in "".join(found.sentences)
        elif r.parameter == "adc_headroom" and hardware.dac_bits:
            # the columns' levels move against those of the next rows: the price is the trend, on average over levels
            assert abs(r.predicted - r.resolved) < 0.1
            assert "Raising adc_headroom" in "".join(found.sentences)
            assert "shadow price, on average over levels" in "".join(found.sentences)
        else:
            assert r.predicted == pytest.approx(r.resolved, abs=0.25 * abs(r.resolved) + 1e-4)


@pytest.mark.parametrize(
    "curve",
    [
        shapes.Polynomial(coefficients=(1.0, -0.5)),
        shapes.Logarithm(slope=-0.1, offset=0.2, low=0.0, high=0.5),
        shapes.Power(coefficient=0.3, exponent=-0.5, low=0.1, high=0.6),
        shapes.Saturating(amplitude=0.4, scale=0.3),
        shapes.Table(points=(0.0, 1.0), values=(0.1, 0.3)),
        shapes.Piecewise(
            breaks=(0.5,), pieces=(shapes.Polynomial(coefficients=(0.2,)), shapes.Polynomial(coefficients=(0.0, 0.4)))
        ),
    ],
    ids=lambda curve: curve.type,
)
def test_a_relaxed_curve_is_a_multiple_everywhere(curve: shapes.Curve) -> None:
    """Each kind of curve scales in value at every u, breaks and points unchanged."""
    u = torch.linspace(0, 1, 11, dtype=torch.float64)
    before = pp.Hardware(programming_noise_curve=curve)
    after = relaxed(before, Change(parameter="programming_noise_curve", factor=0.9)).programming_noise_curve
    assert after is not None
    torch.testing.assert_close(curve_values(after, u, 1.0), 0.9 * curve_values(curve, u, 1.0))


def test_other_parts_of_the_chips_have_their_price(network: pp.Network, x: np.ndarray) -> None:
    """By planning again; shadow prices of such a plan are with its ratio to the mean."""
    hardware = pp.Hardware(programming_noise_std=1e-6)
    plan = pp.plan(network, hardware, x, pp.MaxNMSE(0.02, chips=0.95))
    explanation = plan.explain(network, x)
    assert [cost.chips for cost in explanation.yields] == [None, 0.9, 0.99]
    for cost in explanation.yields:
        again = pp.plan(network, hardware, x, pp.MaxNMSE(0.02, chips=cost.chips))
        assert cost.change == pytest.approx(again.power / plan.power - 1, abs=2e-3)
    assert any(sentence.startswith("99 % of the chips instead of 95 %") for sentence in explanation.sentences)
    for r in explanation.relaxations:
        assert r.predicted == pytest.approx(r.resolved, abs=0.1 * abs(r.resolved or 0) + 2e-3)


def test_a_plan_for_the_mean_has_no_other_parts(explained: tuple[pp.Plan, pp.Explanation]) -> None:
    assert explained[1].yields == ()
