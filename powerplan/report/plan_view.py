"""A plan as the values that the templates of reports show."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from powerplan.network import Network
from powerplan.planning import LimitPrice, Plan
from powerplan.report.answer import OUTCOMES, Gauge, plan_answer, plan_gauge
from powerplan.report.charts import Scale
from powerplan.report.chips_charts import plan_histogram
from powerplan.report.costs import CostView, cost_view
from powerplan.report.device_charts import device_charts
from powerplan.report.facts import Fact, hardware_facts, hardware_off
from powerplan.report.layer_view import CornerView, LayerView, corner_views, layer_views
from powerplan.report.notes import plan_notes
from powerplan.report.quantities import asked_text
from powerplan.report.svg import Layout, lay_out
from powerplan.report.tables import array_size, network_rows, wires_by_layer
from powerplan.report.text import flat, typeset, value_text, without_paths
from powerplan.report.treemap import Treemap, power_treemap
from powerplan.units import duration, grouped, percent, shape_text, si, significant

#: active limits shown in full; a plan by column can have thousands
MOST_PRICES = 20


@dataclass(frozen=True, kw_only=True)
class PlanView:
    """Everything a report says about one plan."""

    name: str
    target: str
    outcome: str
    look: str
    summary: str
    answer: tuple[Fact, ...]
    gauge: Gauge | None
    chips: Layout | None
    notes: tuple[str, ...]
    layers: tuple[LayerView, ...]
    spread_low: str
    spread_high: str
    has_columns: bool
    has_tia: bool
    has_converters: bool
    has_ranges: bool
    has_arrays: bool
    has_baseline: bool
    corners: tuple[CornerView, ...]
    treemap: Treemap | None
    wires: tuple[Fact, ...]
    costs: CostView | None
    sensitivity: str
    prices: tuple[tuple[str, str, str], ...]
    prices_left_out: int
    proof: tuple[Fact, ...]
    hardware: tuple[Fact, ...]
    hardware_off: tuple[str, ...]
    devices: tuple[Layout, ...]
    network: tuple[Fact, ...]
    nodes: tuple[tuple[str, str, str, str, str], ...]
    provenance: tuple[Fact, ...]


def plan_view(plan: Plan, *, name: str = "", network: Network | None = None) -> PlanView:
    """The view of a plan; with its network also the conductance ranges used and the list of operations."""
    chips = plan_histogram(plan)
    outcome, look = OUTCOMES[plan.termination.outcome]
    every = np.concatenate([np.ravel(g) for g in plan.gains.conductance])
    base = plan.baseline_gains.conductance if plan.baseline_gains else ()
    scale = Scale.around([float(g) for g in (*every, *(np.median(b) for b in base))], log=True)
    prices = sorted(plan.shadow_prices.limits, key=lambda p: -abs(p.price)) if plan.shadow_prices else []
    return PlanView(
        name=without_paths(name),
        target=typeset(asked_text(plan)),
        outcome=outcome,
        look=look,
        summary=typeset(without_paths(plan.termination.message)),
        answer=tuple(plan_answer(plan)),
        gauge=plan_gauge(plan),
        chips=None if chips is None else lay_out(chips),
        notes=tuple(typeset(without_paths(note)) for note in plan_notes(plan)),
        layers=tuple(layer_views(plan, network, scale)),
        spread_low=typeset(si(scale.low, "S", 3)),
        spread_high=typeset(si(scale.high, "S", 3)),
        has_columns=any(np.ndim(g) for g in plan.gains.conductance),
        has_tia=bool(np.any(plan.prediction.tia_power_by_layer > 0)),
        has_converters=bool(np.any(plan.prediction.converter_power_by_layer > 0)),
        has_ranges=network is not None,
        has_arrays=plan.arrays is not None,
        has_baseline=plan.baseline_gains is not None,
        corners=tuple(corner_views(plan)),
        treemap=power_treemap(plan.prediction),
        wires=tuple(Fact(name=name, value=typeset(text)) for name, text in wires_by_layer(plan.prediction)),
        costs=cost_view(plan.prediction),
        sensitivity=_sensitivity(plan),
        prices=tuple(
            (
                _place(p, plan),
                p.limit,
                typeset(f"{p.price:+.4f}"),
            )
            for p in prices[:MOST_PRICES]
        ),
        prices_left_out=max(0, len(prices) - MOST_PRICES),
        proof=tuple(_proof(plan)),
        hardware=tuple(hardware_facts(plan.hardware)),
        hardware_off=hardware_off(plan.hardware),
        devices=tuple(map(lay_out, device_charts({"devices": plan.hardware}))),
        network=tuple(_network(plan, network)),
        nodes=() if network is None else tuple(node_rows(network)),
        provenance=tuple(_provenance(plan)),
    )


def _place(price: LimitPrice, plan: Plan) -> str:
    parts = [plan.prediction.label_of(price.layer)]
    parts += [f"column {price.column}"] if price.column is not None else []
    parts += [f"row {price.row}"] if price.row is not None else []
    return ", ".join(parts)


def _sensitivity(plan: Plan) -> str:
    if plan.shadow_prices is None:
        return ""
    price = plan.shadow_prices.target
    return typeset(f"A target looser by 1 % changes the {plan.objective.quantity} by {price:+.2f} %.")


def _proof(plan: Plan) -> list[Fact]:
    end, proof = plan.termination, plan.certificate
    facts = []
    if proof is not None:
        facts = [
            Fact(
                name="KKT residual",
                value=f"{proof.kkt_residual:.1e}",
                remark="largest entry of the gradient of the Lagrangian, relative; 0 is perfect",
            ),
            Fact(
                name="Duality gap",
                value=f"{proof.duality_gap:.1e}",
                remark="bound on how far the objective is above the optimum of the local geometric program there",
            ),
            Fact(
                name="Constraint violation",
                value=f"{proof.constraint_violation:.1e}",
                remark="excess over the target, as a fraction of it",
            ),
        ]
        if proof.scanned:
            facts.append(
                Fact(
                    name="Gap elsewhere",
                    value=f"{proof.scan_gap:.1e}",
                    remark=f"what the best gains could save, by a scan of {proof.scanned} over the whole range; with "
                    "resistive wires the rest is proven only near the plan's gains",
                )
            )
    if plan.discrete is not None:
        facts.append(
            Fact(
                name="Gap to the best choice of steps",
                value=percent(plan.discrete.gap),
                remark=f"bound on what another choice could save; {plan.discrete.method.replace('_', ' ')}, "
                f"{plan.discrete.nodes} nodes, {plan.discrete.visited} choices evaluated",
            )
        )
    if plan.bits is not None:
        facts.append(
            Fact(
                name="Gap to the best choice of bits",
                value=percent(plan.bits.gap),
                remark=f"of what is least, a bound on what other choices could save; {plan.bits.nodes} "
                f"choices compared in a model from {plan.bits.visited} predictions",
            )
        )
    facts.append(Fact(name="Solver's words", value=without_paths(end.solver_status) or "–"))
    facts.append(
        Fact(name="Work", value=f"{end.iterations} iterations, {end.predictions} predictions, {end.seconds:.2f} s")
    )
    return facts


def _network(plan: Plan, network: Network | None) -> list[Fact]:
    facts = [Fact(name="Crossbar layers", value=str(len(plan.prediction.layer_names)))]
    if plan.array_count is not None:
        facts.append(Fact(name="Arrays", value=grouped(plan.array_count), remark=array_size(plan.hardware)))
    if network is not None:
        facts.append(Fact(name="Weights on crossbars", value=grouped(network.size["weights"])))
        facts.append(Fact(name="Input shape", value=shape_text(network.input_shape)))
        facts.append(Fact(name="Output shape", value=shape_text(network.output_shape)))
    facts.append(Fact(name="Outputs' mean square", value=significant(plan.prediction.signal_power)))
    return facts


def node_rows(network: Network) -> list[tuple[str, str, str, str, str]]:
    """The operations of a network as the cells of a table."""
    return [
        (
            row["name"],
            row["type"],
            ", ".join(row["inputs"]),
            shape_text(row["output_shape"]),
            "yes" if row["crossbar"] else "no",
        )
        for row in network_rows(network)
    ]


#: names of the entries of a plan's provenance
_PROVENANCE = {
    "powerplan_version": "powerplan",
    "network_sha256": "Network, SHA-256",
    "inputs_sha256": "Inputs, SHA-256",
    "inputs_shape": "Inputs, shape",
    "method": "Prediction method",
    "prediction.dtype": "Predictions in",
    "prediction.output_combinations": "Random combinations of outputs asked for",
    "prediction.marginal_fields": "Error samples asked for",
    "prediction.seed": "Seed of predictions",
    "prediction.memory_limit": "Memory of predictions [B]",
    "calibrated_bound": "Bound planned for after calibration",
    "calibrated_chips": "Part of the chips planned for after calibration",
    "calibration_rounds": "Calibrated plans",
    "prediction.chip_spread": "Spread over chips",
    "seconds.optimise": "Time to optimise",
    "seconds.verify": "Time to verify",
}


def _provenance(plan: Plan) -> list[Fact]:
    facts = [
        Fact(name="Granularity", value=plan.granularity),
        Fact(name="Optimised", value=", ".join(plan.optimize)),
    ]
    for key, value in flat(plan.provenance):
        if key in ("inputs_shape",):
            value = shape_text(value)
        value = duration(value) if key.startswith("seconds.") else value
        facts.append(Fact(name=_PROVENANCE.get(key, key.replace("_", " ")), value=value_text(value)))
    check = plan.verification
    if check is not None:
        how = ", after calibrating the bound" if check.calibrated else ""
        facts.append(Fact(name="Verification", value=f"{check.draws} draws, seed {check.seed}{how}"))
    return facts
