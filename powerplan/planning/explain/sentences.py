"""An explanation in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from powerplan.hardware.costs.breakdown import COMPONENTS
from powerplan.planning import policy
from powerplan.planning.bits.limits import budget_binds
from powerplan.planning.explain.explanation import (
    BindingLimit,
    Explanation,
    HardwareChange,
    LayerShare,
    Relaxation,
    YieldCost,
)
from powerplan.planning.explain.relaxing import MOVES_LEVELS
from powerplan.planning.plan_value import Plan
from powerplan.units import in_unit

#: the label of the layer of a name
Label = Callable[[str], str]


def in_sentences(explanation: Explanation, plan: Plan) -> list[str]:
    """The explanation of a plan, a sentence for each of its findings."""
    label = plan.prediction.label_of
    of_arrays = plan.costs is not None and explanation.objective == "power"
    of_power = "of the power of the arrays" if plan.costs is not None else "of the power"
    words = [_dominating(explanation.layers, label, "power", "takes", of_power)]
    words.append(_dominating(explanation.layers, label, "error", "causes", "of the error"))
    feasible = plan.meets_target
    limited = plan.target.is_budget and plan.provenance.get("max_energy") is not None
    slack = limited and not budget_binds(plan)
    words.append(_limits_in_words(explanation.limits, label, slack) if feasible else plan.termination.message)
    reached = explanation.objective == "reached"
    what = f"the lowest reachable {plan.target.words}" if reached else f"the {explanation.objective}"
    what += " of the arrays" if of_arrays else ""
    words += [_relaxation_in_words(r, what, plan, reached=reached) for r in explanation.relaxations]
    words += [_yield_in_words(each, plan, explanation.objective) for each in explanation.yields]
    words += [
        _otherwise_in_words(each, what, plan, reached=reached)
        for each in (*explanation.wires, *explanation.compensations)
    ]
    words += _energy_in_words(explanation, plan, label)
    if explanation.gap is not None:
        unit = plan.target.unit if reached else plan.objective.unit
        words.append(
            f"Without limits on the free gains and without idle conductance {what} would be "
            f"{in_unit(explanation.unlimited, unit)} instead of {in_unit(explanation.value, unit)}: the plan is "
            f"{100 * explanation.gap:.3g} % above this bound."
            if explanation.gap > policy.GAP_OF_NOTE
            else f"The limits cost nothing: without them {what} would be the same within 0.05 %."
        )
    elif "voltage" in plan.optimize and not reached:
        words.append(
            "There is no bound without limits: with free voltages the power falls without end as conductances rise, "
            "so conductance_max is what sets it."
        )
    return words


def _dominating(layers: Sequence[LayerShare], label: Label, kind: str, verb: str, rest: str) -> str:
    """The layers that make up at least half, largest first."""
    ranked = sorted(layers, key=lambda layer: -getattr(layer, kind))
    named, total = [], 0.0
    for layer in ranked:
        named.append(layer)
        total += getattr(layer, kind)
        if total >= 0.5:
            break
    parts = [f"{label(layer.layer)} {100 * getattr(layer, kind):.1f} %" for layer in named]
    if len(parts) == 1:
        return f"{label(named[0].layer)} {verb} {100 * total:.1f} % {rest}."
    return f"{len(parts)} of {len(layers)} layers make up {100 * total:.1f} % {rest}: {', '.join(parts)}."


def _limits_in_words(limits: Sequence[BindingLimit], label: Label, slack: bool) -> str:
    if slack:
        return "The energy of an inference binds, not the budget of power."
    if not limits:
        return "No limit binds; only the target does."
    parts = [
        f"{label(b.layer)} at {b.limit}" + (f" ({b.count} gains)" if b.count > 1 else "") + f", price {b.price:+.3f}"
        for b in limits[:8]
    ]
    more = f"; and {len(limits) - 8} more" if len(limits) > 8 else ""
    return f"Limits that bind: {'; '.join(parts)}{more}."


def _yield_in_words(cost: YieldCost, plan: Plan, objective: str) -> str:
    own = f"{100 * (plan.target.chips or 0):g} %"
    if plan.target.is_budget and cost.change is not None:
        # what is least is another number for every part: it is compared with that of the plan's own part
        planned, what = "the mean over chips", "that mean"
        if cost.chips is not None:
            planned, what = f"{100 * cost.chips:g} % of the chips", f"the {objective} these keep within"
        change = f"{100 * abs(cost.change):.2f} % {'below' if cost.change < 0 else 'above'}"
        return f"Planned for {planned}, {what} is {change} the one that {own} of the chips keep within in this plan."
    other = "The mean over chips" if cost.chips is None else f"{100 * cost.chips:g} % of the chips"
    answer = f"no plan ({cost.note})" if cost.change is None else f"{100 * cost.change:+.2f} % {objective}."
    return f"{other} instead of {own} of them: {answer}"


def _energy_in_words(explanation: Explanation, plan: Plan, label: Label) -> list[str]:
    """Where the energy goes, what to improve first, and what bits would do, those that would save first."""
    if not explanation.energy:
        return []
    changing = "the error" if plan.target.is_budget else "the energy of an inference"
    totals: dict[str, float] = {}
    for each in explanation.energy:
        totals[each.component] = totals.get(each.component, 0.0) + each.share
    ranked = sorted(totals.items(), key=lambda entry: -entry[1])
    first = ranked[0][0]
    most = next(each for each in explanation.energy if each.component == first)
    named = ", ".join(f"{100 * share:.0f} % in {COMPONENTS.get(name, name)}" for name, share in ranked if share >= 0.01)
    words = [
        f"Energy of an inference: {named}.",
        f"To improve first: {COMPONENTS.get(first, first)}, most of all in {label(most.layer)} "
        f"({100 * most.share:.0f} %); 10 % less there saves {10 * ranked[0][1]:.1f} %.",
    ]
    for change in sorted(explanation.bits, key=lambda each: math.inf if each.change is None else each.change):
        what = f"With {change.bits} {change.parameter} in {label(change.layer)}"
        words.append(
            f"{what}: no plan ({change.note})"
            if change.change is None
            else f"{what} {changing} changes by {100 * change.change:+.2f} %."
        )
    return words


def _met_in_words(objective: float, plan: Plan) -> str:
    """What meeting a target takes that was out of reach."""
    return f"reaches the target, with {plan.objective.quantity} {in_unit(objective, plan.objective.unit)}."


def _and_energy(change: Relaxation | HardwareChange) -> str:
    """What it does to the energy of an inference, where the power is that of the arrays alone."""
    return "" if change.energy is None else f", the energy of an inference by {100 * change.energy:+.2f} %"


def _otherwise_in_words(change: HardwareChange, what: str, plan: Plan, *, reached: bool) -> str:
    if change.objective is not None:
        return f"A plan with {change.what} {_met_in_words(change.objective, plan)}"
    if change.change is None:
        return f"With {change.what}: no plan ({change.note})"
    met = "; the target is still not met" if reached else ""
    return f"With {change.what} {what} changes by {100 * change.change:+.2f} %{_and_energy(change)}{met}."


def _relaxation_in_words(r: Relaxation, what: str, plan: Plan, *, reached: bool) -> str:
    verb = "Loosening" if r.parameter == "target" else "Raising" if r.factor > 1 or r.bits else "Lowering"
    action = f"{verb} {'the target' if r.parameter == 'target' else r.parameter}"
    action += f" by {r.bits} bit" if r.bits else f" by {100 * abs(r.factor - 1):.0f} %"
    if r.objective is not None:
        return f"{action} {_met_in_words(r.objective, plan)}"
    if r.resolved is None:
        return f"{action}: no plan ({r.note})"
    if reached and abs(r.resolved) >= policy.CHANGE_OF_NOTE:
        return f"{action} changes {what} by {100 * r.resolved:+.2f} %; the target is still not met."
    average = ", on average over levels" if r.parameter in MOVES_LEVELS else ""
    if r.parameter == "target" and plan.target.has_steps:  # planning again moves by whole inputs, if at all
        average = ", of the rate without its steps of an input each"
    price = "" if r.predicted is None else f" (shadow price{average}: {100 * r.predicted:+.2f} %)"
    if abs(r.resolved) < policy.CHANGE_OF_NOTE:
        return f"{action} does not change {what}{price}{_and_energy(r)}."
    return f"{action} changes {what} by {100 * r.resolved:+.2f} %{price}{_and_energy(r)}."
