"""Fields at the output of a crossbar and the power that it takes, for fields of its input."""

from __future__ import annotations

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
from powerplan.moments.trace import CrossbarTrace

#: entries of the values at the rows that are worked on at a time
_BLOCK_ENTRIES = 1 << 23
#: devices drawn at a time
_BLOCK_DEVICES = 1 << 25
#: devices of a layer up to which they are few: every input gets its own, with their own distribution
FEW_DEVICES = 1 << 16


def has_rare_errors(moments: CrossbarMoments) -> bool:
    """True if a few devices, drawn here, cause much of the error of a layer: its outputs are not Gaussian.

    With an array per position, or many devices, the draws would take too long.
    """
    once = moments.map.positions == 1 or moments.hardware.mapping == "shared"
    few = moments.mean_weight.numel() <= FEW_DEVICES
    return moments.hardware.stuck_fraction > 0 and moments.divider is None and once and few


def crossbar_fields(
    step: CrossbarTrace, error: Tensor, passed: Tensor | None, fields: int, generator: torch.Generator
) -> Tensor:
    """Fields (B, R, *shape) at a crossbar's output for fields of its input, and what W̄ passes on of them."""
    moments, injected = step.moments, step.injected
    map = moments.map
    apart = torch.zeros_like(step.variance)
    drawn_devices = moments.is_shared or has_rare_errors(moments)
    parts = (injected.read,) if drawn_devices else (injected.read, injected.column_gain)
    for part in parts:
        apart = apart if part is None else apart + part
    if moments.has_row_noise:
        apart = apart + moments.row_noise_through(moments.analog_weight**2)
    apart = apart.unsqueeze(1)
    if not drawn_devices:
        apart = apart + _own_variance(step, error, exact=passed is None)
    size = (len(step.variance), fields)
    made = apart.sqrt() * standard_normals((*size, *step.variance.shape[1:]), generator, apart)
    if passed is not None:
        made = made + passed
    if not drawn_devices:
        return made
    if injected.column_gain is not None:
        made = made + _gain_fields(step, fields, generator)
    rows = moments.affine.patches(step.input_mean).unsqueeze(1)  # (B, 1, G, P, n)
    block = max(1, _BLOCK_ENTRIES // (len(made) * map.groups * map.positions * map.n_in))
    devices = moments.mean_weight.numel()
    few = devices <= FEW_DEVICES
    # inputs with devices of their own average over their chance: worth it where there are few devices
    sets = len(made) if few else 1
    block = max(1, min(block, _BLOCK_DEVICES // (sets * devices)))
    for low in range(0, fields, block):
        some = slice(low, low + block)
        count = made[:, some].shape[1]
        arriving = rows
        if passed is not None:
            arriving = rows + over_batch(map.patches, error[:, some])
        for errors in moments.device_errors:
            if few and moments.divider is None:
                drawn = device_errors(moments, sets * count, generator)
            else:
                spread = errors.variance.sqrt().expand(map.n_out, map.n_in)
                drawn = spread * standard_normals((sets * count, *spread.shape), generator, spread)
            columns = errors.moved(arriving, drawn.reshape(sets, count, map.groups, -1, map.n_in))
            made[:, some] += over_batch(map.gather, columns)
    return made


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
