"""The axes of a study in words and numbers: names, values, labels of panels, and a few of many values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, TypeVar

from powerplan.batch.naming import BARE, OVERRIDE
from powerplan.batch.results import PointResult
from powerplan.batch.schema import PLAN_SETTINGS
from powerplan.hardware.describe import described_fields
from powerplan.hardware.hardware import Hardware
from powerplan.report.text import flat, value_text, without_paths
from powerplan.settings import Number

#: settings of the calculation: they make no figures of their own
MINOR = ("verify_draws", "calibrate", "seed", "tolerance", "max_iterations")
#: settings that hold energy, latency or area within a limit: along a frontier of these, not curves of their own
LIMITS = ("max_energy", "max_latency", "max_area")
#: SI units of settings of plans
_SETTING_UNITS = {row.name: row.kind.unit for row in PLAN_SETTINGS if isinstance(row.kind, Number)}
_T = TypeVar("_T")


def plain_value(point: PointResult, axis: str) -> Any:
    """The value of an axis at a point; None where it has none."""
    return dict(flat(point.settings)).get(axis)


def setting(point: PointResult, axis: str) -> str:
    """The value of an axis at a point, as text."""
    return without_paths(value_text(plain_value(point, axis), axis_unit(axis)))


def number(point: PointResult, axis: str) -> float | None:
    """The value of an axis at a point if it is a finite number, else None."""
    value = plain_value(point, axis)
    known = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if known else None


def axis_name(axis: str) -> str:
    """An axis as people read it."""
    return "target" if axis.startswith("target") else axis.removeprefix(OVERRIDE).replace("_", " ")


def axis_unit(axis: str) -> str:
    """The SI unit of an axis that is a field of the hardware or a setting of plans; "" of others."""
    return _units().get(axis.removeprefix(OVERRIDE), "") if axis.startswith(OVERRIDE) else _SETTING_UNITS.get(axis, "")


@cache
def _units() -> dict[str, str]:
    return {name: unit for name, (unit, _) in described_fields(Hardware).items()}


def label(axis: str, value: str) -> str:
    """A setting as a title or a legend has it: names speak for themselves, other values need their axis."""
    if axis == "granularity":
        return f"by {value}"
    return value if axis in BARE or axis == "target" else f"{axis_name(axis)} = {value}"


def evenly(items: Sequence[_T], most: int) -> list[_T]:
    """At most ``most`` (two or more) of the items: the first, the last, and others evenly between."""
    if len(items) <= most:
        return list(items)
    return [items[round(i * (len(items) - 1) / (most - 1))] for i in range(most)]
