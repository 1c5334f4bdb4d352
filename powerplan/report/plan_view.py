"""A plan as the values that the templates of reports show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from powerplan.hardware import Hardware
from powerplan.hardware.describe import hardware_fields
from powerplan.network import Network
from powerplan.planning import (
    LimitPrice,
    MaxAccuracyDrop,
    MaxFlipRate,
    MaxOutputMSE,
    MaxPower,
    Outcome,
    Plan,
)
from powerplan.report.charts import Scale
from powerplan.report.notes import plan_notes
from powerplan.report.quantities import bounds, quantity_name, quantity_text, quantity_with_error, target_text
from powerplan.report.tables import network_rows, ranges_used
from powerplan.report.text import flat, typeset, value_text, without_paths
from powerplan.report.units import gain_text, percent, share, si, si_with_error, significant, with_error

#: active limits shown in full; a plan by column can have thousands
MOST_PRICES = 20
#: what each outcome is called, and the look of its badge
OUTCOMES = {
    Outcome.OPTIMAL: ("Optimal", "good"),
    Outcome.INFEASIBLE: ("Target out of reach", "bad"),
    Outcome.ITERATION_LIMIT: ("Stopped at the iteration limit", "fair"),
    Outcome.DEADLINE: ("Stopped at the deadline", "fair"),
    Outcome.WITHIN_GAP: ("Target met on steps", "good"),
}


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A name, its value and a remark (may be empty)."""

    name: str
    value: str
    remark: str = ""

    def __post_init__(self) -> None:
        for field in ("value", "remark"):
            object.__setattr__(self, field, typeset(getattr(self, field)))


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Gains of one layer on the shared scale of the figure, in % of its width; scalars have equal ends."""

    low: float
    quarter: float
    middle: float
    three_quarters: float
    high: float
    baseline: float | None


@dataclass(frozen=True, kw_only=True)
class LayerView:
    """One crossbar layer: gains, power and error as text, bars in % of the largest."""

    name: str
    gain: str
    against_baseline: str
    voltage: str
    used: str
    power: str
    power_share: str
    power_bar: float
    tia_bar: float
    error_share: str
    error_bar: float
    spread: Spread


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """Target, prediction and simulation of the bounded quantity, in % of the figure's width."""

    description: str
    target: float
    predicted: float
    simulated: float | None
    interval: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class CornerView:
    """A further hardware of a plan: how it differs, and error and power there."""

    name: str
    changes: str
    error: str
    simulated: str
    power: str
    binds: str


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
    notes: tuple[str, ...]
    layers: tuple[LayerView, ...]
    spread_low: str
    spread_high: str
    has_columns: bool
    has_tia: bool
    has_ranges: bool
    has_baseline: bool
    corners: tuple[CornerView, ...]
    sensitivity: str
    prices: tuple[tuple[str, str, str], ...]
    prices_left_out: int
    proof: tuple[Fact, ...]
    hardware: tuple[Fact, ...]
    hardware_off: tuple[str, ...]
    network: tuple[Fact, ...]
    nodes: tuple[tuple[str, str, str, str, str], ...]
    provenance: tuple[Fact, ...]


