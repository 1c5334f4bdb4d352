"""The devices of a layer in the places that they have in physical arrays, and back.

A tile holds the devices of some rows and outputs. Where it has fewer rows than an array, they are those next to the
amplifiers; its columns are those next to the drivers. The two columns of a pair lie side by side, the positive first,
or each side is in a tile of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from powerplan.hardware.hardware import Hardware
from powerplan.hardware.tiling import output_tiles


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
        """Values (..., S, G, o, n) of devices, S sides, in their tiles (..., G, T, m, k) of T row tiles, or
        (..., S, G, T, m, k) of a side each; one entry per column tile."""
        by_tile = self._rows_apart(values)  # (..., S, G, o, T, m)
        tiles = [by_tile[..., part, :, :].movedim(-3, -1) for part in self.outputs]
        return tiles if self.apart else [tile.movedim(-5, -1).flatten(-2) for tile in tiles]

    def join(self, tiles: Sequence[Tensor], rows: int, sides: int) -> Tensor:
        """Values (..., S, G, o, n) of devices from those in their tiles."""
        by_side = tiles if self.apart else [_by_side(tile, sides).movedim(-1, -5) for tile in tiles]
        return self._rows_together(torch.cat([tile.movedim(-1, -3) for tile in by_side], -3), rows)

    def columns(self, tiles: Sequence[Tensor], sides: int) -> Tensor:
        """Values (..., S, G, T, o) of physical columns from those (..., k) in their tiles."""
        parts = [tile if self.apart else _by_side(tile, sides).movedim(-1, -4) for tile in tiles]
        return torch.cat(parts, -1)

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
