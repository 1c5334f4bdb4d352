"""Settings of plans that are about costs: whether there are any, and whether a plan keeps its limits."""

from __future__ import annotations

from dataclasses import replace

from powerplan.errors import InvalidInput
from powerplan.planning import policy
from powerplan.planning.outcome import Outcome
from powerplan.planning.plan_value import Plan
from powerplan.planning.session import Session
from powerplan.planning.settings import PlanSettings
from powerplan.planning.targets import Target
from powerplan.units import si

#: limits by the number of the costs that they are on, and its unit
_LIMITS = {"max_energy": ("energy", "J"), "max_latency": ("latency", "s"), "max_area": ("area", "m2")}


def check_costs(session: Session, target: Target) -> None:
    """Refuse settings that need costs where there are none, or that say nothing within a power budget.

    Raises:
        InvalidInput: naming the setting.
    """
    settings = session.settings
    asked = {name: value for name in ("objective", *_LIMITS) if (value := getattr(settings, name)) is not None}
    if settings.free_choices:
        asked["optimize"] = settings.optimize
    for name, value in asked.items():
        what = "gains alone" if name == "optimize" else "None"
        if target.is_budget and name == "objective":
            raise InvalidInput.of(name, value, "None with a power budget", "The error is what is least there.")
        if session.predictor.cost_model is None:
            allowed = f"{what} without hardware.costs, which say what an inference takes"
            raise InvalidInput.of(name, value, allowed, "Give costs, such as Costs.preset(...).")
    if settings.free_choices and target.is_budget and settings.max_energy is None:
        allowed = f"gains alone with {target.kind} and no max_energy: bits take no part of the power of arrays"
        advice = "Give max_energy, the largest energy of an inference with its converters."
        raise InvalidInput.of("optimize", settings.optimize, allowed, advice)


def budget_binds(plan: Plan) -> bool:
    """Whether a plan takes all of a power budget."""
    return plan.target.is_budget and plan.power > (1 - policy.BINDING) * plan.target.value


def within_limits(plan: Plan, settings: PlanSettings, least: str) -> Plan:
    """The plan, told to be infeasible where it meets its target beyond a limit, or within a budget misses one.

    Args:
        least: "energy", "latency", "area" or another objective that nothing takes less of than the plan.
    """
    costs = plan.prediction.costs
    if costs is None or not (plan.meets_target or plan.target.is_budget):
        return plan
    beyond: dict[str, str] = {}
    for name, (number, unit) in _LIMITS.items():
        most, value = getattr(settings, name), getattr(costs, number)
        if most is not None and value > most * (1 + policy.ROUNDED_CONSTRAINT):
            if number == least:
                found = f"the least {number} found is"
            elif not settings.free_choices and number != "energy":
                found = f"at any gains the {number} is"
            else:
                found = f"the {number} of the plan is"
            beyond[name] = f"{name} is {si(most, unit)}, {found} {si(value, unit)}"
    if not beyond:
        return plan
    met = "The target is met, but not within the limits" if plan.meets_target else "No gains keep the limits"
    if settings.free_choices and least not in ("", *(_LIMITS[name][0] for name in beyond)):
        met += f", with the least {least.replace('_', ' times ')} found"
    free = "" if settings.free_choices else ", or free options of converters in optimize, such as 'columns_per_adc'"
    message = f"{met}: {'; '.join(beyond.values())}. Raise {' and '.join(beyond)}{free}."
    end = replace(plan.termination, outcome=Outcome.INFEASIBLE, message=message, best_reachable=plan.reached)
    return replace(plan, termination=end)
