"""Spreads of simulated chips: intervals hold what they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

import powerplan as pp
import powerplan_client as pc
from powerplan.examples import Example
from powerplan.moments.chips.sampled import SampledSpread, chips_for_width, part_interval
from powerplan.report.tables import simulation_table


def test_estimates_are_those_of_the_draws() -> None:
    chips = SampledSpread.of(np.arange(1.0, 101.0))
    assert (chips.mean, chips.yield_at(95.0), chips.yield_at(0.0)) == (50.5, 0.95, 0.0)
    assert chips.std == pytest.approx(np.arange(1.0, 101.0).std(ddof=1))
    assert chips.quantile(0.5) == 50.5
    assert chips.yield_interval(95.0) == pytest.approx((0.8871651, 0.9835681), rel=1e-5)
    assert chips.yield_interval(1000.0)[1] == 1.0
    assert chips.quantile_interval(0.999) == (99.0, math.inf)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    held = np.zeros(3)
    for _ in range(400):
        chips = SampledSpread.of(rng.exponential(size=300))
        around = 1.96 * chips.std_standard_error
        truths = (
            (chips.yield_interval(2.0), 1 - math.exp(-2)),
            (chips.quantile_interval(0.9), math.log(10)),
            ((chips.std - around, chips.std + around), 1.0),
        )
        held += [low <= truth <= high for (low, high), truth in truths]
    assert (held[:2] / 400 > 0.93).all()
    assert held[2] / 400 > 0.86  # that of the standard deviation is of first order


@pytest.mark.parametrize(("call", "value"), [("quantile", 95), ("quantile", 0), ("yield_at", -0.1), ("yield_at", "x")])
def test_bad_arguments_are_refused(call: str, value: object) -> None:
    chips = SampledSpread.of(np.arange(3.0))
    with pytest.raises(pp.InvalidInput, match="probability" if call == "quantile" else "bound"):
        getattr(chips, call)(value)


def test_one_chip_has_no_spread() -> None:
    chips = SampledSpread.of(np.ones(1))
    assert math.isnan(chips.std)
    assert math.isnan(chips.std_standard_error)


def test_draws_end_when_a_yield_is_told_to_the_width_asked_for(iris_example: Example) -> None:
    network, inputs = iris_example.network, iris_example.inputs
    hardware = pp.Hardware(programming_noise_std=2e-6)
    gains = pp.Gains.full_range(network, hardware, inputs)

    def width(**asked: float) -> tuple[int, float]:
        simulation = pp.simulate(network, hardware, gains, inputs, draws=20_000, **asked)  # type: ignore[arg-type]
        bound = asked.get("yield_at", simulation.chips.nmse.quantile(0.5))
        low, high = simulation.chips.nmse.yield_interval(bound)
        return simulation.draws, high - low

    few = pp.simulate(network, hardware, gains, inputs, draws=500)
    rare = few.chips.nmse.quantile(0.98)
    draws, told = width(yield_width=0.04, yield_at=rare)
    assert told <= 0.04
    assert 128 <= draws < 500
    draws_anywhere, told = width(yield_width=0.04)
    assert told <= 0.0401
    assert draws_anywhere == pytest.approx(0.25 * (2 * 1.96 / 0.04) ** 2, rel=0.1)


@pytest.mark.parametrize("part", [0.05, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("width", [0.02, 0.1])
def test_as_many_chips_as_a_width_takes(part: float, width: float) -> None:
    count = chips_for_width(part, width)
    for seen in (part, part + (0.4 * width if part < 0.5 else -0.4 * width)):  # what falls out differs from the plan
        low, high = part_interval(round(seen * count), count)
        assert high - low <= width * 1.01
    low, high = part_interval(round(0.5 * count), count)
    assert high - low <= width * 1.01 or part != 0.5


def test_power_is_spread_over_chips_too(iris_example: Example) -> None:
    network, inputs = iris_example.network, iris_example.inputs
    hardware = pp.Hardware(programming_noise_std=2e-6)
    gains = pp.Gains.full_range(network, hardware, inputs)
    simulation = pp.simulate(network, hardware, gains, inputs, draws=400)
    power = simulation.chips.power
    assert power is not None
    assert power.mean == pytest.approx(simulation.power, rel=1e-6)
    assert power.std == pytest.approx(simulation.power_standard_error * 20, rel=1e-6)
    answer = pc.PlannerClient.local().simulate(network, hardware, gains, inputs, draws=400)
    assert answer.chips is not None
    assert answer.chips.power is not None
    assert answer.chips.power.quantile(0.9) == pytest.approx(power.quantile(0.9), rel=1e-3)
    assert "power of chips" in simulation_table(simulation)


def test_plans_are_verified_to_a_width_of_the_yield(iris_example: Example) -> None:
    network, inputs = iris_example.network, iris_example.inputs
    hardware = pp.Hardware(programming_noise_std=1.5e-6)
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.01, chips=0.9), yield_width=0.05)
    check = plan.verification
    assert check is not None
    assert check.chip_yield is not None
    assert check.chip_yield_low is not None
    assert check.chip_yield_high is not None
    assert check.chip_yield_low < check.chip_yield < check.chip_yield_high
    assert 0.03 < check.chip_yield_high - check.chip_yield_low <= 0.05
    assert "of these chips meet the target" in plan.table()
    with pytest.raises(pp.InvalidInput, match=r"yield_width: got 0\.05; allowed: None with verify_draws"):
        pp.plan(network, hardware, inputs, pp.MaxNMSE(0.01), yield_width=0.05, verify_draws=100)
