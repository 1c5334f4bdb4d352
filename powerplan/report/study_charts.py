"""Figures of a frontier: saving and gains along it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from powerplan.batch.results import PointResult, StudyResult
from powerplan.planning import Plan
from powerplan.report.charts import STYLES, Chart, Curve, Point
from powerplan.report.chips_charts import yield_chart
from powerplan.report.quantities import comparable, saving_cell

#: layers with a curve of their own
MOST_LAYERS = STYLES


def gain_charts(study: StudyResult, plans: Sequence[tuple[PointResult, Plan]]) -> tuple[list[Chart], str]:
    """Saving, and conductance gain of every layer, along a frontier: only where the target alone differs."""
    if any(not axis.startswith("target") for axis in study.axes):
        return [], ""
    reached = sorted(
        ((o, p) for o, p in plans if p.meets_target and p.nmse > 0),
        key=lambda pair: pair[1].nmse,
    )
    if len(reached) < 2:
        return [], ""
    charts = []
    compared = comparable([p for _, p in reached])
    alike = set(map(id, compared))
    what = compared[0].objective.name.capitalize() if compared else ""
    saved = [
        Point(
            x=100 * p.nmse,
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
                description=f"{what} saved against the baseline: {saved[0].y:.1f} % at the smallest NMSE, "
                f"{saved[-1].y:.1f} % at the largest.",
                x_label="NMSE of the outputs [%]",
                y_label=f"{what.lower()} saved [%]",
                y_log=False,
            )
        )
    yields = yield_chart([(o.name, p) for o, p in reached])
    charts += [] if yields is None else [yields]
    names = reached[0][1].prediction.layer_labels
    power = np.mean([p.prediction.power_by_layer / p.power for _, p in reached], axis=0)
    shown = sorted(np.argsort(-power)[:MOST_LAYERS])
    curves = tuple(
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
    )
    charts.append(
        Chart(
            curves=curves,
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
