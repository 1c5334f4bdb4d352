"""Figures of a study: its power against the error, and against a number of the hardware that was swept.

P(NMSE) has a curve for each value of one axis and a panel for each combination of the others. Where an axis has more
numbers than there are looks of curves, it is drawn across instead: P(number), a curve for each target. Where the
hardware has costs, the energy of an inference has the same figures, and latency and area, where they differ, are drawn
against it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from powerplan.batch.results import PointResult, PointState, StudyResult
from powerplan.planning import Plan
from powerplan.planning.objectives import POWER
from powerplan.report.charts import STYLES, Chart, Curve, Point, Scale
from powerplan.report.panel_axes import (
    AREA,
    ENERGY,
    LATENCY,
    POWER_OF_ARRAYS,
    Across,
    Pair,
    Up,
    axis_across,
    energy_across,
    error_across,
    placed,
)
from powerplan.report.planned_error import PlannedError, error_name, half_interval
from powerplan.report.quantities import target_text
from powerplan.report.study_axes import LIMITS, MINOR, axis_name, evenly, label, number, setting
from powerplan.report.svg import Layout, lay_out
from powerplan.report.text import typeset, without_paths
from powerplan.units import percent

#: figures in a page, and those of full size
MOST_PANELS, MOST_LARGE = 24, 4
#: ratio beyond which latencies, or areas, are different
_DIFFERS = 1.001


@dataclass(frozen=True, kw_only=True)
class Panels:
    """Figures, how many more there would be, and what must be said about them."""

    charts: tuple[Layout, ...] = ()
    left_out: int = 0
    remarks: tuple[str, ...] = ()


def study_panels(study: StudyResult, plans: Sequence[Pair]) -> Panels:
    """The figures of :func:`study_charts` for a page: small if they are many, and not more than it can bear."""
    charts, remarks = study_charts(study, plans)
    return Panels(
        charts=tuple(lay_out(one, compact=len(charts) > MOST_LARGE) for one in charts[:MOST_PANELS]),
        left_out=max(0, len(charts) - MOST_PANELS),
        remarks=tuple(remarks),
    )


def study_charts(study: StudyResult, plans: Sequence[Pair]) -> tuple[list[Chart], list[str]]:
    """Power, and energy with costs, of the plans that meet their target, against NMSE or against the axis with many
    numbers; latency and area against energy; and remarks."""
    reached = _reached(plans)
    if not reached:
        return [], []
    axes = _splitting(reached, [axis for axis in study.axes if not axis.startswith("target") and axis not in MINOR])
    values = {axis: list(dict.fromkeys(setting(o, axis) for o, _ in reached)) for axis in axes}
    swept = max((a for a in axes if _is_sweep(reached, a, values[a])), key=lambda a: len(values[a]), default=None)
    charts: list[Chart] = []
    remarks: list[str] = []
    for up in (POWER_OF_ARRAYS, ENERGY) if _have_costs(reached) else (POWER_OF_ARRAYS,):
        if swept is None:
            # the curves: the granularity if it differs, else the last axis with few values
            few = [axis for axis in axes if len(values[axis]) <= STYLES]
            by = "granularity" if "granularity" in few else (few[-1] if few else None)
            charts += _against_error(reached, axes, by, up, "")
        else:
            drawn, remarks = _swept_panels(reached, axes, swept, up)
            charts += drawn
    return charts + _against_energy(reached, [axis for axis in axes if axis not in (*LIMITS, swept)]), remarks


def frontier_charts(plans: Sequence[Plan]) -> list[Chart]:
    """Those of plans that meet their target, whatever else differs; power against NMSE is the first one."""
    state = PointState.DONE
    pairs = _reached([(PointResult(name=target_text(p.target), settings={}, state=state, source=p), p) for p in plans])
    if not pairs:
        return []
    ups = (POWER_OF_ARRAYS, ENERGY) if _have_costs(pairs) else (POWER_OF_ARRAYS,)
    return [*(_against_error(pairs, [], None, up, "")[0] for up in ups), *_against_energy(pairs, [])]


def _reached(plans: Sequence[Pair]) -> list[Pair]:
    return [(o, p) for o, p in plans if p.meets_target and p.nmse > 0 and p.power > 0]


def _have_costs(pairs: Sequence[Pair]) -> bool:
    return all(p.costs is not None and p.costs.energy > 0 for _, p in pairs)


def _against_error(pairs: Sequence[Pair], axes: Sequence[str], by: str | None, up: Up, before: str) -> list[Chart]:
    """Panels against the NMSE that plans are about, or what stands for it, of the plans that have a place there."""
    some = placed(pairs)
    return _panels(some, axes, by, error_across(some), up, before)


def _against_energy(pairs: Sequence[Pair], axes: Sequence[str]) -> list[Chart]:
    """Latency and area against energy, each where it differs between plans for one target."""
    targets = _targets(pairs)
    if not _have_costs(pairs) or len(targets) > STYLES:
        return []
    charts = []
    for up in (LATENCY, AREA):
        values = [[up.value(plan) for _, plan in pairs if target_text(plan.target) == each] for each in targets]
        if any(max(own) > _DIFFERS * min(own) > 0 for own in values):
            by = "target" if len(targets) > 1 else None
            charts += _panels(pairs, axes, by, energy_across([p for _, p in pairs]), up, "")
    return charts


def _swept_panels(reached: Sequence[Pair], axes: Sequence[str], swept: str, up: Up) -> tuple[list[Chart], list[str]]:
    """A quantity against the numbers of an axis; with some targets also against NMSE for a few of the numbers."""
    remarks = []
    targets = _targets(reached)
    shown = evenly(targets, STYLES)
    if len(shown) < len(targets):
        remarks.append(f"Of {len(targets)} targets, {len(shown)} have curves.")
    some = [pair for pair in reached if _curve_of(pair, "target") in shown]
    others = [axis for axis in axes if axis != swept]
    few = [a for a in others if len({setting(o, a) for o, _ in reached}) <= STYLES]
    by = "target" if len(targets) > 1 or not few else few[-1]
    charts = _panels(some, others, by, axis_across(swept, reached), up, f"Against {axis_name(swept)}")
    if len(targets) > 2:
        ordered = sorted({n for o, _ in reached if (n := number(o, swept)) is not None})
        chosen = evenly(ordered, STYLES)
        remarks.append(f"Of {len(ordered)} values of {axis_name(swept)}, {len(chosen)} have curves against NMSE.")
        some = [(o, p) for o, p in reached if number(o, swept) in chosen]
        charts += _against_error(some, axes, swept, up, "Against NMSE")
    return charts, remarks


def _is_sweep(reached: Sequence[Pair], axis: str, values: Sequence[str]) -> bool:
    return len(values) > STYLES and all(number(point, axis) is not None for point, _ in reached)


def _splitting(reached: Sequence[Pair], axes: Sequence[str]) -> list[str]:
    """The axes without those that follow from the ones before: inputs that go with their network, one value only."""
    splitting: list[str] = []
    groups = 1
    for axis in axes:
        count = len({tuple(setting(point, a) for a in (*splitting, axis)) for point, _ in reached})
        if count > groups:
            splitting.append(axis)
            groups = count
    return splitting


def _targets(reached: Sequence[Pair]) -> list[str]:
    """The different targets, by kind and value."""
    ordered = sorted({(p.target.kind, p.target.value, target_text(p.target)) for _, p in reached})
    return list(dict.fromkeys(text for _, _, text in ordered))


def _curve_of(pair: Pair, by: str | None) -> str:
    point, plan = pair
    return "" if by is None else target_text(plan.target) if by == "target" else setting(point, by)


def _panels(
    pairs: Sequence[Pair], axes: Sequence[str], by: str | None, across: Across, up: Up, before: str
) -> list[Chart]:
    """A panel for each combination of the axes but ``by``, whose values are curves.

    All have one unit, and one scale as long as it does not press them together.
    """
    others = [axis for axis in axes if axis != by]
    groups: dict[tuple[str, ...], list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(tuple(setting(pair[0], axis) for axis in others), []).append(pair)
    curves = _targets(pairs) if by == "target" else list(dict.fromkeys(_curve_of(pair, by) for pair in pairs))
    scale, prefix = up.scale([p for _, p in pairs])
    upright = _shared([[up.value(p) * scale for _, p in members] for members in groups.values()], log=True)
    along = _shared([list(map(across.value, members)) for members in groups.values()], log=across.log)

    titles = [", ".join([*filter(None, [before]), *map(label, others, key)]) for key in groups]
    return [
        _panel(members, title, by, curves, across, up, (scale, f"{prefix}{up.unit}"), along=along, upright=upright)
        for title, members in zip(titles, groups.values(), strict=True)
    ]


def _shared(panels: Sequence[Sequence[float]], *, log: bool) -> Scale | None:
    """One scale for several panels; None if that would leave the tallest of them less than half of its height."""
    values = [value for panel in panels for value in panel]
    ratio = max(max(panel) / min(panel) for panel in panels) if log else np.inf
    apart = log and max(values) / min(values) > max(ratio, 2.0) ** 2
    return None if apart or len(panels) < 2 else Scale.around(values, log=log)


def _panel(
    members: Sequence[Pair],
    title: str,
    by: str | None,
    values: Sequence[str],
    across: Across,
    up: Up,
    unit: tuple[float, str],
    *,
    along: Scale | None,
    upright: Scale | None,
) -> Chart:
    """One panel; a curve for each of the values of ``by``, whose looks are the same in every panel."""
    curves: dict[str, list[Pair]] = {value: [] for value in values}
    ordered = sorted(members, key=across.value)
    for pair in ordered:
        curves[_curve_of(pair, by)].append(pair)
    drawn = [
        Curve(
            name=typeset(label(by, name).replace("<=", "≤")) if by else "plan, predicted",
            style=i,
            points=tuple(_point(pair, across.value(pair), up.value(pair[1]), unit) for pair in some),
        )
        for i, (name, some) in enumerate(curves.items())
        if some
    ]
    if len(curves) == 1 and up is POWER_OF_ARRAYS:
        drawn += _beside(ordered, across, unit)
        upright = None  # the baseline lies higher
    ends = " to ".join(f"{up.text(plan)} at {across.at(plan)}" for _, plan in (ordered[0], ordered[-1]))
    return Chart(
        curves=tuple(drawn),
        title=title or f"{up.title} {across.title}",
        description=f"{up.label.capitalize()} against {across.name}{': ' + title if title else ''}: "
        f"{len(members)} plans, from {ends}; curves: {', '.join(c.name for c in drawn)}. The numbers are in the table "
        "of all points.",
        x_label=across.text,
        y_label=f"{up.label} [{unit[1]}]",
        x_log=across.log,
        along=along,
        up=upright,
    )


def _beside(members: Sequence[Pair], across: Across, unit: tuple[float, str]) -> list[Curve]:
    """The baseline and the simulated points of a single curve."""
    base = [
        _point(
            pair,
            # a baseline meets the same target: where that bounds the NMSE, it lies there
            100 * bound if across.is_error and (bound := PlannedError.of(pair[1]).bound) else across.value(pair),
            pair[1].baseline_power,
            unit,
            before="baseline of ",
        )
        for pair in members
        if pair[1].baseline_power is not None and pair[1].objective is POWER
    ]
    simulated = [
        _point(
            pair,
            100 * error.simulated if across.is_error else across.value(pair),
            check.power,
            unit,
            before="simulated ",
            x_error=100 * error.half if across.is_error else 0.0,
            y_error=half_interval(check.power_standard_error) * unit[0],
        )
        for pair in members
        if (check := pair[1].verification) is not None and (error := PlannedError.of(pair[1])).simulated is not None
    ]
    curves = [
        Curve(name="baseline, one conductance range", style=1, points=tuple(base)),
        Curve(name="plan, simulated, 95 %", style=5, points=tuple(simulated), line=False),
    ]
    return [curve for curve in curves if curve.points]


def _point(
    pair: Pair,
    x: float,
    y: float,
    unit: tuple[float, str],
    *,
    before: str = "",
    x_error: float = 0.0,
    y_error: float = 0.0,
) -> Point:
    """A point of a figure of y [unit] against x; its tooltip names the point and its predicted NMSE."""
    point, plan = pair
    error = f"{error_name([plan])} {percent(PlannedError.of(plan).predicted)}"
    text = f"{before}{without_paths(point.name)}: {error}, {y * unit[0]:.4g} {unit[1]}"
    return Point(x=x, y=y * unit[0], text=text, x_error=x_error, y_error=y_error)
