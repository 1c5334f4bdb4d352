"""What figures of plans have across and upright: errors, swept numbers, power, energy, latency and area."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from powerplan.batch.results import PointResult
from powerplan.hardware.costs.breakdown import CostBreakdown
from powerplan.planning import Plan
from powerplan.report.charts import power_scale
from powerplan.report.planned_error import PlannedError, error_label, error_name
from powerplan.report.study_axes import axis_name, axis_unit, number
from powerplan.units import percent

#: units that take an SI prefix
_PLAIN_UNITS = ("A", "F", "Hz", "J", "S", "V", "W", "s")
#: area [m²] from which it is told in mm²
_LARGE_AREA = 1e-8

Pair = tuple[PointResult, Plan]


@dataclass(frozen=True, kw_only=True)
class Across:
    """What a figure has across: the NMSE that plans are about, parts of the chips, energy, or the numbers of an axis.

    ``title`` ends that of its figures; ``at`` tells in words where a plan is.
    """

    name: str
    text: str
    log: bool
    value: Callable[[Pair], float]
    title: str = ""
    is_error: bool = False
    at: Callable[[Plan], str] = lambda plan: percent(PlannedError.of(plan).predicted)


@dataclass(frozen=True, kw_only=True)
class Up:
    """What a figure has upright, named by ``label``; ``title`` begins that of its figures."""

    label: str
    title: str
    unit: str
    value: Callable[[Plan], float]

    def scale(self, plans: Sequence[Plan]) -> tuple[float, str]:
        """What values are multiplied by, and the SI prefix that this stands for."""
        most = max(self.value(plan) for plan in plans)
        if self.unit == "m²":
            return (1e6, "m") if most >= _LARGE_AREA else (1e12, "µ")
        return power_scale(most)

    def text(self, plan: Plan) -> str:
        """Its value in a plan, with the unit."""
        factor, prefix = self.scale([plan])
        return f"{self.value(plan) * factor:.4g} {prefix}{self.unit}"


def _costs(plan: Plan) -> CostBreakdown:
    assert plan.costs is not None
    return plan.costs


POWER_OF_ARRAYS = Up(label="power of one inference", title="Least power", unit="W", value=lambda plan: plan.power)
ENERGY = Up(
    label="energy of one inference", title="Energy with costs", unit="J", value=lambda plan: _costs(plan).energy
)
LATENCY = Up(label="latency of one inference", title="Latency", unit="s", value=lambda plan: _costs(plan).latency)
AREA = Up(label="area of the chip", title="Area", unit="m²", value=lambda plan: _costs(plan).area)


def error_across(pairs: Sequence[Pair]) -> Across:
    """The NMSE that plans are about, in %; of plans for different parts of the chips within one bound, these parts."""
    plans = [plan for _, plan in pairs]
    if _differ_in_chips(plans):
        return Across(
            name="the fraction of the chips within the bound",
            text="chips within the bound [%]",
            log=False,
            value=lambda pair: 100 * (_chips_within(pair[1]) or 0.0),
            title="for a fraction of the chips",
            at=lambda plan: f"{100 * (_chips_within(plan) or 0.0):.3g} % of the chips",
        )
    return Across(
        name=error_name(plans),
        text=error_label(plans),
        log=True,
        value=lambda pair: 100 * PlannedError.of(pair[1]).predicted,
        title="for an error",
        is_error=True,
    )


def placed(pairs: Sequence[Pair]) -> list[Pair]:
    """The plans that have a place on :func:`error_across`: without those that do not tell their chips, where others
    are for parts of the chips within the same bound."""
    apart = _differ_in_chips([plan for _, plan in pairs])
    return [pair for pair in pairs if not apart or _chips_within(pair[1]) is not None]


def _differ_in_chips(plans: Sequence[Plan]) -> bool:
    """Whether all plans have one bound on the NMSE, but for different parts of the chips."""
    bounds = {PlannedError.of(plan).bound for plan in plans}
    return len({plan.target.chips for plan in plans}) > 1 and len(bounds) == 1 and None not in bounds


def _chips_within(plan: Plan) -> float | None:
    """The part of the chips that a plan is for; of one for the mean the part predicted, or else simulated, to be within
    its bound. None where nothing tells it."""
    if plan.target.chips is not None:
        return plan.target.chips
    bound, chips, check = PlannedError.of(plan).bound, plan.prediction.chips, plan.verification
    if chips is None or bound is None:
        return None if check is None else check.chip_yield
    return chips.nmse.yield_at(bound)


def energy_across(plans: Sequence[Plan]) -> Across:
    """The energy with costs, under one SI prefix."""
    scale, prefix = ENERGY.scale(plans)
    return Across(
        name="energy",
        text=f"energy of one inference [{prefix}J]",
        log=True,
        value=lambda pair: scale * ENERGY.value(pair[1]),
        title="against energy",
    )


def axis_across(axis: str, reached: Sequence[Pair]) -> Across:
    """The numbers of an axis, under one SI prefix; logarithmic if they are a geometric row or lie far apart."""
    numbers = np.array(sorted({n for o, _ in reached if (n := number(o, axis)) is not None}))
    unit = axis_unit(axis)
    scale, prefix = power_scale(float(np.max(np.abs(numbers)))) if unit in _PLAIN_UNITS else (1.0, "")
    log = bool(numbers[0] > 0) and (
        bool(numbers[-1] > 30 * numbers[0]) or float(np.ptp(np.diff(np.log(numbers)))) < 1e-3
    )
    text = f"{axis_name(axis)} [{prefix}{unit.replace('ohm', 'Ω')}]" if unit else axis_name(axis)
    return Across(name=axis_name(axis), text=text, log=log, value=lambda pair: scale * (number(pair[0], axis) or 0.0))
