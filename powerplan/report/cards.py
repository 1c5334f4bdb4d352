"""Small cards for notebooks: what ``_repr_html_`` of plans, studies, predictions, networks and the like shows.

A card takes the colours of the notebook around it, light or dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from powerplan.batch.results import StudyResult
from powerplan.hardware import Hardware
from powerplan.moments.prediction import Prediction
from powerplan.montecarlo.simulation import Simulation
from powerplan.network import Network
from powerplan.planning import Plan
from powerplan.report.answer import OUTCOMES, converter_remark, inputs_fact, plan_answer
from powerplan.report.charts import Chart
from powerplan.report.chips_charts import histogram, plan_histogram
from powerplan.report.costs import cost_facts
from powerplan.report.facts import Fact, hardware_facts
from powerplan.report.page import render
from powerplan.report.quantities import (
    asked_text,
    predicted_mse,
    predicted_nmse,
    samples_remark,
    saving_cell,
    simulated_mse,
    simulated_nmse,
    simulated_power,
)
from powerplan.report.study_answer import study_answer
from powerplan.report.svg import lay_out
from powerplan.report.tables import network_rows
from powerplan.report.text import typeset, without_paths
from powerplan.report.thin_plans import thinned
from powerplan.units import gain_text, share, si, si_with_error

#: rows of a card's table
MOST_ROWS = 20


@dataclass(frozen=True, kw_only=True)
class Share:
    """A cell with a bar: a part of the whole, in words and in %."""

    text: str
    percent: float

    @classmethod
    def of(cls, part: float, whole: float) -> Share:
        return cls(text=typeset(share(float(part), whole)), percent=round(100 * float(part) / (whole or 1.0), 1))


def plan_card(plan: Plan) -> str:
    """Target, outcome, power, saving and error of a plan; a row per layer."""
    prediction = plan.prediction
    rows = [
        (
            name,
            gain_text(plan.gains.conductance[i], "S"),
            si(float(prediction.power_by_layer[i]), "W"),
            Share.of(prediction.power_by_layer[i], prediction.power),
            Share.of(prediction.mse_by_layer[i], prediction.mse),
        )
        for i, name in enumerate(prediction.layer_labels)
    ]
    outcome, _ = OUTCOMES[plan.termination.outcome]
    return _card(
        f"Plan: {asked_text(plan)}",
        remark=f"{outcome}. {without_paths(plan.termination.message)}",
        facts=[*plan_answer(plan), *cost_facts(prediction.costs)],
        chips=plan_histogram(plan),
        headers=("Layer", "Gain per unit weight", "Power", "Share of power", "Share of error"),
        rows=rows,
    )


def prediction_card(prediction: Prediction, bound: float | None = None) -> str:
    """Error and power of a prediction, chips with a bound on their NMSE; a row per layer."""
    rows = [
        (
            name,
            si(float(prediction.power_by_layer[i]), "W"),
            Share.of(prediction.power_by_layer[i], prediction.power),
            Share.of(prediction.mse_by_layer[i], prediction.mse),
        )
        for i, name in enumerate(prediction.layer_labels)
    ]
    facts = [
        Fact(name="Power", value=si(prediction.power, "W"), remark=converter_remark(prediction)),
        Fact(name="Energy" if prediction.costs is None else "Energy of the arrays", value=si(prediction.energy, "J")),
        Fact(name="NMSE", value=predicted_nmse(prediction)),
        Fact(
            name="MSE",
            value=predicted_mse(prediction),
            remark=f"of which squared bias {share(prediction.mse_bias, prediction.mse)}",
        ),
    ]
    facts += cost_facts(prediction.costs)
    facts += inputs_fact(prediction)
    if prediction.marginal_fields:
        facts.append(
            Fact(name="Error samples", value=str(prediction.marginal_fields), remark=samples_remark(prediction))
        )
    if prediction.first_order:
        facts.append(Fact(name="To first order", value=", ".join(prediction.first_order)))
    return _card(
        f"Prediction, {prediction.method}",
        facts=facts,
        chips=histogram(prediction.chips, bound),
        headers=("Layer", "Power", "Share of power", "Share of error"),
        rows=rows,
    )


def simulation_card(simulation: Simulation, bound: float | None = None) -> str:
    """Error and power of a simulation with 95 % confidence intervals, chips with a bound on their NMSE; a row per
    layer."""
    rows = [
        (
            name,
            si_with_error(
                float(simulation.power_by_layer[i]), 1.96 * float(simulation.power_by_layer_standard_error[i]), "W"
            ),
        )
        for i, name in enumerate(simulation.layer_labels)
    ]
    facts = [
        Fact(
            name="Power",
            value=simulated_power(simulation),
            remark=converter_remark(simulation),
        ),
        Fact(name="NMSE", value=simulated_nmse(simulation)),
        Fact(name="MSE", value=simulated_mse(simulation)),
        *inputs_fact(simulation),
    ]
    return _card(
        f"Simulation, {simulation.draws} draws, seed {simulation.seed}",
        remark="± is the 95 % confidence interval.",
        facts=facts,
        chips=histogram(simulation.chips, bound),
        headers=("Layer", "Power"),
        rows=rows,
    )


def network_card(network: Network) -> str:
    """The operations of a network."""
    rows = [
        (row["name"], row["type"], " × ".join(map(str, row["output_shape"])), "yes" if row["crossbar"] else "no")
        for row in network_rows(network)
    ]
    return _card(
        f"Network, {len(network.crossbars)} crossbar layers",
        facts=[
            Fact(name="Input shape", value=" × ".join(map(str, network.input_shape))),
            Fact(name="SHA-256", value=network.digest[:16] + "…"),
        ],
        headers=("Node", "Operation", "Output shape", "On a crossbar"),
        rows=rows,
    )


def hardware_card(hardware: Hardware) -> str:
    """The fields of a hardware that describe something."""
    return _card("Hardware", facts=[Fact(name=f.name, value=f.value) for f in hardware_facts(hardware)])


def study_card(study: StudyResult) -> str:
    """Counts, saving, power and error of a study; a row for each of the first points."""
    study = thinned(study)
    plans = [plan for point in study.points if (plan := point.plan) is not None]
    rows = []
    for point in study.points[:MOST_ROWS]:
        plan = point.plan
        state = f"failed: {point.failure.code}" if point.failure is not None else point.state.value
        cells = ("–", "–", "–", state)
        if plan is not None:
            saving = "–" if plan.saving is None else saving_cell(plan.saving, plan.objective)
            cells = (
                si(plan.power, "W"),
                predicted_nmse(plan.prediction),
                saving,
                OUTCOMES[plan.termination.outcome][0].lower(),
            )
        rows.append((without_paths(point.name), *cells))
    return _card(
        f"Study: {without_paths(study.name)}" if study.name else "Study",
        remark=without_paths(study.description),
        facts=study_answer(study, plans),
        headers=("Point", "Power", "NMSE", "Saving", "Outcome"),
        rows=rows,
        left_out=len(study.points) - len(rows),
    )


def _card(
    title: str,
    *,
    remark: str = "",
    facts: Sequence[Fact] = (),
    headers: Sequence[str] = (),
    rows: Sequence[Sequence[str | Share]] = (),
    left_out: int = 0,
    chips: Chart | None = None,
) -> str:
    """A card; ``left_out`` rows are not among ``rows``, of which the first are shown; ``chips`` is their histogram."""
    return render(
        "card.html",
        title=typeset(title),
        remark=typeset(remark),
        facts=facts,
        headers=headers,
        rows=[[cell if isinstance(cell, Share) else typeset(cell) for cell in row] for row in rows[:MOST_ROWS]],
        chips=None if chips is None else lay_out(chips),
        left_out=left_out + max(0, len(rows) - MOST_ROWS),
    )
