"""The error of devices that serve several positions.

One device (i, j) read at positions p errs everywhere by the same amount. With A_pi the adjoint of column i at
position p and x_pj the value at row j, its error of variance V_ij moves a direction of the output by

    V_ij g_ij²,   g_ij = Σ_p A_pi E[x_pj],

the squared weight gradient of one input in one direction. The gradients are formed a block of columns at a time and
never kept: the backward pass forms them again. Where V is the same in all rows, and positions are few beside rows and
columns, products between positions say the same for less; where positions are few beside directions, also for any V:

    Σ_ij V_ij g_ij² = Σ_i Σ_pq A_pi A_qi C_ipq,     C_ipq = Σ_j V_ij E[x_pj] E[x_qj].

Why: docs/decisions/moments.md [0091].
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from powerplan.network.array_maps import ArrayMap

#: most entries of the gradients formed at a time: they are squared while they are in the cache
_BLOCK_ENTRIES = 1 << 19
#: multiplications in matrix products that take as long as an entry of a gradient, which is formed and squared
_ENTRY_COST = 16


def shared_variance(adjoint: Tensor, rows: Tensor, variance: Tensor) -> Tensor:
    """Σ_ij V_ij g_ij², (B, K); differentiable once in every argument.

    Args:
        adjoint: A, (B, K, G, P, o).
        rows: E[x], (B, G, P, n).
        variance: V, (G, o, n) or (G, o, 1).
    """
    if variance.shape[-1] == 1 and positions_are_fewer(adjoint.shape[-1], rows.shape[-1], rows.shape[-2]):
        # Σ_pq (Σ_i A_pi V_i A_qi) (Σ_j x_pj x_qj): no gradient is formed
        of_columns = (adjoint * variance.mT) @ adjoint.mT
        return (of_columns * (rows @ rows.mT).unsqueeze(1)).flatten(2).sum(-1)
    if _positions_are_few(adjoint, variance):
        columns = adjoint.permute(0, 2, 4, 1, 3)  # (B, G, o, K, P)
        return (columns @ _between_positions(rows, variance) * columns).sum((1, 2, 4))
    return _Shared.apply(adjoint, rows, variance, False)  # type: ignore[no-untyped-call, no-any-return]


def shared_covariance(adjoint: Tensor, rows: Tensor, variance: Tensor) -> Tensor:
    """Σ_ij V_ij g_ij g′_ij between all directions, (B, K, K); else as :func:`shared_variance`."""
    if _positions_are_few(adjoint, variance):
        columns = adjoint.permute(0, 2, 4, 1, 3)
        weighted = columns @ _between_positions(rows, variance)
        weighted, columns = (value.permute(0, 3, 1, 2, 4).flatten(2) for value in (weighted, columns))
        return weighted @ columns.mT
    return _Shared.apply(adjoint, rows, variance, True)  # type: ignore[no-untyped-call, no-any-return]


def positions_are_fewer(outputs: int, rows: int, positions: int) -> bool:
    """True if products between positions cost less than products of outputs and rows."""
    return positions * (outputs + rows) < outputs * rows


def _positions_are_few(adjoint: Tensor, variance: Tensor) -> bool:
    """True if products of all positions cost less than a gradient for every direction."""
    _, directions, _, positions, outputs = adjoint.shape
    formed = _ENTRY_COST / outputs if variance.shape[-1] > 1 else 0.0  # once for all outputs
    return positions**2 * (1 + formed) <= directions * (positions + _ENTRY_COST)


def _between_positions(rows: Tensor, variance: Tensor) -> Tensor:
    """C (B, G, o, P, P) of columns, from their rows (B, G, P, n)."""
    batch, groups, positions, n = rows.shape
    if variance.shape[-1] == 1:
        return variance.unsqueeze(-1) * (rows @ rows.mT).unsqueeze(2)
    products = (rows.unsqueeze(3) * rows.unsqueeze(2)).transpose(0, 1).reshape(groups, -1, n)
    return (products @ variance.mT).view(groups, batch, positions, positions, -1).permute(1, 0, 4, 2, 3)


def by_group(map: ArrayMap, variance: Tensor) -> Tensor:
    """Variances that broadcast to (n_out, n_in) by group, (G, o, n) or (G, o, 1)."""
    full = variance.expand(map.n_out, variance.shape[-1] if variance.dim() else 1)
    return full.reshape(map.groups, -1, full.shape[-1])


class _Shared(torch.autograd.Function):
    """Σ_ij V_ij g_ij² of every direction, (B, K), or ``joint`` between all directions, (B, K, K)."""

    @staticmethod
    def forward(ctx: Any, adjoint: Tensor, rows: Tensor, variance: Tensor, joint: bool) -> Tensor:
        ctx.save_for_backward(adjoint, rows, variance)
        batch, directions = adjoint.shape[:2]
        total = adjoint.new_zeros(batch, directions, *(directions,) * joint)
        for inputs, group, columns in _blocks(adjoint, rows):
            gradient = _gradient(adjoint[inputs, :, group, :, columns], rows[inputs, group])
            own = variance[group, columns]
            if joint:
                scaled = gradient.mul_(own.sqrt().unsqueeze(1)).flatten(3)
                total[inputs] += (scaled @ scaled.mT).sum(1)
            else:
                weights = own.expand(*own.shape[:2], gradient.shape[-1]).reshape(len(own), -1, 1)
                total[inputs] += (gradient.square_().flatten(3) @ weights).sum((1, 3))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        adjoint, rows, variance = ctx.saved_tensors
        need_adjoint, need_rows, need_variance, _ = ctx.needs_input_grad
        to_adjoint = torch.zeros_like(adjoint) if need_adjoint else None
        to_rows = torch.zeros_like(rows) if need_rows else None
        to_variance = torch.zeros_like(variance) if need_variance else None
        for inputs, group, columns in _blocks(adjoint, rows):
            of_columns, of_rows = adjoint[inputs, :, group, :, columns], rows[inputs, group]
            gradient = _gradient(of_columns, of_rows)
            pulled = _pulled(upstream[inputs], gradient)
            if to_variance is not None:
                squares = 0.5 * (gradient * pulled).sum((0, 2))
                to_variance[group, columns] += squares if variance.shape[-1] > 1 else squares.sum(-1, keepdim=True)
            if to_adjoint is None and to_rows is None:
                continue
            weighted = pulled.mul_(variance[group, columns].unsqueeze(1))
            if to_adjoint is not None:
                moved = weighted.flatten(2, 3) @ of_rows.mT  # (b, g, K o, P)
                by_direction = moved.view(*weighted.shape[:4], -1).permute(0, 2, 1, 4, 3)
                to_adjoint[inputs, :, group, :, columns] += by_direction
            if to_rows is not None:
                to_rows[inputs, group] += _folded(of_columns).mT @ weighted.flatten(2, 3)
        return to_adjoint, to_rows, to_variance, None


def _pulled(upstream: Tensor, gradient: Tensor) -> Tensor:
    """What a gradient (b, g, K, columns, n) passes back to itself per unit of V, from directions (b, K) or pairs
    (b, K, K)."""
    if upstream.dim() == 2:
        return gradient * (2 * upstream[:, None, :, None, None])
    return ((upstream + upstream.mT).unsqueeze(1) @ gradient.flatten(3)).view_as(gradient)


def _folded(adjoint: Tensor) -> Tensor:
    """Adjoints (b, K, g, P, columns), directions and columns as one axis, (b, g, K·columns, P)."""
    return adjoint.permute(0, 2, 1, 4, 3).flatten(2, 3)


def _gradient(adjoint: Tensor, rows: Tensor) -> Tensor:
    """g of a block of columns with adjoints (b, K, g, P, columns), (b, g, K, columns, n): one matrix product for all
    directions."""
    gradient = _folded(adjoint) @ rows
    return gradient.view(*gradient.shape[:2], adjoint.shape[1], -1, gradient.shape[-1])


def _blocks(adjoint: Tensor, rows: Tensor) -> Iterator[tuple[slice, slice, slice]]:
    """(inputs, groups, columns) of blocks of gradients that are worked on at a time."""
    batch, directions, groups, _, columns = adjoint.shape
    row = directions * rows.shape[-1]
    sizes = (batch, groups * columns * row), (groups, columns * row), (columns, row)
    if sizes[0][1] <= _BLOCK_ENTRIES:
        yield from ((part, slice(0, groups), slice(0, columns)) for part in _steps(*sizes[0]))
        return
    for b in range(batch):
        if groups > 1:
            yield from ((slice(b, b + 1), part, slice(0, columns)) for part in _steps(*sizes[1]))
        else:
            yield from ((slice(b, b + 1), slice(0, 1), part) for part in _steps(*sizes[2]))


def _steps(count: int, size: int) -> Iterator[slice]:
    """So many things of this size each, in blocks."""
    step = max(1, _BLOCK_ENTRIES // size)
    yield from (slice(low, min(low + step, count)) for low in range(0, count, step))
