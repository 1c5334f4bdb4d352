"""What is left at the largest conductances, by source: closed forms of one linear layer."""

from __future__ import annotations

import re

import numpy as np
import pytest

import powerplan as pp
from powerplan.units import percent, significant

pytestmark = pytest.mark.usefixtures("patient")

RNG = np.random.default_rng(3)
WEIGHTS = RNG.normal(size=(3, 5))
NETWORK, INPUTS = pp.Network.mlp([WEIGHTS]), RNG.normal(size=(16, 5))
OUTPUTS = INPUTS @ WEIGHTS.T
SIGNAL = float((OUTPUTS**2).mean())
#: mean over inputs and outputs of the sum of (w x)^2, relative to the signal: what errors of single devices add up to
BY_DEVICE = float(((INPUTS**2) @ (WEIGHTS**2).T).mean()) / SIGNAL
#: likewise of the currents of the two columns of every pair
BY_COLUMN = float(sum(((INPUTS @ np.maximum(sign * WEIGHTS, 0).T) ** 2).mean() for sign in (1, -1))) / SIGNAL
CLEAN = pp.Hardware(programming_noise_std=1e-9, clip_conductance=False)


def parts_of(hardware: pp.Hardware, target: pp.Target) -> tuple[float | None, dict[str, float]]:
    end = pp.plan(NETWORK, hardware, INPUTS, target).termination
    assert end.outcome is pp.Outcome.INFEASIBLE
    return end.floor, {part.parameter: part.amount for part in end.floor_parts}


def test_parts_are_those_of_closed_forms_and_sum_to_the_floor() -> None:
    hardware = CLEAN.replace(programming_noise_proportional=0.1, column_gain_std=0.05, stuck_off_fraction=0.02)
    floor, parts = parts_of(hardware, pp.MaxNMSE(1e-3))
    # what is lost with a share p of the devices: bias p^2 and variance p (1 - p)
    lost = 0.02**2 + 0.02 * 0.98 * BY_DEVICE
    assert list(parts) == sorted(parts, key=lambda name: -parts[name])
    assert parts["column_gain_std"] == pytest.approx(0.05**2 * BY_COLUMN, rel=0.05)
    assert parts["programming_noise_proportional"] == pytest.approx(0.1**2 * BY_DEVICE, rel=0.05)
    assert parts["stuck_off_fraction"] == pytest.approx(lost, rel=0.05)
    assert sum(parts.values()) == pytest.approx(floor, rel=0.02)
    assert "programming_noise_std" not in parts, "it falls with the conductance"


def test_parts_of_other_errors_are_scaled_like_them() -> None:
    hardware = CLEAN.replace(programming_noise_proportional=0.1, column_gain_std=0.05)
    signal = pp.MaxMSE(1e-3 * SIGNAL)
    _, relative = parts_of(hardware, pp.MaxNMSE(1e-3))
    _, absolute = parts_of(hardware, signal)
    assert absolute == {name: pytest.approx(SIGNAL * part, rel=1e-9) for name, part in relative.items()}


def test_the_message_and_the_plan_file_name_the_sources(tmp_path: object) -> None:
    plan = pp.plan(NETWORK, CLEAN.replace(adc_bits=3, column_gain_std=0.1), INPUTS, pp.MaxNMSE(1e-3))
    end = plan.termination
    assert f"stays at {percent(end.floor)}; without " in end.message
    for part in end.floor_parts:
        words = {"adc_bits": "converters of columns", "column_gain_std": "gain errors of columns"}[part.parameter]
        points = f"{significant(100 * part.amount)} percentage points"
        assert re.search(rf"without {words} alone (it falls )?by {points}[,.]", end.message)
    plan.save(tmp_path / "plan.json")
    assert pp.Plan.load(tmp_path / "plan.json").termination == end


def test_without_a_larger_range_the_parts_are_those_of_the_least_error() -> None:
    """Measured noise holds for the range it was measured in."""
    hardware = pp.Hardware.preset("pcm_nandakumar2019", time=3600.0)
    end = pp.plan(NETWORK, hardware, INPUTS, pp.MaxNMSE(1e-3)).termination
    assert end.floor is None
    assert end.floor_parts[0].parameter == "drift"
    assert end.floor_parts[0].amount < end.best_reachable
    assert "Without drift alone it falls by" in end.message


# nothing of the signal is left at the least power, and that is said too
@pytest.mark.filterwarnings("ignore::powerplan.errors.PlausibilityWarning")
def test_a_power_budget_has_no_floor() -> None:
    plan = pp.plan(NETWORK, pp.Hardware(conductance_min=1e-6), INPUTS, pp.MaxPower(2e-8))
    assert plan.termination.outcome is pp.Outcome.INFEASIBLE
    assert plan.termination.floor_parts == ()


def test_where_larger_conductances_make_it_worse_the_message_says_so_and_no_limit_is_said_to_bind() -> None:
    """Noise hides the steps of a coarse converter: without it, quantisation errors are larger."""
    rng = np.random.default_rng(0)
    network, inputs = pp.Network.mlp([rng.normal(size=(8, 6)), rng.normal(size=(3, 8))]), rng.normal(size=(8, 6))
    hardware = pp.Hardware(programming_noise_std=2e-6, adc_bits=3)
    end = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.01)).termination
    assert end.floor > 1.05 * end.best_reachable
    assert f"At 1000 times conductance_max it rises to {percent(end.floor)}" in end.message
    assert "limits that bind" not in end.message
    assert end.binding_limits == ()


def test_no_target_is_advised_that_nobody_would_set() -> None:
    """An error of 240 % is no target: only what lowers it is said."""
    hardware = pp.Hardware(programming_noise_std=0, programming_noise_proportional=2.0)
    with pytest.warns(pp.PlausibilityWarning):
        end = pp.plan(NETWORK, hardware, INPUTS, pp.MaxNMSE(0.01)).termination
    assert end.best_reachable > 0.5
    assert "To reach it, lower hardware.programming_noise_proportional" in end.message
    assert "set the target" not in end.message
    assert "limits that bind" not in end.message
