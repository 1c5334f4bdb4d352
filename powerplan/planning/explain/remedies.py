"""What would make a target reachable: every change of the hardware is predicted at before it is advised.

Why: docs/decisions/planning.md [0291].
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from powerplan.hardware import Hardware
from powerplan.planning import policy
from powerplan.planning.explain.families import Family, families, joint_family
from powerplan.planning.explain.floor import floor_parts, parts_in_words
from powerplan.planning.explain.trials import Trials
from powerplan.planning.outcome import FloorPart, Remedy
from powerplan.planning.session import Session
from powerplan.planning.targets import Target
from powerplan.units import in_unit


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What helps.

    Attributes:
        remedies, floor, floor_parts: see :class:`powerplan.planning.outcome.Termination`.
        is_whole: everything was tried; False if time ended, or nothing was to be tried.
        room: factor above the lowest reachable value at which a target is in reach, whatever samples find.
        without_effect: fields of the hardware that were changed and changed nothing.
    """

    remedies: tuple[Remedy, ...] = ()
    floor: float | None = None
    floor_parts: tuple[FloorPart, ...] = ()
    is_whole: bool = False
    room: float = policy.TARGET_ROOM
    without_effect: frozenset[str] = frozenset()


def advice_for(
    session: Session, target: Target, theta: np.ndarray, excess: float, started: float, stop_at: float | None
) -> Advice:
    """Try what could help.

    Changes that reach the target come first, the smallest first; then those that lower its quantity, most first.

    Args:
        theta: the best gains, with log excess ``excess`` over the bound.
        started: when the plan was begun, a ``time.monotonic()`` value.
        stop_at: when it must end; None = never.
    """
    now = time.monotonic()
    seconds = min(policy.ADVICE_SECONDS + (now - started), math.inf if stop_at is None else stop_at - now)
    trials = Trials(
        session=session,
        target=target,
        theta=theta,
        search_by=now + policy.FOR_SEARCHING * seconds,
        stop_at=now + seconds,
        deadline=stop_at,
    )
    hardwares = [p.hardware for p in session.predictors]
    enough: list[tuple[float, Remedy]] = []
    some: list[tuple[Family, Remedy]] = []
    rest: list[Family] = []
    floor = None
    at_most: Callable[[Hardware], Hardware] = _unchanged
    for family in families(hardwares):
        far = trials.at(lambda h, f=family: f.apply(h, f.size(f.most)))  # type: ignore[misc]
        if far is None:
            continue
        if family.name == "conductance_max" and far[0] > trials.met and not target.is_budget:
            floor, at_most = far[1], partial(_largest, family)
        if far[0] > excess - policy.LEAST_HELP:
            rest.append(family)
            continue
        if far[0] > trials.met:
            some.append((family, _remedy(family.name, family.words(family.size(family.most)), far[1], meets=False)))
            continue
        least = _least(trials, family)
        if least is not None:
            size, reached = least
            enough.append((size, _remedy(family.name, family.words(size), reached, meets=True)))
    remedies = [remedy for _, remedy in sorted(enough, key=lambda pair: pair[0])]
    some.sort(key=lambda pair: pair[1].reached)
    if not remedies and some:
        remedies += _together(trials, [*(family for family, _ in some), *rest], excess)
    return Advice(
        remedies=(*remedies, *(remedy for _, remedy in some)),
        floor=floor,
        floor_parts=() if target.is_budget else floor_parts(trials, at_most),
        is_whole=not trials.late,
        room=_room(trials, excess),
        without_effect=frozenset(family.name for family in rest),
    )


def _unchanged(hardware: Hardware) -> Hardware:
    return hardware


def _largest(family: Family, hardware: Hardware) -> Hardware:
    return family.apply(hardware, family.size(family.most))


def _room(trials: Trials, excess: float) -> float:
    """See :class:`Advice`, for the log excess that the plan's own samples give."""
    same = trials.confirmed(lambda hardware: hardware) if trials.is_sampled else None
    return policy.TARGET_ROOM if same is None else max(policy.TARGET_ROOM, math.exp(same[0] - excess))


