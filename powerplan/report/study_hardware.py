"""The hardware of a study side by side: what all have in common once, what differs as tables of a readable width."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from powerplan.batch.naming import OVERRIDE
from powerplan.batch.results import PointResult, StudyResult
from powerplan.hardware import Hardware
from powerplan.planning import Plan
from powerplan.report.device_charts import device_charts
from powerplan.report.device_names import preset_name
from powerplan.report.facts import Fact, hardware_facts
from powerplan.report.study_axes import number, setting
from powerplan.report.svg import Layout, lay_out
from powerplan.report.text import without_paths

#: columns of a table beside its first; and values of an override that are listed
MOST_COLUMNS, MOST_LISTED = 5, 4


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """A table: what its first column holds, the other headings, and rows of (name, cells)."""

    corner: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All hardware of a study: fields that are the same everywhere, tables of those that differ, figures of devices."""

    common: tuple[Fact, ...]
    devices: tuple[Layout, ...]
    different: tuple[Matrix, ...]


def compare_hardware(study: StudyResult, plans: Sequence[tuple[PointResult, Plan]]) -> Comparison:
    """Every hardware that has a plan; fields that the points override are told by their range."""
    first: dict[str, Plan] = {}
    for point, plan in plans:
        first.setdefault(without_paths(str(point.settings.get("hardware") or "default")), plan)
    overridden = [axis for axis in study.axes if axis.startswith(OVERRIDE)]
    hidden = {axis.removeprefix(OVERRIDE) for axis in overridden}
    facts = {
        name: {f.name: f for f in (*_preset(plan.hardware), *hardware_facts(plan.hardware))}
        for name, plan in first.items()
    }
    fields = {key: fact for values in facts.values() for key, fact in values.items() if key not in hidden}
    values = {key: [one[key].value if key in one else "none" for one in facts.values()] for key in fields}
    differing = [key for key in fields if len(set(values[key])) > 1]
    common = [fact for key, fact in fields.items() if key not in differing]
    common += [_overridden(study, axis) for axis in overridden]
    devices = device_charts({name: plan.hardware for name, plan in first.items()})
    return Comparison(
        common=tuple(common),
        devices=tuple(map(lay_out, devices)),
        different=tuple(_matrices(list(facts), differing, values)),
    )


def _preset(hardware: Hardware) -> Iterator[Fact]:
    """The published technology that it is, whatever the study calls it."""
    if name := preset_name(hardware):
        yield Fact(name="preset", value=name, remark="Published technology")


def _overridden(study: StudyResult, axis: str) -> Fact:
    """A field that differs between points: its values, or their range if there are many."""
    texts = dict.fromkeys(setting(point, axis) for point in study.points)
    numbers = [(n, setting(point, axis)) for point in study.points if (n := number(point, axis)) is not None]
    value = ", ".join(texts)
    if len(texts) > MOST_LISTED:
        ends = f", {min(numbers)[1]} to {max(numbers)[1]}" if numbers else ""
        value = f"{len(texts)} values{ends}"
    return Fact(name=axis.removeprefix(OVERRIDE), value=value, remark="Differs between points")


def _matrices(names: Sequence[str], fields: Sequence[str], values: dict[str, list[str]]) -> list[Matrix]:
    """The fields that differ; the shorter side is across, cut into tables of few columns."""
    if not fields:
        return []
    cell = {(name, key): values[key][i] for i, name in enumerate(names) for key in fields}
    by_hardware = len(names) > len(fields)
    rows, columns = (names, fields) if by_hardware else (fields, names)
    return [
        Matrix(
            corner="Hardware" if by_hardware else "Field",
            headings=tuple(some),
            rows=tuple((row, tuple(cell[(row, c) if by_hardware else (c, row)] for c in some)) for row in rows),
        )
        for start in range(0, len(columns), MOST_COLUMNS)
        for some in [columns[start : start + MOST_COLUMNS]]
    ]