def plan_view(plan: Plan, *, name: str = "", network: Network | None = None) -> PlanView:
    """The view of a plan; with its network also the conductance ranges used and the list of operations."""
    outcome, look = OUTCOMES[plan.termination.outcome]
    every = np.concatenate([np.ravel(g) for g in plan.gains.conductance])
    base = plan.baseline_gains.conductance if plan.baseline_gains else ()
    scale = Scale.around([float(g) for g in (*every, *(np.median(b) for b in base))], log=True)
    prices = sorted(plan.shadow_prices.limits, key=lambda p: -abs(p.price)) if plan.shadow_prices else []
    return PlanView(
        name=without_paths(name),
        target=typeset(target_text(plan.target)),
        outcome=outcome,
        look=look,
        summary=typeset(without_paths(plan.termination.message)),
        answer=tuple(plan_answer(plan)),
        gauge=_gauge(plan),
        notes=tuple(typeset(without_paths(note)) for note in plan_notes(plan)),
        layers=tuple(_layers(plan, network, scale)),
        spread_low=typeset(si(scale.low, "S", 3)),
        spread_high=typeset(si(scale.high, "S", 3)),
        has_columns=any(np.ndim(g) for g in plan.gains.conductance),
        has_tia=bool(np.any(plan.prediction.tia_power_by_layer > 0)),
        has_ranges=network is not None,
        has_baseline=plan.baseline_gains is not None,
        corners=tuple(_corners(plan)),
        sensitivity=_sensitivity(plan),
        prices=tuple(
            (
                _place(p),
                p.limit,
                f"{p.price:+.4f}".replace("-", "−"),
            )
            for p in prices[:MOST_PRICES]
        ),
        prices_left_out=max(0, len(prices) - MOST_PRICES),
        proof=tuple(_proof(plan)),
        hardware=tuple(hardware_facts(plan.hardware)),
        hardware_off=hardware_off(plan.hardware),
        network=tuple(_network(plan, network)),
        nodes=() if network is None else tuple(_nodes(network)),
        provenance=tuple(_provenance(plan)),
    )


def _place(price: LimitPrice) -> str:
    parts = [price.layer]
    parts += [f"column {price.column}"] if price.column is not None else []
    parts += [f"row {price.row}"] if price.row is not None else []
    return ", ".join(parts)


def hardware_facts(hardware: Hardware) -> list[Fact]:
    """The fields of the hardware that describe something, with their meaning."""
    described = hardware_fields()
    facts = []
    for key, value in flat(hardware.to_dict()):
        unit, text = described.get(key, ("", ""))
        if key not in hardware_off(hardware):
            facts.append(Fact(name=key, value=value_text(value, unit), remark=text[:1].upper() + text[1:]))
    return facts


def hardware_off(hardware: Hardware) -> tuple[str, ...]:
    """Names of the fields that are 0, none or off: effects that this hardware does not have."""
    shown = ("conductance_min", "clip_conductance")
    return tuple(key for key, value in flat(hardware.to_dict()) if not value and key not in shown)


def plan_answer(plan: Plan) -> list[Fact]:
    """Power, saving and error of a plan: predicted, with the target and the simulation as remarks."""
    check = plan.verification
    budget = isinstance(plan.target, MaxPower)
    simulated = (
        ""
        if check is None
        else f"simulated {typeset(si_with_error(check.power, 1.96 * check.power_standard_error, 'W'))}"
    )
    facts = [
        Fact(
            name="Power of one inference",
            value=typeset(si(plan.power, "W")),
            remark="; ".join(
                filter(None, [f"budget {typeset(si(plan.target.value, 'W'))}" if budget else "", simulated])
            ),
        )
    ]
    if plan.saving is None or plan.baseline_power is None:
        facts.append(Fact(name="Saving", value="–", remark="no baseline meets the target"))
    else:
        against = f"MSE {significant(plan.baseline_mse)}" if budget else typeset(si(plan.baseline_power, "W"))
        what = "less error than" if budget else "of"
        facts.append(
            Fact(
                name="Error saved" if budget else "Power saved",
                value=f"{100 * plan.saving:.1f} %",
                remark=f"{what} {against} with one conductance range for all layers",
            )
        )
    if isinstance(plan.target, MaxAccuracyDrop | MaxFlipRate | MaxOutputMSE):
        facts.append(_target_fact(plan))
    bound_nmse, bound_mse = bounds(plan)
    facts.append(
        _error_fact(
            "Error (NMSE)",
            percent(plan.nmse),
            None if bound_nmse is None else percent(bound_nmse),
            None if check is None else f"{with_error(check.nmse, 1.96 * check.nmse_standard_error, 100)} %",
        )
    )
    facts.append(
        _error_fact(
            "Error (MSE)",
            significant(plan.mse),
            None if bound_mse is None else significant(bound_mse),
            None if check is None else with_error(check.mse, 1.96 * check.mse_standard_error),
        )
    )
    facts.append(
        Fact(
            name="Energy of one inference",
            value=typeset(si(plan.energy, "J")),
            remark=f"at {typeset(si(plan.hardware.read_time, 's'))} per read",
        )
    )
    return facts


