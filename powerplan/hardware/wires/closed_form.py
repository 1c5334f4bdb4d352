"""What resistive wires make of an array, in closed form; differentiable.

With u the share of a driver's voltage that reaches the devices of its row, columns held at 0 V, and t the share of a
device's current that reaches the amplifier, rows held at 0 V (O(m n) both, :mod:`powerplan.hardware.wires.lines`),

    M ≈ t g u + X Y/ḡ,     X = A_w⁻¹ (g u k),  Y = A_b⁻¹ (t g h),      h, k, ḡ mean g of a row, a column, all:

right to first order in the resistances, and nearly so to second order, where the drop of columns raises the rows and so
all other columns. Of what the drop takes off, 0.01 to 1.4 % is wrong at drops of 0.7 to 41 % (docs/wires.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from powerplan.hardware.wires.circuit import Wires
from powerplan.hardware.wires.lines import Lines

#: devices worked on at a time: what is calculated of them stays in the processor's cache
_BLOCK_DEVICES = 1 << 17


class Through(NamedTuple):
    """What the wires of arrays let through.

    Attributes:
        transfer: M (..., m, n) [S], as in the module.
        reach: t u (..., m, n), of an error of a device at its column.
        rows: mean u of a row, (..., m).
        drivers: conductance matrix of the drivers, (..., m, m) [S].
        amplifiers: conductance that every amplifier sees, (..., n) [S].
    """

    transfer: Tensor
    reach: Tensor
    rows: Tensor
    drivers: Tensor
    amplifiers: Tensor


def through(conductance: Tensor, wires: Wires) -> Through:
    """Of devices (..., m, n) [S], row m the nearest to the amplifiers and column 1 to the drivers; differentiable."""

    def parts(let: Attenuation) -> Sequence[Tensor]:
        return let.transfer, let.reach, let.rows.mean(-1), let.drivers, let.amplifiers

    return Through(*_by_block(conductance, wires, parts))


def transfer_and_reach(conductance: Tensor, wires: Wires) -> tuple[Tensor, Tensor]:
    """M and t u (..., m, n) of :class:`Through` alone; differentiable."""
    transfer, reach = _by_block(conductance, wires, lambda let: (let.transfer, let.reach))
    return transfer, reach


def _by_block(conductance: Tensor, wires: Wires, parts: Callable[[Attenuation], Sequence[Tensor]]) -> list[Tensor]:
    arrays = conductance.flatten(0, -3)
    size = max(1, _BLOCK_DEVICES // arrays[0].numel())
    blocks = [parts(Attenuation.of(some, wires)) for some in torch.split(arrays, size)]
    whole = blocks[0] if len(blocks) == 1 else [torch.cat(each) for each in zip(*blocks, strict=True)]
    return [part.reshape(*conductance.shape[:-2], *part.shape[1:]) for part in whole]


@dataclass(frozen=True, eq=False)
class Attenuation:
    """What the wires of arrays let through, each kind by itself.

    Attributes:
        conductance: g (..., m, n) [S] of the devices.
        word: lines of the rows, (..., m, n).
        bit: lines of the columns from their amplifiers on, (..., n, m).
    """

    conductance: Tensor
    word: Lines
    bit: Lines

    @classmethod
    def of(cls, conductance: Tensor, wires: Wires) -> Attenuation:
        """That of devices (..., m, n) [S]."""
        word = Lines.of(conductance, wires.row, wires.driver, both_ends=wires.both_ends)
        return cls(conductance, word, Lines.of(_along_bits(conductance), wires.column, wires.sense))

    @property
    def rows(self) -> Tensor:
        """u (..., m, n)."""
        return self.word.drive

    @cached_property
    def columns(self) -> Tensor:
        """t (..., m, n)."""
        return _along_rows(self.bit.drive)

    @property
    def reach(self) -> Tensor:
        """t u (..., m, n)."""
        return self.columns * self.rows

    @cached_property
    def into_columns(self) -> Tensor:
        """g u (..., m, n) [S]."""
        return self.conductance * self.rows

    @cached_property
    def from_rows(self) -> Tensor:
        """t g (..., m, n) [S]."""
        return self.columns * self.conductance

    def bit_voltages(self, currents: Tensor) -> Tensor:
        """A_b⁻¹ f (..., m, n) for currents f (..., m, n) into the bit nodes."""
        return _along_rows(self.bit.solve(_along_bits(currents)))

    @property
    def first_order(self) -> Tensor:
        """t g u (..., m, n) [S]."""
        return self.from_rows * self.rows

    @property
    def transfer(self) -> Tensor:
        """M (..., m, n) [S]."""
        g = self.conductance
        mean = g.mean((-2, -1), keepdim=True)
        raised = self.word.solve(self.into_columns * g.mean(-2, keepdim=True))
        raising = self.bit_voltages(self.from_rows * g.mean(-1, keepdim=True))
        return self.first_order + raised * (raising / torch.where(mean > 0, mean, torch.ones_like(mean)))

    @property
    def amplifiers(self) -> Tensor:
        """Conductance (..., n) that every amplifier sees, Σ_i t g (1 − t g z), z between a row's node and 0 V."""
        through = self.from_rows
        return (through * (1 - through * self.word.own)).sum(-2)

    @property
    def drivers(self) -> Tensor:
        """Conductance matrix of the drivers (..., m, m) [S], to first order in the drop of the columns:

        diag Σ_j g u − Σ_j (g u)_j' A_b⁻¹ (g u)_j, where the sum over the columns is one matrix product.
        """
        source = self.into_columns
        # (A_b⁻¹)_il = q_i p_l for a row l that is farther from the amplifiers than row i
        rising, falling = (source * _along_rows(part) for part in (self.bit.rising, self.bit.falling))
        coupling = (rising @ falling.mT).tril()
        return torch.diag_embed(source.sum(-1)) - coupling - coupling.tril(-1).mT


def _along_bits(values: Tensor) -> Tensor:
    """(..., n, m) from the amplifiers on, of values (..., m, n)."""
    return values.flip(-2).mT.contiguous()


def _along_rows(values: Tensor) -> Tensor:
    """(..., m, n) of values (..., n, m) from the amplifiers on."""
    return values.mT.contiguous().flip(-2)
