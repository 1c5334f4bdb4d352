"""What a target bounds, in words and numbers: one text for tables, figures and pages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from powerplan.moments.prediction import Prediction
from powerplan.montecarlo.simulation import Simulation
from powerplan.per_input import Inputs, student
from powerplan.planning import MaxAccuracyDrop, Outcome, Plan, Target
from powerplan.planning.objectives import OBJECTIVES, Objective
from powerplan.planning.outcome import Verification
from powerplan.planning.targets.over_inputs import MEAN, relative_error
from powerplan.planning.verify.verify import misses_target
from powerplan.units import (
    in_unit,
    in_unit_with_error,
    part_with_error,
    percent,
    si,
    si_with_error,
    significant,
    with_error,
)

Estimate = Prediction | Simulation | Verification

#: outcomes that do not claim the least power
_UNPROVEN = {
    Outcome.DEADLINE: "stopped at the deadline",
    Outcome.ITERATION_LIMIT: "stopped at the iteration limit",
    Outcome.STALLED: "not proven cheapest",
}


def quantity_text(target: Target, value: float) -> str:
    """A value of what a target bounds."""
    return in_unit(value, target.unit)


def quantity_with_error(target: Target, value: float, error: float) -> str:
    """``value ± error`` of what a target bounds."""
    return in_unit_with_error(value, error, target.unit)


def objective_text(objective: Objective, value: float | None) -> str:
    """A value of what a plan makes least; a plain number with its name: ``MSE 0.01234``."""
    text = in_unit(value, objective.unit)
    return f"{objective.quantity} {text}" if objective.unit == "1" else text


def target_text(target: Target) -> str:
    """``NMSE <= 1.000 %`` and the like."""
    return f"{target.quantity} <= {quantity_text(target, target.value)}"


def asked_text(plan: Plan) -> str:
    """What was asked of a plan: its target, and if it is for other inputs than those of calibration."""
    asked = target_text(plan.target)
    return asked if plan.calibration == MEAN else f"{asked} at the upper end for other inputs"


def bounded_name(plan: Plan) -> str:
    """What a plan bounds, in one or two words: that of the target, or its upper end for other inputs."""
    return plan.target.quantity if plan.calibration == MEAN else f"{plan.target.quantity}, upper end"


def mean_bounds(plan: Plan) -> Mapping[str, float]:
    """The bounds of a plan on the numbers that every prediction has; none where the upper end of theirs is bounded."""
    return plan.target.bounds(plan.prediction.signal_power) if plan.calibration == MEAN else {}


def chosen_text(plan: Plan, kind: str) -> str:
    """What a plan has chosen of every layer, such as its bits: ``5, 5, 6``."""
    layers = plan.hardware.of_layers(plan.prediction.layer_names)
    return ", ".join(f"{getattr(layer, kind):g}" for layer in layers)


def claim(plan: Plan) -> str:
    """What a plan says of its target, for a title: the target where it is met, else what is missed and by how much."""
    asked = asked_text(plan)
    outcome = plan.termination.outcome
    if plan.beyond_limits:
        return f"{asked}, beyond limits beside it"
    if outcome is Outcome.INFEASIBLE:
        least = plan.reached if plan.termination.best_reachable is None else plan.termination.best_reachable
        return f"misses {asked}: best reachable {quantity_text(plan.target, least)}"
    if not plan.meets_target:
        return f"misses {asked} so far: {quantity_text(plan.target, plan.reached)}"
    if misses_target(plan):
        return f"{asked}, missed in simulation"
    return f"{asked}, {_UNPROVEN[outcome]}" if outcome in _UNPROVEN else asked


def saving_text(saving: float, *, than: str = "the baseline") -> str:
    """A saving in words: ``30.0 % below the baseline``; a plan that is dearer says so."""
    return f"{100 * abs(saving):.1f} % {'below' if saving >= 0 else 'above'} {than}"


def saving_cell(saving: float, objective: Objective) -> str:
    """A saving in a column: ``30.0 %``; ``39.0 % more power``, or under a power budget ``39.0 % more error``."""
    return f"{100 * abs(saving):.1f} %{'' if saving >= 0 else f' more {objective.name}'}"


def comparable(plans: Sequence[Plan]) -> list[Plan]:
    """The plans that have a saving of one objective: of power, or, where all keep a budget, of error."""
    saved = [plan for plan in plans if plan.saving is not None]
    alike = ([plan for plan in saved if plan.objective is each] for each in OBJECTIVES.values())
    return next(filter(None, alike), [])


def predicted_mse(prediction: Prediction) -> str:
    """The MSE, with its 95 % confidence interval where random samples or combinations of the outputs leave one."""
    if not prediction.mse_standard_error > 0:
        return significant(prediction.mse)
    return simulated_mse(prediction)


def predicted_nmse(prediction: Prediction) -> str:
    """The NMSE likewise."""
    if not prediction.nmse_standard_error > 0:
        return percent(prediction.nmse)
    return simulated_nmse(prediction)


def predicted_power(prediction: Prediction) -> str:
    """The power likewise."""
    if not prediction.power_standard_error > 0:
        return si(prediction.power, "W")
    return simulated_power(prediction)


def simulated_mse(estimate: Estimate) -> str:
    """The MSE of what has a standard error, with its 95 % confidence interval."""
    return with_error(estimate.mse, 1.96 * estimate.mse_standard_error)


def simulated_nmse(estimate: Estimate) -> str:
    """The NMSE likewise."""
    return f"{with_error(estimate.nmse, 1.96 * estimate.nmse_standard_error, 100)} %"


def simulated_power(estimate: Estimate) -> str:
    """The power likewise."""
    return si_with_error(estimate.power, 1.96 * estimate.power_standard_error, "W")


def samples_remark(prediction: Prediction) -> str:
    """What is to be known of the random samples that a prediction rests on."""
    if math.isnan(prediction.mse_standard_error):
        return "drawn from the seed; too few to tell their error"
    if prediction.sampling_limited:
        return "drawn from the seed; more of them would make the error smaller"
    return "drawn from the seed"


def other_inputs(inputs: Inputs) -> str:
    """``1.00 ± 0.06 %``: the NMSE of all inputs of which the calibration inputs are a sample, 95 %."""
    low, high = inputs.nmse_interval()
    return f"{with_error(float(inputs.nmse_by_input.mean()), high - (low + high) / 2, 100)} %"


#: of plans whose hardware takes known errors out
COMPENSATED = "what is left is mostly noise, which may be a larger part of other inputs: predict some"


def worst_inputs(inputs: Inputs) -> str:
    """The inputs with the largest errors, and what most of them keep within; over the mean signal of all."""
    return f"{named_worst(inputs)}; 95 % of the inputs are within {percent(inputs.nmse_quantile(0.95))}"


def named_worst(inputs: Inputs) -> str:
    """The inputs with the largest errors, each with its NMSE."""
    return ", ".join(f"{index} ({percent(float(inputs.nmse_by_input[index]))})" for index in inputs.worst(3))


def other_rate(plan: Plan) -> str | None:
    """A plan's rate with the 95 % interval of that of all inputs of which the calibration inputs are a sample.

    Simulated where the plan was verified, else predicted; None where nothing tells it.
    """
    target, check, prediction = plan.target, plan.verification, plan.prediction
    if check is not None:
        rate, error, how = (
            check.ratio * target.value,
            (check.ratio_input_standard_error or 0.0) * target.value,
            "simulated",
        )
    elif prediction.tells_accuracy and prediction.ideal_output is not None:
        by_input = target.by_input(prediction, None)
        rate, how = plan.reached, "predicted"
        error = math.nan if by_input is None else rate * relative_error(by_input)
    else:
        return None
    return f"{quantity_with_error(target, rate, 1.96 * error)} {how}" if error > 0 else None


def other_accuracy(plan: Plan) -> str | None:
    """The predicted accuracy with the 95 % interval of that of all inputs, likewise; the mean over chips.

    Its error is not that of the drop: the accuracy of the ideal network is one of a sample too.
    """
    target, prediction = plan.target, plan.prediction
    if not isinstance(target, MaxAccuracyDrop) or not prediction.tells_accuracy:
        return None
    labels = target.labels
    told = accuracy_of_others(prediction.accuracy(labels), prediction.accuracy_input_error(labels), len(labels))
    return told if told is None or target.chips is None else f"mean {told}"


def accuracy_of_others(accuracy: float, input_error: float | None, inputs: int) -> str | None:
    """``accuracy 94.0 ± 2.1 %``: that of all inputs of which so many are a sample, 95 %; None where it is not known."""
    if input_error is None or not input_error > 0:
        return None
    return f"accuracy {part_with_error(accuracy, student(inputs - 1) * input_error)}"


def ideal_text(ideal: float) -> str:
    """What an accuracy is compared with: that of the ideal network on the same inputs."""
    return f"ideal network {100 * ideal:.2f} %"


def accuracy_name(plan: Plan) -> str:
    """What the accuracies of a plan are of: the mean over chips, or the part of them that has at least these."""
    return "accuracy" if plan.target.chips is None else f"accuracy of {100 * plan.target.chips:g} % of the chips"


def plan_accuracies(plan: Plan) -> list[str]:
    """The accuracies of a plan for a drop of accuracy, predicted and simulated, in the worst corner.

    For a part of the chips it is what these have at least, beside the mean over all chips; as gains are planned for it,
    without the steps that the accuracy of a chip has.
    """
    ideal = plan.ideal_accuracy
    assert ideal is not None
    texts = [f"{100 * (ideal - plan.reached):.2f} % predicted"]
    if plan.verifications:
        check, bound = max(plan.verifications, key=lambda each: each.ratio), plan.target.value
        half = 1.96 * check.ratio_standard_error * bound
        texts.append(f"{part_with_error(ideal - check.ratio * bound, half)} simulated")
    wrong = [each.chips.wrong for each in plan.predictions if each.chips is not None and each.chips.wrong is not None]
    if plan.target.chips is not None and wrong:
        texts.append(f"mean over chips {100 * (1 - max(each.mean for each in wrong)):.2f} % predicted")
    if plan.target.has_steps and plan.meets_target and isinstance(plan.target, MaxAccuracyDrop):
        texts.append(f"without the steps of 1/{len(plan.target.labels)} that the accuracy of a chip has")
    return texts


def quantile_text(plan: Plan, prediction: Prediction, check: Verification | None) -> str | None:
    """What the part of the chips that a plan is for keeps within in one corner, predicted and simulated.

    None where the target is on the mean over chips, or nothing tells it.
    """
    target, texts = plan.target, []
    if target.chips is None:
        return None
    if target.is_budget:
        texts = least_errors(plan, prediction, check)
        return f"{plan.objective.quantity} {', '.join(texts)}" if texts else None
    bound = target.chip_bound(prediction.signal_power)
    if bound is not None and prediction.chips is not None:
        quantile = prediction.chips.nmse.quantile(target.chips) / bound * target.value
        texts.append(f"{quantity_text(target, quantile)} predicted")
    if check is not None:
        half = 1.96 * check.ratio_standard_error * target.value
        texts.append(f"{quantity_with_error(target, check.ratio * target.value, half)} simulated")
    return f"{target.quantity} {', '.join(texts)}" if texts else None


def least_errors(plan: Plan, prediction: Prediction, check: Verification | None) -> list[str]:
    """The error that a plan with a power budget makes least of a part of the chips, in one corner: predicted and
    simulated, each with its 95 % interval; none of other plans."""
    part, texts = plan.target.chips, []
    if not plan.target.is_budget or part is None:
        return []
    if prediction.chips is not None:
        mse = prediction.chips.mse
        texts.append(f"{_with_ends(mse.quantile(part), *mse.quantile_interval(part))} predicted")
    if check is not None and check.chip_mse is not None:
        texts.append(f"{_with_ends(check.chip_mse, check.chip_mse_low, check.chip_mse_high)} simulated")
    return texts


def _with_ends(value: float, low: float | None, high: float | None) -> str:
    """``0.2983 (0.2951 to 0.3014)``: a number and its 95 % interval, which may have no upper end."""
    if low is None or low == high:
        return significant(value)
    return f"{significant(value)} ({significant(low)} {'or more' if high is None else f'to {significant(high)}'})"


def lowest_yield(plan: Plan) -> tuple[Verification, str] | None:
    """The check of the corner with the least yield, and which one that is (nothing to say without corners)."""
    checks = [plan.verification, *(corner.verification for corner in plan.corners)]
    told = [(check, i) for i, check in enumerate(checks) if check is not None and check.chip_yield is not None]
    if not told:
        return None
    check, corner = min(told, key=lambda each: each[0].chip_yield or 0.0)
    where = f"corner {corner}" if corner else "nominal hardware"
    return check, f", in the worst case ({where})" if plan.corners else ""


def yield_text(check: Verification) -> str:
    """``95.2 % (94.2 to 96.1 %)``: the part of the simulated chips that meet the target, and its 95 % interval."""
    low, high = check.chip_yield_low, check.chip_yield_high
    return share_text(check.chip_yield or 0.0, None if low is None or high is None else (low, high))


def share_text(part: float, interval: tuple[float, float] | None) -> str:
    """``95.2 % (94.2 to 96.1 %)``: a part of the chips and its 95 % interval."""
    share = f"{100 * part:.3g} %"
    return share if interval is None else f"{share} ({100 * interval[0]:.3g} to {100 * interval[1]:.3g} %)"
