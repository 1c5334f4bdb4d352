"""Moment rules of layer, group and RMS norms: the Jacobian at the mean, with the expected variance in the denominator.

With ŷ = (x − m)/√D over n entries:

    J_ij = (δ_ij − 1/n − ŷ_i ŷ_j/n)/√D,     Σ_j J_ij² v_j = (v_i (1 − 2(1 + ŷ_i²)/n) + Σ_j (1 + ŷ_i ŷ_j)² v_j/n²)/D.

Noise of variance v adds (1 − 1/n) Σ v/n to the expected variance in the denominator D. This matters (it shrinks
outputs and slopes) and is all that is left of second order in wide layers.

An RMS norm takes no mean off: m = 0, no 1/n in J, Σ v/n is added to D, and 1 + ŷ_i ŷ_j is ŷ_i ŷ_j.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from powerplan.moments.rules.linearize import linearize
from powerplan.moments.rules.linearized import Linearized
from powerplan.network.digital import constant
from powerplan.network.ops import GroupNorm, LayerNorm, RMSNorm


@linearize.register(LayerNorm)
@linearize.register(RMSNorm)
def _(op: LayerNorm | RMSNorm, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    (mean,), (variance,) = means, variances
    inner = mean.shape[-op.axes :]
    scale, shift = (
        mean.new_full(inner, default) if array is None else constant(array, mean)
        for array, default in ((op.weight, 1.0), (op.bias, 0.0))
    )
    return _norm(
        mean, variance, scale, shift, op.epsilon, lambda x: x.flatten(-op.axes), centred=isinstance(op, LayerNorm)
    )


@linearize.register
def _(op: GroupNorm, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    (mean,), (variance,) = means, variances
    view = (-1, *(1,) * (mean.dim() - 2))
    scale, shift = (
        mean.new_full((mean.shape[1],), default).view(view) if array is None else constant(array, mean).view(view)
        for array, default in ((op.weight, 1.0), (op.bias, 0.0))
    )
    axis = 1 - mean.dim()  # of the channels, counted from the end

    def rows(x: Tensor) -> Tensor:
        return x.reshape(*x.shape[:axis], op.groups, -1)

    return _norm(mean, variance, scale, shift, op.epsilon, rows, centred=True)


def _norm(
    mean: Tensor,
    variance: Tensor,
    scale: Tensor,
    shift: Tensor,
    epsilon: float,
    rows: Callable[[Tensor], Tensor],
    *,
    centred: bool,
) -> Linearized:
    """A norm over the last axis of ``rows(x)``; ``scale`` and ``shift`` broadcast to the value (*shape).

    ``centred`` says that the mean is taken off.
    """
    x, v = rows(mean), rows(variance)
    n = x.shape[-1]
    one = 1.0 if centred else 0.0
    x = x - one * x.mean(-1, keepdim=True)
    mean_square = (x * x).mean(-1, keepdim=True) + (1 - one / n) * v.mean(-1, keepdim=True) + epsilon
    inverse = torch.where(mean_square > 0, mean_square, torch.ones_like(mean_square)).rsqrt()
    unit = x * inverse
    sums = [(unit**k * v).sum(-1, keepdim=True) for k in range(3)]
    together = one * (sums[0] + 2 * unit * sums[1]) + unit * unit * sums[2]
    spread = v * (1 - 2 * (one + unit * unit) / n) + together / n**2
    spread = (spread * inverse * inverse).clamp(min=0)

    def jacobian(x: Tensor) -> Tensor:  # symmetric; x (B, K, *shape)
        wide, y = rows(x), unit.unsqueeze(1)
        wide = wide - one * wide.mean(-1, keepdim=True) - y * (y * wide).mean(-1, keepdim=True)
        return (wide * inverse.unsqueeze(1)).reshape(wide.shape[0], *x.shape[1:])

    return Linearized(
        mean=unit.reshape(mean.shape) * scale + shift,
        variance=spread.reshape(mean.shape) * scale * scale,
        pull=lambda adjoint: (jacobian(adjoint * scale),),
        push=lambda perturbation: jacobian(perturbation) * scale,
        first_order=True,
    )
