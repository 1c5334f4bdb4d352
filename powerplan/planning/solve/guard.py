"""Plans that rest on a guard: power that still falls where the search for gains ends has no least value to report.

Why: docs/decisions/certificates.md [0290].
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from powerplan.errors import InvalidInput
from powerplan.hardware import Gains
from powerplan.planning import policy
from powerplan.planning.explain.limits import binding_limits
from powerplan.planning.problem.problem import Problem
from powerplan.planning.problem.requirement import requirement
from powerplan.planning.session import Session
from powerplan.planning.targets import Target


def refuse_on_guard(
    session: Session, target: Target, problem: Problem, theta: np.ndarray, limit_duals: np.ndarray
) -> str:
    """Refuse a plan that the least gains considered decide; a sentence if they have a small say in it, or if a budget
    has none at all, else "".

    A layer whose noise does not matter may rest there: its power is then negligible, and so is the price.

    Args:
        problem: with the exact prediction.
        limit_duals: (n,) d log objective / d log gain at the limits, < 0 at lower ones, of an optimum at θ.

    Raises:
        InvalidInput: the objective still falls by more than 0.1 % per e-fold of the gains at their guards.
    """
    # a gain on steps ends at the least step, which was stated
    guarded = np.array([steps is None for steps in session.levels]) if session.levels is not None else True
    at_guard = (limit_duals < 0) & guarded
    price = -float(limit_duals[at_guard].sum())
    if target.is_budget and _is_indifferent(problem, theta):
        return (
            " The error is the same at any power: every noise scales with the conductances, so the budget decides "
            "nothing, and this error has no least power. State what bounds it: read_noise_std, thermal_noise with "
            "bandwidth, or conductance_min."
        )
    if price <= policy.GUARD_DECIDES:
        # log objective is convex in log gains only nearly, but a gain's terms of power cannot fall below 0
        return (
            f" Below the least gains considered at most {100 * price:.1g} % could be saved."
            if price > policy.GUARD_OF_NOTE
            else ""
        )
    limits = ", ".join(binding_limits(session.free, at_guard, upper=False, labels=True))
    gains = session.free.gains(theta)
    met = f"At {policy.SMALLEST_FRACTION:g} of the largest gains, the least that are looked at, the target is still met"
    if _falls_with_larger_gains(problem, theta, at_guard):
        raise InvalidInput.of(
            "hardware",
            f"noise too small to hold the gains up ({limits})",
            "noise that misses the target at some gains that are looked at",
            f"{met}, and smaller ones would take less power. Check the units of noise and conductance_max, which are "
            "far apart, or set a tighter target.",
        )
    remedies = [words for words, changes in _remedies(session) if _bounds(session, target, gains, changes)]
    raise InvalidInput.of(
        "hardware",
        f"noise that falls with the gains ({limits})",
        "hardware on which power has a lower bound at this target",
        f"{met}, with power falling: its errors scale with the conductances. "
        + (f"State what holds them up: {', or '.join(remedies)}" if remedies else "Set a tighter target")
        + "; or give conductance_steps.",
    )


def _is_indifferent(problem: Problem, theta: np.ndarray) -> bool:
    """Whether the error stays the same with all gains a part of what they are."""
    here = problem.objective(theta)
    return abs(problem.objective(problem.shifted(theta, policy.GUARD_CHANGE)) - here) <= policy.GUARD_SAME * here


def _falls_with_larger_gains(problem: Problem, theta: np.ndarray, at_guard: np.ndarray) -> bool:
    """Whether what the target bounds is mostly noise that larger gains at their guards lower, though a small one."""
    larger = np.where(at_guard, problem.shifted(theta, -policy.GUARD_CHANGE), theta)
    return problem.reached(larger) < policy.GUARD_FALLS * problem.reached(theta)


def _remedies(session: Session) -> Iterator[tuple[str, dict[str, Any]]]:
    """What could hold gains up, in words and as changes of the hardware, in sizes that any gain in use would feel."""
    hardware = session.predictor.hardware
    span = hardware.conductance_max - hardware.conductance_min
    yield (
        "conductance_min, the least conductance that a device holds",
        {"conductance_min": hardware.conductance_min + policy.IDLE_CONDUCTANCE * span},
    )
    yield (
        "read_noise_std, the noise of the read-out [A]",
        {"read_noise_std": policy.READ_NOISE * span * hardware.voltage_max},
    )
    if not hardware.thermal_noise:
        bandwidth = hardware.bandwidth or policy.READ_BANDWIDTH
        yield "thermal_noise=True with the bandwidth of a read", {"thermal_noise": True, "bandwidth": bandwidth}


def _bounds(session: Session, target: Target, gains: Gains, changes: dict[str, Any]) -> bool:
    """Whether the target is missed at these gains with the hardware of every corner so changed."""
    try:
        changed = session.again([p.hardware.replace(**changes) for p in session.predictors])
        changed = changed.corrected_at(gains).spread_at(gains, target, tilted=False)
        wanted = requirement(target, changed.predictors, changed.weights)
        theta = changed.free.theta_of(gains)
        return theta is not None and changed.problem(wanted, changed.free, exact=True).excess(theta) > 0
    except InvalidInput:
        return False
