"""What was chosen of every layer beside gains, what bounds other choices, and how a plan tells both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from powerplan.planning.bits.limits import budget_binds
from powerplan.planning.bits.scores import Score
from powerplan.planning.outcome import BitGap
from powerplan.planning.plan_value import Plan


@dataclass(frozen=True, kw_only=True, eq=False)
class Chosen:
    """Values of every layer by field of the hardware, and how far they can be from the best choice.

    Attributes:
        objective: what is least.
        score: its value, with gains on the target.
        bound: no other choice has a lower score.
        floor: no choice takes less energy [J], at any error.
    """

    fields: Mapping[str, tuple[float, ...]]
    gap: BitGap
    objective: Score
    score: float
    bound: float
    floor: float

    def value(self, plan: Plan) -> float:
        """The objective of a plan; inf where it misses the target."""
        costs = plan.prediction.costs
        assert costs is not None
        totals = np.array([[costs.energy, costs.latency, costs.area]])
        return float(self.objective.value(totals)[0]) if plan.meets_target else np.inf


def with_gap(plan: Plan, chosen: Chosen) -> Plan:
    """The plan with what was chosen, and what bounds it."""
    value = chosen.value(plan)
    if not np.isfinite(value):
        value = chosen.score
    # gains that are planned may take less than those scaled onto the target: so may those of other choices
    lower = min(value / chosen.score, 1.0)
    gap = replace(chosen.gap, gap=max(value / (lower * chosen.bound) - 1, 0.0), bound=lower * chosen.gap.bound)
    if budget_binds(plan):
        # bits were chosen for the energy: of other bits at this power only their converters are known
        gap = replace(gap, gap=value / chosen.floor - 1, bound=chosen.floor)
    said = "; ".join(f"{kind} {', '.join(map(str, values))}" for kind, values in chosen.fields.items())
    what = chosen.objective.name.replace("_", " times ")
    most = f"no others save more than {100 * gap.gap:.3g} % of the {what}"
    most += " at this error" if plan.target.is_budget else ""
    message = f"{plan.termination.message} By layer: {said}; {most}."
    return replace(plan, bits=gap, termination=replace(plan.termination, message=message))
