"""Wires with a load at every node: their voltages in closed form.

A wire runs from its terminal through the resistance R_end and n nodes, a resistance r before each of them; node j has a
load g_j to ground. Its voltages solve A w = f for currents f into the nodes, A tridiagonal and symmetric. With ρ_j =
w_(j+1)/w_j beyond a source, p_j = ρ_1 ... ρ_(j−1) and z_j the resistance between node j and ground,

    (A⁻¹)_jk = (z_j/p_j) p_k      for j <= k,

so that A⁻¹ f is two running sums. The share of the terminal's voltage that reaches the nodes is A⁻¹ f for the current
that the terminal's resistance lets in; by reciprocity it is the share of a node's current that reaches the terminal at
0 V. All ratios are of positive numbers: nothing cancels, and wires of almost no resistance are no special case.
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
        own: z (..., n) [ohm].
        ratio: p (..., n); that of the other terminal's voltage, if there is one, differs.
        drive: share of the terminals' voltage at the nodes, (..., n); differentiable (once) in the loads.
    """

    load: Tensor
    own: Tensor
    ratio: Tensor
    drive: Tensor

    @classmethod
    def of(cls, load: Tensor, wire: float, end: float, *, both_ends: bool = False) -> Lines:
        """Wires of these loads, with resistances per node and at the terminal [ohm], or at both terminals."""
        with torch.no_grad():
            own, ratio, drive = _profiles(load, wire, end, both_ends)
        if torch.is_grad_enabled() and load.requires_grad:
            drive = _Drive.apply(load, own, ratio, drive)  # type: ignore[no-untyped-call]
        return cls(load, own, ratio, drive)

    def solve(self, current: Tensor) -> Tensor:
        """Voltages (..., n) for currents (..., n) into the nodes, terminals at 0 V; differentiable (once)."""
        if torch.is_grad_enabled() and (current.requires_grad or self.load.requires_grad):
            return _Solve.apply(self.load, current, self.own, self.ratio)  # type: ignore[no-untyped-call, no-any-return]
        return _solved(current, self.own, self.ratio)

    def to(self, dtype: torch.dtype) -> Lines:
        """The same in another precision."""
        return Lines(*(value.to(dtype) for value in (self.load, self.own, self.ratio, self.drive)))

    def at(self, lines: tuple[Any, ...]) -> Tensor:
        """A⁻¹ of some of the lines, (..., n, n)."""
        ratio = self.ratio[lines]
        upper = (self.own[lines] / ratio).unsqueeze(-1) * ratio.unsqueeze(-2)
        return upper.triu() + upper.triu(1).mT


def _profiles(load: Tensor, wire: float, end: float, both_ends: bool) -> tuple[Tensor, Tensor, Tensor]:
    """z, p and the share of the terminals' voltage."""
    nodes = load.shape[-1]
    if wire + end == 0:
        return torch.zeros_like(load), torch.ones_like(load), torch.ones_like(load)
    entry = 1 / (wire + end)
    # conductance to ground beyond every node, away from the terminal [0] and towards it [1], itself not counted
    loads = torch.stack([load.movedim(-1, 0).flip(0), load.movedim(-1, 0)], 1)
    beyond = torch.empty_like(loads)
    beyond[0, 0], beyond[0, 1] = entry if both_ends else 0.0, entry
    for node in range(nodes - 1):
        here = torch.add(beyond[node], loads[node], out=beyond[node + 1])
        here.div_(torch.add(1.0, here, alpha=wire)) if wire else None
    away, towards = beyond[:, 0].flip(0).movedim(0, -1), beyond[:, 1].movedim(0, -1)
    passed = away + load
    own = 1 / (towards + passed)
    ratio = torch.ones_like(own)
    torch.cumprod(1 / (1 + wire * passed[..., 1:]), -1, out=ratio[..., 1:])
    drive = entry * own[..., :1] * ratio
    if both_ends:
        drive = drive + entry * own / ratio * ratio[..., -1:]
    return own, ratio, drive


def _solved(current: Tensor, own: Tensor, ratio: Tensor) -> Tensor:
    weight = own / ratio
    behind = (ratio * current).flip(-1).cumsum(-1).flip(-1)
    before = (weight * current).cumsum(-1).roll(1, -1)
    before[..., 0] = 0
    return torch.addcmul(weight * behind, ratio, before)


class _Drive(torch.autograd.Function):
    """u of loads g: ∂u = −A⁻¹ (u ∂g)."""

    @staticmethod
    def forward(ctx: Any, load: Tensor, own: Tensor, ratio: Tensor, drive: Tensor) -> Tensor:
        ctx.save_for_backward(own, ratio, drive)
        return drive.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        own, ratio, drive = ctx.saved_tensors
        return -drive * _solved(upstream, own, ratio), None, None, None


class _Solve(torch.autograd.Function):
    """x = A⁻¹ f: ∂x = A⁻¹ (∂f − x ∂g)."""

    @staticmethod
    def forward(ctx: Any, load: Tensor, current: Tensor, own: Tensor, ratio: Tensor) -> Tensor:
        voltage = _solved(current, own, ratio)
        ctx.save_for_backward(own, ratio, voltage)
        return voltage

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, None, None]:
        own, ratio, voltage = ctx.saved_tensors
        to_current = _solved(upstream, own, ratio)
        return -voltage * to_current, to_current, None, None
