"""Limits in words: their prices, and why a target cannot be reached."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from powerplan.planning import policy
from powerplan.planning.explain.remedies import Advice, in_words
from powerplan.planning.outcome import FloorPart, LimitPrice, Remedy
from powerplan.planning.problem.problem import Problem
from powerplan.planning.problem.variables import FreeGains
from powerplan.planning.session import Session
from powerplan.planning.targets import Target
from powerplan.units import in_unit, si


@dataclass(frozen=True, kw_only=True, eq=False)
class Unreachable:
    """Why a target cannot be reached: the θ nearest to it, its value there, binding limits, one sentence."""

    theta: np.ndarray
    best: float
    limits: tuple[str, ...]
    message: str
    remedies: tuple[Remedy, ...] = ()
    floor: float | None = None
    floor_parts: tuple[FloorPart, ...] = ()
    solver_status: str = "least constraint by L-BFGS-B"


def limit_prices(free: FreeGains, limit_duals: np.ndarray) -> tuple[LimitPrice, ...]:
    """d log objective / d log limit of every active limit; limit duals are > 0 at upper limits, < 0 at lower ones."""
    active = np.flatnonzero(limit_duals)
    return tuple(
        LimitPrice(
            layer=free.name_of(entry),
            limit=entry.limit_name(upper=bool(dual > 0)),
            price=float(-dual),
            column=entry.column,
            row=entry.row,
        )
        for entry, dual in zip(free.entries(active), limit_duals[active], strict=True)
    )


def binding_limits(
    free: FreeGains, binds: np.ndarray, *, upper: bool, without_effect: Collection[str] = (), labels: bool = False
) -> tuple[str, ...]:
    """``layer: limit`` of every layer with binding limits, with their number where columns or rows have their own.

    Args:
        binds: (n,) whether each entry of θ is at its limit.
        without_effect: limits that are left out, because a change of them changes nothing.
        labels: layers are called as a person reads them, not by their names.
    """
    counts: dict[tuple[str, str], list[int]] = {}
    name = free.label_of if labels else free.name_of
    for entry, bound in zip(free.entries(range(free.count)), binds, strict=True):
        limit_name = entry.limit_name(upper=upper)
        if limit_name in without_effect:
            continue
        part = " columns" if entry.column is not None else " rows" if entry.row is not None else ""
        count = counts.setdefault((f"{name(entry)}: {limit_name}", part), [0, 0])
        count[0] += bool(bound)
        count[1] += 1
    return tuple(
        f"{limit} ({bound} of {total}{part})" if part else limit
        for (limit, part), (bound, total) in counts.items()
        if bound
    )


def unreachable(
    target: Target,
    session: Session,
    theta: np.ndarray,
    problem: Problem,
    advice: Advice,
) -> Unreachable:
    """Explain an infeasible target at the θ with the lowest value of its quantity."""
    free, hardware = session.free, session.predictor.hardware
    upper = not target.is_budget
    at_limit = theta >= free.upper - policy.SAME_STEP if upper else theta <= free.lower + policy.SAME_STEP
    limits = binding_limits(free, at_limit, upper=upper, without_effect=advice.without_effect)
    # plans hold the ratio of a number with steps as closely as this: it may take a step more
    room = max(advice.room, 1 + policy.SAME_STEPPED_SPREAD) if target.has_steps else advice.room
    best, looser = session.reached(target, problem, theta, 1.0, room)
    guard = ""
    if limits and target.is_budget:
        guard = f", that of {policy.SMALLEST_FRACTION:g} of the largest gains, the least that are looked at"
    words = in_words(advice, target, best, looser)
    if not target.is_budget:
        span = hardware.conductance_max - hardware.conductance_min
        if hardware.programming_noise_std > span:
            words += (
                f" hardware.programming_noise_std = {si(hardware.programming_noise_std, 'S')} is larger than the whole "
                f"conductance range, {si(span, 'S')}: check its unit."
            )
    shown = binding_limits(free, at_limit, upper=upper, without_effect=advice.without_effect, labels=True)
    binding = f"; limits that bind: {', '.join(shown)}" if shown else ""
    return Unreachable(
        theta=theta,
        best=best,
        limits=limits,
        remedies=advice.remedies,
        floor=advice.floor,
        floor_parts=advice.floor_parts,
        message=f"The lowest reachable {target.words} is {in_unit(best, target.unit)}{guard}, above the target "
        f"{in_unit(target.value, target.unit)}{_where(problem, theta)}{binding}. {words}",
    )


def _where(problem: Problem, theta: np.ndarray) -> str:
    """The corner and output of the worst constraint, where there are several."""
    constraints = problem.terms.constraints
    worst = constraints[int(problem.excesses(theta).argmax())]
    words = [] if worst.output is None else [f"output {worst.output}"]
    if len({c.corner for c in constraints}) > 1:
        words.append(f"corner {worst.corner}" if worst.corner else "the nominal hardware")
    return f" (worst: {', '.join(words)})" if words else ""
