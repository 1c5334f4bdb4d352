"""Numbers that can be computed with but are most likely in another unit: how they are found and asked about.

Whatever holds such numbers (hardware, targets, predictions, simulations, plans) tells its ``doubts()``. The engine's
calls warn of them (:class:`~powerplan.errors.PlausibilityWarning`), once for each call; where no person sees a warning,
on the command line, on the wire and in studies, the warning is an error unless the caller says that it is meant.

Why: docs/decisions/files.md [0320].
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Container, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Protocol

from powerplan.errors import PlausibilityWarning, Violation
from powerplan.units import with_prefix

#: fields that the caller has confirmed, several collections of them
_confirmed: ContextVar[tuple[Container[str], ...]] = ContextVar("confirmed", default=())
_refusing: ContextVar[bool] = ContextVar("refusing", default=False)


class Doubtful(Protocol):
    """A value that knows which of its numbers are hard to believe."""

    def doubts(self) -> tuple[Violation, ...]:
        """Every number beyond the plausible, with the likely mistake."""


@dataclass(frozen=True, kw_only=True)
class Plausible:
    """The plausible magnitudes of a quantity.

    Attributes:
        unit: SI unit; "" for a fraction, which is shown in %; "1" for a plain number.
        low, high: plausible magnitudes; 0 is always plausible.
        why: where the limits come from, a few words.
        advice: what to do where no likely unit is known.
        mistakes: units that a number may have been meant in, each as its SI value: 1e-6 for "u".
        usual: a common value: of several plausible ones that may be meant, the nearest to it is named.
    """

    unit: str
    low: float = 0.0
    high: float = math.inf
    why: str
    advice: str = "Check its unit."
    mistakes: tuple[float, ...] = ()
    usual: float | None = None

    def doubt(self, field: str, value: float | None) -> tuple[Violation, ...]:
        """The doubt about a value; nothing if it is plausible, 0, None or NaN."""
        if value is None or not value or math.isnan(value) or self.low <= abs(value) <= self.high:
            return ()
        limits = [
            f"from {quantity(self.low, self.unit)}" if self.low else "",
            f"up to {quantity(self.high, self.unit)}" if self.high < math.inf else "",
        ]
        likely = [value * unit for unit in self.mistakes if self.low <= abs(value) * unit <= self.high]
        if (usual := self.usual) is not None:
            likely.sort(key=lambda meant: abs(math.log(abs(meant) / usual)))
        meant = likely[0] if likely else None
        shown = quantity(value, self.unit)
        return (
            Violation(
                field=field,
                value=f"{value:g} = {shown}" if not self.unit else shown,
                allowed=f"plausible values {' '.join(filter(None, limits))} ({self.why})",
                advice=self.advice
                if meant is None
                else f"Did you mean {quantity(meant, self.unit)}{'' if self.unit else f', {meant:g}'}?",
            ),
        )


@dataclass(frozen=True)
class Place:
    """A value under another name: hardware as a corner, a target as one of several."""

    name: str
    value: Doubtful

    def doubts(self) -> tuple[Violation, ...]:
        """Those of the value, under this name."""
        return tuple(replace(d, field=".".join([self.name, *d.field.split(".", 1)[1:]])) for d in self.value.doubts())


def corners_of(corners: Iterable[Doubtful]) -> tuple[Place, ...]:
    """Further hardware of a plan, under the names that doubts shall give it."""
    return tuple(Place(f"corners[{i}]", corner) for i, corner in enumerate(corners))


def question(*values: Doubtful) -> None:
    """Warn of everything implausible in these values that the caller has not confirmed; within :func:`refusing` raise
    the warning."""
    confirmed = _confirmed.get()
    if any(isinstance(fields, _Everything) for fields in confirmed):
        return
    doubts = dict.fromkeys(doubt for value in values for doubt in value.doubts())
    open_ones = [doubt for doubt in doubts if not any(doubt.field in fields for fields in confirmed)]
    if open_ones and _refusing.get():
        raise PlausibilityWarning(*open_ones)
    if open_ones:
        warnings.warn(PlausibilityWarning(*open_ones), stacklevel=_callers_level())


@contextmanager
def refusing(refuse: bool = True) -> Iterator[None]:
    """Raise what is doubtful instead of warning of it: for callers that no person watches."""
    token = _refusing.set(refuse)
    try:
        yield
    finally:
        _refusing.reset(token)


def accept() -> None:
    """Warn from here to the end of the :func:`refusing` around it."""
    _refusing.set(False)


class _Everything(Container[str]):
    def __contains__(self, field: object) -> bool:
        return True


@contextmanager
def confirming(fields: Container[str]) -> Iterator[None]:
    """Ask no more about these fields, which may become more on the way."""
    token = _confirmed.set((*_confirmed.get(), fields))
    try:
        yield
    finally:
        _confirmed.reset(token)


def unasked() -> AbstractContextManager[None]:
    """Ask nothing: what is calculated on the way to an answer is not what the caller gave."""
    return confirming(_Everything())


def quantity(value: float, unit: str) -> str:
    """``50 uS``; a number without a unit as a percentage."""
    if not unit:
        return f"{100 * value:.6g} %"
    if unit == "1":
        return f"{value:g}"
    if not value or not math.isfinite(value) or (unit in ("K", "s") and 0.1 <= abs(value) < 1e6):
        return f"{value:g} {unit}"
    size, prefixed = with_prefix(value, unit)
    return f"{value / size:.6g} {prefixed}"


def _callers_level() -> int:
    """Stack level of the code that called powerplan, as ``warnings.warn`` in :func:`question` counts it."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("powerplan."):
        frame, level = frame.f_back, level + 1
    return level
