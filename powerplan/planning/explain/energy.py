"""Where the energy of an inference goes, and what a bit more or less of a layer's converters would do to it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from powerplan.errors import InvalidInput
from powerplan.hardware import Hardware
from powerplan.planning import policy
from powerplan.planning.explain.explanation import BitChange, EnergyShare
from powerplan.planning.explain.replanner import Replanner
from powerplan.planning.plan_value import Plan
from powerplan.planning.settings import BITS, Progress
from powerplan.planning.verify.calibration import planned_bound


def energy_shares(plan: Plan) -> tuple[EnergyShare, ...]:
    """What components take in layers, the most first; empty without costs."""
    costs = plan.costs
    if costs is None or not costs.energy > 0:
        return ()
    shares = [
        EnergyShare(component=component, layer=layer, share=float(energy) / costs.energy)
        for layer, energies in zip(costs.layer_names, costs.energy_by_component, strict=True)
        for component, energy in zip(costs.components, energies, strict=True)
        if energy > 0
    ]
    return tuple(sorted(shares, key=lambda each: -each.share))


def bit_changes(replanner: Replanner, progress: Progress) -> tuple[BitChange, ...]:
    """A bit more and a bit less in every layer, of those layers whose converters take most where there are many, with
    gains planned again; empty without costs or where the target is missed."""
    plan = replanner.plan
    if plan.costs is None or not replanner.feasible:
        return ()
    target, changes = planned_bound(plan), []
    before = _amount(replanner, replanner.plan_for(target, replanner.hardwares))
    for layer, kind, bits in _neighbours(plan):
        progress(f"planning with {bits} {kind.replace('_', ' ')} in {layer}", 0.9)
        try:
            again = replanner.plan_for(target, [_with_bits(h, plan, layer, kind, bits) for h in replanner.hardwares])
        except InvalidInput as error:
            change, note = None, str(error.violations[0])
        else:
            met = again.meets_target
            change = _amount(replanner, again) / before - 1 if met else None
            note = "" if met else again.termination.message
        changes.append(BitChange(layer=layer, parameter=kind, bits=bits, change=change, note=note))
    return tuple(changes)


def _amount(replanner: Replanner, plan: Plan) -> float:
    """Energy of an inference; within a budget the error."""
    assert plan.costs is not None
    return replanner.value(plan) if plan.target.is_budget else plan.costs.energy


def _neighbours(plan: Plan) -> Iterator[tuple[str, str, int]]:
    """Layers, kinds of converters and other numbers of bits, where their energy depends on them."""
    costs = plan.costs
    assert costs is not None
    names = costs.layer_names
    for kind in BITS:
        column = costs.components.index(kind.removesuffix("_bits"))
        energies = costs.energy_by_component[:, column]
        dearest = set(np.argsort(-energies, kind="stable")[: policy.LAYERS_TRIED].tolist())
        for k, layer in enumerate(plan.hardware.of_layers(names)):
            own = getattr(layer, kind)
            if own is not None and k in dearest and energies[k] > 0:
                yield from ((names[k], kind, bits) for bits in (own - 1, own + 1) if bits >= policy.FEWEST_TRIED)


def _with_bits(hardware: Hardware, plan: Plan, layer: str, kind: str, bits: int) -> Hardware:
    names = plan.prediction.layer_names
    own = [getattr(each, kind) for each in hardware.of_layers(names)]
    own[names.index(layer)] = bits
    return hardware.replace(**{kind: own})