def _least(trials: Trials, family: Family) -> tuple[float, float] | None:
    """The least size that does, and what is reached with it; None if that could not be confirmed."""
    most = family.size(family.most)
    low, high = 1.0, most
    while high / low > policy.CLOSE_FACTORS:
        size = family.size(math.sqrt(low * high))
        if not low < size < high:
            break
        there = trials.at(lambda h, s=size: family.apply(h, s))  # type: ignore[misc]
        if there is None:
            break
        low, high = (low, size) if there[0] <= trials.met else (size, high)
    growth = policy.FIRST_GROWTH
    for _ in range(policy.MOST_ENLARGED):
        there = trials.confirmed(lambda h, s=high: family.apply(h, s), trials.met)  # type: ignore[misc]
        if there is None or there[0] <= trials.met:
            return there and (high, there[1])
        if high == most:
            break
        # rare and large errors may fall much more slowly than the size grows
        high = min(most, family.size(high * max(growth, math.exp(0.5 * (there[0] - trials.met)))))
        growth *= growth
    return None


def _together(trials: Trials, candidates: Sequence[Family], excess: float) -> list[Remedy]:
    """As few changes as were found to do together, by one factor; none if nothing does."""
    chosen: list[Family] = []
    for family in candidates:
        joint = joint_family([*chosen, family])
        far = trials.at(lambda h, f=joint: f.apply(h, policy.LARGEST_CHANGE))  # type: ignore[misc]
        if far is None or far[0] > excess - policy.LEAST_HELP:
            continue
        chosen, excess = [*chosen, family], far[0]
        if excess <= trials.met:
            least = _least(trials, joint)
            return [] if least is None else [_remedy(joint.name, joint.words(least[0]), least[1], meets=True)]
    return []


def _remedy(name: str, words: str, reached: float, *, meets: bool) -> Remedy:
    return Remedy(parameter=name, change=words, reached=reached, meets_target=meets)


def in_words(advice: Advice, target: Target, best: float, bound: float) -> str:
    """What to do, in a few sentences.

    Args:
        best: the lowest reachable value.
        bound: one from which on a target is in reach.
    """
    looser = ""
    if target.is_plausible(bound):
        looser = f"set the {'budget' if target.is_budget else 'target'} to {_rounded_up(bound, target.unit)} or more"
    enough = [remedy for remedy in advice.remedies if remedy.meets_target]
    if enough:
        ways = ", or ".join(remedy.change for remedy in enough[:3])
        words = f"To reach it, {ways}{looser and f'; or {looser}'}."
    elif advice.is_whole:
        words = f"No change of the hardware that was tried reaches it{looser and f'; {looser}'}."
    else:
        words = f"{looser[:1].upper()}{looser[1:]}{(looser and '; n') or 'N'}ot all that could help was tried."
    floors = [remedy for remedy in advice.remedies if not remedy.meets_target][:3]
    if floors and (not enough or enough[0].parameter == "together"):
        parts = (f"{remedy.change}: {target.words} {in_unit(remedy.reached, target.unit)}" for remedy in floors)
        words += f" One change alone does not do: {'; '.join(parts)}."
    sources = parts_in_words(advice.floor_parts, target.unit)
    if advice.floor is not None:
        # where noise no longer hides the steps of a converter, larger conductances make more of its error
        rises = advice.floor > policy.RISES * best
        words += (
            f" At {policy.LARGEST_CHANGE:g} times conductance_max it rises to"
            if rises
            else (f" Even at {policy.LARGEST_CHANGE:g} times conductance_max it stays at")
        )
        words += f" {in_unit(advice.floor, target.unit)}{'; ' * bool(sources)}{sources}."
    elif sources:
        words += f" {sources[:1].upper()}{sources[1:]}."
    return words


def _rounded_up(value: float, unit: str) -> str:
    """Four digits in a unit, not below the value."""
    digits = 10.0 ** (math.floor(math.log10(value)) - 3) if value > 0 else 1.0
    return in_unit(math.ceil(value / digits) * digits, unit)
