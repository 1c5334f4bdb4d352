"""Joint moments through digital operations: mean and full covariance, flat over a node's axes."""

from __future__ import annotations

from functools import singledispatch

import numpy as np
import torch
from torch import Tensor

from powerplan.moments.activations import activation_rule
from powerplan.network.ops import Activation, Flatten, Op, Scale

#: (mean, covariance) of shapes (B, n) and (B, n, n), flat over the node's axes
Joint = tuple[Tensor, Tensor]

#: Hermite terms carried in covariances; the rest of each variance is kept as independent
HERMITE_ORDER = 6


@singledispatch
def propagate(op: Op, mean: Tensor, covariance: Tensor) -> Joint:
    """Mean (B, n) and covariance (B, n, n) of a digital operation's output for a joint Gaussian input."""
    raise NotImplementedError(f"no covariance rule for {op.type}")


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


@propagate.register
def _(op: Flatten, mean: Tensor, covariance: Tensor) -> Joint:
    return mean, covariance


@propagate.register
def _(op: Scale, mean: Tensor, covariance: Tensor) -> Joint:
    repeat = mean.shape[-1] // op.scale.shape[0]
    scale = torch.tensor(np.repeat(op.scale, repeat), dtype=mean.dtype, device=mean.device)
    shift = torch.tensor(np.repeat(op.shift, repeat), dtype=mean.dtype, device=mean.device)
    return mean * scale + shift, covariance * scale.unsqueeze(-1) * scale
