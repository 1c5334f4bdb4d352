"""The answer of a plan: power, saving and error, and a gauge of what its target bounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from powerplan.hardware.hardware import ERROR_SOURCES
from powerplan.moments.prediction import Prediction
from powerplan.montecarlo.simulation import Simulation
from powerplan.planning import Outcome, Plan, Target
from powerplan.report.charts import Scale
from powerplan.report.facts import Fact
from powerplan.report.quantities import (
    COMPENSATED,
    accuracy_name,
    bounded_name,
    ideal_text,
    least_errors,
    lowest_yield,
    mean_bounds,
    named_worst,
    objective_text,
    other_accuracy,
    other_inputs,
    other_rate,
    plan_accuracies,
    predicted_mse,
    predicted_nmse,
    quantity_text,
    quantity_with_error,
    simulated_mse,
    simulated_nmse,
    simulated_power,
    yield_text,
)
from powerplan.report.svg import Tick
from powerplan.report.text import typeset
from powerplan.units import percent, share, si, significant

#: what each outcome is called, and the look of its badge
OUTCOMES = {
    Outcome.OPTIMAL: ("Optimal", "good"),
    Outcome.INFEASIBLE: ("Target out of reach", "bad"),
    Outcome.ITERATION_LIMIT: ("Stopped at the iteration limit", "fair"),
    Outcome.DEADLINE: ("Stopped at the deadline", "fair"),
    Outcome.WITHIN_GAP: ("Target met within a gap", "good"),
    Outcome.STALLED: ("Target met, not proven cheapest", "good"),
}


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """Target, prediction and simulation of the bounded quantity and numbers of its axis, in % of the figure's width."""

    description: str
    ticks: tuple[Tick, ...]
    target: float
    predicted: float
    simulated: float | None
    interval: tuple[float, float] | None


def plan_answer(plan: Plan) -> list[Fact]:
    """Power, saving and error of a plan: predicted, with the target and the simulation as remarks."""
    check = plan.verification
    bounds = mean_bounds(plan)
    budget = f"budget {typeset(si(bounds['power'], 'W'))}" if "power" in bounds else ""
    simulated = "" if check is None else f"simulated {typeset(simulated_power(check))}"
    facts = [
        Fact(
            name="Power of one inference" if plan.costs is None else "Power of the arrays",
            value=typeset(si(plan.power, "W")),
            remark="; ".join(filter(None, [budget, simulated, converter_remark(plan.prediction)])),
        ),
        _saving_fact(plan),
    ]
    if not bounds:
        facts.append(_target_fact(plan))
    if plan.ideal_accuracy is not None:
        predicted, *simulated_accuracy = plan_accuracies(plan)
        remark = "; ".join([*simulated_accuracy, ideal_text(plan.ideal_accuracy)])
        facts.append(
            Fact(
                name=accuracy_name(plan).capitalize(),
                value=predicted.removesuffix(" predicted"),
                remark=typeset(remark),
            )
        )
    if plan.termination.floor_parts:
        facts.append(_floor_fact(plan))
    facts.append(
        _error_fact(
            "Error (NMSE)",
            predicted_nmse(plan.prediction),
            percent(bounds["nmse"]) if "nmse" in bounds else None,
            None if check is None else simulated_nmse(check),
        )
    )
    facts.append(
        _error_fact(
            "Error (MSE)",
            predicted_mse(plan.prediction),
            significant(bounds["mse"]) if "mse" in bounds else None,
            None if check is None else simulated_mse(check),
        )
    )
    if least := least_errors(plan, plan.prediction, check):
        value, _, predicted = least[0].partition(" ")
        remark = "; ".join([f"{predicted}, 95 %", *least[1:], "the least within the budget"])
        facts.append(Fact(name=plan.objective.quantity, value=value, remark=typeset(remark)))
    facts += inputs_fact(plan.prediction, [*_over_inputs(plan)])
    if plan.hardware.compensation:
        facts.append(Fact(name="Compensation", value=plan.hardware.compensation, remark=typeset(COMPENSATED)))
    if (lowest := lowest_yield(plan)) is not None:
        worst, where = lowest
        share, _, interval = yield_text(worst).partition(" (")
        remark = f"{interval.rstrip(')')}: " if interval else ""
        remark += f"of {worst.draws} simulated chips meet the target, each by itself{where}"
        facts.append(Fact(name="Yield", value=share, remark=remark))
    energy, remark = plan.energy, f"at {si(plan.hardware.read_time, 's')} per read"
    if plan.costs is not None:
        energy, remark = plan.costs.energy, f"{si(plan.costs.energy_of['arrays'], 'J')} of it in the arrays"
    facts.append(Fact(name="Energy of one inference", value=typeset(si(energy, "J")), remark=typeset(remark)))
    return facts


def _over_inputs(plan: Plan) -> Iterator[str]:
    """What a plan for classes says of other inputs."""
    if not plan.target.takes_weights and (rate := other_rate(plan)) is not None:
        yield f"{plan.target.quantity} {rate}"
    if (accuracy := other_accuracy(plan)) is not None:
        yield accuracy


