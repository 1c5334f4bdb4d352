"""Joint moments through digital operations: what their covariance has beyond the linear part J Σ Jᵀ.

For jointly Gaussian inputs of covariance Σ:

    activations    Σ_{k≥2} a_k a_k′ ρ^k/k! and, on the diagonal, the rest of the series          (Mehler)
    products xy    mean + C_xy;  V_x V_y + C_xy C_yx, summed over the terms of a matrix product   (Isserlis)
    others         the residual of their rule, on the diagonal
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch

import torch
from torch import Tensor

from powerplan.moments.rules.activations import ActivationMoments, activation_rule
from powerplan.moments.rules.linearized import Linearized, flat_entries
from powerplan.network.digital import digital
from powerplan.network.ops import Activation, Function, MatMul, Multiply, Op

#: Hermite terms carried in covariances; the rest of each variance is kept as independent
HERMITE_ORDER = 6

#: covariance (B, n_i, n_j) of two inputs of an operation, flat over their axes
Blocks = Callable[[int, int], Tensor]


@singledispatch
def beyond_linear(
    op: Op, step: Linearized, means: Sequence[Tensor], blocks: Blocks
) -> tuple[Tensor | None, Tensor | None]:
    """What joint Gaussian inputs add to a digital operation's linear part.

    Args:
        step: its linearisation at the marginal moments.
        means: of the inputs, (B, *shape).
        blocks: covariances of the inputs.

    Returns:
        The mean (B, *shape) if it is not that of the linearisation, and the covariance (B, n, n) to add.
    """
    return None, None if step.residual is None else torch.diag_embed(flat_entries(step.residual, 1))


@beyond_linear.register(Activation)
@beyond_linear.register(Function)
def _(
    op: Activation | Function, step: Linearized, means: Sequence[Tensor], blocks: Blocks
) -> tuple[Tensor | None, Tensor | None]:
    if isinstance(op, Function) and not op.of_one_value:
        return None, None
    covariance = blocks(0, 0)
    moments, joint = propagate(op, flat_entries(means[0], 1), covariance)
    return None, joint - moments.slope.unsqueeze(-1) * covariance * moments.slope.unsqueeze(-2)


def propagate(op: Activation | Function, mean: Tensor, covariance: Tensor) -> tuple[ActivationMoments, Tensor]:
    """Moments (B, n) and covariance (B, n, n) of an activation for a joint Gaussian input (B, n), (B, n, n)."""
    rule = activation_rule(op)
    variance = covariance.diagonal(dim1=-2, dim2=-1)
    moments = rule.moments(mean, variance)
    std = torch.where(variance > 0, variance, torch.ones_like(variance)).sqrt()
    correlation = (covariance / (std.unsqueeze(-1) * std.unsqueeze(-2))).clamp(-1, 1)
    power = torch.ones_like(correlation)
    result = torch.zeros_like(covariance)
    expanded = torch.zeros_like(variance)
    factorial = 1.0
    for k, a in enumerate(rule.hermite(mean, variance, HERMITE_ORDER), start=1):
        # every term is a Schur product of positive semidefinite matrices: the sum stays one
        factorial *= k
        power = power * correlation
        result = result + (a.unsqueeze(-1) * a.unsqueeze(-2)) * power / factorial
        expanded = expanded + a**2 / factorial
    rest = (moments.variance - expanded).clamp(min=0)
    diagonal = result.diagonal(dim1=-2, dim2=-1)
    return moments, result + torch.diag_embed(expanded + rest - diagonal)


@beyond_linear.register
def _(op: Multiply, step: Linearized, means: Sequence[Tensor], blocks: Blocks) -> tuple[Tensor | None, Tensor | None]:
    shape = op.output_shape(tuple(tuple(m.shape[1:]) for m in means))
    x, y = (_places(m, shape).flatten() for m in means)
    joint = _picked(blocks(0, 1), x, y)
    own = _picked(blocks(0, 0), x, x) * _picked(blocks(1, 1), y, y) + joint * joint.mT
    mean = digital(op, *means) + joint.diagonal(dim1=-2, dim2=-1).reshape(-1, *shape)
    return mean, own


@beyond_linear.register
def _(op: MatMul, step: Linearized, means: Sequence[Tensor], blocks: Blocks) -> tuple[Tensor | None, Tensor | None]:
    shape = op.output_shape(tuple(tuple(m.shape[1:]) for m in means))
    left, right = means
    lead = shape[:-2]
    # axes (lead, i, k) and (lead, k, j), the leading ones as one
    x = _places(left, (*lead, *left.shape[-2:])).reshape(-1, *left.shape[-2:])
    y = _places(right, (*lead, *right.shape[-2:])).reshape(-1, *right.shape[-2:])

    def block(i: int, j: int, a: Tensor, b: Tensor) -> Tensor:
        return _picked(blocks(i, j), a.flatten(), b.flatten()).reshape(-1, *a.shape, *b.shape)

    joint = block(0, 1, x, y)  # (B, l, i, k, m, q, j)
    own = torch.einsum("bliknpq,blkjnqr->bljinrp", block(0, 0, x, x), block(1, 1, y, y))
    own = own + torch.einsum("bliknqr,bnpqlkj->bljinrp", joint, joint)
    own = own.permute(0, 1, 3, 2, 4, 6, 5).flatten(4).flatten(1, 3)
    shift = torch.einsum("bliklkj->blij", joint)
    return digital(op, *means) + shift.reshape(shift.shape[0], *shape), own


def _places(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Flat place in a value (B, *shape) of every entry of the shape that it broadcasts to."""
    inner = value.shape[1:]
    return torch.arange(inner.numel(), device=value.device).reshape(inner).expand(shape)


def _picked(block: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    return block.index_select(1, rows).index_select(2, columns)
