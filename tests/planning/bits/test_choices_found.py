"""What is chosen where a simple model of rounding fails: coarse converters of sliced inputs, gains by column, parts of
the chips, tables of few bits, and limits out of reach."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import powerplan as pp

COSTS = {"adc": {"type": "capacitor"}}


@pytest.fixture(scope="module")
def case() -> tuple[pp.Network, np.ndarray, pp.Hardware]:
    example = pp.load_example("iris")
    hardware = pp.Hardware(programming_noise_std=1e-6, conductance_min=1e-6, adc_bits=8, costs=COSTS)
    return example.network, example.inputs[:8], hardware


def energy(plan: pp.Plan) -> float:
    assert plan.costs is not None
    return plan.costs.energy if plan.meets_target else np.inf


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"dac_bits": 8, "input_slice_bits": 2, "costs": {**COSTS, "dac": 0.0}}, {}),
        ({}, {"granularity": "column"}),
        ({}, {"chips": 0.9}),
    ],
    ids=["slices", "columns", "chips"],
)
def test_no_other_bits_are_better_and_the_bound_holds(
    case: tuple[pp.Network, np.ndarray, pp.Hardware], fields: dict[str, Any], options: dict[str, Any]
) -> None:
    """Brute force over four choices with the gains planned for each."""
    network, inputs, hardware = case
    hardware, options = hardware.replace(**fields), dict(options)
    target = pp.MaxNMSE(0.02, chips=options.pop("chips", None))
    free: dict[str, Any] = {"optimize": ("conductance", "adc_bits"), "least_bits": 4, "most_bits": 5}
    planned = pp.plan(network, hardware, inputs, target, **free, **options)
    every = [
        energy(pp.plan(network, hardware.replace(adc_bits=bits), inputs, target, **options))
        for bits in itertools.product((4, 5), repeat=2)
    ]
    assert planned.bits is not None
    assert max(every) > 1.01 * min(every)
    assert energy(planned) <= 1.005 * min(every)
    assert planned.bits.bound <= min(*every, energy(planned))


@pytest.mark.slow
@pytest.mark.parametrize("nmse", [0.02, 0.05])
def test_no_other_ranges_are_better(case: tuple[pp.Network, np.ndarray, pp.Hardware], nmse: float) -> None:
    """With few bits a wide range errs most: brute force over nine choices."""
    network, inputs, hardware = case
    known, target = hardware.replace(adc_bits=4), pp.MaxNMSE(nmse)
    planned = pp.plan(network, known, inputs, target, optimize=("conductance", "adc_headroom"))
    every = [
        energy(pp.plan(network, known.replace(adc_headroom=ranges), inputs, target))
        for ranges in itertools.product((0.71, 1.0, 1.41), repeat=2)
    ]
    assert planned.bits is not None
    assert max(every) > 1.02 * min(every)
    assert energy(planned) <= 1.01 * min(every)
    assert planned.bits.bound <= min(every)


def test_bits_stay_within_a_table(case: tuple[pp.Network, np.ndarray, pp.Hardware]) -> None:
    """Nothing is known of what lies beyond it, so that it is no choice and no hardware."""
    network, inputs, hardware = case
    table = {"adc": {"type": "table", "bits": [4, 5], "energies": [1e-12, 1.05e-12]}}
    known = hardware.replace(adc_bits=5, costs=table)
    planned = pp.plan(network, known, inputs, pp.MaxNMSE(0.005), optimize=("conductance", "adc_bits"))
    assert planned.hardware.adc_bits == (5, 5)
    refused: tuple[tuple[str, Callable[[], object]], ...] = (
        (
            r"adc_bits: got 8; allowed: 4 to 5 bits",
            lambda: pp.predict(network, hardware.replace(costs=table), planned.gains, inputs),
        ),
        (
            r"least_bits: got 6; allowed: at most 5",
            lambda: pp.plan(
                network, known, inputs, pp.MaxNMSE(0.1), optimize=("conductance", "adc_bits"), least_bits=6
            ),
        ),
    )
    for words, call in refused:
        with pytest.raises(pp.InvalidInput, match=words):
            call()


def test_a_limit_below_all_converters_is_told_at_once(case: tuple[pp.Network, np.ndarray, pp.Hardware]) -> None:
    """With the cheapest converters, whose energy is the least there is."""
    network, inputs, hardware = case
    free: dict[str, Any] = {"optimize": ("conductance", "adc_bits"), "max_energy": 1e-13}
    plan = pp.plan(network, hardware, inputs, pp.MaxPower(1), **free)
    assert plan.termination.outcome is pp.Outcome.INFEASIBLE
    assert plan.hardware.adc_bits == (4, 4)
    assert "max_energy is 100.0 fJ, the least energy found is" in plan.termination.message
    assert plan.costs is not None
    assert plan.costs.energy_of["adc"] == pytest.approx((16 + 3) * (4 * 100e-15 + 256e-18) * 0.81)  # by hand
