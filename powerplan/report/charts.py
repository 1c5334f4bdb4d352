"""What a figure shows: its axes, curves, points and words. Reports draw it as SVG, plots with matplotlib.

:func:`powerplan.report.svg.lay_out` and :func:`powerplan.report.plots.draw` are the two that draw it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

#: looks of curves, told apart by colour, marker and dashes
STYLES = 6
#: marks of a curve from which they are drawn small
MANY = 100


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point of a curve: its place, half widths of its 95 % intervals, and what a tooltip says."""

    x: float
    y: float
    text: str = ""
    x_error: float = 0.0
    y_error: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A named list of points, joined by a line unless ``line`` is false, marked unless ``marks`` is. ``style`` counts
    from 0, modulo STYLES. Without a name it belongs to another one of its style."""

    name: str
    points: tuple[Point, ...]
    style: int = 0
    line: bool = True
    marks: bool = True


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A bar of a histogram, from ``low`` to ``high`` across and up to ``height``; what a tooltip says."""

    low: float
    high: float
    height: float
    style: int = 0
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A named upright line across the whole figure."""

    x: float
    name: str
    style: int = 0


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Values onto 0..1, linear or logarithmic."""

    low: float
    high: float
    log: bool

    @classmethod
    def around(cls, values: Sequence[float], *, log: bool, padding: float = 0.06) -> Scale:
        """The scale that holds all values with some room; a single value gets room on both sides."""
        good = [v for v in values if math.isfinite(v) and (v > 0 or not log)] or [1.0]
        low, high = min(good), max(good)
        if log:
            room = padding * math.log(high / low) if high > low * 1.001 else math.log(1.5)
            return cls(low=low * math.exp(-room), high=high * math.exp(room), log=True)
        room = padding * (high - low) or 0.5 * abs(high) or 1.0
        return cls(low=low - room, high=high + room, log=False)

    def at(self, value: float) -> float:
        """0 at the low end, 1 at the high end; values beyond are moved to the end."""
        if self.log:
            place = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            place = (value - self.low) / (self.high - self.low)
        return min(max(place, 0.0), 1.0)

    def ticks(self, most: int = 7) -> list[float]:
        """Round values inside the scale, at most about ``most``."""
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            for steps in ((1, 2, 5), (1, 3), (1,)):
                marks = [s * 10.0**e for e in range(first, last + 1) for s in steps]
                marks = [t for t in marks if self.low <= t <= self.high]
                if 3 <= len(marks) <= most:
                    return marks
            if len(marks) > most:
                return marks[:: math.ceil(len(marks) / most)]
        return _round_values(self.low, self.high, most)


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure of curves.

    Attributes:
        description: its text alternative.
        along, up: scales that other figures share, which have to hold the values; None: made for the values.
        bars, bar_names: of a histogram, and what those of each style are; it has both scales.
        rules: upright lines.
    """

    title: str
    description: str
    curves: tuple[Curve, ...]
    x_label: str
    y_label: str
    x_log: bool = True
    y_log: bool = True
    along: Scale | None = None
    up: Scale | None = None
    bars: tuple[Bar, ...] = ()
    bar_names: Mapping[int, str] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()

    def placed(self) -> list[tuple[Curve, list[Point]]]:
        """Every curve that has points, with those that have a place on the axes (on logarithmic ones the positive)."""
        return [
            (curve, [p for p in curve.points if _is_placed(p.x, self.x_log) and _is_placed(p.y, self.y_log)])
            for curve in self.curves
            if curve.points
        ]


def _is_placed(value: float, log: bool) -> bool:
    return math.isfinite(value) and (value > 0 or not log)


def _round_values(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten in [low, high]."""
    rough = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough)
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def power_scale(largest: float) -> tuple[float, str]:
    """What to multiply watts with, and the SI prefix, so that the largest is at least 1."""
    for scale, prefix in ((1.0, ""), (1e3, "m"), (1e6, "µ"), (1e9, "n")):
        if largest * scale >= 1:
            return scale, prefix
    return 1e12, "p"
