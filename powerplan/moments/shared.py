"""The error of devices that serve several positions.

One device (i, j) read at positions p errs everywhere by the same amount. With A_pi the adjoint of column i at
position p and x_pj the value at row j, its error of variance V_ij moves a direction of the output by

    V_ij g_ij²,   g_ij = Σ_p A_pi E[x_pj],

the squared weight gradient of one input in one direction. The gradients are formed a block of columns at a time and
never kept: the backward pass forms them again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

#: most entries of the gradients formed at a time
_BLOCK_ENTRIES = 1 << 22


def shared_variance(adjoint: Tensor, rows: Tensor, variance: Tensor) -> Tensor:
    """Σ_ij V_ij g_ij², (B, K); differentiable once in every argument.

    Args:
        adjoint: A, (B, K, G, P, o).
        rows: E[x], (B, G, P, n).
        variance: V, (G, o, n) or (G, o, 1).
    """
    return _SharedVariance.apply(adjoint, rows, variance)  # type: ignore[no-untyped-call, no-any-return]


def shared_covariance(adjoint: Tensor, rows: Tensor, variance: Tensor) -> Tensor:
    """Σ_ij V_ij g_ij g′_ij between all directions, (B, K, K); arguments as for :func:`shared_variance`."""
    batch, directions = adjoint.shape[:2]
    total = adjoint.new_zeros(batch, directions, directions)
    for b in range(batch):
        for part in _blocks(adjoint, rows):
            gradient = _gradient(adjoint[b], rows[b], part)
            weighted = gradient * variance[part]
            total[b] += weighted.flatten(1) @ gradient.flatten(1).mT
    return total


class _SharedVariance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, adjoint: Tensor, rows: Tensor, variance: Tensor) -> Tensor:
        ctx.save_for_backward(adjoint, rows, variance)
        total = adjoint.new_zeros(adjoint.shape[:2])
        for b in range(len(adjoint)):
            for part in _blocks(adjoint, rows):
                gradient = _gradient(adjoint[b], rows[b], part)
                total[b] += gradient.square_().mul_(variance[part]).flatten(1).sum(1)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        adjoint, rows, variance = ctx.saved_tensors
        need_adjoint, need_rows, need_variance = ctx.needs_input_grad
        to_adjoint = torch.zeros_like(adjoint) if need_adjoint else None
        to_rows = torch.zeros_like(rows) if need_rows else None
        to_variance = torch.zeros_like(variance) if need_variance else None
        for b in range(len(adjoint)):
            factor = 2 * upstream[b].view(-1, 1, 1, 1)
            for part in _blocks(adjoint, rows):
                group, columns = part
                gradient = _gradient(adjoint[b], rows[b], part)
                if to_variance is not None:
                    squares = (gradient * gradient * (0.5 * factor)).sum(0)
                    to_variance[part] += squares if variance.shape[-1] > 1 else squares.sum(-1, keepdim=True)
                if to_adjoint is None and to_rows is None:
                    continue
                weighted = gradient.mul_(variance[part]).mul_(factor)
                if to_adjoint is not None:
                    to_adjoint[b][:, group, :, columns] += rows[b][group] @ weighted.mT
                if to_rows is not None:
                    to_rows[b][group] += (adjoint[b][:, group, :, columns] @ weighted).sum(0)
        return to_adjoint, to_rows, to_variance


def _gradient(adjoint: Tensor, rows: Tensor, part: tuple[slice, slice]) -> Tensor:
    """g of a block of columns of one input, (K, groups, columns, n)."""
    group, columns = part
    return adjoint[:, group, :, columns].mT @ rows[group]


def _blocks(adjoint: Tensor, rows: Tensor) -> Iterator[tuple[slice, slice]]:
    """(groups, columns) of blocks of gradients that are worked on at a time."""
    _, directions, groups, _, columns = adjoint.shape
    size = directions * columns * rows.shape[-1]
    if groups > 1:
        step = max(1, _BLOCK_ENTRIES // size)
        yield from ((slice(low, min(low + step, groups)), slice(0, columns)) for low in range(0, groups, step))
    else:
        step = max(1, _BLOCK_ENTRIES // (directions * rows.shape[-1]))
        yield from ((slice(0, 1), slice(low, min(low + step, columns))) for low in range(0, columns, step))
