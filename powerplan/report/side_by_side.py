"""A few plans of one network side by side: a column for each, a row for each answer and each layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from powerplan.batch.results import PointResult
from powerplan.planning import Plan
from powerplan.report.answer import OUTCOMES
from powerplan.report.planned_error import part_column, part_text
from powerplan.report.quantities import predicted_nmse, saving_cell, simulated_nmse, target_text
from powerplan.report.text import typeset, without_paths
from powerplan.units import grouped, share, si

#: plans that stand side by side, at most; the slider shows more
MOST_PLANS = 6


@dataclass(frozen=True, kw_only=True)
class LayerCell:
    """A layer in one plan; bars in %: power of the largest of all plans, error of the plan's own."""

    gain: str
    power: str
    power_bar: float
    error: str
    error_bar: float


@dataclass(frozen=True, kw_only=True)
class SideBySide:
    """The names of the plans, rows of answers, and rows of layers."""

    names: tuple[str, ...]
    answers: tuple[tuple[str, tuple[str, ...]], ...]
    layers: tuple[tuple[str, tuple[LayerCell, ...]], ...]


def side_by_side(plans: Sequence[tuple[PointResult, Plan]]) -> SideBySide | None:
    """Two plans of one network or a few more, in their order; None of other plans."""
    predictions = [plan.prediction for _, plan in plans]
    if not 2 <= len(plans) <= MOST_PLANS or len({p.layer_names for p in predictions}) > 1:
        return None
    largest = max(float(p.power_by_layer.max()) for p in predictions) or 1.0
    answers = [
        ("Target", [target_text(plan.target) for _, plan in plans]),
        ("Outcome", [OUTCOMES[plan.termination.outcome][0] for _, plan in plans]),
        ("Power of one inference", [si(plan.power, "W") for _, plan in plans]),
        ("Energy with costs", ["–" if p.costs is None else si(p.costs.energy, "J") for _, p in plans]),
        ("Arrays", ["–" if p.array_count is None else grouped(p.array_count) for _, p in plans]),
        ("Conversions", ["–" if p.conversions is None else grouped(p.conversions) for _, p in plans]),
        ("Saving", ["–" if p.saving is None else saving_cell(p.saving, p.objective) for _, p in plans]),
        ("NMSE", [predicted_nmse(plan.prediction) for _, plan in plans]),
        ("NMSE simulated", ["–" if p.verification is None else simulated_nmse(p.verification) for _, p in plans]),
    ]
    if (part := part_column(plan for _, plan in plans)) is not None:
        answers.append((part, [part_text(plan) or "–" for _, plan in plans]))
    return SideBySide(
        names=tuple(without_paths(point.name) for point, _ in plans),
        answers=tuple((name, tuple(map(typeset, cells))) for name, cells in answers if {*cells} != {"–"}),
        layers=tuple(
            (label, tuple(_cell(plan, i, largest) for _, plan in plans))
            for i, label in enumerate(predictions[0].layer_labels)
        ),
    )


def _cell(plan: Plan, layer: int, largest: float) -> LayerCell:
    power, error = (float(v[layer]) for v in (plan.prediction.power_by_layer, plan.prediction.mse_by_layer))
    return LayerCell(
        gain=typeset(si(float(np.median(plan.gains.conductance[layer])), "S")),
        power=typeset(f"{si(power, 'W')}, {share(power, plan.power)}"),
        power_bar=round(100 * power / largest, 2),
        error=typeset(share(error, plan.mse)),
        error_bar=round(100 * error / (plan.mse or 1.0), 2),
    )
