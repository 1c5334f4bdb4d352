"""What resistive wires make of a block's devices in a draw: other devices, with which ideal wires would read the same.

Exactly, row by row (:mod:`powerplan.hardware.wires.ladder`), or fast (:mod:`powerplan.montecarlo.fast_wires`): power
and thermal noise are then those of the mean devices, moved by as much as rows and columns draw more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch

from powerplan.hardware import Hardware
from powerplan.hardware.devices import device_moments
from powerplan.hardware.wires.ladder import solve
from powerplan.hardware.wires.tiles import Tiles
from powerplan.montecarlo.fast_wires import MeanWires
from powerplan.montecarlo.scratch import Scratch, over_sides


@dataclass(frozen=True)
class Wired:
    """Devices behind wires.

    Attributes:
        devices: with which ideal wires would give the same columns, (D, sides, g, o, n) [unit weight].
        drivers: conductance matrix of the drivers of every row tile, columns and sides added up, (D or 1, g, T, m, m)
            [S].
        amplifiers: conductance that the amplifiers of an output see in every row tile, (D or 1, g, T, o) [S].
        more: by how much the rows draw more than their drivers have, (D, g, T, m) [S].
    """

    devices: torch.Tensor
    drivers: torch.Tensor
    amplifiers: torch.Tensor
    more: torch.Tensor | None = None

    def power(self, drive: torch.Tensor) -> torch.Tensor:
        """Power of the rows (D,) [W] for E[V V'] (D, g, T, m, m)."""
        power = (self.drivers * drive).flatten(1).sum(1)
        if self.more is None:
            return power
        return power + (self.more * drive.diagonal(dim1=-2, dim2=-1)).flatten(1).sum(1)


@dataclass(frozen=True, kw_only=True)
class BlockWires:
    """The wires around the devices of a block, which holds whole arrays.

    Attributes:
        unit: c r [S per unit weight], broadcasts to (g, o, n).
        still: devices that are the same in all draws, or None.
        mean: of the fast solution; None = exact.
    """

    hardware: Hardware
    tiles: Tiles
    unit: torch.Tensor
    still: torch.Tensor | None = None
    mean: MeanWires | None = None

    @classmethod
    def of(
        cls, hardware: Hardware, target: torch.Tensor, unit: torch.Tensor, *, fast: bool, dtype: torch.dtype
    ) -> BlockWires:
        """Those of a block with targets (sides, g, o, n) [S]."""
        around = cls(hardware=hardware, tiles=Tiles.of(hardware, *target.shape[2:]), unit=unit.to(dtype))
        if not hardware.has_programming_noise:
            return replace(around, still=target)
        if not fast:
            return around
        mean = device_moments(hardware, target.double())[0]
        return replace(around, mean=MeanWires.of(mean, unit.double(), hardware, around.tiles, dtype))

    def around(self, devices: torch.Tensor, scratch: Scratch) -> Wired:
        """Drawn devices (D, sides, g, o, n) [unit weight] behind the wires."""
        if self.still is not None:
            return replace(self._still, devices=self._still.devices.expand(devices.shape))
        if self.mean is None:
            return self._solved(devices * self.unit, devices.dtype)
        return self._fast(self.mean, devices, scratch)

    @cached_property
    def _still(self) -> Wired:
        assert self.still is not None
        return self._solved(self.still[None], self.unit.dtype)

    def _solved(self, conductance: torch.Tensor, dtype: torch.dtype) -> Wired:
        sides, rows = conductance.shape[1], conductance.shape[-1]
        solved = [solve(tile.double(), self.hardware.wires) for tile in self.tiles.cut(conductance)]
        transfer = self.tiles.join([part.transfer.to(dtype) for part in solved], rows, sides)
        amplifiers = self.tiles.columns([part.amplifiers for part in solved], sides).sum(1)
        return Wired(
            devices=transfer / self.unit,
            drivers=self.tiles.added([part.drivers for part in solved], 2).to(dtype),
            amplifiers=amplifiers.to(dtype),
        )

    def _fast(self, mean: MeanWires, devices: torch.Tensor, scratch: Scratch) -> Wired:
        wired = mean.around(devices, scratch)
        more = over_sides(torch.add, wired, scratch).sub(mean.transfer.sum(0)).mul_(self.unit)  # (D, g, o, n)
        by_tile = self.tiles.by_row(more.sum(2))
        amplifiers = mean.amplifiers[None]
        if self.hardware.thermal_noise:
            amplifiers = amplifiers + self.tiles.by_row(more).sum(-1).mT
        return Wired(wired, mean.drivers[None], amplifiers, by_tile)


def second_moments(rows: torch.Tensor, tiles: Tiles) -> torch.Tensor:
    """Mean of x x' over the reads in every row tile, (..., T, m, m), of values (..., R, n) at the rows."""
    by_tile = tiles.by_row(rows).movedim(-2, -3)
    return by_tile.mT @ by_tile / rows.shape[-2]
