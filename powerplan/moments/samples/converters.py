"""Converters under errors that are not Gaussian.

The closed forms of a converter (:mod:`powerplan.moments.conversion.staircase`) are those of a Gaussian. Where a few
stuck devices make the error, most values hardly move, so that rounding is no chance, and some go far beyond the limit.
And where errors of the rows move all columns of an offset mapping alike, these saturate together. Error samples know δ
before a converter and what it makes of it, δ' = Q(x̄ + δ) − x̄, row by row, and for the columns channel by channel (row
tiles, sides of a divider). They give three corrections of the Gaussian closed form, of its slope P, residual and shift:

    slope      β = Σ Pδ δ' / Σ (Pδ)²                       one number for all values of a layer
    residual   E[(δ' − βPδ)²] over that of the closed form where it is less, else what it is more over Var δ, by channel
    shift      + E δ' − that of the closed form            in standard deviations, of every value

and, like those of other operations, a slope in the directions of the output and a coherence of the residual
(:mod:`powerplan.moments.samples.coherence`). P and residual of the closed form are those without rounding: with it, P
is anything where the usual error is much less than a step; the shift is that with rounding, which a few samples know
less well. Where rounding is averaged over gains, samples only saturate and rounding stays in the closed form.

Why: docs/decisions/error-samples.md [0256].
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from powerplan.hardware.converters import quantised
from powerplan.hardware.hardware import Hardware, LayerHardware
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.conversion.channels import convert_columns, row_limits
from powerplan.moments.conversion.staircase import Converted, converted
from powerplan.moments.rules.linearized import over_batch
from powerplan.moments.samples.coherence import Saturated, slope_of
from powerplan.moments.samples.corrections import Saturation
from powerplan.moments.samples.crossbar import Draw, in_blocks, merged
from powerplan.moments.samples.statistics import centred, in_stds, ratio, shift_of, stds
from powerplan.moments.sources import errors_of
from powerplan.moments.walks.array_step import ArrayStep

#: rows, and bits of converters of columns, from which what is read of a slice counts as Gaussian
_FEW_ROWS, _FINE_BITS = 8, 8


def saturates_alike(hardware: Hardware) -> bool:
    """True if errors of the rows move all columns alike, into converters: what they make of it adds up.

    A device of an offset mapping holds W + w: an error of x_j, whether noise of the row or of the layers before, is in
    all columns with the weight w.
    """
    return hardware.devices_per_weight == 1 and hardware.converts_columns


def reads_apart(hardware: LayerHardware, rows: int) -> bool:
    """True if what converters read of a single slice of the inputs is far from Gaussian: sums over few rows, and with
    steps so coarse that it counts how the bits of each row flip."""
    if hardware.input_slice_bits is None or not hardware.converts_columns:
        return False
    return rows <= _FEW_ROWS or (hardware.adc_bits or _FINE_BITS) < _FINE_BITS


class ConverterSamples(NamedTuple):
    """Samples (B, R, *shape) before and behind converters; whether what rounding adds is not in them."""

    before: Tensor
    behind: Tensor
    unrounded: bool


def through_rows(
    array: ProgrammedArray, mean: Tensor, variance: Tensor, error: Tensor
) -> tuple[ConverterSamples, Converted]:
    """Samples (B, R, *input_shape) of the inputs behind the converters of the rows, and the closed form (moments
    (B, *input_shape))."""
    limit, averaged = row_limits(array), not array.averaged.isdisjoint(("rows", "noisy rows"))
    bits = None if averaged else array.hardware.dac_bits
    clipped = converted(mean, variance.expand_as(mean), limit, None)
    rounded = clipped if averaged else converted(mean, variance.expand_as(mean), limit, bits)
    behind = quantised(mean.unsqueeze(1) + error, limit, bits) - mean.unsqueeze(1)
    return ConverterSamples(error, behind, bits is None), clipped._replace(mean=rounded.mean)


def through_columns(step: ArrayStep, error: Tensor, factor: Tensor, draw: Draw) -> tuple[ConverterSamples, Converted]:
    """Samples (B, R, *shape) at a crossbar's output behind the converters of its columns, and the closed form.

    Args:
        error: samples of the input.
        factor: variance of the output over that for independent inputs (B or 1, *shape).
    """
    array, map, reading = step.array, step.array.map, step.reading
    bits = None if "columns" in array.averaged else array.hardware.adc_bits
    closed = convert_columns(reading, step.mean, factor, rounds=False)
    before, behind = (error.new_zeros(len(step.mean), draw.samples, *step.mean.shape[1:]) for _ in range(2))
    channels = tuple(enumerate(array.read_out.channels(array)))
    for part_of, (share, read), (number, channel) in (
        (part_of, read, channel)
        for part_of, read in zip(_parts_of_inputs(array), reading.reads, strict=True)
        for channel in channels
    ):
        still = array.affine.patches(read.mean).unsqueeze(1)
        errors = merged(errors_of(read, channel))
        weight = array.read_out.weight(array, channel)
        mean = read.linear(weight)
        mean, limit = (
            map.as_columns(value.expand_as(mean)).unsqueeze(1)
            for value in (mean, array.read_out.limits(array, channel))
        )
        rows = array.tiles[channel.tiles[0]]
        apart = draw if draw.common is None else draw._replace(common=draw.common + number)
        for some, sampled in in_blocks(step, error, apart, part_of):
            own = torch.zeros_like(mean)
            for part in errors:
                own = own + part.samples(sampled)
            if not step.exact:
                moved = (sampled.rows - still)[..., rows]
                own = own + torch.einsum("brgpn,gon->brgpo", moved, map.matrices(weight)[..., rows])
            before[:, some] += over_batch(map.gather, share * channel.sign * own)
            rounded = quantised(mean + own, limit, bits) - mean
            behind[:, some] += over_batch(map.gather, share * channel.sign * rounded)
    if not step.exact and isinstance(array.subtracted, Tensor):
        subtracted = array.subtracted.expand(map.n_out, map.n_in)
        digital = over_batch(lambda x: map.apply(x, subtracted), error)
        before, behind = before - digital, behind - digital
    scale = ratio(factor * step.independent, before.square().mean(1)).sqrt().unsqueeze(1)
    if reading.slices:  # devices are drawn for each read: what is missing of their sum is linear
        return ConverterSamples(scale * before, behind + (scale - 1) * before, bits is None), closed
    before, behind = scale * before, scale * behind
    return ConverterSamples(before, behind, bits is None), closed


def _parts_of_inputs(array: ProgrammedArray) -> list[Callable[[Tensor], Tensor] | None]:
    """What makes of inputs those of every read; None = themselves."""
    cut = array.hardware.input_slices
    if cut is None:
        return [None]
    limit = row_limits(array)
    return [partial(cut.part, limit=limit, number=number) for number in range(len(cut.weights))]


def saturation_of(samples: ConverterSamples, closed: Converted, mean: Tensor, variance: Tensor) -> Saturation:
    """What samples say of the closed form, at values of these moments (B, *shape)."""
    straight = closed.slope.unsqueeze(1) * samples.before
    moved = samples.behind - (closed.mean - mean).unsqueeze(1)
    estimate, apart = (moved - straight).mean(1), centred(moved - straight).square().mean(1)
    straight, around = centred(straight), centred(moved)
    slope = slope_of(straight, around, 1)[0]
    remaining = (around - slope * straight).square().mean(1)
    closed_residual = closed.residual.expand_as(remaining)
    residual = ratio(remaining, closed_residual).clamp(max=1)
    shift = shift_of(estimate, apart / moved.shape[1], stds(variance), mean)
    return Saturation(
        shift=in_stds(shift, stds(variance)),
        slope=slope,
        residual=residual,
        added=ratio(remaining - residual * closed_residual, variance.expand_as(remaining)).clamp(min=0),
        rounded=not samples.unrounded,
    )


def saturated(samples: ConverterSamples, closed: Converted, saturation: Saturation, variance: Tensor) -> Saturated:
    """What the converter as corrected passes on of the samples linearly, and what it really does."""
    corrected = saturation.apply(closed, variance)
    linear = corrected.slope.unsqueeze(1) * centred(samples.before)
    return Saturated(linear=linear, whole=centred(samples.behind), residual=corrected.residual)
