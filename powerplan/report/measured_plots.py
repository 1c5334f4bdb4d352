"""Measured devices as a figure (matplotlib, extra ``plot``)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from powerplan.hardware.measured.measurements import Measurements
from powerplan.report.measured_charts import device_charts, summary_charts
from powerplan.report.plots import MOST_PANELS, draw, new_figure, written

if TYPE_CHECKING:
    from matplotlib.figure import Figure


#: height above the points that is kept free for the legend, relative to theirs
_FOR_LEGEND = 0.2
#: letters of a name from which three do not fit beside each other
_LONG = 12


def plot_measurements(measurements: Measurements, *, file: str | os.PathLike[str] | None = None) -> Figure:
    """Mean error and spread by target with the curves through them, and single devices at each time.

    Args:
        file: also write the figure.
    """
    charts = [*summary_charts(measurements), *list(device_charts(measurements))[-MOST_PANELS:]]
    columns = 2 if len(charts) < 5 else 3
    rows = -(-len(charts) // columns)
    figure = new_figure(0.5 + 5.0 * columns, 0.4 + 3.8 * rows)
    panels = list(np.ravel(np.array(figure.subplots(rows, columns, squeeze=False), dtype=object)))
    for axes in panels[len(charts) :]:
        axes.set_axis_off()
    for axes, chart in zip(panels, charts, strict=False):
        draw(axes, chart)
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + _FOR_LEGEND * (high - low))
        axes.legend(
            frameon=False,
            fontsize="small",
            loc="upper center",
            ncols=2 if any(len(c.name) > _LONG for c in chart.curves) else 3,
        )
    return written(figure, file)
