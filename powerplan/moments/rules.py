"""What each digital operation does to Gaussian moments, and its transpose for adjoints.

An operation is replaced by its statistical linearisation: a linear map (``pull`` is its transpose) plus an
independent residual, such that mean and variance of its output are right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch

import numpy as np
import torch
from torch import Tensor

from powerplan.moments.activations import activation_rule
from powerplan.network.digital import constant
from powerplan.network.ops import Activation, Flatten, Op, Scale

#: (mean, covariance) of shapes (B, n) and (B, n, n), flat over the node's axes
Joint = tuple[Tensor, Tensor]

#: Hermite terms carried in covariances; the rest of each variance is kept as independent
HERMITE_ORDER = 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Linearized:
    """A digital operation at given input moments.

    Attributes:
        mean, variance: of the output, (B, *shape).
        pull: adjoints of the output (B or 1, K, *shape) to adjoints of every input (B or 1, K, *input shape).
        push: perturbations (B or 1, R, *input shape) of every input to those of the output (B or 1, R, *shape).
        residual: variance of the independent residual, (B, *shape); None if the operation is linear.
        first_order: the operation has no Gaussian formula and was taken at the mean.
    """

    mean: Tensor
    variance: Tensor
    pull: Callable[[Tensor], tuple[Tensor, ...]]
    push: Callable[..., Tensor]
    residual: Tensor | None = None
    first_order: bool = False


@singledispatch
def linearize(op: Op, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    """The statistical linearisation of a digital operation for independent Gaussian inputs, each (B, *shape)."""
    raise NotImplementedError(f"no moment rule for {op.type}")


@singledispatch
def propagate(op: Op, mean: Tensor, covariance: Tensor) -> Joint:
    """Mean (B, n) and covariance (B, n, n) of a digital operation's output for a joint Gaussian input."""
    raise NotImplementedError(f"no covariance rule for {op.type}")


@linearize.register
def _(op: Activation, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    (mean,), (variance,) = means, variances
    moments = activation_rule(op).moments(mean, variance)
    slope = moments.slope.unsqueeze(1)
    return Linearized(
        mean=moments.mean,
        variance=moments.variance,
        pull=lambda adjoint: (adjoint * slope,),
        push=lambda perturbation: perturbation * slope,
        residual=(moments.variance - moments.slope * moments.slope * variance).clamp(min=0),
    )


@propagate.register
def _(op: Activation, mean: Tensor, covariance: Tensor) -> Joint:
    rule = activation_rule(op)
    variance = covariance.diagonal(dim1=-2, dim2=-1)
    moments = rule.moments(mean, variance)
    std = torch.where(variance > 0, variance, torch.ones_like(variance)).sqrt()
    correlation = (covariance / (std.unsqueeze(-1) * std.unsqueeze(-2))).clamp(-1, 1)
    power = torch.ones_like(correlation)
    result = torch.zeros_like(covariance)
    kept = torch.zeros_like(variance)
    factorial = 1.0
    for k, a in enumerate(rule.hermite(mean, variance, HERMITE_ORDER), start=1):
        # every term is a Schur product of positive semidefinite matrices: the sum stays one
        factorial *= k
        power = power * correlation
        result = result + (a.unsqueeze(-1) * a.unsqueeze(-2)) * power / factorial
        kept = kept + a**2 / factorial
    rest = (moments.variance - kept).clamp(min=0)
    diagonal = result.diagonal(dim1=-2, dim2=-1)
    return moments.mean, result + torch.diag_embed(kept + rest - diagonal)


@linearize.register
def _(op: Flatten, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    (mean,), (variance,) = means, variances
    shape = mean.shape[1:]
    return Linearized(
        mean=mean.flatten(1),
        variance=variance.flatten(1),
        pull=lambda adjoint: (adjoint.reshape(*adjoint.shape[:2], *shape),),
        push=lambda perturbation: perturbation.flatten(2),
    )


@propagate.register
def _(op: Flatten, mean: Tensor, covariance: Tensor) -> Joint:
    return mean, covariance


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


@propagate.register
def _(op: Scale, mean: Tensor, covariance: Tensor) -> Joint:
    repeat = mean.shape[-1] // op.scale.shape[0]
    scale = torch.tensor(np.repeat(op.scale, repeat), dtype=mean.dtype, device=mean.device)
    shift = torch.tensor(np.repeat(op.shift, repeat), dtype=mean.dtype, device=mean.device)
    return mean * scale + shift, covariance * scale.unsqueeze(-1) * scale
