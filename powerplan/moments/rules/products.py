"""Moment rules of products of values: gates and attention.

For independent x and y:  E[xy] = E x E y,  Var xy = (E x)² Var y + (E y)² Var x + Var x Var y; the slope in each
is the other's mean and the last term is the residual. A matrix product sums such terms. If both are the same
Gaussian, x²:  E = μ² + v,  Var = 4μ²v + 2v²; the slopes, μ for each of the two, stay.

Values that are neither the same nor independent (queries and keys of the same tokens) are taken as independent
here: what correlates them is carried by the adjoints, but the shift of the mean, Cov(x, y), is not.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from powerplan.moments.rules.elementwise import fold, lined_up
from powerplan.moments.rules.linearize import linearize
from powerplan.moments.rules.linearized import Linearized
from powerplan.network.digital import aligned
from powerplan.network.ops import MatMul, Multiply


@linearize.register
def _(op: Multiply, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    shapes = [tuple(m.shape[1:]) for m in means]
    x, y = aligned(*means)
    vx, vy = aligned(*variances)
    mean, residual = x * y, vx * vy
    variance = x * x * vy + y * y * vx
    if means[0] is means[1]:
        mean, variance, residual = mean + vx, 2 * variance, 2 * residual

    def pull(adjoint: Tensor) -> tuple[Tensor, ...]:
        return fold(adjoint * y.unsqueeze(1), shapes[0]), fold(adjoint * x.unsqueeze(1), shapes[1])

    def push(left: Tensor, right: Tensor) -> Tensor:
        left, right = lined_up((left, right), 2)
        return left * y.unsqueeze(1) + right * x.unsqueeze(1)

    return Linearized(mean=mean, variance=variance + residual, pull=pull, push=push, residual=residual)


@linearize.register
def _(op: MatMul, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    shapes = [tuple(m.shape[1:]) for m in means]
    x, y = aligned(*means)
    vx, vy = aligned(*variances)
    mean, residual = x @ y, vx @ vy
    variance = (x * x) @ vy + vx @ (y * y)
    if means[0] is means[1]:
        # (x x)_ij = Σ_k x_ik x_kj: x_ij meets itself in k = i and k = j, x_ii is squared
        on_diagonal = torch.diagonal(x, dim1=-2, dim2=-1)
        own = torch.diagonal(vx, dim1=-2, dim2=-1)
        mean = mean + torch.diag_embed(own)
        residual = residual + torch.diag_embed(own * own)
        variance = variance + 2 * on_diagonal.unsqueeze(-1) * on_diagonal.unsqueeze(-2) * vx

    def pull(adjoint: Tensor) -> tuple[Tensor, ...]:
        to_left, to_right = adjoint @ y.mT.unsqueeze(1), x.mT.unsqueeze(1) @ adjoint
        return fold(to_left, shapes[0]), fold(to_right, shapes[1])

    def push(left: Tensor, right: Tensor) -> Tensor:
        left, right = lined_up((left, right), 2)
        return left @ y.unsqueeze(1) + x.unsqueeze(1) @ right

    return Linearized(mean=mean, variance=variance + residual, pull=pull, push=push, residual=residual)
