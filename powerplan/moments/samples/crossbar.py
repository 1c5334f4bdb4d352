"""Fields at the output of a crossbar and the power that it takes, for fields of its input."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from powerplan.hardware.tiling import row_tiles
from powerplan.moments.array.columns import device_sides, gain_errors, tile_masks
from powerplan.moments.array.power import array_power, tia_power
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.conversion.channels import feedback_of
from powerplan.moments.rules.linearized import over_batch
from powerplan.moments.samples.statistics import ratio, standard_normals
from powerplan.moments.sources.device_samples import device_errors
from powerplan.moments.sources.stuck import Part, event_entries, is_rare, moved_by_events, parts_of
from powerplan.moments.walks.marginal import CrossbarTrace

#: entries of the values at the rows that are worked on at a time
_BLOCK_ENTRIES = 1 << 23
#: devices drawn at a time
_BLOCK_DEVICES = 1 << 25
#: devices of a shared array up to which they are few: every input gets its own, with their own distribution
FEW_DEVICES = 1 << 16


def crossbar_fields(
    step: CrossbarTrace, error: Tensor, passed: Tensor | None, fields: int, generator: torch.Generator
) -> Tensor:
    """Fields (B, R, *shape) at a crossbar's output for fields of its input, and what W̄ passes on of them."""
    moments, injected = step.moments, step.injected
    parts = drawn_parts(moments)
    apart = torch.zeros_like(step.variance)
    for part in (injected.read,) if moments.is_shared else (injected.read, injected.column_gain):
        apart = apart if part is None else apart + part
    if moments.has_row_noise:
        apart = apart + moments.row_noise_through(moments.analog_weight**2)
    apart = apart.unsqueeze(1)
    if not parts:
        apart = apart + _own_variance(step, error, exact=passed is None)
    size = (len(step.variance), fields)
    made = apart.sqrt() * standard_normals((*size, *step.variance.shape[1:]), generator, apart)
    if passed is not None:
        made = made + passed
    if moments.is_shared and injected.column_gain is not None:
        made = made + _gain_fields(step, fields, generator)
    if not parts:
        return made
    for some, arriving in row_fields(step, error, fields, exact=passed is None):
        count = made[:, some].shape[1]
        for drawn in parts:
            columns = device_fields(moments, drawn, arriving, (size[0], count), generator)
            made[:, some] += over_batch(moments.map.gather, columns)
    return made


def drawn_parts(moments: ProgrammedArray) -> tuple[Part, ...]:
    """The parts of the errors of a crossbar's devices that fields are drawn from; none where a variance will do."""
    return parts_of(moments) if moments.is_shared or is_rare(moments) else ()


