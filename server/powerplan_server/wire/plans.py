"""Plans on the wire."""

from __future__ import annotations

from dataclasses import asdict

from powerplan.hardware.tiling import LayerArrays
from powerplan.planning.outcome import Certificate, DiscreteGap, Outcome, ShadowPrices, Termination, Verification
from powerplan.planning.plan_value import Plan
from powerplan_client._generated import v1 as pb
from powerplan_server.wire.attributes import map_to_proto
from powerplan_server.wire.gains import gains_to_proto
from powerplan_server.wire.hardware import hardware_to_proto
from powerplan_server.wire.results import prediction_to_proto
from powerplan_server.wire.tasks import GAIN_KINDS, GRANULARITIES, target_to_proto

OUTCOMES = {
    Outcome.OPTIMAL: pb.OUTCOME_OPTIMAL,
    Outcome.INFEASIBLE: pb.OUTCOME_INFEASIBLE,
    Outcome.ITERATION_LIMIT: pb.OUTCOME_ITERATION_LIMIT,
    Outcome.DEADLINE: pb.OUTCOME_DEADLINE,
    Outcome.WITHIN_GAP: pb.OUTCOME_WITHIN_GAP,
    Outcome.STALLED: pb.OUTCOME_STALLED,
}


def plan_to_proto(plan: Plan, detail: pb.ResultDetail | None = None) -> pb.Plan:
    """A plan; the large parts of its prediction only if asked for."""
    return pb.Plan(
        gains=gains_to_proto(plan.gains),
        prediction=prediction_to_proto(plan.prediction, detail),
        target=target_to_proto(plan.target),
        granularity=GRANULARITIES[plan.granularity],
        optimize=[GAIN_KINDS[kind] for kind in plan.optimize],
        hardware=hardware_to_proto(plan.hardware),
        termination=termination_to_proto(plan.termination),
        certificate=None if plan.certificate is None else certificate_to_proto(plan.certificate),
        shadow_prices=None if plan.shadow_prices is None else shadow_prices_to_proto(plan.shadow_prices),
        baseline_gains=None if plan.baseline_gains is None else gains_to_proto(plan.baseline_gains),
        baseline_power_watts=plan.baseline_power,
        baseline_mse=plan.baseline_mse,
        saving=plan.saving,
        verification=None if plan.verification is None else verification_to_proto(plan.verification),
        discrete=None if plan.discrete is None else discrete_to_proto(plan.discrete),
        provenance=map_to_proto(plan.provenance),
        reached=plan.reached,
        output_weights=plan.output_weights,
        corners=[
            pb.PlanCorner(
                hardware=hardware_to_proto(corner.hardware),
                prediction=prediction_to_proto(corner.prediction, detail),
                verification=None if corner.verification is None else verification_to_proto(corner.verification),
            )
            for corner in plan.corners
        ],
        arrays=[arrays_to_proto(arrays) for arrays in plan.arrays or ()],
        array_count=plan.array_count,
    )


def arrays_to_proto(arrays: LayerArrays) -> pb.LayerArrays:
    """The arrays of one layer."""
    return pb.LayerArrays(**asdict(arrays), arrays=arrays.arrays)


def termination_to_proto(termination: Termination) -> pb.Termination:
    """Why planning stopped."""
    return pb.Termination(
        outcome=OUTCOMES[termination.outcome],
        message=termination.message,
        solver_status=termination.solver_status,
        iterations=termination.iterations,
        predictions=termination.predictions,
        elapsed_seconds=termination.seconds,
        best_reachable=termination.best_reachable,
        binding_limits=termination.binding_limits,
        advice=termination.outcome.advice,
        remedies=[pb.Remedy(**asdict(remedy)) for remedy in termination.remedies],
        floor=termination.floor,
        floor_parts=[pb.FloorPart(**asdict(part)) for part in termination.floor_parts],
    )


def certificate_to_proto(certificate: Certificate) -> pb.Certificate:
    """Proof of optimality."""
    return pb.Certificate(
        kkt_residual=certificate.kkt_residual,
        duality_gap=certificate.duality_gap,
        constraint_violation=certificate.constraint_violation,
    )


def discrete_to_proto(gap: DiscreteGap) -> pb.DiscreteGap:
    """What bounds a plan on steps."""
    return pb.DiscreteGap(**asdict(gap))


def shadow_prices_to_proto(prices: ShadowPrices) -> pb.ShadowPrices:
    """What the constraints cost."""
    limits = [
        pb.LimitPrice(layer=p.layer, limit=p.limit, price=p.price, column=p.column, row=p.row) for p in prices.limits
    ]
    constraints = [pb.ConstraintPrice(corner=p.corner, output=p.output, price=p.price) for p in prices.constraints]
    return pb.ShadowPrices(target=prices.target, limits=limits, constraints=constraints)


def verification_to_proto(verification: Verification) -> pb.Verification:
    """Monte Carlo check of a plan."""
    return pb.Verification(
        draws=verification.draws,
        seed=verification.seed,
        mse=verification.mse,
        mse_standard_error=verification.mse_standard_error,
        nmse=verification.nmse,
        nmse_standard_error=verification.nmse_standard_error,
        power_watts=verification.power,
        power_standard_error_watts=verification.power_standard_error,
        ratio=verification.ratio,
        ratio_standard_error=verification.ratio_standard_error,
        calibrated=verification.calibrated,
    )
