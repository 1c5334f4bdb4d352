"""The bits of every layer's converters, chosen together with the gains.

Rounding adds an error ∝ 1/u² of the top level u = 2^(b − 1) − 1, and conversions cost more the larger u is. So log u is
one more variable of the planning problem beside the log gains: relaxed to real bits it is again (nearly) a geometric
program, whose optimum bounds every choice of whole bits. They are then chosen by the branch and bound that chooses
steps of gains, with gains that are planned beside every choice it looks at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from powerplan.errors import InvalidInput
from powerplan.hardware.costs.model import CostModel, Precision
from powerplan.planning import policy
from powerplan.planning.objectives import POWER
from powerplan.planning.outcome import BitGap
from powerplan.planning.plan_value import Plan
from powerplan.planning.problem.bit_costs import BitCost, EnergyOfBits
from powerplan.planning.problem.blocks import BitsBlock
from powerplan.planning.problem.problem import Problem, scale_onto
from powerplan.planning.problem.requirement import Requirement, requirement
from powerplan.planning.problem.watch import OutOfTime, Watch
from powerplan.planning.session import Options, Session
from powerplan.planning.settings import PlanSettings
from powerplan.planning.solve.descent import Optimum, descend
from powerplan.planning.solve.on_steps import Stepped, on_steps
from powerplan.planning.solve.rounding_fit import fitted_to_levels
from powerplan.planning.solve.step_search import Choice
from powerplan.planning.targets import Target

#: components of the costs that go by bits
_COMPONENTS = {"adc_bits": "adc", "dac_bits": "dac"}


@dataclass(frozen=True, kw_only=True, eq=False)
class ChosenBits:
    """Bits of every layer by kind of converter, and how far they can be from the best choice."""

    bits: Mapping[str, tuple[int, ...]]
    gap: BitGap


@dataclass(frozen=True, kw_only=True, eq=False)
class AtLevels(Choice):
    """A choice of bits with the objective of gains that are fitted to the levels of its converters, inf where none
    meet the target there. Planes are laid by its average, which is smooth."""

    settled: float

    @property
    def objective(self) -> float:
        """See :class:`Choice`."""
        return self.settled

    @property
    def is_feasible(self) -> bool:
        """See :class:`Choice`."""
        return bool(np.isfinite(self.settled))


def choose_bits(session: Session, target: Target, options: Options) -> ChosenBits | None:
    """The bits that cost least with the gains that go with them; None where the target is out of reach with the most
    bits, or time runs out.

    Args:
        session: with the most bits everywhere.

    Raises:
        InvalidInput: a target that does not minimise power, or converters whose bits cost nothing.
    """
    if target.objective is not POWER:
        allowed = "gains alone with a power budget"
        raise InvalidInput.of("optimize", session.settings.optimize, allowed, "Give a target on the error.")
    about = session.free.gains(session.free.upper)
    held = session.corrected_at(about, options.stop_at).spread_at(about, target, tilted=False)
    model = CostModel.of(session.predictor.original, session.predictor.hardware)
    if model is None:
        allowed = "gains alone without hardware.costs, which say what a conversion takes by its bits"
        raise InvalidInput.of("optimize", session.settings.optimize, allowed, "Give costs, such as Costs.preset(...).")
    if "dac_bits" in session.settings.free_bits and session.predictor.hardware.input_slice_bits is not None:
        allowed = "other bits than 'dac_bits' where hardware.input_slice_bits says how many reads an input takes"
        raise InvalidInput.of("optimize", session.settings.optimize, allowed, "Plan for each number of dac_bits.")
    widths = {kind: _widths(session.settings, model, kind) for kind in session.settings.free_bits}
    blocks = [
        BitsBlock(quantity=kind, layer=layer, least=own[0], most=own[-1])
        for kind, own in widths.items()
        for layer in range(len(model.layer_names))
    ]
    free = replace(session.free, blocks=(*session.free.blocks, *blocks))
    joint = replace(held, free=free, levels=None)
    wanted = requirement(target, joint.predictors, joint.weights)
    energy = _energy(session.settings, model, widths)
    try:
        return _chosen(joint, wanted, energy, options)
    except OutOfTime:
        return None


def _chosen(joint: Session, wanted: Requirement, energy: EnergyOfBits, options: Options) -> ChosenBits | None:
    settings = joint.settings

    def problem(*, smooth: bool, exact: bool = False) -> Problem:
        own = replace(wanted, objective=replace(energy, smooth=smooth))
        watch = Watch(options.stop_at)
        made = joint.problem(own, joint.free, exact=exact, tolerance=settings.tolerance, watch=watch)
        return replace(made, accuracy=max(policy.BITS_CONSTRAINT, made.accuracy))

    relaxed, whole, exact = problem(smooth=True), problem(smooth=False), problem(smooth=False, exact=True)
    are_bits = np.array([entry.quantity in settings.free_bits for entry in joint.free.entries(range(joint.free.count))])
    with_most = replace(relaxed, lower=np.where(are_bits, relaxed.upper, relaxed.lower))
    start = scale_onto(with_most, relaxed.upper)
    if start is None:
        return None
    options.progress("relaxing bits", 0.0)
    optimum = descend(
        relaxed,
        start,
        tolerance=policy.RELAXED_BITS,
        max_iterations=settings.max_iterations,
        stop_at=options.stop_at,
    )
    below = [1.0]  # objectives at the very gains over those on average

    def settle(fixed: Problem, best: Optimum, choice: Choice) -> Choice:
        at_levels = replace(exact, lower=fixed.lower, upper=fixed.upper)
        fitted = fitted_to_levels(at_levels, best.theta, best.certificate.duals, search=False, stop_at=options.stop_at)
        if fitted is None:
            return AtLevels(**vars(choice), settled=np.inf)
        settled = exact.objective(fitted) + energy.beyond_hull(joint.free.bits(fitted))
        below.append(settled / choice.cost.total)
        return AtLevels(**vars(choice), settled=settled)

    blocks = joint.free.blocks
    levels = tuple(
        steps
        for block in blocks
        for steps in ([block.steps] if isinstance(block, BitsBlock) else [None] * len(block.upper))
    )
    stepped: Stepped = on_steps(
        whole,
        levels,
        optimum,
        max_iterations=settings.max_iterations,
        stop_at=options.stop_at,
        progress=lambda done: options.progress("choosing bits", policy.SOLVED * done),
        tolerance=policy.BESIDE_BITS,
        accepted=policy.BITS_GAP,
        settle=settle,
    )
    if stepped.theta is None:
        return None
    gap = BitGap(
        gap=0.0,
        # choices were compared with gains that are nearly the best and nearly meet the target
        bound=stepped.gap.bound * min(below) * (1 - policy.BESIDE_BITS - policy.BITS_CONSTRAINT),
        relaxed=stepped.gap.continuous,
        nodes=stepped.gap.nodes,
        visited=stepped.gap.visited,
        convexity_violation=stepped.gap.convexity_violation,
    )
    return ChosenBits(bits=joint.free.bits(stepped.theta), gap=gap)


def _widths(settings: PlanSettings, model: CostModel, kind: str) -> range:
    """The numbers of bits to choose from: those that are asked for and that the model knows."""
    converter = model.adc if kind == "adc_bits" else model.dac
    least = max(settings.least_bits, math.ceil(converter.least_bits or 0))
    if least > settings.most_bits:
        allowed = f"at least {least}, the larger of least_bits and the fewest that hardware.costs knows"
        raise InvalidInput.of("most_bits", settings.most_bits, allowed, "Raise most_bits.")
    return range(least, settings.most_bits + 1)


def _energy(settings: PlanSettings, model: CostModel, widths: Mapping[str, range]) -> EnergyOfBits:
    """The energy of an inference as a function of gains and bits.

    Raises:
        InvalidInput: energies that do not depend on bits.
    """
    layers = len(model.layer_names)
    nothing = np.zeros(layers)
    fewest = _with_bits(model.precision, {kind: own[0] for kind, own in widths.items()})
    base = model.energies(nothing, fewest)
    least, rest = _total(base, settled=model.costs.pipelined), _total(base)
    costs: dict[str, tuple[BitCost, ...]] = {}
    for kind, own in widths.items():
        at_least = np.broadcast_to(base[_COMPONENTS[kind]], (layers,))
        rest -= float(at_least.sum())
        # a layer at a time, since what a layer takes may go by how long the others do
        every = [[_with_bits(fewest, {kind: b}, layer) for b in own] for layer in range(layers)]
        totals = [[_total(model.energies(nothing, p), settled=model.costs.pipelined) for p in row] for row in every]
        table = at_least[:, None] + np.array(totals) - least
        if not (table > 0).all() or not (table[:, -1] > table[:, 0]).any():
            allowed = f"{kind!r} only where the energy of a conversion depends on its bits"
            raise InvalidInput.of("optimize", settings.optimize, allowed, "Give hardware.costs a model by bits.")
        costs[kind] = tuple(BitCost(widths=own, values=row) for row in table)
    columns = widths.get("adc_bits", range(settings.most_bits, settings.most_bits + 1))
    held = [model.energies(nothing + 1, _with_bits(fewest, {"adc_bits": b}))["arrays"] for b in columns]
    seconds = np.stack([np.broadcast_to(each, (layers,)) for each in held])
    return EnergyOfBits(
        held=tuple(BitCost(widths=columns, values=seconds[:, layer]) for layer in range(layers)),
        costs=costs,
        rest=max(rest, 0.0),
        smooth=True,
    )


def _with_bits(precision: Precision, bits: Mapping[str, int], layer: int | None = None) -> Precision:
    """With bits of all layers, or of one of them."""
    changed = {}
    for kind, width in bits.items():
        values = np.array(getattr(precision, kind))
        values[slice(None) if layer is None else layer] = width
        changed[kind] = values
    return replace(precision, **changed)


def _total(energies: Mapping[str, Any], *, settled: bool = False) -> float:
    """Of all layers and components [J]; settled by the slowest layer alone, leakage is left out, as of the fewest
    bits."""
    return float(sum(np.sum(part) for name, part in energies.items() if not (settled and name == "leakage")))


def with_gap(plan: Plan, chosen: ChosenBits) -> Plan:
    """The plan with bits that were chosen, and what bounds them."""
    costs = plan.prediction.costs
    assert costs is not None
    gap = replace(chosen.gap, gap=max(costs.energy / chosen.gap.bound - 1, 0.0))
    said = "; ".join(f"{kind} {', '.join(map(str, bits))}" for kind, bits in chosen.bits.items())
    message = f"{plan.termination.message} Bits by layer: {said}; no others save more than {100 * gap.gap:.3g} %."
    return replace(plan, bits=gap, termination=replace(plan.termination, message=message))