def inputs_fact(result: Prediction | Simulation, more: Sequence[str] = ()) -> list[Fact]:
    """The error of inputs beside those of calibration and ``more`` about it; which of these have the largest error."""
    inputs = result.inputs
    if inputs is None or not inputs.nmse_standard_error > 0:
        return []
    sample = f"95 %; the {len(inputs.mse_by_input)} of calibration are taken as a random sample"
    remark = "; ".join([*more, sample])
    return [
        Fact(name="Error of other inputs (NMSE)", value=typeset(other_inputs(inputs)), remark=typeset(remark)),
        Fact(
            name="Inputs, 95 % within",
            value=typeset(percent(inputs.nmse_quantile(0.95))),
            remark=typeset(f"worst {named_worst(inputs)}"),
        ),
    ]


def _saving_fact(plan: Plan) -> Fact:
    """What the plan saves of its objective against the baseline."""
    objective, baseline = plan.objective, plan.objective.of_baseline(plan)
    if plan.saving is None or baseline is None:
        return Fact(name="Saving", value="–", remark="no baseline meets the target")
    return Fact(
        name=f"{objective.name.capitalize()} {'saved' if plan.saving >= 0 else 'added'}",
        value=f"{100 * abs(plan.saving):.1f} %",
        remark=f"of {typeset(objective_text(objective, baseline))} with one conductance range for all layers",
    )


def converter_remark(result: Prediction | Simulation) -> str:
    """How much of the power the converters take; "" if none."""
    taken = float(np.sum(result.converter_power_by_layer))
    return f"converters {typeset(si(taken, 'W'))} of it ({share(taken, result.power)})" if taken else ""


def _target_fact(plan: Plan) -> Fact:
    """The bounded quantity, where it is none that every prediction has."""
    check, bound = plan.verification, plan.target.value
    simulated = None
    if check is not None:
        simulated = quantity_with_error(plan.target, check.ratio * bound, 1.96 * check.ratio_standard_error * bound)
    name = bounded_name(plan)
    return _error_fact(
        name[:1].upper() + name[1:],
        quantity_text(plan.target, plan.reached),
        quantity_text(plan.target, bound),
        simulated,
    )


def _floor_fact(plan: Plan) -> Fact:
    """What the error that no gain mends falls by without each source."""
    end = plan.termination
    value = end.best_reachable if end.floor is None else end.floor
    parts = (
        f"{ERROR_SOURCES[part.parameter]} by {quantity_text(plan.target, part.amount)}" for part in end.floor_parts
    )
    return Fact(
        name="Least error" if end.floor is None else "Least error at any conductance",
        value="–" if value is None else quantity_text(plan.target, value),
        remark=f"falls without one source alone: {', '.join(parts)}",
    )


def _error_fact(name: str, predicted: str, target: str | None, simulated: str | None) -> Fact:
    parts = [f"target at most {target}" if target else "", f"simulated {simulated}" if simulated else ""]
    return Fact(name=name, value=predicted, remark="; ".join(filter(None, parts)))


def plan_gauge(plan: Plan) -> Gauge | None:
    """Prediction and simulation of the bounded quantity beside the target; None if there is nothing to compare."""
    target, check = plan.target.value, plan.verification
    if check is None and abs(plan.reached / target - 1) < 1e-3:
        return None
    values = [target, plan.reached]
    simulated = None if check is None else check.ratio * target
    error = 0.0 if check is None else 1.96 * check.ratio_standard_error * target
    error = error if np.isfinite(error) else 0.0
    if simulated is not None:
        values += [simulated - error, simulated + error]
    # a factor of two or more between them: on a logarithmic scale
    scale = Scale.around(values, log=min(values) > 0 and max(values) > 2 * min(values), padding=0.25)

    def at(value: float) -> float:
        return round(100 * scale.at(value), 2)

    name = bounded_name(plan)
    texts = [f"target {quantity_text(plan.target, target)}", f"predicted {quantity_text(plan.target, plan.reached)}"]
    if simulated is not None:
        texts.append(f"simulated {quantity_text(plan.target, simulated)} with its 95 % confidence interval")
    return Gauge(
        description=typeset(f"{name[:1].upper()}{name[1:]}: {', '.join(texts)}."),
        ticks=tuple(Tick(at=at(t), text=_tick_text(plan.target, t)) for t in scale.ticks(5)),
        target=at(target),
        predicted=at(plan.reached),
        simulated=None if simulated is None else at(simulated),
        interval=None if simulated is None or error <= 0 else (at(simulated - error), at(simulated + error)),
    )


def _tick_text(target: Target, value: float) -> str:
    """A number of the gauge's axis: round, so without the zeros that a result has."""
    if target.unit in ("", "1"):
        return typeset(f"{value:.4g}" if target.unit else f"{100 * value:.4g} %")
    number, unit = si(value, target.unit, 12).split()
    return typeset(f"{float(number):g} {unit}")