def _target_fact(plan: Plan) -> Fact:
    """The bounded quantity, where it is neither the error nor the power."""
    check, bound = plan.verification, plan.target.value
    simulated = None
    if check is not None:
        simulated = quantity_with_error(plan.target, check.ratio * bound, 1.96 * check.ratio_standard_error * bound)
    name = quantity_name(plan.target)
    return _error_fact(
        name[:1].upper() + name[1:],
        quantity_text(plan.target, plan.reached),
        quantity_text(plan.target, bound),
        simulated,
    )


def _error_fact(name: str, predicted: str, target: str | None, simulated: str | None) -> Fact:
    parts = [f"target at most {target}" if target else "", f"simulated {simulated}" if simulated else ""]
    return Fact(name=name, value=predicted, remark="; ".join(filter(None, parts)))


def _gauge(plan: Plan) -> Gauge | None:
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

    name = quantity_name(plan.target)
    texts = [f"target {quantity_text(plan.target, target)}", f"predicted {quantity_text(plan.target, plan.reached)}"]
    if simulated is not None:
        texts.append(f"simulated {quantity_text(plan.target, simulated)} with its 95 % confidence interval")
    return Gauge(
        description=typeset(f"{name[:1].upper()}{name[1:]}: {', '.join(texts)}."),
        target=at(target),
        predicted=at(plan.reached),
        simulated=None if simulated is None else at(simulated),
        interval=None if simulated is None or error <= 0 else (at(simulated - error), at(simulated + error)),
    )


def _layers(plan: Plan, network: Network | None, scale: Scale) -> list[LayerView]:
    prediction = plan.prediction
    used = None if network is None else ranges_used(network, plan.hardware, plan.gains)
    # each bar is a part of the whole, so that the two columns can be compared
    power, error = prediction.power or 1.0, prediction.mse or 1.0
    largest = max(
        float(np.max(prediction.power_by_layer, initial=0.0)) / power,
        float(np.max(prediction.mse_by_layer, initial=0.0)) / error,
        1e-12,
    )
    rows = []
    for i, name in enumerate(prediction.layer_names):
        gain = plan.gains.conductance[i]
        base = None if plan.baseline_gains is None else plan.baseline_gains.conductance[i]
        tia = float(prediction.tia_power_by_layer[i])
        own = float(prediction.power_by_layer[i])
        rows.append(
            LayerView(
                name=name,
                gain=typeset(gain_text(gain, "S")),
                against_baseline="" if base is None else f"{np.median(gain) / np.median(base):.2f} ×",
                voltage=typeset(gain_text(plan.gains.voltage[i], "V")),
                used=""
                if used is None
                else f"{typeset(si(used[i], 'S', 3))} ({100 * used[i] / plan.hardware.conductance_max:.0f} %)",
                power=typeset(si(own, "W")),
                power_share=share(own, prediction.power),
                power_bar=round(100 * (own - tia) / power / largest, 2),
                tia_bar=round(100 * tia / power / largest, 2),
                error_share=share(float(prediction.mse_by_layer[i]), prediction.mse),
                error_bar=round(100 * float(prediction.mse_by_layer[i]) / error / largest, 2),
                spread=_spread(gain, base, scale),
            )
        )
    return rows


def _spread(gain: float | np.ndarray, base: float | np.ndarray | None, scale: Scale) -> Spread:
    low, quarter, middle, three, high = (
        round(100 * scale.at(float(q)), 2) for q in np.quantile(np.ravel(gain), [0, 0.25, 0.5, 0.75, 1])
    )
    return Spread(
        low=low,
        quarter=quarter,
        middle=middle,
        three_quarters=three,
        high=high,
        baseline=None if base is None else round(100 * scale.at(float(np.median(base))), 2),
    )


