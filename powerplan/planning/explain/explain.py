"""A plan explained: which layers matter, which limits bind, what relaxing them buys, how far physics is away.

Every price is checked by planning again with the parameter changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from powerplan.checks import check_kinds
from powerplan.errors import InvalidInput
from powerplan.hardware import Hardware
from powerplan.network import Network
from powerplan.planning import policy
from powerplan.planning.explain.energy import bit_changes, energy_shares
from powerplan.planning.explain.explanation import (
    BindingLimit,
    Explanation,
    HardwareChange,
    LayerShare,
    Relaxation,
    YieldCost,
)
from powerplan.planning.explain.otherwise import compensations, other_wires
from powerplan.planning.explain.prices import shadow_prices
from powerplan.planning.explain.relaxing import Change, relaxable, relaxed
from powerplan.planning.explain.replanner import Replanner
from powerplan.planning.explain.sentences import in_sentences
from powerplan.planning.plan_value import Plan
from powerplan.planning.settings import PlanSettings, Progress
from powerplan.planning.targets import Target
from powerplan.planning.verify.calibration import planned_bound
from powerplan.plausibility import question, unasked
from powerplan.settings import named


def explain(
    plan: Plan,
    network: Network,
    inputs: np.ndarray,
    *,
    deadline: float | None = None,
    progress: Progress | None = None,
) -> Explanation:
    """Explain a plan: layers, binding limits, what 10 % more of everything buys, and the bound without limits.

    Args:
        plan: to explain.
        network, inputs: that it was made with.
        deadline: seconds for each plan made again.
        progress: called with a description and the fraction done.

    Raises:
        InvalidInput: another network or other inputs than the plan's.

    Warns:
        PlausibilityWarning: a number of the plan is most likely in another unit.
    """
    deadline = named(PlanSettings)["deadline"].value(deadline)
    check_kinds(plan=(plan, Plan), network=(network, Network))
    question(plan)
    with unasked():  # what is relaxed on the way is not the caller's
        return _Explainer(Replanner(plan, network, inputs, deadline), progress or (lambda what, done: None)).explain()


class _Explainer:
    def __init__(self, replanner: Replanner, progress: Progress) -> None:
        self.replanner, self.plan, self.progress = replanner, replanner.plan, progress
        self.feasible, self.hardwares = replanner.feasible, replanner.hardwares

    def explain(self) -> Explanation:
        plan = self.plan
        relaxations = self._relaxations()
        unlimited = self._unlimited() if self.feasible else None
        layers = tuple(
            LayerShare(layer=name, power=float(p) / (plan.power or 1.0), error=float(e) / (plan.mse or 1.0))
            for name, p, e in zip(
                plan.prediction.layer_names, plan.prediction.power_by_layer, plan.prediction.mse_by_layer, strict=True
            )
        )
        explanation = Explanation(
            objective=plan.objective.name if self.feasible else "reached",
            value=self.replanner.value(plan),
            layers=layers,
            limits=_binding(plan),
            relaxations=relaxations,
            unlimited=unlimited,
            sentences=(),
            yields=self._yields(),
            wires=self._otherwise(other_wires(self.hardwares)),
            compensations=self._otherwise(compensations(self.hardwares)),
            energy=energy_shares(plan),
            bits=bit_changes(self.replanner, self.progress),
        )
        return replace(explanation, sentences=tuple(in_sentences(explanation, plan)))

    def _relaxations(self) -> tuple[Relaxation, ...]:
        changes = [
            Change(parameter="target", factor=1 + policy.RELAXED_BY),
            *relaxable(self.hardwares, policy.RELAXED_BY),
        ]
        # those of a power budget say nothing where the energy of an inference binds beside it
        told = self.feasible and not (self.plan.target.is_budget and self.replanner.settings.max_energy is not None)
        prices = shadow_prices(self.replanner, changes) if told else {}
        relaxations = []
        for number, change in enumerate(changes):
            self.progress(f"relaxing {change.parameter}", number / (len(changes) + 1))
            relaxations.append(self._relaxed(change, prices.get(change.parameter)))
        return tuple(sorted(relaxations, key=_by_what_it_buys))

    def _relaxed(self, change: Change, price: float | None) -> Relaxation:
        predicted = None if price is None else change.factor**price - 1
        try:
            target, hardwares = self.replanner.changed(change)
        except InvalidInput as error:
            again = _Again(note=str(error.violations[0]))
        else:
            again = self._again(target, hardwares)
        return Relaxation(
            parameter=change.parameter,
            factor=change.factor,
            bits=change.bits,
            price=price,
            predicted=predicted,
            resolved=again.change,
            reaches_target=again.reaches_target,
            note=again.note,
            objective=again.objective,
            energy=again.energy,
        )

    def _again(self, target: Target, hardwares: Sequence[Hardware]) -> _Again:
        """What planning again gives."""
        try:
            plan = self.replanner.plan_for(target, hardwares)
        except InvalidInput as error:
            return _Again(note=str(error.violations[0]))
        if self.feasible and not plan.meets_target:
            return _Again(note=plan.termination.message)
        if plan.meets_target and not self.feasible:  # what it reaches is the target, not the least that it could
            return _Again(reaches_target=True, objective=plan.objective.of_plan(plan))
        return _Again(
            change=self.replanner.value(plan) / self.replanner.unchanged - 1,
            reaches_target=plan.meets_target,
            energy=self._energy_change(plan),
        )

    def _energy_change(self, again: Plan) -> float | None:
        """Of an inference, relative, where the power that is least is that of the arrays alone."""
        if not self.feasible or self.plan.target.is_budget or again.costs is None or self.plan.costs is None:
            return None
        return again.costs.energy / self.plan.costs.energy - 1

    def _yields(self) -> tuple[YieldCost, ...]:
        """What the same bound costs for other parts of the chips."""
        own = self.plan.target.chips
        if own is None or not self.feasible:
            return ()
        target = planned_bound(self.plan).with_chips(own)
        before = (
            self.replanner.unchanged
            if target == planned_bound(self.plan)
            else self.replanner.value(self.replanner.plan_for(target, self.hardwares))
        )
        costs = []
        for part in (None, *(part for part in policy.OTHER_PARTS if part != own)):
            self.progress(f"planning for {'the mean' if part is None else f'{100 * part:g} %'} of the chips", 0.9)
            again = self.replanner.plan_for(target.with_chips(part), self.hardwares)
            change = self.replanner.value(again) / before - 1 if again.meets_target else None
            costs.append(
                YieldCost(chips=part, change=change, note="" if change is not None else again.termination.message)
            )
        return tuple(costs)

    def _otherwise(self, others: Sequence[tuple[str, Sequence[Hardware]]]) -> tuple[HardwareChange, ...]:
        """What other hardware, told in words, would do."""
        changes = []
        for what, hardwares in others:
            self.progress(f"planning with {what}", 0.9)
            changes.append(HardwareChange(what=what, **vars(self._again(planned_bound(self.plan), hardwares))))
        return tuple(changes)

    def _unlimited(self) -> float | None:
        """The objective with limits lifted and no idle conductance; None where it has no lower bound."""
        if "voltage" in self.plan.optimize:
            return None
        self.progress("lifting the limits", 0.95)
        # a held conductance stays as it is
        lifted = Change(parameter="conductance_max", factor=policy.LIFTED)
        try:
            free = [relaxed(h, lifted).replace(conductance_min=0.0) for h in self.hardwares]
            again = self.replanner.plan_for(planned_bound(self.plan), free, steps=False)
        except InvalidInput:  # measured devices are not known beyond their range
            return None
        return self.replanner.value(again) if again.meets_target else None


@dataclass(frozen=True, kw_only=True)
class _Again:
    """What planning again gives; see :class:`powerplan.planning.explain.explanation.HardwareChange`."""

    change: float | None = None
    reaches_target: bool = False
    note: str = ""
    objective: float | None = None
    energy: float | None = None


def _by_what_it_buys(r: Relaxation) -> tuple[bool, float]:
    """What makes a target reachable first, the cheapest of it before; what has no answer last."""
    amounts = (amount for amount in (r.objective, r.energy, r.resolved) if amount is not None)
    return r.objective is None, next(amounts, np.inf)


def _binding(plan: Plan) -> tuple[BindingLimit, ...]:
    if plan.shadow_prices is None:
        return ()
    sums: dict[tuple[str, str], list[float]] = {}
    for price in plan.shadow_prices.limits:
        sums.setdefault((price.layer, price.limit), []).append(price.price)
    limits = [
        BindingLimit(layer=layer, limit=limit, count=len(prices), price=float(sum(prices)))
        for (layer, limit), prices in sums.items()
    ]
    return tuple(sorted(limits, key=lambda b: -abs(b.price)))
