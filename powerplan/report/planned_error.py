"""The NMSE that plans are compared by: the mean, or what the part of the chips or inputs that a target is on keeps."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from powerplan.planning import Plan, Target
from powerplan.planning.outcome import Verification
from powerplan.units import percent, with_error

#: what it is called where it is the mean, and where plans are for different parts
MEAN_NMSE, SOME_NMSE = "NMSE", "NMSE that each target is about"
#: of an axis
_MEAN_LABEL = "NMSE of the outputs"


@dataclass(frozen=True, kw_only=True)
class PlannedError:
    """The NMSE that a plan is about, on its nominal hardware.

    Attributes:
        predicted: at the plan's gains.
        bound: what the target bounds it by; None where it bounds something else.
        simulated: in the verification; None without, and where that does not tell it.
        half: half of the 95 % interval of ``simulated``; 0 where it is not known.
    """

    predicted: float
    bound: float | None
    simulated: float | None
    half: float

    @classmethod
    def of(cls, plan: Plan) -> PlannedError:
        """That of a plan."""
        prediction, check, signal = plan.prediction, plan.verification, plan.prediction.signal_power
        part = _part(plan.target)
        if part is None:
            simulated, error = (None, 0.0) if check is None else (check.nmse, check.nmse_standard_error)
            bound = plan.target.bounds(signal).get("nmse")
            return cls(predicted=plan.nmse, bound=bound, simulated=simulated, half=half_interval(error))
        what, share = part
        predicted = plan.nmse
        if what == "chips" and prediction.chips is not None:
            predicted = prediction.chips.nmse.quantile(share)
        if what == "inputs" and prediction.inputs is not None:
            predicted = prediction.inputs.nmse_quantile(share)
        bound = None if plan.target.is_budget or not signal > 0 else _bound(plan.target, signal)
        simulated, half = _simulated(check, bound, signal)
        return cls(predicted=predicted, bound=bound, simulated=simulated, half=half)


def error_name(plans: Iterable[Plan]) -> str:
    """What the NMSE that plans are about is called: ``NMSE``, ``NMSE that 95 % of the chips keep``."""
    names = {_name(plan.target) for plan in plans}
    return names.pop() if len(names) == 1 else SOME_NMSE if names else MEAN_NMSE


def error_label(plans: Iterable[Plan]) -> str:
    """The name of an axis with it, in %."""
    name = error_name(plans)
    return f"{_MEAN_LABEL if name == MEAN_NMSE else name} [%]"


def _part(target: Target) -> tuple[str, float] | None:
    """The part of the chips or of the inputs whose NMSE a target is about; None where that is the mean."""
    if target.chips is not None and target.tells_slope:
        return "chips", target.chips
    return None if target.inputs is None else ("inputs", target.inputs)


def _name(target: Target) -> str:
    part = _part(target)
    return MEAN_NMSE if part is None else f"{MEAN_NMSE} that {100 * part[1]:g} % of the {part[0]} keep"


def _bound(target: Target, signal: float) -> float:
    value = float(target.value)
    return value if target.unit == "" else value / signal


def _simulated(check: Verification | None, bound: float | None, signal: float) -> tuple[float | None, float]:
    """What a part keeps in a verification, and half its 95 % interval: by the bound, or of the chips under a budget."""
    if check is None:
        return None, 0.0
    if bound is not None:
        return check.ratio * bound, half_interval(check.ratio_standard_error * bound)
    if check.chip_mse is None or check.chip_mse_low is None or not signal > 0:
        return None, 0.0
    high = math.nan if check.chip_mse_high is None else check.chip_mse_high
    half = (high - check.chip_mse_low) / (2 * signal)
    return check.chip_mse / signal, half if math.isfinite(half) else 0.0


def half_interval(standard_error: float) -> float:
    """Half a 95 % interval; 0 after a single draw, whose error is not known."""
    return 1.96 * standard_error if math.isfinite(standard_error) else 0.0


def part_column(plans: Iterable[Plan]) -> str | None:
    """The heading of a column beside that of the mean NMSE; None where all plans are about the mean."""
    name = error_name(plan for plan in plans if _part(plan.target) is not None)
    return None if name == MEAN_NMSE else name


def part_text(plan: Plan) -> str | None:
    """The cell of a plan there: predicted, and simulated; None where it is about the mean."""
    if _part(plan.target) is None:
        return None
    error = PlannedError.of(plan)
    texts = [percent(error.predicted)]
    if error.simulated is not None:
        known = error.half > 0
        simulated = f"{with_error(error.simulated, error.half, 100)} %" if known else percent(error.simulated)
        texts.append(f"{simulated} simulated")
    return ", ".join(texts)
