"""Moment rules of softmax and its logarithm: the Jacobian at the mean.

    p_i:      J_ij = p_i (δ_ij − p_j),     Σ_j J_ij² v_j = p_i² (v_i (1 − 2p_i) + Σ_j p_j² v_j),
    log p_i:  J_ij = δ_ij − p_j,           Σ_j J_ij² v_j = v_i (1 − 2p_i) + Σ_j p_j² v_j.

First order on purpose: second-order means for independent noise overshoot in attention, where the noise of a row of
scores is mostly common to all of them and cancels.

Why: docs/decisions/moments.md [0160].
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from powerplan.moments.rules.linearize import linearize
from powerplan.moments.rules.linearized import Linearized
from powerplan.network.ops import Softmax


@linearize.register
def _(op: Softmax, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    (x,), (v,) = means, variances
    axis = op.axis % (x.dim() - 1) - (x.dim() - 1)  # counted from the end
    p = x.softmax(axis)
    weight = p.unsqueeze(1)
    spread = (v * (1 - 2 * p) + (p * p * v).sum(axis, keepdim=True)).clamp(min=0)

    def centred(perturbation: Tensor) -> Tensor:
        return perturbation - (weight * perturbation).sum(axis, keepdim=True)

    if op.logarithm:
        return Linearized(
            mean=x.log_softmax(axis),
            variance=spread,
            pull=lambda adjoint: (adjoint - weight * adjoint.sum(axis, keepdim=True),),
            push=centred,
            first_order=True,
        )
    return Linearized(
        mean=p,
        variance=p * p * spread,
        pull=lambda adjoint: (weight * centred(adjoint),),
        push=lambda perturbation: weight * centred(perturbation),
        first_order=True,
    )