def row_fields(step: CrossbarTrace, error: Tensor, fields: int, *, exact: bool) -> Iterator[tuple[slice, Tensor]]:
    """Some fields at a time: which, and the values (B, R or 1, G, P, n) at the rows."""
    moments, map = step.moments, step.moments.map
    rows = moments.affine.patches(step.input_mean).unsqueeze(1)
    batch = len(step.variance)
    # entries of one field of all inputs: rows, devices (of which fewer are drawn at a time), events
    entries = batch * map.groups * map.positions * map.n_in
    if moments.is_shared:
        sets = batch if _are_few(moments) else 1
        entries = max(entries, sets * moments.mean_weight.numel() * _BLOCK_ENTRIES // _BLOCK_DEVICES)
    if is_rare(moments):
        entries = max(entries, batch * event_entries(moments))
    block = max(1, _BLOCK_ENTRIES // entries)
    for low in range(0, fields, block):
        some = slice(low, min(low + block, fields))
        yield some, rows if exact else rows + over_batch(map.patches, error[:, some])


def device_fields(
    moments: ProgrammedArray, part: Part, rows: Tensor, sets: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """Fields (B, R, G, P, o) that a part of the devices' errors makes at the columns, for values at the rows."""
    batch, count = sets
    usual, groups, n = part.usual, moments.map.groups, moments.map.n_in
    if not moments.is_shared:
        spread = usual.square(rows).sqrt()
        made = spread * standard_normals((*sets, *spread.shape[2:]), generator, spread)
    elif _are_few(moments):  # inputs with devices of their own average over their chance
        drawn = device_errors(moments, batch * count, generator)
        drawn = drawn if part.rows is None else drawn * part.rows
        return usual.moved(rows, drawn.reshape(batch, count, groups, -1, n))
    else:
        spread = usual.variance.sqrt().expand(moments.map.n_out, n)
        drawn = spread * standard_normals((count, *spread.shape), generator, spread)
        made = usual.moved(rows, drawn.reshape(1, count, groups, -1, n))
    return made + moved_by_events(moments, part, rows, sets, generator) if part.events else made


def _are_few(moments: ProgrammedArray) -> bool:
    return moments.is_shared and moments.divider is None and moments.mean_weight.numel() <= FEW_DEVICES


def _own_variance(step: CrossbarTrace, error: Tensor, *, exact: bool) -> Tensor:
    """Variance (B, R or 1, *shape) that devices read once add to the output, given every field of the input.

    Where inputs are large, so are the errors: fields of outputs have heavier tails than a Gaussian.
    """
    moments = step.moments
    if exact or moments.divider is not None:
        return step.injected.programming.unsqueeze(1)
    made = over_batch(lambda x: moments.by_variance(x.square(), moments.affine), step.input_mean.unsqueeze(1) + error)
    return made if not moments.has_row_noise else made + moments.row_noise_through(moments.weight_variance).unsqueeze(1)


def _gain_fields(step: CrossbarTrace, fields: int, generator: torch.Generator) -> Tensor:
    """Fields of the gain errors of physical columns, the same at all positions that they serve."""
    moments = step.moments
    made = torch.zeros_like(step.mean).unsqueeze(1)
    for currents in gain_errors(moments, step.input_mean, step.input_variance):
        first = moments.map.as_columns(currents.mean).unsqueeze(1)  # (B, 1, G, P, o)
        second = moments.map.as_columns(currents.square).unsqueeze(1)
        gain = standard_normals((1, fields, *first.shape[2:3], 1, *first.shape[4:]), generator, first)
        fluctuating = (second - first * first).clamp(min=0).sqrt()
        fresh = standard_normals((len(first), fields, *first.shape[2:]), generator, first)
        made = made + over_batch(moments.map.gather, gain * first + fluctuating * fresh)
    return moments.compensation * moments.hardware.column_gain_std * made


def power_factors(step: CrossbarTrace, error: Tensor) -> tuple[Tensor, Tensor]:
    """Power in the devices and in the amplifiers for fields (B, R, *input_shape) of the input, each over that for
    independent inputs, ().

    Both are quadratic in the input. Its mean is known, and what fields add to the square of it by chance is left out.
    """
    moments, mean = step.moments, step.input_mean
    if moments.divider is not None:
        return step.array_power.new_ones(()), step.array_power.new_ones(())
    spread = error.square().mean(1)
    scale = ratio(step.input_variance, spread)
    spread = spread * scale
    array, amplifiers = array_power(moments, mean, spread), tia_power(moments, mean, spread)
    resistance = feedback_of(moments)
    if resistance is not None:
        weight = (1 + moments.hardware.column_gain_std**2) * moments.map.columns_view(moments.decode**2 * resistance)
        error = error * scale.sqrt().unsqueeze(1)
        for inside in tile_masks(row_tiles(moments.map.n_in, moments.hardware.array_rows), moments.mean_weight):
            for side, _ in device_sides(moments):
                passed = over_batch(partial(moments.map.apply_columns, weight=side * inside), error)
                beyond = passed.square().mean(1) - moments.map.apply_columns(spread, (side * inside).square())
                amplifiers = amplifiers + (weight * beyond).sum() / len(mean)
    return _over(array, step.array_power), _over(amplifiers, step.tia_power)


def _over(above: Tensor, below: Tensor) -> Tensor:
    return torch.where(below > 0, above / torch.where(below > 0, below, torch.ones_like(below)), torch.ones_like(below))
