"""What rounding in converters is on single chips.

A prediction takes what a converter adds to a value as independent from input to input, and so as constant over chips.
On a chip it follows from the value, which device errors move: where these are within a step or two, it goes with them,
and chips are spread more widely. If the rounding of every input and output were a draw of its own for each chip, of
variance q over the N of them,

    Var MSE = Var MSE_linear + (4 q (|b|² + tr G) + 2 q²)/N,

with q, |b|² and tr G as means over the N. Where errors are far within a step it is the same on all chips: the spread is
in between. Chips that are drawn tell it where their converters can be passed one by one.
"""

from __future__ import annotations

import math

from torch import Tensor

from powerplan.hardware.converters import quantised
from powerplan.moments.conversion.channels import row_limits
from powerplan.moments.rules.linearized import over_batch
from powerplan.moments.walks.array_step import ArrayStep
from powerplan.moments.walks.lowered import Step
from powerplan.moments.walks.marginal import Trace

#: parts of a crossbar that are converters
CONVERTERS = ("rows", "columns")


def widening(rounding: float, common: float, bias: float, outputs: int, variance: float) -> float:
    """By which part the standard deviation is larger at most, of chips of this variance of the MSE.

    Args:
        rounding, common, bias: means over the outputs of q, of the diagonal of G and of b².
        outputs: of all inputs together.
    """
    if variance <= 0:
        return 0.0
    return math.sqrt(1 + (4 * rounding * (common + bias) + 2 * rounding**2) / (outputs * variance)) - 1


def passes_one_by_one(trace: Trace, step: Step) -> bool:
    """Whether chips can be drawn through the converters of a step.

    All that is read of a column must be converted at once, and nothing that is fresh in every read move it first.
    """
    reading = trace.array(step.node.name).reading
    array = reading.array
    if array.averaged or reading.slices or array.hardware.has_read_noise or array.hardware.input_noise_std:
        return False
    if step.place.part == "rows":
        return True
    channels = array.read_out.channels(array)
    whole = math.prod(array.map.column_shape) == math.prod(array.map.output_shape)
    return len(channels) == 1 and whole and not isinstance(array.subtracted, Tensor)


def converted_errors(trace: Trace, step: Step, arriving: Tensor) -> Tensor:
    """Errors (B, R, *shape) behind the converters of a step, for those that arrive: rounded as they are."""
    reading = trace.array(step.node.name).reading
    array, before, after = reading.array, trace.means[step.inputs[0]], trace.means[step.place]
    if step.place.part == "rows":
        values = before.unsqueeze(1) + arriving
        return quantised(values, row_limits(array), array.hardware.dac_bits) - after.unsqueeze(1)
    ((share, read),) = reading.reads
    (channel,) = array.read_out.channels(array)
    weight, factor = array.read_out.weight(array, channel), share * channel.sign
    mean = read.linear(weight)
    mean, limit = (
        array.map.as_columns(value.expand_as(mean)).unsqueeze(1)
        for value in (mean, array.read_out.limits(array, channel))
    )
    own = over_batch(array.map.columns, arriving) / factor
    rounded = factor * (quantised(mean + own, limit, array.hardware.adc_bits) - mean)
    return over_batch(array.map.gather, rounded) - (after - before).unsqueeze(1)


def rounds(trace: Trace) -> bool:
    """Whether anything is rounded."""
    hardware = [step.array.hardware for step in trace.steps.values() if isinstance(step, ArrayStep)]
    return any(each.dac_bits is not None or each.adc_bits is not None for each in hardware)
