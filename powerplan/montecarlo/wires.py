"""What resistive wires make of a block's devices in a draw: other devices, with which ideal wires would read the same.

Exactly, row by row (:mod:`powerplan.hardware.wires.ladder`); or fast: t g u of the drawn devices, to first order in how
they differ from their mean (:mod:`powerplan.hardware.wires.closed_form`), and what the mean has beyond that. Power and
thermal noise are those of the mean devices, moved by as much as rows and columns draw more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch

from powerplan.hardware import Hardware
from powerplan.hardware.devices import device_moments
from powerplan.hardware.wires.closed_form import Attenuation
from powerplan.hardware.wires.ladder import Solved, solve
from powerplan.hardware.wires.tiles import Tiles


@dataclass(frozen=True)
class Wired:
    """Devices behind wires.

    Attributes:
        devices: with which ideal wires would give the same columns, (D, sides, g, o, n) [unit weight].
        drivers: conductance matrix of the drivers of every row tile, columns and sides added up, (D, g, T, m, m) [S].
        amplifiers: conductance that the amplifiers of an output see in every row tile, (D, g, T, o) [S].
    """

    devices: torch.Tensor
    drivers: torch.Tensor
    amplifiers: torch.Tensor

    def expand(self, draws: int) -> Wired:
        """The same in every draw."""
        return Wired(
            *(value.expand(draws, *value.shape[1:]) for value in (self.devices, self.drivers, self.amplifiers))
        )


class _Mean(NamedTuple):
    """Column tiles of devices that hold their mean: the closed form, what is exact beyond it, the exact solution."""

    closed: Attenuation
    beyond: torch.Tensor
    solved: Solved


@dataclass(frozen=True, kw_only=True)
class BlockWires:
    """The wires around the devices of a block, which holds whole arrays.

    Attributes:
        unit: c r [S per unit weight], broadcasts to (g, o, n).
        still: devices that are the same in all draws, or None.
        means: of the fast solution, by width of column tiles; None = exact.
    """

    hardware: Hardware
    tiles: Tiles
    unit: torch.Tensor
    still: torch.Tensor | None = None
    means: tuple[_Mean, ...] | None = None

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
        return replace(around, means=tuple(_mean(tile, hardware, dtype) for tile in around.tiles.cut(mean)))

    def around(self, devices: torch.Tensor) -> Wired:
        """Drawn devices (D, sides, g, o, n) [unit weight] behind the wires."""
        if self.still is not None:
            return self._still.expand(len(devices))
        return self._solved(devices * self.unit, devices.dtype)

    @cached_property
    def _still(self) -> Wired:
        assert self.still is not None
        return self._solved(self.still[None], self.unit.dtype)

    def _solved(self, conductance: torch.Tensor, dtype: torch.dtype) -> Wired:
        sides, rows = conductance.shape[1], conductance.shape[-1]
        cut = self.tiles.cut(conductance)
        if self.means is None:
            solved: Sequence[Solved] = [solve(tile.double(), self.hardware.wires) for tile in cut]
        else:
            solved = [_fast(tile, mean) for tile, mean in zip(cut, self.means, strict=True)]
        transfer = self.tiles.join([part.transfer.to(dtype) for part in solved], rows, sides)
        amplifiers = self.tiles.columns([part.amplifiers for part in solved], sides).sum(1)
        return Wired(
            devices=transfer / self.unit,
            drivers=self.tiles.added([part.drivers for part in solved], 2).to(dtype),
            amplifiers=amplifiers.to(dtype),
        )


def second_moments(rows: torch.Tensor, tiles: Tiles) -> torch.Tensor:
    """Mean of x x' over the reads in every row tile, (..., T, m, m), of values (..., R, n) at the rows."""
    by_tile = tiles.by_row(rows).movedim(-2, -3)
    return by_tile.mT @ by_tile / rows.shape[-2]


def _mean(conductance: torch.Tensor, hardware: Hardware, dtype: torch.dtype) -> _Mean:
    solved, closed = solve(conductance, hardware.wires), Attenuation.of(conductance, hardware.wires)
    beyond = (solved.transfer - closed.first_order).to(dtype)
    return _Mean(closed.to(dtype), beyond, Solved(*(value.to(dtype) for value in solved)))


def _fast(conductance: torch.Tensor, mean: _Mean) -> Solved:
    transfer = mean.closed.disturbed(conductance) + mean.beyond
    more = transfer - mean.solved.transfer
    drivers = mean.solved.drivers + torch.diag_embed(more.sum(-1))
    return Solved(transfer, drivers, mean.solved.amplifiers + more.sum(-2))
