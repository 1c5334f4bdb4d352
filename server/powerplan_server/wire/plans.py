"""Plans on the wire."""

from __future__ import annotations

from powerplan.planning.outcome import Termination
from powerplan.planning.plan_value import Plan
from powerplan_client._generated import v1 as pb
from powerplan_client.networks import attribute_messages
from powerplan_server.wire.results import prediction_to_proto
from powerplan_server.wire.writing import message_of


def plan_to_proto(plan: Plan, detail: pb.ResultDetail | None = None) -> pb.Plan:
    """A plan; the large parts of its prediction only if asked for."""
    return message_of(
        pb.Plan,
        plan,
        prediction=prediction_to_proto(plan.prediction, detail),
        termination=termination_to_proto(plan.termination),
        provenance=attribute_messages(plan.provenance),
        corners=[
            message_of(pb.PlanCorner, corner, prediction=prediction_to_proto(corner.prediction, detail))
            for corner in plan.corners
        ],
    )


def termination_to_proto(termination: Termination) -> pb.Termination:
    """Why planning stopped."""
    seconds, advice = termination.seconds, termination.outcome.advice
    return message_of(pb.Termination, termination, elapsed_seconds=seconds, advice=advice)
