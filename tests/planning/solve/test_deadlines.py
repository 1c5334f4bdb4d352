"""At its deadline a plan ends with the best gains seen, whatever it was doing. The clock counts predictions."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from random_plans import small_network

import powerplan as pp
from powerplan.moments.predictor import Predictor
from powerplan.planning.problem.watch import OutOfTime, Watch

#: predictions that may follow the deadline: one in progress, three for steps, those of the report and its constraint
_AFTER = 6
TARGETS: dict[str, Any] = {
    "nmse": pp.MaxNMSE(0.02),
    "outputs": pp.MaxOutputMSE(0.05),
    "power": pp.MaxPower(1e-3),
    "flips": pp.MaxFlipRate(0.05),
    "unreachable": pp.MaxNMSE(1e-7),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "corner": {"corners": [pp.Hardware(programming_noise_std=1.2e-6)]},
    "steps": {"conductance_steps": pp.Steps.over_range(9)},
    "weights": {"output_weights": [1.0, 2.0, 1.0]},
    "diagonal": {"method": "diagonal"},
    "verified": {"verify_draws": 200, "calibrate": True},
}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[], float]:
    """Seconds that pass only in predictions: one in each."""
    now = itertools.count(1000)
    here = [float(next(now))]
    moments = Predictor.moments

    def slow(*args: Any, **options: Any) -> Any:
        here[0] = float(next(now))
        return moments(*args, **options)

    monkeypatch.setattr(Predictor, "moments", slow)
    monkeypatch.setattr(time, "monotonic", lambda: here[0])
    return lambda: here[0]


def _fits(target: str, option: str) -> bool:
    return not (target == "flips" and option in ("weights", "diagonal"))


@pytest.mark.parametrize("granularity", ["network", "layer", "column"])
@pytest.mark.parametrize(("target", "option"), [pair for pair in itertools.product(TARGETS, OPTIONS) if _fits(*pair)])
def test_every_part_of_a_plan_ends_at_its_deadline(
    network: pp.Network,
    hardware: pp.Hardware,
    inputs: np.ndarray,
    clock: Callable[[], float],
    target: str,
    option: str,
    granularity: str,
) -> None:
    corners = len(OPTIONS[option].get("corners", ()))
    for deadline in (0.5, 9):
        begun = clock()
        plan = pp.plan(
            network, hardware, inputs, TARGETS[target], granularity=granularity, deadline=deadline, **OPTIONS[option]
        )
        assert clock() - begun <= deadline + _AFTER * (1 + corners)
        assert plan.termination.outcome in (pp.Outcome.DEADLINE, pp.Outcome.OPTIMAL) or not plan.meets_target


@pytest.mark.parametrize(
    ("coarse", "deadline"), [*itertools.product(["network", "layer"], [4, 12, 24, 40]), ("layer", 0.5)]
)
def test_a_plan_is_no_dearer_than_a_coarser_one_converged_before_its_deadline(
    hardware: pp.Hardware, inputs: np.ndarray, clock: Callable[[], float], deadline: float, coarse: str
) -> None:
    network = small_network(2)
    fine = {"network": "layer", "layer": "column"}[coarse]
    one, many = (
        pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02), granularity=each, deadline=seconds)
        for each, seconds in ((coarse, 0.3 * deadline), (fine, deadline))
    )
    assert one.meets_target
    assert many.meets_target
    assert many.power <= one.power * (1 + 1e-6)


def test_a_target_not_met_in_time_is_not_called_infeasible(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, clock: Callable[[], float]
) -> None:
    plan = pp.plan(network, hardware, inputs, TARGETS["unreachable"], granularity="column", deadline=1)
    assert plan.termination.outcome is pp.Outcome.DEADLINE
    assert not plan.meets_target
    assert plan.certificate is None
    assert "before gains were found that meet the target" in plan.termination.message
    assert plan.termination.best_reachable is None


def test_only_the_first_evaluation_without_an_answer_is_begun_too_late() -> None:
    watch = Watch(time.monotonic() - 1)
    watch.begin(1.0, first=True)
    with pytest.raises(OutOfTime):
        watch.begin(0.0, first=False)
    assert Watch().part(0.5).stop_at is None
    assert not Watch().ends_before(1e12)


def test_a_verification_ends_at_the_deadline_with_the_draws_made(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    begun = time.monotonic()
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02), verify_draws=5_000_000, deadline=2)
    assert time.monotonic() - begun < 6
    assert plan.verification is not None
    assert 2 <= plan.verification.draws < 5_000_000
    assert "of 5000000 draws" in plan.termination.message
