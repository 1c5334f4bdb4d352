"""Figures of a study: power against error by its axes; saving and gains along a frontier."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from powerplan.batch.results import PointResult, StudyResult
from powerplan.hardware.describe import hardware_fields
from powerplan.planning import MaxPower, Outcome, Plan
from powerplan.report.charts import STYLES, Chart, Curve, Point, chart, power_scale
from powerplan.report.text import flat, value_text, without_paths
from powerplan.report.units import percent, si

#: figures in a page, those of full size, and layers with a curve of their own
MOST_PANELS, MOST_LARGE, MOST_LAYERS = 24, 4, STYLES

#: settings of the calculation: they make no figures of their own
MINOR = ("verify_draws", "calibrate", "seed", "tolerance", "max_iterations")


def setting(point: PointResult, axis: str) -> str:
    """The value of an axis at a point, as text."""
    unit = _units().get(axis.removeprefix("override."), "") if axis.startswith("override.") else ""
    return without_paths(value_text(dict(flat(point.settings)).get(axis), unit))


@cache
def _units() -> dict[str, str]:
    return {name: unit for name, (unit, _) in hardware_fields().items()}


def axis_name(axis: str) -> str:
    """An axis as people read it."""
    return "target" if axis.startswith("target") else axis.removeprefix("override.").replace("_", " ")


def power_panels(study: StudyResult, plans: Sequence[tuple[PointResult, Plan]]) -> tuple[list[Chart], int]:
    """Power against NMSE: a panel for each combination of the axes but one, whose values are the curves."""
    reached = [
        (o, p) for o, p in plans if p.termination.outcome is not Outcome.INFEASIBLE and p.nmse > 0 and p.power > 0
    ]
    if not reached:
        return [], 0
    axes = _splitting(reached, [axis for axis in study.axes if not axis.startswith("target") and axis not in MINOR])
    values = {axis: list(dict.fromkeys(setting(o, axis) for o, _ in reached)) for axis in axes}
    # the curves of a panel: the granularity if it differs, else the last axis with few values
    few = [axis for axis in axes if len(values[axis]) <= STYLES]
    by = "granularity" if "granularity" in few else (few[-1] if few else None)
    others = [axis for axis in axes if axis != by]
    groups: dict[tuple[str, ...], list[tuple[PointResult, Plan]]] = {}
    for point, plan in reached:
        groups.setdefault(tuple(setting(point, axis) for axis in others), []).append((point, plan))
    curves = values[by] if by else [""]
    charts = [
        _panel(members, ", ".join(_labels(others, key)), by, curves, compact=len(groups) > MOST_LARGE)
        for key, members in groups.items()
    ]
    return charts[:MOST_PANELS], max(0, len(charts) - MOST_PANELS)


def _splitting(reached: Sequence[tuple[PointResult, Plan]], axes: Sequence[str]) -> list[str]:
    """The axes without those that follow from the ones before: inputs that go with their network, one value only."""
    kept: list[str] = []
    groups = 1
    for axis in axes:
        found = len({tuple(setting(point, a) for a in (*kept, axis)) for point, _ in reached})
        if found > groups:
            kept.append(axis)
            groups = found
    return kept


def _labels(axes: Sequence[str], values: Sequence[str]) -> list[str]:
    """Settings as a title has them: names speak for themselves, numbers need their field."""
    return [f"{axis_name(a)} {v}" if a.startswith("override") else v for a, v in zip(axes, values, strict=True)]


def _panel(
    members: Sequence[tuple[PointResult, Plan]], title: str, by: str | None, values: Sequence[str], *, compact: bool
) -> Chart:
    """One panel; a curve for each of the values of ``by``, whose looks are the same in every panel."""
    curves: dict[str, list[tuple[PointResult, Plan]]] = {value: [] for value in values}
    ordered = sorted(members, key=lambda pair: pair[1].nmse)
    for point, plan in ordered:
        curves[setting(point, by) if by else ""].append((point, plan))
    scale, prefix = power_scale(max(p.power for _, p in ordered))
    unit = f"{prefix}W"
    drawn = [
        Curve(
            name=_curve_name(by, name),
            style=i,
            points=tuple(_point(o, p.nmse, p.power * scale, unit) for o, p in some),
        )
        for i, (name, some) in enumerate(curves.items())
        if some
    ]
    if len(curves) == 1:
        drawn += _beside(ordered, scale, unit)
    (_, low), (_, high) = ordered[0], ordered[-1]
    return chart(
        drawn,
        title=title or "Least power for an error",
        description=f"Power of one inference against NMSE{', ' + title if title else ''}: {len(members)} plans, from "
        f"{si(low.power, 'W')} at {percent(low.nmse)} to {si(high.power, 'W')} at {percent(high.nmse)}; "
        f"curves: {', '.join(c.name for c in drawn)}. The numbers are in the table of all points.",
        x_label="NMSE of the outputs [%]",
        y_label=f"power of one inference [{unit}]",
        compact=compact,
    )


def _curve_name(by: str | None, value: str) -> str:
    if by is None:
        return "plan, predicted"
    return f"by {value}" if by == "granularity" else f"{axis_name(by)} {value}" if by.startswith("override") else value


def _beside(members: Sequence[tuple[PointResult, Plan]], scale: float, unit: str) -> list[Curve]:
    """The baseline and the simulated points of a single curve; members in the order of their error."""
    base = [
        _point(o, p.nmse, p.baseline_power * scale, unit, before="baseline of ")
        for o, p in members
        if p.baseline_power is not None and not isinstance(p.target, MaxPower)
    ]
    simulated = [
        _point(
            o,
            p.verification.nmse,
            p.verification.power * scale,
            unit,
            before="simulated ",
            x_error=_half(p.verification.nmse_standard_error),
            y_error=_half(p.verification.power_standard_error) * scale,
        )
        for o, p in members
        if p.verification is not None
    ]
    curves = [
        Curve(name="baseline, one conductance range", style=1, points=tuple(base)),
        Curve(name="plan, simulated, 95 %", style=5, points=tuple(simulated), line=False),
    ]
    return [curve for curve in curves if curve.points]


def _half(standard_error: float) -> float:
    """Half a 95 % interval; 0 after a single draw, whose error is not known."""
    return 1.96 * standard_error if np.isfinite(standard_error) else 0.0


def _point(
    point: PointResult,
    nmse: float,
    power: float,
    unit: str,
    *,
    before: str = "",
    x_error: float = 0.0,
    y_error: float = 0.0,
) -> Point:
    """A point of a figure of power [unit] against NMSE, which the axis shows in %."""
    text = f"{before}{without_paths(point.name)}: NMSE {percent(nmse)}, {power:.4g} {unit}"
    return Point(x=100 * nmse, y=power, text=text, x_error=100 * x_error, y_error=y_error)


def gain_charts(study: StudyResult, plans: Sequence[tuple[PointResult, Plan]]) -> tuple[list[Chart], str]:
    """Saving, and conductance gain of every layer, along a frontier: only where the target alone differs."""
    if any(not axis.startswith("target") for axis in study.axes):
        return [], ""
    reached = sorted(
        ((o, p) for o, p in plans if p.termination.outcome is not Outcome.INFEASIBLE and p.nmse > 0),
        key=lambda pair: pair[1].nmse,
    )
    if len(reached) < 2:
        return [], ""
    charts = []
    saved = [
        Point(x=100 * p.nmse, y=100 * p.saving, text=f"{o.name}: {100 * p.saving:.1f} %")
        for o, p in reached
        if p.saving is not None
    ]
    if len(saved) > 1:
        charts.append(
            chart(
                [Curve(name="saving", points=tuple(saved))],
                title="Power saved",
                description=f"Power saved against the baseline: {saved[0].y:.1f} % at the smallest NMSE, "
                f"{saved[-1].y:.1f} % at the largest.",
                x_label="NMSE of the outputs [%]",
                y_label="power saved [%]",
                y_log=False,
            )
        )
    names = reached[0][1].prediction.layer_names
    power = np.mean([p.prediction.power_by_layer / p.power for _, p in reached], axis=0)
    shown = sorted(np.argsort(-power)[:MOST_LAYERS])
    curves = [
        Curve(
            name=names[i],
            style=k,
            points=tuple(
                Point(
                    x=100 * p.nmse,
                    y=1e6 * float(np.median(p.gains.conductance[i])),
                    text=f"{names[i]}, {o.name}: {1e6 * float(np.median(p.gains.conductance[i])):.4g} µS",
                )
                for o, p in reached
            ),
        )
        for k, i in enumerate(shown)
    ]
    charts.append(
        chart(
            curves,
            title="Conductance gains",
            description="Conductance gain per unit weight of "
            + "; ".join(f"{c.name} from {c.points[0].y:.3g} to {c.points[-1].y:.3g} µS" for c in curves)
            + ", from the smallest NMSE to the largest.",
            x_label="NMSE of the outputs [%]",
            y_label="gain per unit weight [µS]",
        )
    )
    few = f" Of {len(names)} layers, the {len(shown)} that draw the most power." if len(names) > len(shown) else ""
    columns = " Medians of the columns." if any(np.ndim(g) for _, p in reached for g in p.gains.conductance) else ""
    return charts, f"How the saving and the gains change with the target.{few}{columns}"
