"""Plans over sizes of arrays as a figure (matplotlib, extra ``plot``)."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from powerplan.batch.results import StudyResult
from powerplan.batch.tiles import TileSize
from powerplan.report.charts import power_scale
from powerplan.report.plots import BLUE, GREY, ORANGE, new_figure, plain_logarithmic, written
from powerplan.report.quantities import target_text
from powerplan.units import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_tiles(study: StudyResult, *, title: str = "", file: str | os.PathLike[str] | None = None) -> Figure:
    """Power, energy with costs if there are any, arrays and conversions against the size of arrays.

    Where a size cannot meet the target stands the least error that it can have.

    Args:
        study: of which points differ in the size of arrays only, as :func:`powerplan.plan_tiles` makes them.
        title: what was planned.
        file: also write the figure.
    """
    sizes = [TileSize.of(point) for point in study.points]
    plans = [size.plan for size in sizes if size.plan is not None]
    costly = any(plan.costs for plan in plans)
    figure = new_figure(6.4, 5.0 + 2.0 * costly)
    panels = list(figure.subplots(2 + costly, 1, sharex=True))
    counts = panels[-1]
    _amounts(panels[0], [size.power for size in sizes], "power", "W")
    if costly:
        _amounts(panels[1], [size.energy for size in sizes], "energy with costs", "J")
    _line(counts, [size.array_count for size in sizes], GREY, "^-", "arrays")
    _line(counts, [size.conversions for size in sizes], ORANGE, "D--", "conversions")
    counts.set(yscale="log", ylabel="number", xlabel="size of arrays [rows × columns of devices]")
    plain_logarithmic(counts.yaxis)
    counts.legend(frameon=False, fontsize="small")
    for i, size in enumerate(sizes):
        if not size.feasible:
            said = "no plan" if size.nmse is None else f"out of reach:\nNMSE ≥ {percent(size.nmse, 3)}"
            panels[0].text(i, 0.5, said, ha="center", fontsize="small", transform=panels[0].get_xaxis_transform())
    for axes in panels:
        axes.grid(True, alpha=0.25)
    counts.set_xticks(range(len(sizes)), [f"{size.rows} × {size.columns}" for size in sizes])
    counts.set_xlim(-0.5, len(sizes) - 0.5)
    asked = f"least power for {target_text(plans[0].target)}" if plans else "no plan"
    panels[0].set_title(f"{title + ': ' if title else ''}{asked}".replace("<=", "≤"))
    return written(figure, file)


def _amounts(axes: Axes, values: Sequence[float | None], what: str, unit: str) -> None:
    """Power or energy from 0 on."""
    scale, prefix = power_scale(max((value or 0.0 for value in values), default=0.0) or 1.0)
    _line(axes, [None if value is None else scale * value for value in values], BLUE, "o-", "")
    axes.set(ylabel=f"{what} [{prefix}{unit}]")
    axes.margins(y=0.15)
    axes.set_ylim(bottom=0)


def _line(axes: Axes, values: Sequence[float | None], colour: str, look: str, label: str) -> None:
    """The values that there are, at their places."""
    places = [math.nan if value is None else value for value in values]
    axes.plot(range(len(values)), places, look, color=colour, label=label, markersize=5)
