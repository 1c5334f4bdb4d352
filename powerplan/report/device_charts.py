"""Figures of the devices that plans are for: mean error and spread of what they hold, by target."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from powerplan.hardware.curves import Table
from powerplan.hardware.devices import device_moments
from powerplan.hardware.hardware import Hardware
from powerplan.report.charts import STYLES, Chart, Curve, Point
from powerplan.units import duration, si

#: fields that hold models of devices, whose numbers say little by themselves
MODELS = (
    "programming_noise_polynomial",
    "programming_noise_curve",
    "measurements",
    "drift",
    "low_frequency_noise",
)
#: points of a curve
_POINTS = 49
_MICRO = 1e6


def device_charts(hardwares: Mapping[str, Hardware]) -> tuple[Chart, ...]:
    """Mean held less target, and standard deviation, against target: a curve for each hardware at its time; of a single
    measured one for each time of measurement. None of devices that numbers describe, or of more than six hardware."""
    shown = dict(hardwares)
    if len(shown) == 1 and (only := next(iter(shown.values()))).measurements:
        shown = {duration(each.time): only.replace(time=each.time) for each in only.measurements[:STYLES]}
    if len(shown) > STYLES or not any(getattr(h, field) for h in shown.values() for field in MODELS):
        return ()
    curves = [_curves(name, hardware, style) for style, (name, hardware) in enumerate(shown.items())]
    titles = ("Mean error of devices", "Standard deviation of devices")
    return tuple(
        Chart(
            title=title,
            description=f"{title} by the conductance they are programmed to: {', '.join(shown)}.",
            curves=tuple(pair[i] for pair in curves),
            x_label="programmed to [µS]",
            y_label=label,
            x_log=False,
            y_log=False,
        )
        for i, (title, label) in enumerate(
            zip(titles, ("mean held less target [µS]", "standard deviation [µS]"), strict=True)
        )
    )


def measured_text(hardware: Hardware) -> str:
    """``32 targets from 750 nS to 39.5 uS, at 6 times from 0 s to 27.8 h`` of measured devices."""
    snapshots = hardware.measurements or ()
    times = [each.time for each in snapshots]
    at = f"at {len(times)} times from {duration(min(times))} to {duration(max(times))}"
    at = f"{duration(times[0])} after programming" if len(times) == 1 else at
    curve = snapshots[0].mean or snapshots[0].std
    if not isinstance(curve, Table):
        return f"{'exact' if curve is None else curve.type}, {at}"
    unit = curve.reference or hardware.conductance_max
    ends = f"{si(curve.points[0] * unit, 'S', 3)} to {si(curve.points[-1] * unit, 'S', 3)}"
    return f"{len(curve.points)} targets from {ends}, {at}"


def _curves(name: str, hardware: Hardware, style: int) -> tuple[Curve, Curve]:
    targets = torch.linspace(hardware.conductance_min, hardware.conductance_max, _POINTS, dtype=torch.float64)
    with torch.no_grad():
        mean, variance = device_moments(hardware, targets)
    shift, spread = mean - targets, variance.expand(targets.shape).sqrt()
    return tuple(  # type: ignore[return-value]
        Curve(
            name=name,
            points=tuple(
                Point(x=_MICRO * x, y=_MICRO * y) for x, y in zip(targets.tolist(), values.tolist(), strict=True)
            ),
            style=style,
            marks=False,
        )
        for values in (shift, spread)
    )
