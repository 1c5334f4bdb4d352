"""One plan for several corners with every granularity, with steps and with every kind of target: met everywhere, and
no dearer than the corners that bind make it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from random_plans import small_network

import powerplan as pp

BOTH = ("conductance", "voltage")
HARDWARE = pp.Hardware(programming_noise_std=1e-6, read_noise_std=3e-8)
#: more read noise binds everywhere but in the power; other devices are milder
CORNERS = [
    HARDWARE.replace(read_noise_std=8e-8),
    HARDWARE.replace(programming_noise_std=5e-7, programming_noise_proportional=0.06),
]
SIX = pp.Steps.over_range(6)

CASES: dict[str, tuple[pp.planning.Target, dict[str, Any]]] = {
    "network": (pp.MaxNMSE(0.03), {"granularity": "network"}),
    "columns": (pp.MaxNMSE(0.03), {"granularity": "column", "optimize": BOTH}),
    "columns, worst output": (pp.MaxOutputMSE(0.05), {"granularity": "column", "optimize": BOTH}),
    "signals": (pp.MaxNMSE(0.03), {"granularity": "signal", "optimize": BOTH}),
    "signals, power": (pp.MaxPower(1e-5), {"granularity": "signal", "optimize": BOTH}),
    "steps": (pp.MaxNMSE(0.03), {"conductance_steps": SIX}),
    "steps of both gains": (pp.MaxNMSE(0.03), {"optimize": BOTH, "conductance_steps": SIX, "voltage_steps": SIX}),
    "steps, power": (pp.MaxPower(1e-5), {"conductance_steps": pp.Steps.over_range(8)}),
    "changed classes": (pp.planning.MaxFlipRate(0.05), {}),
}


@pytest.fixture(scope="module")
def network() -> pp.Network:
    return small_network(1, (5, 8, 3))


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 1, (12, 5))


def objective(plan: pp.Plan) -> float:
    return plan.mse if isinstance(plan.target, pp.MaxPower) else plan.power


@pytest.mark.parametrize("name", CASES)
def test_one_plan_meets_every_corner_and_is_no_dearer_than_the_binding_ones(
    name: str, network: pp.Network, x: np.ndarray
) -> None:
    """By prediction and by simulation in each corner; the corners that do not bind could as well be left out."""
    target, options = CASES[name]
    plan = pp.plan(network, HARDWARE, x, target, corners=CORNERS, verify_draws=400, calibrate=False, **options)
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
    assert plan.reached <= target.value * (1 + 1e-9)
    assert len(plan.verifications) == 3
    for check in plan.verifications:
        assert check.ratio <= 1.03 + 4 * check.ratio_standard_error
    if plan.discrete is None:
        assert plan.reached == pytest.approx(target.value, rel=1e-9)
    else:
        assert plan.discrete.gap < 1e-4
    binding = [CORNERS[i - 1] for i in plan.binding_corners if i]
    assert binding
    fewer = pp.plan(network, HARDWARE, x, target, corners=binding, verify_draws=0, calibrate=False, **options)
    assert objective(plan) == pytest.approx(objective(fewer), rel=1e-5)


def test_columns_of_a_few_gains_on_steps_are_searched_in_every_corner(network: pp.Network, x: np.ndarray) -> None:
    """Eleven columns on twelve steps: the best choice within a gap that rounding alone does not reach."""
    steps = pp.Steps.over_range(12)
    plan = pp.plan(
        network,
        HARDWARE,
        x,
        pp.MaxNMSE(0.03),
        granularity="column",
        corners=CORNERS[:1],
        conductance_steps=steps,
        max_iterations=10,
    )
    assert plan.discrete is not None
    assert plan.discrete.method == "branch_and_bound"
    assert plan.discrete.gap <= 1e-3
    assert max(p.nmse for p in plan.predictions) <= 0.03


def test_steps_of_signals_are_refused_with_corners_too(network: pp.Network, x: np.ndarray) -> None:
    with pytest.raises(pp.InvalidInput, match="another granularity than 'signal'"):
        pp.plan(
            network,
            HARDWARE,
            x,
            pp.MaxNMSE(0.03),
            granularity="signal",
            optimize=BOTH,
            corners=CORNERS,
            conductance_steps=SIX,
        )


@pytest.mark.parametrize("change", [{"weight_mapping": "offset"}, {"bias_mapping": "row"}])
def test_corners_of_another_mapping_are_refused_by_name(
    change: dict[str, str], network: pp.Network, x: np.ndarray
) -> None:
    """The same gains would be other conductances there, whose limits are not those of the nominal hardware."""
    with pytest.raises(pp.InvalidInput, match=rf"corners\[1\]\.{next(iter(change))}"):
        pp.plan(network, HARDWARE, x, pp.MaxNMSE(0.03), corners=[CORNERS[0], HARDWARE.replace(**change)])


def test_noise_in_a_corner_alone_holds_up_voltages(network: pp.Network, x: np.ndarray) -> None:
    """A lower voltage costs accuracy there, so that it can be optimised; with no corner it is refused."""
    quiet = pp.Hardware(programming_noise_std=1e-6)
    with pytest.raises(pp.InvalidInput, match="read noise"):
        pp.plan(network, quiet, x, pp.MaxNMSE(0.03), optimize=BOTH)
    noisy = quiet.replace(read_noise_std=8e-8)
    plan = pp.plan(network, quiet, x, pp.MaxNMSE(0.03), optimize=BOTH, corners=[noisy])
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
    assert plan.binding_corners == (1,)
    assert plan.predictions[1].nmse == pytest.approx(0.03)


def test_a_table_shows_the_worst_corner_as_predicted_and_as_simulated(network: pp.Network, x: np.ndarray) -> None:
    """Both numbers of a target on classes are of the same hardware."""
    hot = HARDWARE.replace(programming_noise_std=3e-6)
    target = pp.planning.MaxFlipRate(0.05)
    plan = pp.plan(network, HARDWARE, x, target, corners=[hot], verify_draws=2000, calibrate=False)
    nominal, worst = (check.ratio for check in plan.verifications)
    assert nominal < 0.7 * worst
    (line,) = [line for line in plan.table().splitlines() if line.startswith("flip rate")]
    assert f"simulated {100 * worst * target.value:.1f}"[:-1] in line
    assert "(nominal hardware" in plan.table() or "nominal hardware (" in plan.table()
