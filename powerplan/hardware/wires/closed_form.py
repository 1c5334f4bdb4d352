"""What resistive wires make of an array, in closed form; differentiable.

With u the share of a driver's voltage that reaches the devices of its row, columns held at 0 V, and t the share of a
device's current that reaches the amplifier, rows held at 0 V (O(m n) both, :mod:`powerplan.hardware.wires.lines`),

    M ≈ t g u + X Y/ḡ,     X = A_w⁻¹ (g u k),  Y = A_b⁻¹ (t g h),      h, k, ḡ mean g of a row, a column, all:

right to first order in the resistances, and nearly so to second order, where the drop of columns raises the rows and so
all other columns. Of what the drop takes off, 0.01 to 1.4 % is wrong at drops of 0.7 to 41 % (docs/wires.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from powerplan.hardware.wires.circuit import Wires
from powerplan.hardware.wires.lines import Lines


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

    def to(self, dtype: torch.dtype) -> Attenuation:
        """The same in another precision."""
        return Attenuation(self.conductance.to(dtype), self.word.to(dtype), self.bit.to(dtype))

    @property
    def rows(self) -> Tensor:
        """u (..., m, n)."""
        return self.word.drive

    @property
    def columns(self) -> Tensor:
        """t (..., m, n)."""
        return _along_rows(self.bit.drive)

    def bit_voltages(self, currents: Tensor) -> Tensor:
        """A_b⁻¹ f (..., m, n) for currents f (..., m, n) into the bit nodes."""
        return _along_rows(self.bit.solve(_along_bits(currents)))

    @property
    def first_order(self) -> Tensor:
        """t g u (..., m, n) [S]."""
        return self.columns * self.conductance * self.rows

    @property
    def transfer(self) -> Tensor:
        """M (..., m, n) [S]."""
        g, u, t = self.conductance, self.rows, self.columns
        mean = g.mean((-2, -1), keepdim=True)
        raised = self.word.solve(g * u * g.mean(-2, keepdim=True))
        raising = self.bit_voltages(t * g * g.mean(-1, keepdim=True))
        return t * g * u + raised * raising / torch.where(mean > 0, mean, torch.ones_like(mean))

    @property
    def amplifiers(self) -> Tensor:
        """Conductance (..., n) that every amplifier sees, Σ_i t g (1 − t g z), z between a row's node and 0 V."""
        through = self.columns * self.conductance
        return (through * (1 - through * self.word.own)).sum(-2)

    def drivers(self, second_moment: Tensor) -> Tensor:
        """Power (...) of rows with E[V V'] (..., m, m) [V²], to first order in the drop of the columns:

        Σ_ij g u E V_i² − Σ_j E (g u V)_j' A_b⁻¹ (g u V)_j, whose sum over the columns is two matrix products.
        """
        source = self.conductance * self.rows
        alone = (source.sum(-1) * second_moment.diagonal(dim1=-2, dim2=-1)).sum(-1)
        # (A_b⁻¹)_il = (z_i/p_i) p_l for a row l that is farther from the amplifiers than row i
        weight, ratio = (source * _along_rows(part) for part in (self.bit.own / self.bit.ratio, self.bit.ratio))
        coupling = (weight @ ratio.mT).tril()
        coupling = coupling + coupling.tril(-1).mT
        return alone - (coupling * second_moment).flatten(-2).sum(-1)

    def disturbed(self, conductance: Tensor) -> Tensor:
        """t g u (..., m, n) of devices that differ a little from those here, to first order in the difference."""
        other = conductance - self.conductance
        u, t = self.rows, self.columns
        return (t - self.bit_voltages(other * t)) * conductance * (u - self.word.solve(other * u))


def _along_bits(values: Tensor) -> Tensor:
    """(..., n, m) from the amplifiers on, of values (..., m, n)."""
    return values.flip(-2).mT


def _along_rows(values: Tensor) -> Tensor:
    """(..., m, n) of values (..., n, m) from the amplifiers on."""
    return values.mT.flip(-2)
