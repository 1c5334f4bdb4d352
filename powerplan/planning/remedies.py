"""What would make a target reachable: every change of the hardware is predicted at before it is advised."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from powerplan.errors import InvalidInput
from powerplan.hardware import Hardware
from powerplan.moments.field_count import has_rare_errors
from powerplan.planning.outcome import Remedy
from powerplan.planning.relaxing import Change, relaxable, relaxed
from powerplan.planning.requirements import requirement
from powerplan.planning.targets import ClassTarget, MaxPower, Target

if TYPE_CHECKING:
    from powerplan.planning.session import Session

#: how far a number is changed at most, and bits of a converter
_FAR, _MOST_BITS = 1000.0, 16
#: ratio of two factors, the smaller of which does not do, at which the search ends
_CLOSE = 1.03
#: log excess of the constraint that counts as met: there is room for what planning again finds otherwise, more of it
#: where random samples or a simulation have a part in that; and a fall of it that counts as help
_MET, _MET_BY_SAMPLES, _HELPS = -0.01, -0.1, 0.01
#: hardware tried at most, and seconds beyond those the plan took so far
_MOST_TRIED, _SECONDS = 150, 5.0
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
    """Predicts the target's quantity at the best gains of changed hardware."""

    session: Session
    target: Target
    theta: np.ndarray
    stop_at: float
    count: int = 0

    @property
    def met(self) -> float:
        """Log excess from which on the target counts as met."""
        sampled = any(has_rare_errors(p.hardware) for p in self.session.predictors)
        return _MET_BY_SAMPLES if sampled or isinstance(self.target, ClassTarget) else _MET

    @property
    def late(self) -> bool:
        return self.count >= _MOST_TRIED or time.monotonic() > self.stop_at

    def at(self, changed: Callable[[Hardware], Hardware]) -> tuple[float, float] | None:
        """Log excess over the bound and the quantity itself; None if the hardware is not allowed or time is up."""
        if self.late:
            return None
        self.count += 1
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                session = self.session.again([changed(p.hardware) for p in self.session.predictors])
                return min(self._best(session))
        except (InvalidInput, ArithmeticError):
            return None

    def _best(self, session: Session) -> list[tuple[float, float]]:
        free, old = session.free, self.session.free
        end = free.lower if isinstance(self.target, MaxPower) else free.upper
        # as far from the limits as the best gains were
        points = [end, np.clip(free.upper + self.theta - old.upper, free.lower, free.upper)]
        if session.levels is not None:
            step = 0 if isinstance(self.target, MaxPower) else -1
            points = [np.array([x if s is None else s[step] for x, s in zip(end, session.levels, strict=True)])]
        session = session.held_at(free.gains(points[0]), self.stop_at)
        wanted = requirement(self.target, session.predictors, session.weights)
        problem = session.problem(wanted, free, exact=True)
        return [(problem.excess(point), problem.reached(point)) for point in points]


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What helps.

    Attributes:
        remedies, floor: see :class:`powerplan.planning.outcome.Termination`.
        is_whole: everything was tried; False if time ended, or nothing was to be tried.
    """

    remedies: tuple[Remedy, ...] = ()
    floor: float | None = None
    is_whole: bool = False


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
    limit = now + _SECONDS + (now - started)
    trials = _Trials(session=session, target=target, theta=theta, stop_at=min(limit, stop_at or math.inf))
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
        size, reached = _least(trials, family, far[1])
        enough.append((size, _remedy(family.name, family.words(size), reached, meets=True)))
    found = [remedy for _, remedy in sorted(enough, key=lambda pair: pair[0])]
    some.sort(key=lambda pair: pair[1].reached)
    if not found and some:
        found += _together(trials, [*(family for family, _ in some), *rest], excess)
    return Advice(remedies=(*found, *(remedy for _, remedy in some)), floor=floor, is_whole=not trials.late)


def _least(trials: _Trials, family: _Family, reached: float) -> tuple[float, float]:
    """The least size that does, and what is reached with it."""
    low, high = 1.0, family.size(family.most)
    while high / low > _CLOSE:
        size = family.size(math.sqrt(low * high))
        if not low < size < high:
            break
        there = trials.at(lambda h, s=size: family.apply(h, s))  # type: ignore[misc]
        if there is None:
            break
        if there[0] <= trials.met:
            high, reached = size, there[1]
        else:
            low = size
    return high, reached


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
            size, reached = _least(trials, joint, far[1])
            return [_remedy(joint.name, joint.words(size), reached, meets=True)]
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
    looser = f"set the {'budget' if budget else 'target'} to {_rounded_up(best)} or more"
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
    """Four digits, not below the value, with room for what predictions round."""
    wanted = 1.002 * value
    digits = 10.0 ** (math.floor(math.log10(wanted)) - 3) if wanted > 0 else 1.0
    return f"{math.ceil(wanted / digits) * digits:.4g}"
