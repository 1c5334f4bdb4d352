"""What is told of plans with costs: of what their gains are the best ones, and whether a better choice is ruled out."""

from __future__ import annotations

from dataclasses import replace

from powerplan.planning import policy
from powerplan.planning.outcome import Outcome
from powerplan.planning.plan_value import Plan
from powerplan.planning.settings import PlanSettings

_LEAST = "at the least energy"


def naming_the_objective(plan: Plan, settings: PlanSettings) -> Plan:
    """The plan whose message says what its gains are best for: they have the least energy, whatever is minimised, since
    latency and area do not change with them."""
    objective = settings.objective
    if settings.free_choices:
        least = f"{_LEAST} with these converters"
    elif objective in ("latency", "area"):
        least = f"{_LEAST} (no gains change the {objective})"
    elif objective in ("power", "energy_delay"):
        least = f"{_LEAST} and so the least {'energy per latency' if objective == 'power' else 'energy times latency'}"
    else:
        return plan
    message = plan.termination.message.replace(_LEAST, least)
    return replace(plan, termination=replace(plan.termination, message=message))


def within_its_gap(plan: Plan) -> Plan:
    """The plan, called optimal only where no other choice could save anything to speak of."""
    end = plan.termination
    if end.outcome is not Outcome.OPTIMAL or plan.bits is None or plan.bits.gap <= policy.ACCEPTED_GAP:
        return plan
    return replace(plan, termination=replace(end, outcome=Outcome.WITHIN_GAP))
