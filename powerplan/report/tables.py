"""Plans, predictions, simulations and frontiers as text."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from powerplan.hardware import Gains, Hardware
from powerplan.hardware.gains import column_conductance_limits, conductance_span
from powerplan.moments.accuracy import Accuracy
from powerplan.moments.prediction import Prediction
from powerplan.montecarlo.simulation import Simulation
from powerplan.network import Network
from powerplan.per_input import Inputs
from powerplan.planning import ConstraintPrice, DiscreteGap, Plan
from powerplan.planning.objectives import POWER, Objective
from powerplan.planning.settings import CHOICES
from powerplan.report.costs import cost_table, energy_text
from powerplan.report.planned_error import part_column, part_text
from powerplan.report.quantities import (
    COMPENSATED,
    accuracy_name,
    accuracy_of_others,
    asked_text,
    bounded_name,
    chosen_text,
    ideal_text,
    least_errors,
    lowest_yield,
    mean_bounds,
    objective_text,
    other_accuracy,
    other_inputs,
    other_rate,
    plan_accuracies,
    predicted_mse,
    predicted_nmse,
    predicted_power,
    quantile_text,
    quantity_text,
    quantity_with_error,
    samples_remark,
    saving_cell,
    share_text,
    simulated_mse,
    simulated_nmse,
    simulated_power,
    worst_inputs,
    yield_text,
)
from powerplan.report.text import columns, value_text
from powerplan.spread import SUMMARY, Chips, Spread
from powerplan.units import gain_text, in_unit, part_with_error, percent, share, si, si_with_error, significant


def plan_table(plan: Plan, *, network: Network | None = None) -> str:
    """A plan as text: a row per layer, then power, error, why it stopped and what proves it.

    Args:
        network: adds the conductance range each layer uses, G_min + max_ij c_i |W_ij|.
    """
    prediction = plan.prediction
    headers = ["layer", "gain per unit weight", "voltage per unit", "power", "share", "share of error"]
    rows = []
    for i, name in enumerate(prediction.layer_labels):
        rows.append(
            [
                name,
                gain_text(plan.gains.conductance[i], "S"),
                gain_text(plan.gains.voltage[i], "V"),
                si(float(prediction.power_by_layer[i]), "W"),
                share(float(prediction.power_by_layer[i]), prediction.power),
                share(float(prediction.mse_by_layer[i]), prediction.mse),
            ]
        )
    if network is not None:
        headers.insert(2, "range used")
        for row, used in zip(rows, ranges_used(network, plan.hardware, plan.gains), strict=True):
            row.insert(2, f"{si(used, 'S', 3)} ({100 * used / plan.hardware.conductance_max:.0f} %)")
    if plan.arrays is not None:
        headers.append("arrays")
        for row, layer in zip(rows, plan.arrays, strict=True):
            row.append(str(layer.arrays))
    return "\n\n".join([columns(headers, rows), _pairs(_plan_answer(plan)), *cost_table(prediction)])


def ranges_used(network: Network, hardware: Hardware, gains: Gains) -> list[float]:
    """Largest conductance of every layer, G_min + max_ij c_i |W_ij| [S]."""
    span = conductance_span(hardware)
    limits = column_conductance_limits(network, hardware, gains.voltage)
    return [
        hardware.conductance_min + span * float(np.max(np.asarray(gain) / limit))
        for gain, limit in zip(gains.conductance, limits, strict=True)
    ]


def _plan_answer(plan: Plan) -> list[tuple[str, str]]:
    prediction, check, end = plan.prediction, plan.verification, plan.termination
    lines = [("target", asked_text(plan)), (_power_name(plan), f"{si(plan.power, 'W')} predicted")]
    if check is not None:
        lines[-1] = (lines[-1][0], f"{lines[-1][1]}, {simulated_power(check)} simulated")
    lines += _converter_line(prediction)
    lines.append(("energy", energy_text(plan.prediction)))
    lines += _baseline_lines(plan)
    bounds = mean_bounds(plan)
    if not bounds:
        lines += [_quantity_line(plan), *_rate_line(plan)]
    if plan.ideal_accuracy is not None:
        lines.append((accuracy_name(plan), f"{', '.join(plan_accuracies(plan))}{_ideal_text(plan.ideal_accuracy)}"))
    nmse_bound = percent(bounds["nmse"]) if "nmse" in bounds else None
    mse_bound = significant(bounds["mse"]) if "mse" in bounds else None
    simulated = (
        (None, None)
        if check is None
        else (
            simulated_nmse(check),
            simulated_mse(check),
        )
    )
    lines.append(("NMSE", _error_line(nmse_bound, predicted_nmse(prediction), simulated[0])))
    lines.append(("MSE", _error_line(mse_bound, predicted_mse(prediction), simulated[1])))
    lines += _plan_chips_lines(plan)
    lines += _inputs_lines(prediction.inputs, other_accuracy(plan))
    lines += _compensation_lines(plan)
    lines += _corner_lines(plan)
    if plan.array_count is not None:
        lines.append(("arrays", f"{plan.array_count}, {array_size(plan.hardware)}"))
    if plan.prediction.marginal_fields:
        lines.append(_fields_line(plan.prediction))
    lines += _wires_lines(plan.prediction)
    if plan.prediction.first_order:
        lines.append(_first_order_line(plan.prediction))
    if check is not None:
        where = ", nominal hardware" if plan.corners else ""
        how = where + (", after calibrating the target" if check.calibrated else "")
        ratio = f"simulated / target = {check.ratio:.4f}{how} (± is 95 %)"
        lines.append(("verified", f"{check.draws} draws, seed {check.seed}; {ratio}"))
    if (lowest := lowest_yield(plan)) is not None:
        worst, where = lowest
        lines.append(("yield", f"{yield_text(worst)} of these chips meet the target, each by itself{where}"))
    lines.append(("outcome", f"{end.outcome.value}: {end.message}"))
    lines += _choice_lines(plan)
    if plan.certificate is not None:
        proof = plan.certificate
        gaps = f"KKT residual {proof.kkt_residual:.1e}, duality gap {proof.duality_gap:.1e}"
        elsewhere = f"; scan of {proof.scanned} gains: gap {proof.scan_gap:.1e}" if proof.scanned else ""
        lines.append(("certificate", f"{gaps}, constraint violation {proof.constraint_violation:.1e}{elsewhere}"))
    lines += _price_lines(plan)
    lines.append(("planned", f"{end.iterations} iterations, {end.predictions} predictions, {end.seconds:.2f} s"))
    return lines


def _power_name(plan: Plan) -> str:
    """What the power is of: with costs there is more that takes some."""
    return "power" if plan.costs is None else "array power"


def _objective_words(plan: Plan) -> str:
    """What gains are chosen for, as :func:`_power_name` names it."""
    return _power_name(plan) if plan.objective is POWER else plan.objective.quantity


def _baseline_lines(plan: Plan) -> list[tuple[str, str]]:
    """The baseline, and what the plan saves against it."""
    if plan.saving is None:
        return [("baseline", "one conductance range for all layers does not meet the target")]
    reached = objective_text(plan.objective, plan.objective.of_baseline(plan))
    name = "saving" if plan.saving >= 0 else "excess"  # held gains or steps can cost more than the baseline
    return [
        ("baseline", f"{reached} with one conductance range for all layers and the same target"),
        (name, f"{100 * abs(plan.saving):.1f} % of the baseline's {_objective_words(plan)}"),
    ]


def _price_lines(plan: Plan) -> list[tuple[str, str]]:
    """What target, constraints and limits cost, the dearest limits first."""
    prices = plan.shadow_prices
    if prices is None:
        return []
    changes = f"1 % looser changes the {_objective_words(plan)} by {prices.target:+.2f} %"
    smoothed = ", of the rate without its steps" if plan.target.has_steps else ""
    lines = [("shadow price", f"target {prices.target:+.4f}: {changes}{smoothed}")]
    if len({(p.corner, p.output) for p in prices.constraints}) > 1 or plan.corners:
        lines += [("", f"{_constraint_name(p)} {p.price:+.4f}") for p in prices.constraints[:_SHOWN_PRICES]]
    dearest = sorted(prices.limits, key=lambda p: -abs(p.price))
    for price in dearest[:_SHOWN_PRICES]:
        column = "" if price.column is None else f" column {price.column}"
        row = "" if price.row is None else f" row {price.row}"
        lines.append(("", f"{plan.prediction.label_of(price.layer)}{column}{row} {price.limit} {price.price:+.4f}"))
    if len(dearest) > _SHOWN_PRICES:
        lines.append(("", f"and {len(dearest) - _SHOWN_PRICES} more active limits"))
    return lines


def _converter_line(result: Prediction | Simulation) -> list[tuple[str, str]]:
    """The part of the power that converters take, where they take any."""
    taken = float(np.sum(result.converter_power_by_layer))
    return [("", f"{si(taken, 'W')} of it in the converters ({share(taken, result.power)})")] if taken else []


def _fields_line(prediction: Prediction) -> tuple[str, str]:
    return "samples", f"{prediction.marginal_fields} of the errors in the prediction, {samples_remark(prediction)}"


def _first_order_line(prediction: Prediction) -> tuple[str, str]:
    return "first order", f"{', '.join(prediction.first_order)}: no Gaussian formula, taken at the mean"


def array_size(hardware: Hardware) -> str:
    """How large an array is, and what it serves."""
    sizes = [
        f"at most {most} {what}"
        for most, what in ((hardware.array_rows, "rows"), (hardware.array_columns, "columns"))
        if most is not None
    ]
    size = " and ".join(sizes) + " each" if sizes else "as large as their layers"
    return size + ("; one for every position" if hardware.mapping == "unrolled" else "")


def _quantity_line(plan: Plan) -> tuple[str, str]:
    """What a target bounds that is none of the means: bound, predicted and simulated in the worst corner."""
    target = plan.target
    simulated = None
    if plan.verification is not None:
        check = max(plan.verifications, key=lambda verification: verification.ratio)
        half = 1.96 * check.ratio_standard_error * target.value
        simulated = quantity_with_error(target, check.ratio * target.value, half)
    bound, predicted = quantity_text(target, target.value), quantity_text(target, plan.reached)
    return bounded_name(plan), _error_line(bound, predicted, simulated)


def _corner_lines(plan: Plan) -> list[tuple[str, str]]:
    """A line per corner beside the nominal hardware: what differs there, error, power, verification."""
    lines = []
    nominal = plan.hardware.to_dict()
    for i, corner in enumerate(plan.corners, start=1):
        differs = [name for name, value in corner.hardware.to_dict().items() if value != nominal.get(name)]
        words = [
            f"NMSE {predicted_nmse(corner.prediction)}, power {si(corner.prediction.power, 'W')} predicted",
            f"differs in {', '.join(differs) or 'nothing'}",
        ]
        check = corner.verification
        if check is not None:
            words.insert(1, f"simulated / target = {check.ratio:.4f}")
            if check.chip_yield is not None:
                words.insert(2, f"yield {yield_text(check)}")
        if (quantile := quantile_text(plan, corner.prediction, check)) is not None:
            words.insert(0, quantile)
        if i in plan.binding_corners:
            words.append("binds")
        lines.append((f"corner {i}", "; ".join(words)))
    return lines


def _constraint_name(price: ConstraintPrice) -> str:
    """``corner 1, output 3``."""
    where = f"corner {price.corner}" if price.corner else "nominal hardware"
    return where if price.output is None else f"{where}, output {price.output}"


def _choice_lines(plan: Plan) -> list[tuple[str, str]]:
    """Bits and steps that were chosen, and how far they can be from the best choice."""
    lines = []
    if plan.discrete is not None:
        lines.append(("steps", _steps_line(plan.discrete, plan.objective)))
    if plan.bits is not None:
        chosen = (f"{kind} {value_text(getattr(plan.hardware, kind))}" for kind in plan.optimize if kind in CHOICES)
        saves = f"at most {100 * plan.bits.gap:.2g} % above the best choice"
        lines.append(("bits", f"{'; '.join(chosen)}; {saves}"))
    return lines


def _steps_line(gap: DiscreteGap, objective: Objective) -> str:
    """How far a plan on steps can be from the best choice."""
    if np.isnan(gap.gap):
        return "no choice of steps meets the target"
    how, continuous = gap.method.replace("_", " "), in_unit(gap.continuous, objective.unit)
    loss = gap.bound * (1 + gap.gap) / gap.continuous - 1
    return (
        f"at most {100 * gap.gap:.2g} % above the best choice of steps ({how}, {gap.nodes} nodes), "
        f"{100 * loss:.2g} % above the plan without steps ({continuous}), to which certificate and prices belong"
    )


_SHOWN_PRICES = 8
#: of a prediction that was not asked for single chips
_UNTOLD_CHIPS = (
    "chips",
    "error and power are means over chips; how single ones differ: predict --chip-spread, simulate --yield-at BOUND",
)
_TEXT_WIDTH = 96


def _error_line(target: str | None, predicted: str, simulated: str | None) -> str:
    parts = [
        f"target {target}" if target else "",
        f"predicted {predicted}",
        f"simulated {simulated}" if simulated else "",
    ]
    return ", ".join(part for part in parts if part)


def prediction_table(
    prediction: Prediction,
    *,
    gains: Gains | None = None,
    accuracy: Accuracy | None = None,
    input_error: float | None = None,
    ideal_accuracy: float | None = None,
    chips: Chips | None = None,
) -> str:
    """A prediction as text: a row per layer, then error and power.

    Args:
        gains: adds the gains of every layer.
        accuracy: predicted classification accuracy and its standard error, if known.
        input_error: standard error of the accuracy over inputs, if known.
        ideal_accuracy: of the ideal network on the same inputs, if known.
        chips: the prediction's own, with what labels tell of them.
    """
    has_converters = bool(np.any(prediction.converter_power_by_layer))
    converters = ["converter power"] if has_converters else []
    headers = ["layer", "array power", "TIA power", *converters, "share", "MSE", "share of error"]
    rows = []
    for i, name in enumerate(prediction.layer_labels):
        rows.append(
            [
                name,
                si(float(prediction.array_power_by_layer[i]), "W"),
                si(float(prediction.tia_power_by_layer[i]), "W"),
                *([si(float(prediction.converter_power_by_layer[i]), "W")] if has_converters else []),
                share(float(prediction.power_by_layer[i]), prediction.power),
                significant(float(prediction.mse_by_layer[i])),
                share(float(prediction.mse_by_layer[i]), prediction.mse),
            ]
        )
    if gains is not None:
        _insert_gains(headers, rows, gains)
    lines = [
        ("MSE", f"{predicted_mse(prediction)}, of which squared bias {share(prediction.mse_bias, prediction.mse)}"),
        ("NMSE", predicted_nmse(prediction)),
        ("power", predicted_power(prediction)),
        *(_chips_lines(chips or prediction.chips, ideal_accuracy) if prediction.chips else [_UNTOLD_CHIPS]),
        *_converter_line(prediction),
        *_wires_lines(prediction),
        ("energy", energy_text(prediction)),
        *_accuracy_line(accuracy, None, ideal_accuracy),
        *_inputs_lines(prediction.inputs, _of_others(prediction.inputs, accuracy, input_error)),
        ("method", prediction.method),
    ]
    if prediction.output_covariance is None and prediction.mse_standard_error:
        lines.append(("outputs", "random combinations"))
    if any(" ± " in text for _, text in lines):
        lines.append(("±", "95 % confidence"))
    if prediction.marginal_fields:
        lines.append(_fields_line(prediction))
    if prediction.first_order:
        lines.append(_first_order_line(prediction))
    return "\n\n".join([columns(headers, rows), _pairs(lines), *cost_table(prediction)])


def spreads_table(what: str, spreads: Sequence[Spread]) -> str:
    """How errors are spread over chips as text: a row each, of a number that counts from 0."""
    headers = [what, "mean over chips", "std", *(f"{100 * part:g} % within" for part in SUMMARY)]
    rows = [
        [str(i), *map(significant, (spread.mean, spread.std, *map(spread.quantile, SUMMARY)))]
        for i, spread in enumerate(spreads)
    ]
    return columns(headers, rows)


def wires_by_layer(prediction: Prediction) -> list[tuple[str, str]]:
    """Every layer and what its wires cause; nothing where wires have no resistance."""
    layers = (prediction.wire_bias_by_layer, prediction.wire_drop_by_layer, prediction.largest_wire_drop_by_layer)
    bias, drop, largest = layers
    if bias is None or drop is None or largest is None or not drop.any():
        return []
    return [
        (
            name,
            f"drop {percent(float(drop[i]))}, at most {percent(float(largest[i]))} for a single device; "
            f"squared bias by wires alone: {share(float(bias[i]), prediction.mse)} of the MSE",
        )
        for i, name in enumerate(prediction.layer_labels)
    ]


def _wires_lines(prediction: Prediction) -> list[tuple[str, str]]:
    return [(f"wires of {name}", text) for name, text in wires_by_layer(prediction)]


def simulation_table(
    simulation: Simulation,
    *,
    prediction: Prediction | None = None,
    accuracy: Accuracy | None = None,
    predicted_accuracy: Accuracy | None = None,
    input_error: float | None = None,
    ideal_accuracy: float | None = None,
    chips: Chips | None = None,
    yield_at: float | None = None,
) -> str:
    """A simulation as text, with 95 % confidence intervals; beside the prediction if one is given.

    Args:
        yield_at: adds the part of the chips within this NMSE.
    """
    has_converters = bool(np.any(simulation.converter_power_by_layer))
    headers = ["layer", "simulated power"] + ([] if prediction is None else ["predicted power"])
    headers += ["of which converters"] if has_converters else []
    rows = []
    for i, name in enumerate(simulation.layer_labels):
        error = 1.96 * float(simulation.power_by_layer_standard_error[i])
        row = [name, si_with_error(float(simulation.power_by_layer[i]), error, "W")]
        row += [] if prediction is None else [si(float(prediction.power_by_layer[i]), "W")]
        rows.append(row + ([si(float(simulation.converter_power_by_layer[i]), "W")] if has_converters else []))

    def beside(simulated: str, predicted: str | None) -> str:
        return simulated if predicted is None else f"{simulated} simulated, {predicted} predicted"

    known = prediction is not None
    lines = [
        ("MSE", beside(simulated_mse(simulation), significant(prediction.mse) if prediction else None)),
        ("NMSE", beside(simulated_nmse(simulation), predicted_nmse(prediction) if prediction else None)),
        ("power", beside(simulated_power(simulation), si(prediction.power, "W") if prediction else None)),
        *_chips_lines(chips or simulation.chips, ideal_accuracy),
        *([] if yield_at is None else [_yield_line(simulation.chips.nmse, yield_at)]),
        *_converter_line(simulation),
        ("energy", energy_text(simulation)),
        *_accuracy_line(accuracy, predicted_accuracy if known else None, ideal_accuracy),
        *_inputs_lines(simulation.inputs, _of_others(simulation.inputs, accuracy, input_error)),
        ("draws", f"{simulation.draws}, seed {simulation.seed} (± is 95 %)"),
    ]
    return "\n\n".join([columns(headers, rows), _pairs(lines), *cost_table(simulation)])


def _chips_lines(chips: Chips | None, ideal_accuracy: float | None) -> list[tuple[str, str]]:
    """The NMSE that parts of the chips keep within, and the accuracy that they have at least."""
    if chips is None or not chips.mse.std > 0:
        return []
    nmse, parts = chips.nmse, SUMMARY
    errors = ", ".join(f"{100 * p:g} % within {significant(100 * nmse.quantile(p))} %" for p in parts)
    lines = [("NMSE of chips", errors)]
    if chips.wrong is not None:
        wrong = chips.wrong
        accuracies = ", ".join(f"{100 * p:g} % at least {100 * (1 - wrong.quantile(p)):.2f} %" for p in parts)
        lines.append(("accuracy of chips", accuracies + _ideal_text(ideal_accuracy)))
    if chips.power is not None and chips.power.std > 0:
        powers = ", ".join(f"{100 * p:g} % within {si(chips.power.quantile(p), 'W')}" for p in parts)
        lines.append(("power of chips", powers))
    return lines


def _plan_chips_lines(plan: Plan) -> list[tuple[str, str]]:
    """What parts of the chips keep within, where a plan knows it; that which is least under a budget first."""
    chips = plan.prediction.chips
    if chips is None:
        return []
    least = least_errors(plan, plan.prediction, plan.verification)
    lines = [(plan.objective.quantity, f"{', '.join(least)}, the least within the budget (95 %)")] if least else []
    # without labels they are wrong where the class is not that of the ideal network, which is no accuracy
    known = chips if plan.ideal_accuracy is not None else replace(chips, wrong=None)
    return lines + _chips_lines(known, None)


def _yield_line(nmse: Spread, bound: float) -> tuple[str, str]:
    """The part of the chips within a bound on their NMSE."""
    return f"yield at NMSE {100 * bound:.4g} %", share_text(nmse.yield_at(bound), nmse.yield_interval(bound))


def _compensation_lines(plan: Plan) -> list[tuple[str, str]]:
    how = plan.hardware.compensation
    return [("compensation", f"{how}; {COMPENSATED}")] if how else []


def _rate_line(plan: Plan) -> list[tuple[str, str]]:
    """The rate of other inputs, of a target on classes."""
    if plan.target.takes_weights:
        return []
    rate = other_rate(plan)
    return [] if rate is None else [("", f"{rate} over other inputs")]


def _of_others(inputs: Inputs | None, accuracy: Accuracy | None, input_error: float | None) -> str | None:
    if inputs is None or accuracy is None:
        return None
    return accuracy_of_others(accuracy[0], input_error, len(inputs.mse_by_input))


def _inputs_lines(inputs: Inputs | None, accuracy: str | None) -> list[tuple[str, str]]:
    """What the calibration inputs say of others, and which of them have the largest errors."""
    if inputs is None or not inputs.nmse_standard_error > 0:
        return []
    parts = [f"NMSE {other_inputs(inputs)}", *([] if accuracy is None else [accuracy])]
    sample = f"(95 %; the {len(inputs.mse_by_input)} of calibration are taken as a random sample)"
    return [("other inputs", f"{', '.join(parts)} {sample}"), ("worst inputs", worst_inputs(inputs))]


def frontier_table(plans: Sequence[Plan]) -> str:
    """A row per plan: target, power, baseline, saving, predicted and (if verified) simulated NMSE, outcome; with costs
    energy, latency and what was chosen of the converters. Of plans for a part of the chips or inputs also the NMSE that
    this part keeps."""
    cells: list[tuple[str, Callable[[Plan], str]]] = [
        ("target", asked_text),
        ("array power" if any(plan.costs for plan in plans) else "power", lambda plan: si(plan.power, "W")),
        ("baseline", lambda plan: si(plan.baseline_power, "W")),
        ("saving", lambda plan: "-" if plan.saving is None else saving_cell(plan.saving, plan.objective)),
    ]
    if any(plan.costs for plan in plans):
        cells.append(("energy", lambda plan: "-" if plan.costs is None else si(plan.costs.energy, "J")))
        cells.append(("latency", lambda plan: "-" if plan.costs is None else si(plan.costs.latency, "s")))
    for kind in CHOICES:
        if any(kind in plan.optimize for plan in plans):
            cells.append((kind, partial(chosen_text, kind=kind)))
    cells.append(("predicted NMSE", lambda plan: predicted_nmse(plan.prediction)))
    if any(plan.verification for plan in plans):
        cells.append(
            ("simulated NMSE", lambda plan: "-" if plan.verification is None else simulated_nmse(plan.verification))
        )
    part = part_column(plans)
    if part is not None:
        cells.append((part, lambda plan: part_text(plan) or "-"))
    cells.append(("outcome", lambda plan: plan.termination.outcome.value))
    return columns([name for name, _ in cells], [[cell(plan) for _, cell in cells] for plan in plans])


def network_rows(network: Network) -> list[dict[str, Any]]:
    """The nodes of a network as plain values: name, type, inputs, shape, crossbar, and the array if others read it."""
    return [
        {
            "name": node.name,
            "type": node.op.attributes().get("kind", node.op.type),
            "inputs": list(node.inputs),
            "output_shape": list(network.shapes[node.name]),
            "crossbar": node.op.is_crossbar,
            **({} if len(network.reads.get(node.array_name, ())) < 2 else {"array": node.array_name}),
        }
        for node in network.nodes
    ]


def network_table(network: Network) -> str:
    """The nodes of a network as text."""
    rows = [
        [
            node["name"],
            node["type"],
            ", ".join(node["inputs"]),
            "x".join(map(str, node["output_shape"])),
            node.get("array", "yes") if node["crossbar"] else "",
        ]
        for node in network_rows(network)
    ]
    lines = [("input shape", "x".join(map(str, network.input_shape))), ("digest", network.digest)]
    return "\n\n".join([columns(["node", "operation", "inputs", "output shape", "crossbar"], rows), _pairs(lines)])


def _insert_gains(headers: list[str], rows: list[list[str]], gains: Gains) -> None:
    headers[1:1] = ["gain per unit weight", "voltage per unit"]
    for row, conductance, voltage in zip(rows, gains.conductance, gains.voltage, strict=True):
        row[1:1] = [gain_text(conductance, "S"), gain_text(voltage, "V")]


def _accuracy_line(accuracy: Accuracy | None, predicted: Accuracy | None, ideal: float | None) -> list[tuple[str, str]]:
    def text(value: float, error: float) -> str:
        return part_with_error(value, 1.96 * error)

    if accuracy is None:
        return []
    if predicted is None:
        return [("accuracy", text(*accuracy) + _ideal_text(ideal))]
    return [("accuracy", f"{text(*accuracy)} simulated, {text(*predicted)} predicted{_ideal_text(ideal)}")]


def _ideal_text(ideal: float | None) -> str:
    """What an accuracy is compared with, behind it."""
    return "" if ideal is None or math.isnan(ideal) else f"; {ideal_text(ideal)}"


def _pairs(lines: Sequence[tuple[str, str]]) -> str:
    """``name  text`` lines, names padded to one width, long texts wrapped."""
    width = max(len(name) for name, _ in lines)
    wrapped = []
    for name, text in lines:
        head, *rest = textwrap.wrap(text, _TEXT_WIDTH, break_long_words=False, break_on_hyphens=False) or [""]
        wrapped.append(f"{name.ljust(width)}  {head}".rstrip())
        wrapped.extend(" " * (width + 2) + line for line in rest)
    return "\n".join(wrapped)
