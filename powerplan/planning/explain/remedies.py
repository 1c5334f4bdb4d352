"""What would make a target reachable: every change of the hardware is predicted at before it is advised.

Why: docs/decisions/planning.md [0291].
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from powerplan.errors import InvalidInput
from powerplan.hardware import Hardware
from powerplan.planning.explain.relaxing import Change, relaxable, relaxed
from powerplan.planning.outcome import Remedy
from powerplan.planning.problem.requirement import requirement
from powerplan.planning.targets import ClassTarget, MaxPower, Target

if TYPE_CHECKING:
    from powerplan.planning.session import Session

#: how far a number is changed at most, and bits of a converter
_FAR, _MOST_BITS = 1000.0, 16
#: ratio of two factors, the smaller of which does not do, at which the search ends; that of the first two that are
#: tried where samples disagree
_CLOSE, _GROWTH = 1.03, 1.2
#: log excess of the constraint that counts as met: there is room for what planning again finds otherwise, more of it
#: where a simulation has a part in that; and a fall of it that counts as help
_MET, _MET_BY_SIMULATION, _HELPS = -0.01, -0.1, 0.01
#: seeds that confirm what rests on random samples, standard deviations between them that are allowed for beyond the
#: worst, and times that a change is enlarged until all of that meets the target
_SEEDS, _DEVIATIONS, _ENLARGED = 4, 2.0, 6
#: least factor above the lowest reachable value at which a target is said to be in reach
_ROOM = 1.002
#: hardware tried at most, seconds beyond those the plan took so far, and the part of them that leaves time to confirm
_MOST_TRIED, _SECONDS, _FOR_SEARCH = 150, 5.0, 0.6
#: what no change of the devices or the circuit can mend
_NOT_ADVISED = ("temperature", "read_time", "bandwidth", "programming_noise_reference")
#: models that hold for the conductances they were measured at
_MEASURED = ("measurements", "programming_noise_curve", "programming_noise_polynomial", "low_frequency_noise")
_UNITS = {
    "conductance_max": " S",
    "conductance_min": " S",
    "programming_noise_std": " S",
    "load_conductance": " S",
    "read_noise_std": " A",
    "voltage_max": " V",
    "input_noise_std": " V",
    "adc_range": " V",
    "time": " s",
}


@dataclass(frozen=True, kw_only=True)
class _Family:
    """One kind of change, of a size: a factor >= 1 (a converter's bits: its logarithm to base 2)."""

    name: str
    size: Callable[[float], float]
    apply: Callable[[Hardware, float], Hardware]
    words: Callable[[float], str]
    most: float = _FAR


@dataclass(kw_only=True)
class _Trials:
    """Predicts the target's quantity at the best gains of changed hardware.

    Attributes:
        search_by, stop_at: ``time.monotonic()`` values after which nothing else is looked for, or confirmed.
        deadline: of the plan; fields of a prediction get fewer only for its sake, so that a busy machine does not
            change what is found.
        is_sampled: some prediction rested on random samples.
    """

    session: Session
    target: Target
    theta: np.ndarray
    search_by: float
    stop_at: float
    deadline: float | None
    count: int = 0
    is_sampled: bool = False

    @property
    def met(self) -> float:
        """Log excess from which on the target counts as met."""
        return _MET_BY_SIMULATION if isinstance(self.target, ClassTarget) else _MET

    @property
    def late(self) -> bool:
        return self.count >= _MOST_TRIED or time.monotonic() > self.search_by

    def at(self, changed: Callable[[Hardware], Hardware]) -> tuple[float, float] | None:
        """Log excess over the bound and the quantity itself; None if the hardware is not allowed or time is up."""
        if self.late:
            return None
        self.count += 1
        return self._best(self._session(changed), seed=0)

    def confirmed(self, changed: Callable[[Hardware], Hardware], most: float = math.inf) -> tuple[float, float] | None:
        """As :meth:`at` by independent samples: the log excess that hardly any have, and the mean of the quantity.

        One with a log excess above ``most`` is the answer.
        """
        session = None if time.monotonic() > self.stop_at else self._session(changed)
        trials: list[tuple[float, float]] = []
        for seed in range(_SEEDS if self.is_sampled else 1):
            trial = None if time.monotonic() > self.stop_at else self._best(session, seed)
            if trial is None or trial[0] > most:
                return trial
            trials.append(trial)
        excess, reached = np.array(trials).T
        ratio = np.exp(excess)
        worst = ratio.max() + _DEVIATIONS * ratio.std()
        return math.log(worst), float(reached.mean())

    def _session(self, changed: Callable[[Hardware], Hardware]) -> Session | None:
        """The session on changed hardware; None if it is not allowed."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                session = self.session.again([changed(p.hardware) for p in self.session.predictors])
        except (InvalidInput, ArithmeticError):
            return None
        self.is_sampled |= session.has_fields
        return session

    def _best(self, session: Session | None, seed: int) -> tuple[float, float] | None:
        """Log excess and quantity at the best gains, by the samples of a seed beyond that of the plan."""
        if session is None:
            return None
        free, old = session.free, self.session.free
        end = free.lower if isinstance(self.target, MaxPower) else free.upper
        # as far from the limits as the best gains were
        points = [end, np.clip(free.upper + self.theta - old.upper, free.lower, free.upper)]
        if session.levels is not None:
            step = 0 if isinstance(self.target, MaxPower) else -1
            points = [np.array([x if s is None else s[step] for x, s in zip(end, session.levels, strict=True)])]
        if np.array_equal(points[0], points[-1]):
            points = points[:1]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                reseeded = replace(
                    session, predictors=tuple(replace(p, seed=p.seed + seed) for p in session.predictors)
                )
                corrected = reseeded.held_at(free.gains(points[0]), self.deadline)
                wanted = requirement(self.target, corrected.predictors, corrected.weights)
                problem = corrected.problem(wanted, free, exact=True)
                return min((problem.excess(point), problem.reached(point)) for point in points)
        except (InvalidInput, ArithmeticError):
            return None


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What helps.

    Attributes:
        remedies, floor: see :class:`powerplan.planning.outcome.Termination`.
        is_whole: everything was tried; False if time ended, or nothing was to be tried.
        room: factor above the lowest reachable value at which a target is in reach, whatever samples find.
    """

    remedies: tuple[Remedy, ...] = ()
    floor: float | None = None
    is_whole: bool = False
    room: float = _ROOM


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
    seconds = min(_SECONDS + (now - started), math.inf if stop_at is None else stop_at - now)
    trials = _Trials(
        session=session,
        target=target,
        theta=theta,
        search_by=now + _FOR_SEARCH * seconds,
        stop_at=now + seconds,
        deadline=stop_at,
    )
    hardwares = [p.hardware for p in session.predictors]
    enough: list[tuple[float, Remedy]] = []
    some: list[tuple[_Family, Remedy]] = []
    rest: list[_Family] = []
    floor = None
    for family in _families(hardwares):
        far = trials.at(lambda h, f=family: f.apply(h, f.size(f.most)))  # type: ignore[misc]
        if far is None:
            continue
        if family.name == "conductance_max" and far[0] > trials.met and not isinstance(target, MaxPower):
            floor = far[1]
        if far[0] > excess - _HELPS:
            rest.append(family)
            continue
        if far[0] > trials.met:
            some.append((family, _remedy(family.name, family.words(family.size(family.most)), far[1], meets=False)))
            continue
        least = _least(trials, family)
        if least is not None:
            size, reached = least
            enough.append((size, _remedy(family.name, family.words(size), reached, meets=True)))
    found = [remedy for _, remedy in sorted(enough, key=lambda pair: pair[0])]
    some.sort(key=lambda pair: pair[1].reached)
    if not found and some:
        found += _together(trials, [*(family for family, _ in some), *rest], excess)
    return Advice(
        remedies=(*found, *(remedy for _, remedy in some)),
        floor=floor,
        is_whole=not trials.late,
        room=_room(trials, excess),
    )


def _room(trials: _Trials, excess: float) -> float:
    """See :class:`Advice`, for the log excess that the plan's own samples give."""
    same = trials.confirmed(lambda hardware: hardware) if trials.is_sampled else None
    return _ROOM if same is None else max(_ROOM, math.exp(same[0] - excess))


def _least(trials: _Trials, family: _Family) -> tuple[float, float] | None:
    """The least size that does, and what is reached with it; None if that could not be confirmed."""
    most = family.size(family.most)
    low, high = 1.0, most
    while high / low > _CLOSE:
        size = family.size(math.sqrt(low * high))
        if not low < size < high:
            break
        there = trials.at(lambda h, s=size: family.apply(h, s))  # type: ignore[misc]
        if there is None:
            break
        low, high = (low, size) if there[0] <= trials.met else (size, high)
    growth = _GROWTH
    for _ in range(_ENLARGED):
        there = trials.confirmed(lambda h, s=high: family.apply(h, s), trials.met)  # type: ignore[misc]
        if there is None or there[0] <= trials.met:
            return there and (high, there[1])
        if high == most:
            break
        # rare and large errors may fall much more slowly than the size grows
        high = min(most, family.size(high * max(growth, math.exp(0.5 * (there[0] - trials.met)))))
        growth *= growth
    return None


def _together(trials: _Trials, families: Sequence[_Family], excess: float) -> list[Remedy]:
    """As few changes as were found to do together, by one factor; none if nothing does."""
    chosen: list[_Family] = []
    for family in families:
        joint = _joint([*chosen, family])
        far = trials.at(lambda h, f=joint: f.apply(h, _FAR))  # type: ignore[misc]
        if far is None or far[0] > excess - _HELPS:
            continue
        chosen, excess = [*chosen, family], far[0]
        if excess <= trials.met:
            least = _least(trials, joint)
            return [] if least is None else [_remedy(joint.name, joint.words(least[0]), least[1], meets=True)]
    return []


def _joint(families: Sequence[_Family]) -> _Family:
    """All of the changes at once."""

    def sizes(size: float) -> list[tuple[_Family, float]]:
        return [(family, family.size(min(size, family.most))) for family in families]

    def apply(hardware: Hardware, size: float) -> Hardware:
        for family, own in sizes(size):
            hardware = family.apply(hardware, own)
        return hardware

    return _Family(
        name="together",
        size=lambda size: size,
        apply=apply,
        words=lambda size: " and ".join(family.words(own) for family, own in sizes(size)),
    )


def _remedy(name: str, words: str, reached: float, *, meets: bool) -> Remedy:
    return Remedy(parameter=name, change=words, reached=reached, meets_target=meets)


def _families(hardwares: Sequence[Hardware]) -> list[_Family]:
    """The kinds of change that this hardware has; measured ranges are not left."""
    nominal = hardwares[0]
    found = []
    for change in relaxable(hardwares, 0.5):
        name = change.parameter
        if name in _NOT_ADVISED:
            continue
        if name == "conductance_max" and any(getattr(h, field) for h in hardwares for field in _MEASURED):
            continue
        if change.bits:
            found.append(_more_bits(nominal, name))
            continue
        directions = (True, False) if name in ("adc_range", "adc_headroom") else (change.factor > 1,)
        found += [_scaled(nominal, name, up=up) for up in directions]
    for name, value in (("drift_compensation", True), ("weight_mapping", "differential")):
        if getattr(nominal, name) != value and (nominal.drift or nominal.measurements or value is not True):
            found.append(_switched(name, value))
    return found


def _more_bits(nominal: Hardware, name: str) -> _Family:
    bits = getattr(nominal, name) or _MOST_BITS

    def size(factor: float) -> float:
        return 2.0 ** math.ceil(math.log2(factor) - 1e-9)

    return _Family(
        name=name,
        size=size,
        apply=lambda h, s: relaxed(h, Change(parameter=name, bits=round(math.log2(s)))),
        words=lambda s: f"raise hardware.{name} to {bits + round(math.log2(s))}",
        most=2.0 ** max(_MOST_BITS - bits, 1),
    )


def _switched(name: str, value: Any) -> _Family:
    return _Family(
        name=name,
        size=lambda factor: 1.5,
        apply=lambda h, s: h.replace(**{name: value}) if s > 1 else h,
        words=lambda s: f"set hardware.{name} to {value!r}",
        most=1.5,
    )


def _scaled(nominal: Hardware, name: str, *, up: bool) -> _Family:
    value = getattr(nominal, name)
    number = isinstance(value, int | float) and not isinstance(value, bool) and bool(value)
    most = _FAR
    if name == "time" and nominal.measurements and nominal.measurements[0].time:
        most = max(1.0, nominal.time / nominal.measurements[0].time)

    def size(factor: float) -> float:
        """The factor of a value with three digits."""
        wanted = (value if number else 1.0) * (factor if up else 1 / factor)
        digits = 10.0 ** (math.floor(math.log10(wanted)) - 2)
        rounded = float(f"{(math.ceil if up else math.floor)(wanted / digits - (1e-6 if up else -1e-6)) * digits:.3g}")
        share = rounded / (value if number else 1.0)
        return share if up else 1 / share

    def words(s: float) -> str:
        factor = s if up else 1 / s
        by = f"about {factor:.4g} times (to {value * factor:.3g}{_UNITS.get(name, '')})" if number else ""
        if number and not up:
            by = f"to {value * factor:.3g}{_UNITS.get(name, '')}"
        return f"{'raise' if up else 'lower'} hardware.{name} {by or f'to {factor:.3g} of what it is'}"

    return _Family(
        name=name,
        size=size,
        apply=lambda h, s: relaxed(h, Change(parameter=name, factor=s if up else 1 / s)),
        words=words,
        most=most,
    )


def in_words(advice: Advice, target: Target, quantity: str, best: float) -> str:
    """What to do, in a few sentences."""
    budget = isinstance(target, MaxPower)
    looser = f"set the {'budget' if budget else 'target'} to {_rounded_up(advice.room * best)} or more"
    enough = [remedy for remedy in advice.remedies if remedy.meets_target]
    if enough:
        ways = ", or ".join(remedy.change for remedy in enough[:3])
        words = f"To reach it, {ways}; or {looser}."
    elif advice.is_whole:
        words = f"No change of the hardware that was tried reaches it; {looser}."
    else:
        words = f"{looser[0].upper()}{looser[1:]}; not all that could help was tried."
    floors = [remedy for remedy in advice.remedies if not remedy.meets_target][:3]
    if floors and (not enough or enough[0].parameter == "together"):
        parts = (f"{remedy.change.replace('hardware.', '')}: {quantity} {remedy.reached:.4g}" for remedy in floors)
        words += f" One change alone does not do: {'; '.join(parts)}."
    if advice.floor is not None:
        words += f" Even at {_FAR:g} times conductance_max it stays at {advice.floor:.4g}."
    return words


def _rounded_up(value: float) -> str:
    """Four digits, not below the value."""
    digits = 10.0 ** (math.floor(math.log10(value)) - 3) if value > 0 else 1.0
    return f"{math.ceil(value / digits) * digits:.4g}"
