"""Figures of measured devices: how far from their targets they are, how they spread, and the curves through both."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from powerplan.hardware.curve_values import curve_values
from powerplan.hardware.measured.levels import Levels, Readings
from powerplan.hardware.measured.measured import Fit
from powerplan.hardware.measured.measurements import Measurements
from powerplan.report.charts import Chart, Curve, Point
from powerplan.report.study_axes import evenly
from powerplan.units import duration, si

#: points of a line; single devices of a figure, at most
_LINE, _DEVICES = 97, 400
_MICRO = 1e6
_TARGET = "programmed to [µS]"


def summary_charts(measurements: Measurements) -> tuple[Chart, Chart]:
    """Mean error and spread against target, a curve for each time."""
    shift: list[Curve] = []
    spread: list[Curve] = []
    for style, levels in enumerate(measurements.levels):
        name = duration(levels.time)
        for curves, fit, values, errors, off in (
            (shift, measurements.mean_fit(levels), levels.mean, levels.mean_standard_error, levels.target),
            (spread, measurements.std_fit(levels), levels.std, levels.std_standard_error, 0 * levels.target),
        ):
            points = zip(levels.target, values - off, np.nan_to_num(1.96 * errors), strict=True)
            marks = tuple(
                Point(
                    x=_MICRO * x,
                    y=_MICRO * y,
                    y_error=_MICRO * error,
                    text=f"{si(x, 'S')} after {name}: {_MICRO * y:+.3g} µS",
                )
                for x, y, error in points
            )
            curves.append(Curve(name=name, points=marks, style=style, line=False))
            curves.append(_line(measurements, levels, fit, name="", style=style, less_target=curves is shift))
    how = "straight lines" if measurements.degree is None else f"polynomials of degree {measurements.degree}"
    titles = (f"Mean error; bars 95 %, {how}", f"Standard deviation; bars 95 %, {how}")
    labels = ("mean held less target [µS]", "standard deviation [µS]")
    first, second = (
        Chart(
            title=title,
            description=f"{title} of devices of {measurements.source} by target, a curve for each time of reading.",
            curves=tuple(curves),
            x_label=_TARGET,
            y_label=label,
            x_log=False,
            y_log=False,
        )
        for title, label, curves in zip(titles, labels, (shift, spread), strict=True)
    )
    return first, second


def device_charts(measurements: Measurements) -> Iterator[Chart]:
    """Errors of single devices at each time, with the curves of their mean and spread; none of given moments."""
    by_time = {levels.time: levels for levels in measurements.levels}
    for readings in measurements.readings:
        levels = by_time[readings.time]
        mean, std = measurements.mean_fit(levels), measurements.std_fit(levels)
        middle = _line(measurements, levels, mean, name="mean", style=1, less_target=True)
        spread = _line(measurements, levels, std, name="", style=1)
        edges = [
            Curve(
                name="mean ± standard deviation" if side > 0 else "",
                points=tuple(
                    Point(x=p.x, y=p.y + side * s.y) for p, s in zip(middle.points, spread.points, strict=True)
                ),
                style=3,
                marks=False,
            )
            for side in (1, -1)
        ]
        yield Chart(
            title=f"Single devices {duration(readings.time)} after programming",
            description=f"Errors of single devices by target {duration(readings.time)} after programming.",
            curves=(_devices(readings), middle, *edges),
            x_label=_TARGET,
            y_label="held less target [µS]",
            x_log=False,
            y_log=False,
        )


def _devices(readings: Readings) -> Curve:
    """A part of the devices, evenly through the table."""
    some = evenly(range(len(readings.target)), _DEVICES)
    points = tuple(
        Point(x=_MICRO * float(t), y=_MICRO * float(m - t))
        for t, m in zip(readings.target[some], readings.measured[some], strict=True)
    )
    count = len(readings.target)
    name = f"{len(points)} of {count} readings" if count > len(points) else f"{count} readings"
    return Curve(name=name, points=points, style=5, line=False)


def _line(
    measurements: Measurements, levels: Levels, fit: Fit, *, name: str, style: int, less_target: bool = False
) -> Curve:
    """A fitted curve over the targets of the levels."""
    target = np.unique(np.concatenate((levels.target, np.linspace(levels.target[0], levels.target[-1], _LINE))))
    values = curve_values(fit.curve, torch.as_tensor(target), measurements.conductances[1]).numpy()
    values = values - target if less_target else values
    points = tuple(Point(x=_MICRO * float(x), y=_MICRO * float(y)) for x, y in zip(target, values, strict=True))
    return Curve(name=name, points=points, style=style, marks=False)
