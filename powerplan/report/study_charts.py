"""Figures of a frontier: saving, yield and gains along it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from powerplan.batch.results import PointResult, StudyResult
from powerplan.planning import Plan
from powerplan.report.charts import STYLES, Chart, Curve, Point, Scale
from powerplan.report.chips_charts import yield_chart
from powerplan.report.panel_axes import error_across, placed
from powerplan.report.quantities import comparable, saving_cell
from powerplan.report.study_axes import MINOR, label, setting

#: layers with a curve of their own
MOST_LAYERS = STYLES


def yield_charts(study: StudyResult, plans: Sequence[tuple[PointResult, Plan]]) -> tuple[list[Chart], str]:
    """Yield against power, a curve for each bound and whatever else differs; and what it leaves out, in words."""
    axes = [axis for axis in study.axes if not axis.startswith("target") and axis not in (*MINOR, "chip_spread")]
    groups = [", ".join(label(axis, setting(point, axis)) for axis in axes) for point, _ in plans]
    chart = yield_chart([(point.name, plan) for point, plan in plans], groups)
    bounded = [plan for _, plan in plans if plan.target.chip_bound(plan.prediction.signal_power) is not None]
    if not any(plan.target.chips is not None for plan in bounded):  # nothing was asked of chips
        return [] if chart is None else [chart], ""
    untold = sum(plan.prediction.chips is None and plan.verification is None for plan in bounded)
    advice = f"{untold} of {len(bounded)} plans do not tell their chips: plan them with chip_spread, or verify them."
    return [] if chart is None else [chart], f"Yield against power: {advice}" if untold else ""


def gain_charts(study: StudyResult, plans: Sequence[tuple[PointResult, Plan]]) -> tuple[list[Chart], str]:
    """Saving, and conductance gain of every layer, along a frontier: only where the target alone differs."""
    if any(not axis.startswith("target") for axis in study.axes):
        return [], ""
    met = placed([(o, p) for o, p in plans if p.meets_target and p.nmse > 0])
    if len(met) < 2:
        return [], ""
    charts, across = [], error_across(met)
    reached = sorted(met, key=across.value)
    ends = [across.at(p) for _, p in (reached[0], reached[-1])]
    compared = comparable([p for _, p in reached])
    alike = set(map(id, compared))
    what = compared[0].objective.name.capitalize() if compared else ""
    saved = [
        Point(
            x=across.value((o, p)),
            y=100 * p.saving,
            text=f"{o.name}: {saving_cell(p.saving, p.objective)}",
        )
        for o, p in reached
        if p.saving is not None and id(p) in alike
    ]
    if len(saved) > 1:
        charts.append(
            Chart(
                curves=(Curve(name="saving", points=tuple(saved)),),
                title=f"{what} saved",
                description=f"{what} saved against the baseline, from {ends[0]} to {ends[1]}: "
                f"{saved[0].y:.1f} % to {saved[-1].y:.1f} %.",
                x_label=across.text,
                x_log=across.log,
                y_label=f"{what.lower()} saved [%]",
                y_log=False,
                up=Scale.around([0.0, *(point.y for point in saved)], log=False),  # small differences look small
            )
        )
    names = reached[0][1].prediction.layer_labels
    power = np.mean([p.prediction.power_by_layer / p.power for _, p in reached], axis=0)
    shown = sorted(np.argsort(-power)[:MOST_LAYERS])
    curves = tuple(
        Curve(
            name=names[i],
            style=k,
            points=tuple(
                Point(
                    x=across.value((o, p)),
                    y=1e6 * float(np.median(p.gains.conductance[i])),
                    text=f"{names[i]}, {o.name}: {1e6 * float(np.median(p.gains.conductance[i])):.4g} µS",
                )
                for o, p in reached
            ),
        )
        for k, i in enumerate(shown)
    )
    charts.append(
        Chart(
            curves=curves,
            title="Conductance gains",
            description="Conductance gain per unit weight of "
            + "; ".join(f"{c.name} from {c.points[0].y:.3g} to {c.points[-1].y:.3g} µS" for c in curves)
            + f", from {ends[0]} to {ends[1]}.",
            x_label=across.text,
            x_log=across.log,
            y_label="gain per unit weight [µS]",
        )
    )
    few = f" Of {len(names)} layers, the {len(shown)} that draw the most power." if len(names) > len(shown) else ""
    columns = " Medians of the columns." if any(np.ndim(g) for _, p in reached for g in p.gains.conductance) else ""
    return charts, f"How the saving and the gains change with the target.{few}{columns}"
