"""Moment rules of averages and interpolation: one small matrix along each axis.

Average pooling, means over axes and interpolation are y = (M₁ ⊗ M₂ ⊗ ...) x with a matrix (outputs, inputs) along
every axis. The variance of independent entries goes through the squared matrices, adjoints through the transposes;
edges, padding and partial windows are in the matrices, which are read off the operation itself.

Why: docs/decisions/moments.md [0164].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from powerplan.moments.rules.linearize import linearize
from powerplan.moments.rules.linearized import Linearized
from powerplan.network.digital import digital
from powerplan.network.ops import AdaptiveAveragePool, AveragePool, Mean, Op, Upsample

#: (axis of the value without batch, matrix (outputs, inputs))
AxisMatrix = tuple[int, Tensor]


def _along(x: Tensor, matrices: Sequence[AxisMatrix], lead: int) -> Tensor:
    """x (*lead axes, *shape) with every matrix applied along its axis."""
    for axis, matrix in matrices:
        x = (x.movedim(axis + lead, -1) @ matrix.T).movedim(-1, axis + lead)
    return x


def _separable(op: Op, mean: Tensor, variance: Tensor, matrices: Sequence[AxisMatrix]) -> Linearized:
    output = digital(op, mean)
    shape, inner = output.shape[1:], list(mean.shape[1:])
    for axis, matrix in matrices:
        inner[axis] = len(matrix)  # what comes out before averaged axes are dropped
    transposed = [(axis, matrix.T) for axis, matrix in matrices]

    def pull(adjoint: Tensor) -> tuple[Tensor, ...]:
        return (_along(adjoint.reshape(*adjoint.shape[:2], *inner), transposed, 2),)

    def push(perturbation: Tensor) -> Tensor:
        return _along(perturbation, matrices, 2).reshape(*perturbation.shape[:2], *shape)

    squared = [(axis, matrix * matrix) for axis, matrix in matrices]
    spread = _along(variance, squared, 1).reshape(variance.shape[0], *shape)
    return Linearized(mean=output, variance=spread, pull=pull, push=push)


def _unit_signals(size: int, like: Tensor) -> Tensor:
    """(size, 1, size): one input with a single 1 for every entry of an axis."""
    return torch.eye(size, dtype=like.dtype, device=like.device).unsqueeze(1)


@linearize.register
def _(op: AveragePool, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    (mean,), (variance,) = means, variances
    assert op.stride is not None
    assert op.padding is not None
    matrices = []
    for axis, (kernel, stride, padding) in enumerate(zip(op.kernel, op.stride, op.padding, strict=True), start=1):
        units = _unit_signals(mean.shape[axis + 1], mean)
        pooled = F.avg_pool1d(units, kernel, stride, padding, op.ceil_mode, op.count_include_pad)
        matrices.append((axis, pooled[:, 0].T))
    return _separable(op, mean, variance, matrices)


@linearize.register
def _(op: AdaptiveAveragePool, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    (mean,), (variance,) = means, variances
    matrices = [
        (axis, F.adaptive_avg_pool1d(_unit_signals(mean.shape[axis + 1], mean), size)[:, 0].T)
        for axis, size in enumerate(op.size, start=1)
    ]
    return _separable(op, mean, variance, matrices)


@linearize.register
def _(op: Mean, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    (mean,), (variance,) = means, variances
    shape = tuple(mean.shape[1:])
    matrices = [(axis, mean.new_full((1, shape[axis]), 1 / shape[axis])) for axis in op.resolved(shape)]
    return _separable(op, mean, variance, matrices)


@linearize.register
def _(op: Upsample, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    (mean,), (variance,) = means, variances
    matrices = []
    for axis, size in enumerate(op.size, start=1):
        units = _unit_signals(mean.shape[axis + 1], mean)
        if op.mode == "bicubic":
            fine = F.interpolate(
                units.unsqueeze(2), size=(1, size), mode="bicubic", align_corners=op.align_corners
            ).squeeze(2)
        elif op.mode == "nearest":
            fine = F.interpolate(units, size=size, mode="nearest")
        else:
            fine = F.interpolate(units, size=size, mode="linear", align_corners=op.align_corners)
        matrices.append((axis, fine[:, 0].T))
    return _separable(op, mean, variance, matrices)
