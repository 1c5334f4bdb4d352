"""Fields at the output of a crossbar and the power that it takes, for fields of its input."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from powerplan.hardware.tiling import row_tiles
from powerplan.moments.columns import device_sides, gain_errors, tile_masks
from powerplan.moments.crossbar import CrossbarMoments
from powerplan.moments.device_draws import device_errors
from powerplan.moments.pooling import ratio, standard_normals
from powerplan.moments.power import array_power, tia_power
from powerplan.moments.read_out import feedback_of
from powerplan.moments.rules.linearized import over_batch
from powerplan.moments.stuck import (
    Stuck,
    event_entries,
    is_rare,
    moved_by_events,
    stuck_devices,
    without_events,
)
from powerplan.moments.trace import CrossbarTrace

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
    moments, injected, map = step.moments, step.injected, step.moments.map
    few = moments.is_shared and moments.divider is None and moments.mean_weight.numel() <= FEW_DEVICES
    stuck = stuck_devices(moments) if is_rare(moments) and not few else ()
    usual = without_events(moments, stuck) if stuck else moments.device_errors
    apart = torch.zeros_like(step.variance)
    parts = (injected.read,) if moments.is_shared else (injected.read, injected.column_gain)
    for part in parts:
        apart = apart if part is None else apart + part
    if moments.has_row_noise:
        apart = apart + moments.row_noise_through(moments.analog_weight**2)
    apart = apart.unsqueeze(1)
    if not moments.is_shared and not stuck:
        apart = apart + _own_variance(step, error, exact=passed is None)
    size = (len(step.variance), fields)
    made = apart.sqrt() * standard_normals((*size, *step.variance.shape[1:]), generator, apart)
    if passed is not None:
        made = made + passed
    if moments.is_shared and injected.column_gain is not None:
        made = made + _gain_fields(step, fields, generator)
    if not moments.is_shared and not stuck:
        return made
    rows = moments.affine.patches(step.input_mean).unsqueeze(1)  # (B, 1, G, P, n)
    # inputs with devices of their own average over their chance: worth it where there are few devices
    sets = len(made) if few else 1
    block = max(1, _BLOCK_ENTRIES // _entries(moments, stuck, len(made), sets))
    for low in range(0, fields, block):
        some = slice(low, low + block)
        count = made[:, some].shape[1]
        arriving = rows
        if passed is not None:
            arriving = rows + over_batch(map.patches, error[:, some])
        if stuck:
            columns = moved_by_events(moments, stuck, arriving, (len(made), count), generator)
            made[:, some] += over_batch(map.gather, columns)
        for errors in usual:
            if not moments.is_shared:
                spread = errors.square(arriving).sqrt()
                columns = spread * standard_normals((*size[:1], count, *spread.shape[2:]), generator, spread)
            elif few:
                drawn = device_errors(moments, sets * count, generator)
                columns = errors.moved(arriving, drawn.reshape(sets, count, map.groups, -1, map.n_in))
            else:
                spread = errors.variance.sqrt().expand(map.n_out, map.n_in)
                drawn = spread * standard_normals((count, *spread.shape), generator, spread)
                columns = errors.moved(arriving, drawn.reshape(1, count, map.groups, -1, map.n_in))
            made[:, some] += over_batch(map.gather, columns)
    return made


def _entries(moments: CrossbarMoments, stuck: Sequence[Stuck], batch: int, sets: int) -> int:
    """Entries that one field of all inputs takes: rows, devices (of which fewer are drawn at a time), events."""
    rows = batch * moments.map.groups * moments.map.positions * moments.map.n_in
    devices = sets * moments.mean_weight.numel() * _BLOCK_ENTRIES // _BLOCK_DEVICES if moments.is_shared else 0
    return max(rows, devices, batch * event_entries(moments, stuck))


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
