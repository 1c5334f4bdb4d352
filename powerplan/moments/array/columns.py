"""The physical columns of a crossbar: what the devices of either side of a row tile add up to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from powerplan.hardware.devices import idle_device_moments
from powerplan.hardware.tiling import row_tiles

if TYPE_CHECKING:
    from powerplan.moments.array.programmed import ProgrammedArray


class Currents(NamedTuple):
    """Current (of a divider: voltage) of one side of one row tile's columns in units of the output: weights, mean and
    E[Y²], (B, *columns)."""

    weight: Tensor
    mean: Tensor
    square: Tensor


def tile_masks(tiles: Iterable[slice], weight: Tensor) -> Iterator[Tensor]:
    """For every row tile 1 at its rows and 0 elsewhere (n_in,), for weights (n_out, n_in)."""
    for tile in tiles:
        mask = torch.zeros_like(weight[0])
        mask[tile] = 1
        yield mask


def currents(
    moments: ProgrammedArray, mean: Tensor, variance: Tensor, covariance: Tensor | None = None
) -> Iterator[Currents]:
    """Currents of every physical column, tile by tile and side by side of the differential pair.

    Args:
        mean, variance: (B, *input_shape) of the inputs.
        covariance: (B, n, n) of the inputs of a single position; None = independent inputs.
    """
    if moments.divider is not None:
        for node in moments.divider.nodes(mean, variance, covariance):
            yield Currents(node.side.weight, node.mean, node.mean**2 + node.devices + node.inputs)
        return
    sides = device_sides(moments)
    for inside in tile_masks(row_tiles(moments.map.n_in, moments.hardware.array_rows), moments.mean_weight):
        for whole, spread in sides:
            g, s = whole * inside, spread * inside
            first = moments.affine.apply_columns(mean, g)
            # E[Y²] = (g x̄)² + g² Var x + s² E[x²], the noise of the rows counted with Var x
            square = first * first + moments.affine.apply_columns(mean * mean + variance, s)
            if covariance is None:
                square = square + moments.map.apply_columns(variance, g * g)
            else:
                inputs = g[:, : covariance.shape[-1]]
                square = square + ((inputs @ covariance) * inputs).sum(-1).reshape(square.shape)
            if moments.has_row_noise:
                full = moments.map.matrices(g * g + s)
                square = square + moments.map.columns_view((full * moments.row_noise.unsqueeze(1)).sum(-1).reshape(-1))
            yield Currents(g, first, square)


def gain_errors(moments: ProgrammedArray, mean: Tensor, variance: Tensor) -> Iterator[Currents]:
    """What a relative gain error of every physical column moves the output by; arguments as :func:`currents`."""
    if moments.divider is None:
        yield from currents(moments, mean, variance)
        return
    for node in moments.divider.nodes(mean, variance):
        part = moments.divider.sensitivity(node)
        square = node.mean**2 + node.devices + node.inputs
        yield Currents(node.side.weight, part * node.mean, part**2 * square)


def device_sides(moments: ProgrammedArray) -> tuple[tuple[Tensor, Tensor], ...]:
    """Mean g/(c r) and variance s²/(c r)² of the devices on each side, in units of the weight, (n_out, n_in)."""
    if moments.divider is not None:
        return moments.divider.devices
    mean = moments.analog_weight / moments.compensation
    if moments.hardware.devices_per_weight == 1:
        return ((mean, (moments.weight_variance / moments.compensation**2).expand_as(mean)),)
    idle, idle_variance = idle_device_moments(moments.hardware)
    gain = moments.gain
    # variance of the device that holds |W|, beyond that of an idle one
    spread = moments.weight_variance * (gain / moments.compensation) ** 2 - 2 * idle_variance
    return tuple(
        (
            idle / gain + (side * mean).clamp(min=0),
            (idle_variance + spread * (side * moments.crossbar.sign).clamp(min=0)) / gain**2,
        )
        for side in (1, -1)
    )
