"""Moment rules of functions of one value, scales and sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from powerplan.moments.rules.activations import activation_rule
from powerplan.moments.rules.jacobian import at_the_mean
from powerplan.moments.rules.linearize import linearize
from powerplan.moments.rules.linearized import Linearized, residual_of
from powerplan.network.digital import aligned, constant
from powerplan.network.ops import Activation, Add, Function, Scale


@linearize.register
def _(op: Function, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    return _of_one_value(op, means, variances) if op.of_one_value else at_the_mean(op, means, variances)


@linearize.register(Activation)
def _of_one_value(op: Activation | Function, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    (mean,), (variance,) = means, variances
    moments = activation_rule(op).moments(mean, variance)
    residual = residual_of(moments.variance, moments.slope * moments.slope * variance)
    return Linearized.elementwise(moments.mean, moments.variance, moments.slope, residual)


@linearize.register
def _(op: Scale, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    (mean,), (variance,) = means, variances
    view = op.view(tuple(mean.shape[1:]))
    scale, shift = (constant(array, mean).view(view) for array in (op.scale, op.shift))
    return Linearized(
        mean=mean * scale + shift,
        variance=variance * scale**2,
        pull=lambda adjoint: (adjoint * scale,),
        push=lambda perturbation: perturbation * scale,
    )


@linearize.register
def _(op: Add, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    shapes = [tuple(m.shape[1:]) for m in means]
    shape = np.broadcast_shapes(*shapes)
    # the same value n times has n² its variance, independent values add theirs
    times = {id(m): sum(other is m for other in means) for m in means}
    spreads = {id(m): times[id(m)] ** 2 * v for m, v in zip(means, variances, strict=True)}
    mean, variance = total(means), total(list(spreads.values()))
    rows = np.broadcast_shapes(mean.shape[:1], variance.shape[:1])
    return Linearized(
        mean=mean,
        variance=variance.expand(*rows, *shape),
        pull=lambda adjoint: tuple(fold(adjoint, s) for s in shapes),
        push=lambda *perturbations: total(perturbations, lead=2).expand(-1, -1, *shape),
    )


def total(values: Sequence[Tensor], lead: int = 1) -> Tensor:
    """Sum of values with ``lead`` leading axes; their other axes broadcast from the right."""
    first, *rest = lined_up(values, lead)
    for value in rest:
        first = first + value
    return first


def lined_up(values: Sequence[Tensor], lead: int) -> tuple[Tensor, ...]:
    """Values with axes of size 1 put behind the leading ones, so that all have as many axes."""
    if lead == 1:
        return aligned(*values)
    axes = max(value.dim() for value in values)
    return tuple(v.reshape(*v.shape[:lead], *(1,) * (axes - v.dim()), *v.shape[lead:]) for v in values)


def fold(adjoint: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Transpose of broadcasting ``shape``: the adjoint (B, K, *broadcast shape) summed to (B, K, *shape)."""
    extra = adjoint.dim() - 2 - len(shape)
    if extra:
        adjoint = adjoint.sum(tuple(range(2, 2 + extra)))
    stretched = tuple(i + 2 for i, n in enumerate(shape) if n == 1 and adjoint.shape[i + 2] != 1)
    return adjoint.sum(stretched, keepdim=True) if stretched else adjoint
