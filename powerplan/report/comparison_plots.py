"""Technologies side by side as a figure (matplotlib, extra ``plot``)."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from powerplan.batch.naming import OVERRIDE
from powerplan.batch.results import StudyResult
from powerplan.batch.tiles import FIELDS
from powerplan.report.charts import power_scale
from powerplan.report.plots import BLUE, GREY, ORANGE, new_figure, plain_logarithmic, plot_study, written
from powerplan.report.quantities import target_text
from powerplan.report.tile_plots import plot_tiles
from powerplan.units import si

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: points of which each has a bar; of more there are curves
_BARS = 24
#: ratio of the largest power to the least from which the axis is logarithmic
_FAR = 20.0
#: characters of a reason that stands in a figure
_REASON = 90


def plot_comparison(study: StudyResult, *, title: str = "", file: str | os.PathLike[str] | None = None) -> Figure:
    """Power of every point as bars, devices and read-out apart, by name; the reason where there is none.

    Of several targets, or many points, the figures of :func:`powerplan.plot_study`; of one technology with several
    sizes of arrays that of :func:`powerplan.plan_tiles`.

    Args:
        title: what was planned.
        file: also write the figure.
    """
    if study.axes and set(study.axes) <= {OVERRIDE + name for name in FIELDS}:
        return plot_tiles(study, title=title, file=file)
    targets = {str(point.settings["target"]) for point in study.points}
    swept = [axis for axis in study.axes if axis.startswith(OVERRIDE)]
    if len(targets) > 1 or len(study.points) > _BARS or (swept and len(study.points) > _BARS // 3):
        return plot_study(study, title=title, file=file)
    plans = [point.plan for point in study.points]
    met = [plan for plan in plans if plan is not None and plan.meets_target]
    scale, prefix = power_scale(max((plan.power for plan in met), default=1e-3))
    figure = new_figure(8.0, 1.4 + 0.5 * len(plans))
    axes = figure.subplots()
    parts: Sequence[tuple[str, str, str]] = (
        ("devices", "array_power_by_layer", BLUE),
        ("amplifiers", "tia_power_by_layer", ORANGE),
        ("converters", "converter_power_by_layer", GREY),
    )
    ratio = max(plan.power for plan in met) / min(plan.power for plan in met) if met else 1.0
    if ratio > _FAR:  # parts of bars on a logarithmic axis would mislead
        parts = (("", "power_by_layer", BLUE),)
    used: set[str] = set()
    for row, (point, plan) in enumerate(zip(study.points, plans, strict=True)):
        if plan is None or not plan.meets_target:
            why = (point.failure.message if point.failure else "") if plan is None else plan.termination.message
            axes.text(
                0.01,
                row,
                " " + textwrap.shorten(why.partition(";")[0], _REASON, placeholder=" ..."),
                va="center",
                fontsize="small",
                transform=axes.get_yaxis_transform(),
            )
            continue
        start = 0.0
        for name, field, colour in parts:
            power = scale * float(np.sum(getattr(plan.prediction, field)))
            if power:
                axes.barh(row, power, left=start, color=colour, label=None if name in used else name or None)
                used.add(name)
            start += power
        axes.text(start, row, f" {si(plan.power, 'W')}".replace(" u", " µ"), va="center", fontsize="small")
    axes.set_yticks(range(len(plans)), [point.name for point in study.points])
    axes.set_ylim(len(plans) - 0.4, -0.6)
    axes.set(xlabel=f"power of one inference [{prefix}W]")
    _scale(axes, [scale * plan.power for plan in met])
    axes.grid(True, axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    if len(used) > 1:
        axes.legend(frameon=False, fontsize="small")
    asked = next((target_text(plan.target) for plan in plans if plan is not None), "")
    axes.set_title(f"{title + ': ' if title else ''}least power for {asked}".replace("<=", "≤"))
    return written(figure, file)


def _scale(axes: Axes, powers: Sequence[float]) -> None:
    """The scale of the powers: logarithmic where they are far apart, none where nobody meets the target."""
    if not powers:
        axes.set(xlabel="no technology meets the target", xticks=[])
    elif max(powers) > _FAR * min(powers):
        axes.set_xscale("log")
        axes.set_xlim(min(powers) / 3, max(powers) * 6)
        plain_logarithmic(axes.xaxis)
    else:
        axes.margins(x=0.18)
        axes.set_xlim(left=0)
