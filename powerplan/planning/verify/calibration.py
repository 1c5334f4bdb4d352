"""Calibration: the bound to plan for so that the simulation, not the prediction, meets the target.

A plan for the target D is predicted to reach F and simulated to reach S ± e. The ratio S/F hardly changes from one plan
to the next, so the plan that is predicted to reach

    D' = F · D / S

is simulated to reach about D. It is planned for, from the plan at hand, and simulated with fresh draws; again, if the
simulation is then still further than e from D. Where the number moves in steps (inputs of a chip in the wrong
class), the part of the chips that is planned for changes instead of the bound.

Why: docs/decisions/targets.md [0231].
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from powerplan.hardware import Gains
from powerplan.planning import policy
from powerplan.planning.outcome import Verification
from powerplan.planning.plan_value import Plan
from powerplan.planning.targets import Target
from powerplan.planning.verify.verify import misses_target

_GAUSSIAN = NormalDist()


def calibrated(
    plan: Plan,
    *,
    solve: Callable[[Target, Plan], Plan],
    check: Callable[[Plan, int], Plan],
    stop_at: float | None,
) -> Plan:
    """The plan whose simulation is within its standard error of the target, or the last of a few that come close.

    Its provenance has the bound that was planned for (``calibrated_bound``), the rounds it took and the time of all.

    Args:
        plan: verified.
        solve: makes the plan for another bound, starting at a plan.
        check: verifies a plan with the draws of a round, 1 and on.
        stop_at: ``time.monotonic()`` value; no round begins that would end later, if it took as long as all before.
    """
    for number in range(1, policy.MOST_CALIBRATIONS + 1):
        bound = recalibrated(plan)
        spent = sum(plan.provenance["seconds"].values())
        if bound is None or (stop_at is not None and time.monotonic() + spent > stop_at):
            break
        again = solve(bound, plan)
        infeasible = not replace(again, target=bound).meets_target
        if _same(again.gains, plan.gains) or (infeasible and not misses_target(plan)):
            break
        plan = _after(plan, check(again, number), bound, number)
        if infeasible:
            break
    return plan


def planned_bound(plan: Plan) -> Target:
    """What the prediction was to meet: the target, or what calibration made of it."""
    told = plan.provenance
    target = plan.target.with_value(told.get("calibrated_bound", plan.target.value))
    return target.with_chips(told.get("calibrated_chips", target.chips))


def recalibrated(plan: Plan) -> Target | None:
    """The target to plan for so that the simulation meets the plan's own target in every corner.

    None if the simulation is within its standard error of the target, or below it without room to gain: the plan then
    reaches less than its bound, because of steps or limits.
    """
    worst = max(plan.verifications, key=lambda check: check.ratio)
    if abs(worst.ratio - 1) <= worst.ratio_standard_error or plan.reached <= 0:
        return None
    if plan.target.has_steps:
        return _for_another_part(plan, worst)
    ratio = worst.ratio * plan.target.value / plan.reached  # simulated / predicted
    value = plan.target.value / float(np.clip(ratio, 1 / policy.FURTHEST_BOUND, policy.FURTHEST_BOUND))
    ideal = plan.prediction.ideal_output
    if ideal is not None:
        value = min(value, 0.5 * (plan.target.value + plan.target.largest(ideal)))
    if worst.ratio < 1 and value <= planned_bound(plan).value:
        return None
    return plan.target.with_value(value)


def _for_another_part(plan: Plan, worst: Verification) -> Target | None:
    """The target on another part of the chips that is simulated to be met by the plan's own part.

    The parts' Gaussian scores differ by what prediction and simulation differ by. None as for another bound.
    """
    planned = planned_bound(plan)
    assert worst.chip_yield is not None
    assert planned.chips is not None
    assert plan.target.chips is not None
    seen = min(max(worst.chip_yield, 0.5 / worst.draws), 1 - 0.5 / worst.draws)
    scores = [_GAUSSIAN.inv_cdf(part) for part in (planned.chips, plan.target.chips, seen)]
    part = _GAUSSIAN.cdf(scores[0] + scores[1] - scores[2])
    if worst.ratio < 1 and part >= planned.chips:
        return None
    return plan.target.with_chips(part)


def _same(one: Gains, other: Gains) -> bool:
    pairs = zip((*one.conductance, *one.voltage), (*other.conductance, *other.voltage), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def _after(before: Plan, plan: Plan, bound: Target, rounds: int) -> Plan:
    """The plan with its calibration and the time of all plans in its provenance."""
    spent, seconds = before.provenance["seconds"], plan.provenance["seconds"]
    provenance = {
        **plan.provenance,
        "calibrated_bound": bound.value,
        **({} if bound.chips == plan.target.chips else {"calibrated_chips": bound.chips}),
        "calibration_rounds": rounds,
        "seconds": {name: value + spent.get(name, 0.0) for name, value in seconds.items()},
    }
    return replace(plan, provenance=provenance)
