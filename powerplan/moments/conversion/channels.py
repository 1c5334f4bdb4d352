"""What an array's converters do to the moments of its rows and columns.

Rows: the value x_j that drives row j is converted with the limit V_max/v_j
(:mod:`powerplan.moments.conversion.staircase`), as it is where no noise has reached it. A convolution whose rows have
voltages of their own drives one value at several rows; it is taken as converted with the geometric mean of their
limits.

Columns: each *channel*, a quantity z_c of a row tile that is converted by itself, becomes P_c z_c + residual, and
the channels are added digitally, with their signs s_c. With variances v_c, the output becomes the linear map P and an
independent residual,

    P = Σ_c P_c v_c / Σ_c v_c,    residual = Σ_c residual_c + Σ_c (P_c − P)² v_c,    shift = Σ_c s_c (E Q(z_c) − E z_c).

Where inputs come in slices, there is such a channel in every read, times a_s.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.array.read_out import Channel
from powerplan.moments.array.reading import Reading
from powerplan.moments.conversion.lattice import Lattice, converted_from
from powerplan.moments.conversion.staircase import Converted, converted, converted_exact, converted_on_average
from powerplan.moments.sources import errors_of

#: entries of channels that are converted at a time
_BLOCK_ENTRIES = 1 << 18


def convert_rows(
    array: ProgrammedArray,
    mean: Tensor,
    variance: Tensor,
    *,
    exact: bool,
    lattice: Lattice | None = None,
    rounds: bool = True,
) -> Converted:
    """What the DAC of an array makes of inputs of these moments (B, *input_shape).

    Without ``rounds`` slope and residual of those that noise has reached are those of saturation alone. Of a value
    without error the slope is 1 and the residual 0, but where rounding is averaged over gains.

    Args:
        exact: no noise has reached the inputs.
        lattice: of the inputs, where they come from converters themselves.
    """
    bits, limit, variance = array.hardware.dac_bits, row_limits(array), variance.expand_as(mean)
    if "rows" in array.averaged or ("noisy rows" in array.averaged and not exact):
        average = converted_on_average(mean, variance, limit, bits)
        return average._replace(slope=torch.ones_like(mean)) if exact else average
    if exact:
        return Converted(converted_exact(mean, limit, bits), torch.ones_like(mean), torch.zeros_like(mean))
    if lattice is not None and rounds:
        assert bits is not None
        beat = converted_from(lattice, mean, variance, limit, bits)
        # derivatives as in converters: those of the trend, which grows with the step
        shift, residual = ((beat.mean - mean) / limit).detach(), (beat.residual / limit**2).detach()
        return Converted(mean + limit * shift, beat.slope, limit**2 * residual)
    rounded = converted(mean, variance, limit, bits)
    return rounded if rounds else converted(mean, variance, limit, None)._replace(mean=rounded.mean)


def row_limits(array: ProgrammedArray) -> Tensor:
    """V_max/v_j, in units of the input; broadcasts to (B, *input_shape)."""
    v = array.map.by_input(array.v) if array.v.dim() else array.v
    return array.hardware.voltage_max / v


def convert_columns(reading: Reading, output: Tensor, factor: Tensor, *, rounds: bool = True) -> Converted:
    """What the ADC makes of an output of this mean (B, *shape).

    Without ``rounds`` slope and residual are those of saturation alone, and of an averaged rounding the shift too.

    Args:
        reading: of converted inputs.
        factor: variance of the output before conversion over that for independent inputs, (B or 1, *shape).
    """
    array, map = reading.array, reading.array.map
    factor = map.spread_columns(factor)
    averages = "columns" in array.averaged
    convert = converted_on_average if averages else converted
    parts: list[tuple[Tensor, ...]] = []
    channels = list(itertools.product(reading.reads, array.read_out.channels(array)))
    at_once = max(1, _BLOCK_ENTRIES // (len(output) * math.prod(map.column_shape)))
    for low in range(0, len(channels), at_once):
        some = channels[low : low + at_once]
        moments = (_before(read, channel, factor) for (_, read), channel in some)
        means, variances, limits = (torch.stack(each) for each in zip(*moments, strict=True))
        after = convert(means, variances, limits, array.hardware.adc_bits)
        if not rounds:
            clipped = convert(means, variances, limits, None)
            after = clipped if averages else clipped._replace(mean=after.mean)
        for ((share, _), channel), mean, before, *own in zip(some, means, variances, *after, strict=True):
            level, slope, residual = own
            before, residual = share**2 * before, share**2 * residual
            parts.append((share * channel.sign * (level - mean), before, slope * before, slope**2 * before, residual))
    shift, before, once, twice, residual = (map.gather_columns(_total(part)) for part in zip(*parts, strict=True))
    noisy = before > 0
    slope = torch.where(noisy, once / torch.where(noisy, before, torch.ones_like(before)), torch.ones_like(before))
    return Converted(output + shift, slope, residual + (twice - slope**2 * before).clamp(min=0))


def _before(read: Reading, channel: Channel, factor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance (B, *columns) of a channel before its conversion, and the limit."""
    weight = read.array.read_out.weight(read.array, channel)
    mean = read.linear(weight)
    variance = _total([read.passed(weight), *(errors.variance for errors in errors_of(read, channel))])
    limit = read.array.read_out.limits(read.array, channel)
    return mean, (variance * factor).expand_as(mean), limit.expand_as(mean)


def _total(parts: Sequence[Tensor]) -> Tensor:
    return sum(parts[1:], parts[0])
