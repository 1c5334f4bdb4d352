"""Wires with a load at every node: their voltages in closed form.

A wire runs from its terminal through the resistance R_end and n nodes, a resistance r before each of them; node j has a
load g_j to ground. Its voltages solve A w = f for currents f into the nodes, A tridiagonal and symmetric. With p_j the
voltages beyond a source before node 1, p_1 = 1, and q_j those before a source behind node n, scaled to q_1 = z_1, the
resistance between node 1 and ground,

    (A⁻¹)_jk = q_j p_k      for j <= k,      q_j/p_j = z_1 + Σ_(i<j) r/(p_i p_(i+1)),

so that A⁻¹ f is two running sums. The share of the terminal's voltage that reaches the nodes is A⁻¹ f for the current
that the terminal's resistance lets in; by reciprocity it is the share of a node's current that reaches the terminal at
0 V. All terms are positive: nothing cancels, and wires of almost no resistance are no special case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True, eq=False)
class Lines:
    """Wires in parallel, node 1 the nearest to the terminal.

    Attributes:
        load: g (..., n) [S].
        rising: q (..., n) [ohm].
        falling: p (..., n); that of the other terminal's voltage, if there is one, differs.
        drive: share of the terminals' voltage at the nodes, (..., n); differentiable (once) in the loads.
    """

    load: Tensor
    rising: Tensor
    falling: Tensor
    drive: Tensor

    @classmethod
    def of(cls, load: Tensor, wire: float, end: float, *, both_ends: bool = False) -> Lines:
        """Wires of these loads, with resistances per node and at the terminal [ohm], or at both terminals."""
        with torch.no_grad():
            rising, falling, drive = _profiles(load, wire, end, both_ends)
        if torch.is_grad_enabled() and load.requires_grad:
            drive = _Drive.apply(load, rising, falling, drive)  # type: ignore[no-untyped-call]
        return cls(load, rising, falling, drive)

    def solve(self, current: Tensor) -> Tensor:
        """Voltages (..., n) for currents (..., n) into the nodes, terminals at 0 V; differentiable (once)."""
        if torch.is_grad_enabled() and (current.requires_grad or self.load.requires_grad):
            return _Solve.apply(self.load, current, self.rising, self.falling)  # type: ignore[no-untyped-call, no-any-return]
        return _solved(current, self.rising, self.falling)

    @property
    def own(self) -> Tensor:
        """Resistance between every node and ground, (..., n) [ohm]."""
        return self.rising * self.falling

    def at(self, lines: tuple[Any, ...]) -> Tensor:
        """A⁻¹ of some of the lines, (..., n, n)."""
        upper = self.rising[lines].unsqueeze(-1) * self.falling[lines].unsqueeze(-2)
        return upper.triu() + upper.triu(1).mT


def _profiles(load: Tensor, wire: float, end: float, both_ends: bool) -> tuple[Tensor, Tensor, Tensor]:
    """q, p and the share of the terminals' voltage."""
    if wire + end == 0:
        return torch.zeros_like(load), torch.ones_like(load), torch.ones_like(load)
    entry = 1 / (wire + end)
    loads = load.movedim(-1, 0).contiguous()
    voltage, current = torch.ones_like(loads), torch.full_like(loads[0], entry if both_ends else 0.0)
    for node in range(len(loads) - 1, 0, -1):  # from the open end, where the voltage is 1
        current.addcmul_(loads[node], voltage[node])
        torch.add(voltage[node], current, alpha=wire, out=voltage[node - 1])
    current.addcmul_(loads[0], voltage[0])
    first = voltage[0].unsqueeze(-1)
    falling = voltage.movedim(0, -1) / first
    own = first / (entry * first + current.unsqueeze(-1))
    rising = torch.empty_like(falling)
    rising[..., :1] = own
    torch.mul(falling[..., 1:], falling[..., :-1], out=rising[..., 1:]).reciprocal_().mul_(wire)
    rising = rising.cumsum(-1).mul_(falling)
    drive = falling * (entry * own)
    if both_ends:
        drive = drive.addcmul_(rising, entry * falling[..., -1:])
    return rising, falling, drive


def _solved(current: Tensor, rising: Tensor, falling: Tensor) -> Tensor:
    behind = (falling * current).flip(-1).cumsum(-1).flip(-1).mul_(rising)
    before = (rising * current).cumsum(-1)
    behind[..., 1:].addcmul_(falling[..., 1:], before[..., :-1])
    return behind


class _Drive(torch.autograd.Function):
    """u of loads g: ∂u = −A⁻¹ (u ∂g)."""

    @staticmethod
    def forward(ctx: Any, load: Tensor, rising: Tensor, falling: Tensor, drive: Tensor) -> Tensor:
        ctx.save_for_backward(rising, falling, drive)
        return drive.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        rising, falling, drive = ctx.saved_tensors
        return -drive * _solved(upstream, rising, falling), None, None, None


class _Solve(torch.autograd.Function):
    """x = A⁻¹ f: ∂x = A⁻¹ (∂f − x ∂g)."""

    @staticmethod
    def forward(ctx: Any, load: Tensor, current: Tensor, rising: Tensor, falling: Tensor) -> Tensor:
        voltage = _solved(current, rising, falling)
        ctx.save_for_backward(rising, falling, voltage)
        return voltage

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, None, None]:
        rising, falling, voltage = ctx.saved_tensors
        to_current = _solved(upstream, rising, falling)
        return -voltage * to_current, to_current, None, None
