"""What the columns of a wired array read, tile by tile; formulas in :mod:`powerplan.moments.array.wired`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from powerplan.hardware.wires.tiles import Tiles

if TYPE_CHECKING:
    from powerplan.moments.array.reading import Reading
    from powerplan.network.array_maps import ArrayMap


@dataclass(frozen=True, kw_only=True, eq=False)
class WiredSide:
    """The devices of one side behind the wires.

    Attributes:
        weight: M/γ (n_out, n_in).
        variance: K (n_out, n_in).
        node: h (n_out, n_in).
        loading: Σ_j K_j r_j² of every tile (n_out, T), r as in the module.
        through: F = K (1 − 2 r h) + h² Σ K r² (n_out, n_in), what errors of devices make of a variance at the rows.
        reach: t u (n_out, n_in), of an error of a device at its column.
        amplifiers: conductance that the amplifier of every tile sees (n_out, T) [S].
    """

    weight: Tensor
    variance: Tensor
    node: Tensor
    loading: Tensor
    through: Tensor
    reach: Tensor
    amplifiers: Tensor


class TileColumns(NamedTuple):
    """The columns of one side by row tile, (G, T, B, P, o), in units of the output: mean, and what errors of devices
    and inputs cause of the variance."""

    mean: Tensor
    devices: Tensor
    inputs: Tensor


def rows_by_tile(map: ArrayMap, values: Tensor, tiles: Tiles) -> Tensor:
    """Values (B, *input_shape) at the rows of every row tile, (G, T, B, P, m)."""
    return tiles.by_row(map.patches(values)).permute(1, 3, 0, 2, 4)


def by_column(map: ArrayMap, columns: Tensor) -> Tensor:
    """Columns (G, B, P, o) in the layout of the map."""
    return map.of_columns(columns.movedim(1, 0))


def columns_by_tile(
    reading: Reading, sides: Sequence[WiredSide], relative: Tensor, tiles: Tiles
) -> tuple[TileColumns, ...]:
    """The columns of every side, for rows without noise.

    Args:
        relative: r (G, n_in).
    """
    array = reading.array
    groups, count = array.map.groups, len(array.tiles)
    x = rows_by_tile(array.affine, reading.mean, tiles)
    moving = rows_by_tile(array.map, reading.variance, tiles)
    squares = x.square()
    r = tiles.by_row(relative).unsqueeze(-1)  # (G, T, m, 1)

    def by_tile(weight: Tensor) -> Tensor:
        return tiles.by_row(array.map.matrices(weight)).movedim(-2, 1).mT  # (G, T, m, o)

    columns = []
    for side in sides:
        variance, node, weight = (by_tile(value) for value in (side.variance, side.node, side.weight))
        load = side.loading.reshape(groups, -1, count).mT[:, :, None, None]  # (G, T, 1, 1, o)
        at_node, crossed = _product(x, node), _product(x, variance * r)
        devices = (_product(squares, variance) + at_node * (load * at_node - 2 * crossed)).clamp(min=0)
        devices = devices + _product(moving, by_tile(side.through))
        inputs = _product(moving, weight.square())
        if reading.covariance is not None:
            more_devices, more_inputs = _correlated(reading, reading.covariance, side, relative)
            devices, inputs = devices + more_devices, inputs + more_inputs
        columns.append(TileColumns(_product(x, weight), devices, inputs))
    return tuple(columns)


def _product(rows: Tensor, weight: Tensor) -> Tensor:
    """(G, T, B, P, o) of rows (G, T, B, P, m) and (G, T, m, o)."""
    columns = rows.flatten(2, 3) @ weight
    return columns.reshape(*rows.shape[:4], -1)


def _correlated(reading: Reading, covariance: Tensor, side: WiredSide, relative: Tensor) -> tuple[Tensor, Tensor]:
    """What correlations of the inputs (B, n, n) of a single position add to both variances, (1, T, B, 1, o)."""
    inputs = covariance.shape[-1]
    joint = covariance - torch.diag_embed(covariance.diagonal(dim1=1, dim2=2))
    devices, passed = [], []
    for tile, rows in enumerate(reading.array.tiles):
        here = slice(rows.start, min(rows.stop, inputs))
        node, weight = side.node[:, here], side.weight[:, here]
        errors = (side.variance * relative)[:, here]
        between = joint[:, here, here]
        spread = node @ between
        square = (spread * node).sum(-1)
        devices.append(side.loading[:, tile] * square - 2 * (spread * errors).sum(-1))
        passed.append((weight @ between * weight).sum(-1))
    return torch.stack(devices)[None, :, :, None], torch.stack(passed)[None, :, :, None]
