"""What a reader of a plan must not overlook."""

from __future__ import annotations

import numpy as np

from powerplan.planning import Certificate, Outcome, Plan
from powerplan.planning.objectives import ERROR
from powerplan.planning.verify.verify import misses_target

#: beyond these a certificate does not prove the plan optimal to the digits shown
_LOOSE = 1e-3


def plan_notes(plan: Plan) -> list[str]:
    """Warnings about a plan, the gravest first; empty if there is nothing to warn of."""
    return [*_answer_notes(plan), *_prediction_notes(plan)]


def _answer_notes(plan: Plan) -> list[str]:
    """What the plan does not reach, and what is not proven of it."""
    notes = []
    outcome = plan.termination.outcome
    if plan.beyond_limits:
        notes.append(plan.termination.message)
    elif outcome is Outcome.INFEASIBLE:
        notes.append("The target is out of reach: these gains only come closest.")
    elif not plan.meets_target:
        notes.append("The target was not met when time ran out: these gains come closest of those seen.")
    elif outcome not in (Outcome.OPTIMAL, Outcome.WITHIN_GAP):
        notes.append(outcome.advice)
    notes += [f"Hard to believe: {doubt}" for doubt in plan.doubts()]
    if misses_target(plan):
        notes.append(
            "The simulation exceeds the target by more than its 95 % confidence interval. "
            "Plan again with calibration, which plans for the bound whose simulation meets the target."
        )
    if plan.verification is None and plan.meets_target:
        notes.append("Not verified by simulation: error and power are predictions.")
    if plan.baseline_power is None and plan.meets_target:
        notes.append("One conductance range for all layers does not meet the target, so there is no saving to state.")
    if outcome is Outcome.OPTIMAL and _is_loose(plan.certificate):
        notes.append("The certificate is loose: the plan may not be the cheapest to the digits shown.")
    return notes


def _prediction_notes(plan: Plan) -> list[str]:
    """What error and share of error mean here, and how far they can be relied on."""
    notes = []
    if plan.prediction.first_order:
        names = ", ".join(plan.prediction.first_order)
        notes.append(f"No Gaussian formula for {names}: predicted to first order around the mean.")
    if plan.output_weights is not None:
        notes.append("The outputs are weighted: target and share of error mean the weighted error.")
    if plan.nmse > 0.3 and np.isfinite(plan.nmse) and plan.objective is not ERROR:
        notes.append(
            "The error is large (NMSE above 30 %): the prediction is less exact there; rely on the simulation."
        )
    return notes


def _is_loose(proof: Certificate | None) -> bool:
    return proof is not None and max(proof.kkt_residual, proof.duality_gap) > _LOOSE