def _corners(plan: Plan) -> list[CornerView]:
    """The nominal hardware and the others the target holds in; empty without others."""
    if not plan.corners:
        return []
    nominal = dict(flat(plan.hardware.to_dict()))
    units = {name: unit for name, (unit, _) in hardware_fields().items()}
    views = []
    cases = [(plan.hardware, plan.prediction, plan.verification)]
    cases += [(corner.hardware, corner.prediction, corner.verification) for corner in plan.corners]
    for i, (hardware, prediction, check) in enumerate(cases):
        changed = [(k, v) for k, v in flat(hardware.to_dict()) if v != nominal.get(k)]
        simulated = "–" if check is None else f"{with_error(check.nmse, 1.96 * check.nmse_standard_error, 100)} %"
        views.append(
            CornerView(
                name="nominal" if i == 0 else f"corner {i}",
                changes=", ".join(f"{k} {value_text(v, units.get(k, ''))}" for k, v in changed) or "–",
                error=typeset(percent(prediction.nmse)),
                simulated=typeset(simulated),
                power=typeset(si(prediction.power, "W")),
                binds="yes" if i in plan.binding_corners else "no",
            )
        )
    return views


def _sensitivity(plan: Plan) -> str:
    if plan.shadow_prices is None:
        return ""
    objective = "MSE" if isinstance(plan.target, MaxPower) else "power"
    price = plan.shadow_prices.target
    return f"A target looser by 1 % changes the {objective} by {price:+.2f} %.".replace("-", "−")


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
                remark="bound on how far the objective is above the optimum of the last local program",
            ),
            Fact(
                name="Constraint violation",
                value=f"{proof.constraint_violation:.1e}",
                remark="excess over the target, as a fraction of it",
            ),
        ]
    if plan.discrete is not None:
        facts.append(
            Fact(
                name="Gap to the best choice of steps",
                value=percent(plan.discrete.gap),
                remark=f"bound on what another choice could save; {plan.discrete.method.replace('_', ' ')}, "
                f"{plan.discrete.nodes} nodes, {plan.discrete.visited} choices evaluated",
            )
        )
    facts.append(Fact(name="Solver's words", value=without_paths(end.solver_status) or "–"))
    facts.append(
        Fact(name="Work", value=f"{end.iterations} iterations, {end.predictions} predictions, {end.seconds:.2f} s")
    )
    return facts


def _network(plan: Plan, network: Network | None) -> list[Fact]:
    facts = [Fact(name="Crossbar layers", value=str(len(plan.prediction.layer_names)))]
    if network is not None:
        weights = sum(int(t.size) for node in network.crossbars for k, t in node.op.tensors().items() if k == "weight")
        facts.append(Fact(name="Weights on crossbars", value=f"{weights:,}".replace(",", " ")))
        facts.append(Fact(name="Input shape", value=_shape(network.input_shape)))
        facts.append(Fact(name="Output shape", value=_shape(network.output_shape)))
    facts.append(Fact(name="Outputs' mean square", value=significant(plan.prediction.signal_power)))
    return facts


def _nodes(network: Network) -> list[tuple[str, str, str, str, str]]:
    return [
        (
            row["name"],
            row["type"],
            ", ".join(row["inputs"]),
            _shape(row["output_shape"]),
            "yes" if row["crossbar"] else "no",
        )
        for row in network_rows(network)
    ]


def _shape(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


#: names of the entries of a plan's provenance
_PROVENANCE = {
    "powerplan_version": "powerplan",
    "network_sha256": "Network, SHA-256",
    "inputs_sha256": "Inputs, SHA-256",
    "inputs_shape": "Inputs, shape",
    "method": "Prediction method",
    "seconds.optimise": "Time to optimise [s]",
    "seconds.verify": "Time to verify [s]",
}


def _provenance(plan: Plan) -> list[Fact]:
    facts = [
        Fact(name="Granularity", value=plan.granularity),
        Fact(name="Optimised", value=", ".join(plan.optimize)),
    ]
    for key, value in flat(plan.provenance):
        if key in ("inputs_shape",):
            value = _shape(value)
        facts.append(Fact(name=_PROVENANCE.get(key, key.replace("_", " ")), value=value_text(value)))
    check = plan.verification
    if check is not None:
        how = ", target rescaled once to the simulation" if check.calibrated else ""
        facts.append(Fact(name="Verification", value=f"{check.draws} draws, seed {check.seed}{how}"))
    return facts
