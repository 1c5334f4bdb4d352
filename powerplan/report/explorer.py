"""Plans of one network to walk through with a slider: place on the frontier, gains, power and error by layer.

A template draws one of them, the page's script the others from the same numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from powerplan.batch.results import PointResult
from powerplan.planning import Plan
from powerplan.report.charts import STYLES, Chart, Curve, Point, Scale, power_scale
from powerplan.report.layer_view import LayerView, layer_views
from powerplan.report.planned_error import PlannedError, error_label, error_name
from powerplan.report.study_axes import evenly
from powerplan.report.svg import Layout, lay_out
from powerplan.report.text import typeset, without_paths
from powerplan.units import percent, si

#: plans of a slider, and layers of all of them together, at most
MOST_PLANS, MOST_LAYERS = 400, 20_000


@dataclass(frozen=True, kw_only=True)
class Explorer:
    """Plans in the order of the slider, from the least error.

    Attributes:
        chart: power against error of all of them, a curve of marks for each hardware, within it in the same order.
        layers, gains: of the first plan.
        name, said: of the first plan.
        data: what the script needs of all plans, as JSON that may stand in a page.
        count: of plans.
        left_out: plans that the slider has not.
    """

    chart: Layout
    layers: tuple[LayerView, ...]
    gains: tuple[str, ...]
    name: str
    said: str
    data: str
    count: int
    left_out: int
    spread_low: str
    spread_high: str


def explorer(plans: Sequence[tuple[PointResult, Plan]]) -> Explorer | None:
    """The slider over the plans that meet their target, of the network that most are of; None of fewer than three."""
    met = [(point, plan) for point, plan in plans if plan.meets_target and plan.nmse > 0 and plan.power > 0]
    of_network: dict[tuple[str, ...], list[tuple[PointResult, Plan]]] = {}
    for pair in met:
        of_network.setdefault(pair[1].prediction.layer_names, []).append(pair)
    chosen = max(of_network.values(), key=len, default=[])
    chosen.sort(key=lambda pair: (PlannedError.of(pair[1]).predicted, pair[1].power))
    most = min(MOST_PLANS, MOST_LAYERS // max(1, len(chosen[0][1].prediction.layer_names)) if chosen else 0)
    left_out = len(chosen) - most
    chosen = evenly(chosen, most)
    if len(chosen) < 3:
        return None
    gains = [float(np.median(g)) for _, plan in chosen for g in plan.gains.conductance]
    scale = Scale.around(gains, log=True)
    views = [tuple(layer_views(plan, None, scale)) for _, plan in chosen]
    said = [_said(plan) for _, plan in chosen]
    groups = _by_hardware(chosen)
    chart = lay_out(_chart(chosen, groups))
    order = [i for group in groups.values() for i in group]
    marks = dict(zip(order, (mark for curve in chart.curves for mark in curve.marks), strict=True))
    names = [without_paths(point.name) for point, _ in chosen]
    data = {
        "names": names,
        "said": said,
        "order": order,
        "places": [[marks[i].x, marks[i].y] for i in range(len(chosen))],
        "layers": [list(map(_numbers, layers, _gains(plan))) for layers, (_, plan) in zip(views, chosen, strict=True)],
    }
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    return Explorer(
        chart=chart,
        layers=views[0],
        gains=tuple(_gains(chosen[0][1])),
        name=names[0],
        said=said[0],
        data=text,
        count=len(chosen),
        left_out=max(0, left_out),
        spread_low=typeset(si(scale.low, "S", 3)),
        spread_high=typeset(si(scale.high, "S", 3)),
    )


def _said(plan: Plan) -> str:
    error = f"{error_name([plan])} {percent(PlannedError.of(plan).predicted)}"
    costs = "" if plan.costs is None else f", with costs {si(plan.costs.energy, 'J')}"
    return typeset(f"{error}, power {si(plan.power, 'W')}, energy {si(plan.energy, 'J')}{costs}")


def _gains(plan: Plan) -> list[str]:
    """The median gain of every layer."""
    return [typeset(si(float(np.median(gain)), "S")) for gain in plan.gains.conductance]


def _numbers(layer: LayerView, gain: str) -> list[object]:
    """What the script draws of a layer: median gain and its place, power, and shares of power and error."""
    return [
        gain,
        layer.spread.middle,
        layer.power,
        layer.power_share,
        round(layer.power_bar + layer.tia_bar + layer.converter_bar, 2),
        layer.error_share,
        layer.error_bar,
    ]


def _by_hardware(chosen: Sequence[tuple[PointResult, Plan]]) -> dict[str, list[int]]:
    """The places of the plans of each hardware; all together if there are more of them than looks of a curve."""
    groups: dict[str, list[int]] = {}
    for i, (point, _) in enumerate(chosen):
        groups.setdefault(without_paths(str(point.settings.get("hardware") or "default")), []).append(i)
    return groups if len(groups) <= STYLES else {"plans": list(range(len(chosen)))}


def _chart(chosen: Sequence[tuple[PointResult, Plan]], groups: Mapping[str, Sequence[int]]) -> Chart:
    plans = [plan for _, plan in chosen]
    factor, prefix = power_scale(max(plan.power for _, plan in chosen))
    points = tuple(
        Point(
            x=100 * PlannedError.of(plan).predicted,
            y=factor * plan.power,
            text=f"{without_paths(point.name)}: {_said(plan)}",
        )
        for point, plan in chosen
    )
    return Chart(
        title="Power against error",
        description=f"Power against {error_name(plans)} of {len(points)} plans; the slider marks one of them.",
        curves=tuple(
            Curve(name=name, style=style, points=tuple(points[i] for i in group), line=False)
            for style, (name, group) in enumerate(groups.items())
        ),
        x_label=error_label(plans),
        y_label=f"power of one inference [{prefix}W]",
    )
