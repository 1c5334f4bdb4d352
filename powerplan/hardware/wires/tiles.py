"""The devices of a layer in the places that they have in physical arrays, and back.

A tile holds the devices of some rows and outputs. Where it has fewer rows than an array, they are those next to the
amplifiers; its columns are those next to the drivers. The two columns of a pair lie side by side, the positive first,
or each side is in a tile of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from powerplan.hardware.hardware import Hardware
from powerplan.hardware.tiling import output_tiles


class Place(NamedTuple):
    """Where an array of a layer is, each from 0; side 1 is that of the negative weights where these are apart."""

    group: int
    row_tile: int
    column_tile: int
    side: int


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """How the columns of a layer, or some of them, are cut.

    Attributes:
        outputs: of every column tile, in order.
        rows: of an array, where a layer has more.
        apart: each side in tiles of its own.
    """

    outputs: tuple[slice, ...]
    rows: int
    apart: bool

    @classmethod
    def of(cls, hardware: Hardware, outputs: int, rows: int) -> Tiles:
        """Those of ``outputs`` columns of weights and ``rows`` rows."""
        return cls(
            outputs=tuple(output_tiles(outputs, hardware)),
            rows=min(hardware.array_rows or rows, rows),
            apart=hardware.pair_layout == "separate_arrays",
        )

    def cut(self, values: Tensor) -> list[Tensor]:
        """Values (..., S, G, o, n) of devices, S sides, in their tiles: (..., C, G, T, m, k) of C column tiles and T
        row tiles, or (..., C, S, G, T, m, k) of a side each; one entry for column tiles of one width."""
        by_tile = self._rows_apart(values)  # (..., S, G, o, T, m)
        tiles = []
        for some in self.alike:
            here = by_tile[..., some[0].start : some[-1].stop, :, :]
            here = here.reshape(*here.shape[:-3], len(some), -1, *here.shape[-2:])  # (..., S, G, C, w, T, m)
            here = here.movedim(-3, -1).movedim(-4, -6)
            tiles.append(here if self.apart else here.movedim(-5, -1).flatten(-2))
        return tiles

    def join(self, tiles: Sequence[Tensor], rows: int, sides: int) -> Tensor:
        """Values (..., S, G, o, n) of devices from those in their tiles."""
        by_side = tiles if self.apart else [_by_side(tile, sides).movedim(-1, -5) for tile in tiles]
        parts = [tile.movedim(-6, -4).movedim(-1, -3).flatten(-4, -3) for tile in by_side]
        return self._rows_together(torch.cat(parts, -3), rows)

    def columns(self, tiles: Sequence[Tensor], sides: int) -> Tensor:
        """Values (..., S, G, T, o) of physical columns from those (..., k) in their tiles."""
        by_side = tiles if self.apart else [_by_side(tile, sides).movedim(-1, -4) for tile in tiles]
        return torch.cat([tile.movedim(-5, -2).flatten(-2) for tile in by_side], -1)

    def added(self, tiles: Sequence[Tensor], dims: int) -> Tensor:
        """The sum (..., G, T, *dims) over column tiles and sides of arrays of values of ``dims`` dimensions."""
        axis = -(dims + 3)
        return sum_of([tile.sum((axis - 1, axis) if self.apart else axis) for tile in tiles])

    def arrays(self, tiles: Sequence[Tensor], dims: int) -> Iterator[tuple[Place, Tensor]]:
        """Every array: its place, and its values (..., *dims) of ``dims`` dimensions from those in their tiles."""
        first = 0
        for tile in tiles:
            by_side = tile if self.apart else tile.unsqueeze(-dims - 3)  # (..., C, S, G, T, *dims)
            counts = by_side.shape[-dims - 4 : by_side.ndim - dims]
            for column_tile, side, group, row_tile in np.ndindex(*counts):
                place = Place(group, row_tile, first + column_tile, side)
                yield place, by_side[(..., column_tile, side, group, row_tile, *[slice(None)] * dims)]
            first += counts[0]

    @cached_property
    def alike(self) -> tuple[tuple[slice, ...], ...]:
        """Column tiles of one width: all but the last, if that is narrower."""
        widths = [part.stop - part.start for part in self.outputs]
        full = len(widths) if widths[-1] == widths[0] else len(widths) - 1
        return tuple(some for some in (self.outputs[:full], self.outputs[full:]) if some)

    def by_row(self, values: Tensor) -> Tensor:
        """Values (..., n) of the rows by row tile, (..., T, m), 0 at rows that hold nothing."""
        return self._rows_apart(values)

    def rows_of(self, tiles: Tensor, rows: int) -> Tensor:
        """Values (..., n) of the rows from those by row tile, (..., T, m)."""
        return self._rows_together(tiles, rows)

    def _rows_apart(self, values: Tensor) -> Tensor:
        rows = values.shape[-1]
        full = rows - rows % self.rows
        if full < rows:
            empty = values.new_zeros(*values.shape[:-1], self.rows - rows % self.rows)
            values = torch.cat([values[..., :full], empty, values[..., full:]], -1)
        return values.reshape(*values.shape[:-1], -1, self.rows)

    def _rows_together(self, tiles: Tensor, rows: int) -> Tensor:
        flat = tiles.flatten(-2)
        full, empty = rows - rows % self.rows, flat.shape[-1] - rows
        return torch.cat([flat[..., :full], flat[..., full + empty :]], -1) if empty else flat


def _by_side(tile: Tensor, sides: int) -> Tensor:
    """(..., o, S) of interleaved columns (..., k)."""
    return tile.reshape(*tile.shape[:-1], -1, sides)


def sum_of(parts: Sequence[Tensor]) -> Tensor:
    """The sum of one or more tensors."""
    return sum(parts[1:], parts[0])
