"""Arrays with resistive wires solved exactly, row by row, for all inputs at once.

Seen from its n bit nodes b, row i with its wire is a conductance matrix S_i and a source d_i V_i,

    S_i = D_i − D_i A_i⁻¹ D_i,      d_i = D_i u_i                 D_i its devices, A_i and u_i of its wire.

The rows are taken in from the far end of the columns. Y_i is what a column's nodes i and all before them conduct, F_i
(n, i) their short-circuit currents per volt at each row, r_i the wire to the next node, the amplifier behind the last:

    Q_i = (1 + r_i Y_i)⁻¹,          Y_(i+1) = S_(i+1) + Q_i Y_i,  F_(i+1) = [Q_i F_i, d_(i+1)],
    M' = Q_m F_m,                   conductance at the amplifiers Q_m Y_m,
    power = V' (diag Σ_j d_ij − K) V,   K = Σ_i F_i' r_i Q_i F_i.

About 2 m n³ + m² n² multiplications; nothing is divided by a resistance that may be 0.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from powerplan.hardware.wires.circuit import Wires
from powerplan.hardware.wires.lines import Lines


class Solved(NamedTuple):
    """An array as its terminals see it: column currents per volt at every row M (..., m, n) [S]; the conductance matrix
    of the drivers (..., m, m) [S], whose quadratic form is the power; what every amplifier sees (..., n) [S]."""

    transfer: Tensor
    drivers: Tensor
    amplifiers: Tensor


def solve(conductance: Tensor, wires: Wires) -> Solved:
    """Solve arrays exactly.

    Args:
        conductance: of the devices (..., m, n) [S], >= 0; row m is the nearest to the amplifiers, column 1 to the
            drivers.
    """
    g = conductance
    rows, columns = g.shape[-2:]
    word = Lines.of(g, wires.row, wires.driver, both_ends=wires.both_ends)
    source = g * word.drive
    identity = torch.eye(columns, dtype=g.dtype, device=g.device)
    short = g.new_zeros(*g.shape[:-2], columns, rows)  # F
    coupling = g.new_zeros(*g.shape[:-2], rows, rows)  # K
    before = g.new_zeros(*g.shape[:-2], columns, columns)  # Q Y of the row before
    for i in range(rows):
        devices = g[..., i, :]
        own = word.at((..., i, slice(None))).mul_(devices.unsqueeze(-1)).mul_(devices.unsqueeze(-2)).neg_()
        own.diagonal(dim1=-2, dim2=-1).add_(devices)
        before = own.add_(before)
        here = short[..., : i + 1]
        here[..., i] = source[..., i, :]
        wire = wires.column + (wires.sense if i == rows - 1 else 0.0)
        if wire:
            passed = torch.linalg.inv(torch.add(identity, before, alpha=wire))
            moved = passed @ here
            coupling[..., : i + 1, : i + 1].add_(here.mT @ moved, alpha=wire)
            here.copy_(moved)
            before = passed @ before if i == rows - 1 else (identity - passed).div_(wire)
    drivers = torch.diag_embed(source.sum(-1)).sub_(coupling)
    return Solved(short.mT, drivers, before.diagonal(dim1=-2, dim2=-1))
