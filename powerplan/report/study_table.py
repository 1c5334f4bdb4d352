"""The points of a study as rows, and summed up by their settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from powerplan.batch.naming import OVERRIDE
from powerplan.batch.results import PointResult, PointState, StudyResult
from powerplan.batch.targets import make_target
from powerplan.hardware.costs.breakdown import CostBreakdown
from powerplan.planning import Plan, Target
from powerplan.planning.objectives import POWER
from powerplan.planning.settings import CHOICES
from powerplan.planning.verify.verify import misses_target
from powerplan.report.answer import OUTCOMES
from powerplan.report.planned_error import PlannedError, part_column, part_text
from powerplan.report.quantities import chosen_text, saving_cell, simulated_nmse, target_text
from powerplan.report.study_axes import MINOR, axis_name, evenly, number, setting
from powerplan.report.text import typeset, without_paths
from powerplan.units import grouped, percent, si

#: values of an axis that are all summed up, and how many of more
MOST_VALUES, FEW_VALUES = 16, 9
#: settings besides the target that a name tells in a few words
FEW_AXES = 2


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of the table of points: its text, what it is sorted by, and the link it holds (may be empty)."""

    text: str
    key: str = ""
    number: bool = False
    link: str = ""
    look: str = ""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The points that share one value of an axis, held point by point against those of the axis' reference value.

    ``power`` and ``error`` are medians of the ratios over ``compared`` pairs: points that differ in this axis only and
    both meet their target.
    """

    axis: str
    value: str
    power: str
    error: str
    compared: int
    met: int
    points: int


#: name, numbers or not, and the cell of a point
Column: TypeAlias = tuple[str, bool, Callable[[PointResult], Cell]]


def point_table(
    study: StudyResult, anchors: Mapping[int, str]
) -> tuple[tuple[tuple[str, bool], ...], tuple[tuple[Cell, ...], ...]]:
    """The table of all points: its columns (name, numbers or not) and its rows."""
    axes = [axis for axis in study.axes if not axis.startswith("target")]
    timed = any(point.seconds is not None for point in study.points)
    verified = any(point.plan is not None and point.plan.verification is not None for point in study.points)
    # a name of many settings is long, and columns repeat them: a number first, the name last
    is_long = bool(study.name) and len(axes) > FEW_AXES
    numbers = {id(point): str(i + 1) for i, point in enumerate(study.points)} if is_long else {}

    def first(point: PointResult) -> Cell:
        place = numbers.get(id(point), "")
        return Cell(text=place or without_paths(point.name), key=place, link=anchors.get(id(point), ""))

    # power and error first: a phone shows four columns
    columns: list[Column] = [
        ("Point", False, first),
        ("Power", True, lambda point: _number(point, lambda p: p.power, lambda v: si(v, "W"))),
        ("NMSE", True, lambda point: _number(point, lambda p: p.nmse, percent)),
        ("Target", True, _target_cell),
        ("Saving", True, _saving_cell),
    ]
    if verified:
        columns.append(("NMSE simulated", True, _simulated_cell))
    if (part := part_column(plan for point in study.points if (plan := point.plan) is not None)) is not None:
        columns.append((part, True, _part_cell))
    if any(axis.startswith(OVERRIDE + "array_") for axis in axes):
        columns.append(("Arrays", True, partial(_count_cell, count=lambda plan: plan.array_count)))
        columns.append(("Conversions", True, partial(_count_cell, count=lambda plan: plan.conversions)))
    columns += _of_costs([point.plan for point in study.points if point.plan is not None])
    columns += [(axis_name(axis), False, partial(_setting_cell, axis=axis)) for axis in axes]
    columns.append(("Outcome", False, _outcome_cell))
    if timed:
        columns.append(("Time", True, _seconds_cell))
    if numbers:
        columns.append(("Name", False, lambda point: Cell(text=without_paths(point.name))))
    return (
        tuple((name, number) for name, number, _ in columns),
        tuple(tuple(cell(point) for _, _, cell in columns) for point in study.points),
    )


def _of_costs(plans: Sequence[Plan]) -> Iterator[Column]:
    """Columns of costs and of what was chosen of converters, where plans have any."""
    if any(plan.costs is not None for plan in plans):
        yield "Energy with costs", True, lambda point: _cost(point, lambda costs: costs.energy, "J")
        yield "Latency", True, lambda point: _cost(point, lambda costs: costs.latency, "s")
    for kind in CHOICES:
        if any(kind in plan.optimize for plan in plans):
            yield f"Chosen {kind.replace('_', ' ')}", False, partial(_chosen_cell, kind=kind)
    if any(plan.bits is not None for plan in plans):
        yield "Gap of the choice", True, _gap_cell


def _saving_cell(point: PointResult) -> Cell:
    objective = POWER if point.plan is None else point.plan.objective
    return _number(point, lambda p: p.saving, partial(saving_cell, objective=objective))


def _setting_cell(point: PointResult, *, axis: str) -> Cell:
    value = number(point, axis)
    return Cell(text=setting(point, axis), key="" if value is None else f"{value:.12g}")


def _number(point: PointResult, value: Callable[[Plan], float | None], text: Callable[[float], str]) -> Cell:
    number = None if point.plan is None else value(point.plan)
    if number is None or not np.isfinite(number):
        return Cell(text="–", number=True)
    return Cell(text=typeset(text(number)), key=f"{number:.6g}", number=True)


def _cost(point: PointResult, value: Callable[[CostBreakdown], float], unit: str) -> Cell:
    return _number(point, lambda p: None if p.costs is None else value(p.costs), lambda v: si(v, unit))


def _chosen_cell(point: PointResult, *, kind: str) -> Cell:
    return Cell(text="–" if point.plan is None else chosen_text(point.plan, kind))


def _gap_cell(point: PointResult) -> Cell:
    return _number(point, lambda plan: None if plan.bits is None else plan.bits.gap, percent)


def _count_cell(point: PointResult, *, count: Callable[[Plan], int | None]) -> Cell:
    number = None if point.plan is None else count(point.plan)
    return Cell(text="–" if number is None else grouped(number), key=str(number or ""), number=True)


def _target_cell(point: PointResult) -> Cell:
    target = point.settings.get("target", "") if point.plan is None else point.plan.target
    if isinstance(target, Mapping):
        target = _asked(target)
    if isinstance(target, str):
        return Cell(text=without_paths(target) or "–", number=True)
    return Cell(text=typeset(target_text(target)), key=f"{target.value:.6g}", number=True)


def _asked(values: Mapping[str, Any]) -> Target | str:
    """The target of a point without a plan, {kind: value}, with its further fields; as it stands if it is none."""
    try:
        return make_target(values, np.zeros(1))  # labels do not show
    except ValueError:
        return ", ".join(f"{key} {value}" for key, value in values.items())


def _simulated_cell(point: PointResult) -> Cell:
    check = None if point.plan is None else point.plan.verification
    if check is None:
        return Cell(text="–", number=True)
    return Cell(text=simulated_nmse(check), key=f"{check.nmse:.6g}", number=True)


def _part_cell(point: PointResult) -> Cell:
    text = None if point.plan is None else part_text(point.plan)
    if point.plan is None or text is None:
        return Cell(text="–", number=True)
    return Cell(text=typeset(text), key=f"{PlannedError.of(point.plan).predicted:.6g}", number=True)


def _outcome_cell(point: PointResult) -> Cell:
    if point.plan is None:
        look = "bad" if point.state is PointState.FAILED else "fair"
        text = f"failed: {point.failure.code}" if point.failure is not None else point.state.value
        return Cell(text=text, look=look)
    outcome = point.plan.termination.outcome
    if outcome.is_settled and misses_target(point.plan):
        return Cell(text="missed in simulation", look="fair")
    name, look = OUTCOMES[outcome]
    return Cell(text=name.lower(), look=look)


def _seconds_cell(point: PointResult) -> Cell:
    if point.seconds is None:
        return Cell(text="–", number=True)
    return Cell(text=f"{point.seconds:.2f} s", key=f"{point.seconds:.4g}", number=True)


def summaries(study: StudyResult) -> tuple[list[Summary], list[str]]:
    """The points by each value of each axis, a few values of a long one; and what is left out, in words."""
    shown, left_out = [], []
    for axis in [axis for axis in study.axes if axis not in MINOR]:
        groups: dict[str, list[PointResult]] = {}
        for point in study.points:
            groups.setdefault(_value(point, axis), []).append(point)
        values = sorted(groups.items(), key=lambda item: _place(item[1][0], axis))
        if len(values) > MOST_VALUES:
            left_out.append(
                f"Of {len(values)} values of {axis_name(axis)}, {FEW_VALUES} are shown, "
                f"{len(values) - FEW_VALUES} left out; the table of all points has them."
            )
            values = evenly(values, FEW_VALUES)
        met = {value: _met(study, members, axis) for value, members in values}
        reference = max(met, key=lambda value: len(met[value]))
        for value, members in values:
            pairs = [(met[value][key], met[reference][key]) for key in met[value] if key in met[reference]]
            shown.append(
                Summary(
                    axis=axis_name(axis),
                    value=value,
                    power="reference" if value == reference else _ratio([(p.power, q.power) for p, q in pairs]),
                    error="reference" if value == reference else _ratio([(p.nmse, q.nmse) for p, q in pairs]),
                    compared=len(pairs),
                    met=sum(map(_meets, members)),
                    points=len(members),
                )
            )
    return shown, left_out


def _meets(point: PointResult) -> bool:
    return point.plan is not None and point.plan.meets_target


def _met(study: StudyResult, members: Sequence[PointResult], axis: str) -> dict[tuple[str, ...], Plan]:
    """The plans that meet their target, by all their other settings but those that change with this one, one to one."""
    free = []
    for other in [other for other in study.axes if other != axis]:
        together = {(_value(point, axis), _value(point, other)) for point in study.points}
        if len(together) > min(len({one for one, _ in together}), len({one for _, one in together})):
            free.append(other)
    return {tuple(_value(p, other) for other in free): p.plan for p in members if _meets(p) and p.plan is not None}


def _value(point: PointResult, axis: str) -> str:
    return _target_cell(point).text if axis.startswith("target") else setting(point, axis)


def _ratio(pairs: Sequence[tuple[float, float]]) -> str:
    """``× 0.85``: the median ratio; "–" where nothing can be compared."""
    ratios = [one / other for one, other in pairs if other > 0]
    return typeset(f"× {np.median(ratios):.3g}") if ratios else "–"


def _place(point: PointResult, axis: str) -> tuple[str, float]:
    """Where a value of an axis belongs: numbers by size, targets by kind and bound, names as they come."""
    if axis.startswith("target"):
        cell = _target_cell(point)
        return cell.text.partition("≤")[0], float(cell.key or 0)
    return "", number(point, axis) or 0.0
