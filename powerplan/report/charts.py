"""Charts of HTML reports: where the ticks, lines and points of a figure lie. A template draws them as SVG.

Numbers only, no drawing: the page's style sheet decides colours, so that a chart follows light and dark mode.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from powerplan.report.text import typeset

#: size of a chart and its margins, in units of its view box; a compact one is for pages of many
WIDTH, HEIGHT = 480.0, 320.0
COMPACT_WIDTH, COMPACT_HEIGHT = 360.0, 260.0
LEFT, RIGHT, TOP, BOTTOM = 72.0, 14.0, 12.0, 46.0
#: looks that the style sheet tells apart by colour, marker and dashes
STYLES = 6


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point of a curve: its place, half widths of its 95 % intervals, and what a tooltip says."""

    x: float
    y: float
    text: str
    x_error: float = 0.0
    y_error: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A named list of points, joined by a line unless ``line`` is false. ``style`` counts from 0."""

    name: str
    points: tuple[Point, ...]
    style: int = 0
    line: bool = True


@dataclass(frozen=True, kw_only=True)
class Tick:
    """Where a tick lies (in the view box) and what it says."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A point in the view box; the errors as (from, to), None where there is none."""

    x: float
    y: float
    text: str
    x_range: tuple[float, float] | None
    y_range: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A curve in the view box: its path (empty without a line) and its marks."""

    name: str
    style: int
    path: str
    marks: tuple[Mark, ...]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A figure ready to draw. ``description`` is its text alternative."""

    title: str
    description: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    curves: tuple[Drawn, ...]
    width: float
    height: float

    @property
    def left(self) -> float:
        """Where the plot begins."""
        return LEFT

    @property
    def right(self) -> float:
        """Where the plot ends."""
        return self.width - RIGHT

    @property
    def top(self) -> float:
        """The upper edge of the plot."""
        return TOP

    @property
    def bottom(self) -> float:
        """The lower edge of the plot."""
        return self.height - BOTTOM


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
                found = [s * 10.0**e for e in range(first, last + 1) for s in steps]
                found = [t for t in found if self.low <= t <= self.high]
                if 3 <= len(found) <= most:
                    return found
            if len(found) > most:
                return found[:: math.ceil(len(found) / most)]
        return _round_values(self.low, self.high, most)


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


def chart(
    curves: Sequence[Curve],
    *,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    x_log: bool = True,
    y_log: bool = True,
    compact: bool = False,
    across: Scale | None = None,
    up: Scale | None = None,
) -> Chart:
    """Lay out curves. Points that have no place on a logarithmic axis (not positive) are left out.

    Scales that are given, for charts that are compared, have to hold the values; others are made for them.
    """
    width, height = (COMPACT_WIDTH, COMPACT_HEIGHT) if compact else (WIDTH, HEIGHT)
    kept = [
        (curve, [p for p in curve.points if _placed(p.x, x_log) and _placed(p.y, y_log)])
        for curve in curves
        if curve.points
    ]
    points = [p for _, some in kept for p in some]
    across = across or Scale.around([p.x for p in points], log=x_log)
    up = up or Scale.around([p.y for p in points], log=y_log)

    def x_at(value: float) -> float:
        return round(LEFT + across.at(value) * (width - RIGHT - LEFT), 1)

    def y_at(value: float) -> float:
        return round(height - BOTTOM - up.at(value) * (height - BOTTOM - TOP), 1)

    def mark(p: Point) -> Mark:
        return Mark(
            x=x_at(p.x),
            y=y_at(p.y),
            text=typeset(p.text),
            x_range=(x_at(p.x - p.x_error), x_at(p.x + p.x_error)) if p.x_error > 0 else None,
            y_range=(y_at(p.y - p.y_error), y_at(p.y + p.y_error)) if p.y_error > 0 else None,
        )

    drawn = []
    for curve, some in kept:
        marks = tuple(mark(p) for p in some)
        path = "M" + "L".join(f"{m.x:g},{m.y:g}" for m in marks) if curve.line and len(marks) > 1 else ""
        drawn.append(Drawn(name=curve.name, style=curve.style % STYLES, path=path, marks=marks))
    return Chart(
        title=typeset(title),
        description=typeset(description),
        x_label=x_label,
        y_label=y_label,
        x_ticks=tuple(Tick(at=x_at(t), text=typeset(f"{t:.4g}")) for t in across.ticks(5 if compact else 7)),
        y_ticks=tuple(Tick(at=y_at(t), text=typeset(f"{t:.4g}")) for t in up.ticks()),
        curves=tuple(drawn),
        width=width,
        height=height,
    )


def _placed(value: float, log: bool) -> bool:
    return math.isfinite(value) and (value > 0 or not log)
