"""Charts of HTML reports: where the ticks, lines and points of a figure lie. A template draws them as SVG.

Numbers only, no drawing: the page's style sheet decides colours, so that a chart follows light and dark mode.
"""

from __future__ import annotations

from dataclasses import dataclass

from powerplan.report.charts import STYLES, Bar, Chart, Point, Scale
from powerplan.report.text import typeset

#: size of a chart and its margins, in units of its view box; a compact one is for pages of many
WIDTH, HEIGHT = 480.0, 320.0
COMPACT_WIDTH, COMPACT_HEIGHT = 360.0, 260.0
LEFT, RIGHT, TOP, BOTTOM = 72.0, 14.0, 12.0, 46.0
#: of the left margin: what the label beside the ticks takes, and a digit of these
_LABEL, _DIGIT = 32.0, 8.2


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
class Box:
    """A bar in the view box, from its upper left corner."""

    x: float
    y: float
    width: float
    height: float
    style: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """An upright line in the view box."""

    x: float
    name: str
    style: int


@dataclass(frozen=True, kw_only=True)
class Layout:
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
    left: float
    boxes: tuple[Box, ...] = ()
    box_names: tuple[tuple[int, str], ...] = ()
    lines: tuple[Line, ...] = ()

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


def lay_out(chart: Chart, *, compact: bool = False) -> Layout:
    """Where everything of a chart lies; a compact one is for pages of many."""
    width, height = (COMPACT_WIDTH, COMPACT_HEIGHT) if compact else (WIDTH, HEIGHT)
    placed = chart.placed()
    points = [p for _, some in placed for p in some]
    along = chart.along or Scale.around([p.x for p in points], log=chart.x_log)
    up = chart.up or Scale.around([p.y for p in points], log=chart.y_log)

    y_ticks = [(value, typeset(f"{value:.4g}")) for value in up.ticks()]
    left = max(LEFT, _LABEL + _DIGIT * max((len(text) for _, text in y_ticks), default=0))

    def x_at(value: float) -> float:
        return round(left + along.at(value) * (width - RIGHT - left), 1)

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

    def box(bar: Bar) -> Box:
        x, top = x_at(bar.low), y_at(bar.height)
        return Box(
            x=x,
            y=top,
            width=round(x_at(bar.high) - x, 1),
            height=round(height - BOTTOM - top, 1),
            style=bar.style,
            text=typeset(bar.text),
        )

    drawn = []
    for curve, some in placed:
        marks = tuple(mark(p) for p in some)
        path = "M" + "L".join(f"{m.x:g},{m.y:g}" for m in marks) if curve.line and len(marks) > 1 else ""
        shown = marks if curve.marks else ()
        drawn.append(Drawn(name=curve.name, style=curve.style % STYLES, path=path, marks=shown))
    return Layout(
        title=typeset(chart.title),
        description=typeset(chart.description),
        x_label=chart.x_label,
        y_label=chart.y_label,
        x_ticks=tuple(Tick(at=x_at(t), text=typeset(f"{t:.4g}")) for t in along.ticks(5 if compact else 7)),
        y_ticks=tuple(Tick(at=y_at(value), text=text) for value, text in y_ticks),
        curves=tuple(drawn),
        width=width,
        height=height,
        left=left,
        boxes=tuple(map(box, chart.bars)),
        box_names=tuple((style, typeset(name)) for style, name in chart.bar_names.items()),
        lines=tuple(Line(x=x_at(r.x), name=typeset(r.name), style=r.style) for r in chart.rules),
    )
