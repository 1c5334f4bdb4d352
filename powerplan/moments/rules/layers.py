"""Moment rules of digital layers: linear and without noise, z = W x + b, so that Var z = W² Var x."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from powerplan.moments.rules.linearize import linearize
from powerplan.moments.rules.linearized import Linearized, over_batch
from powerplan.network.array_maps import array_map
from powerplan.network.digital import constant, digital
from powerplan.network.ops import DigitalLayer


@linearize.register
def _(op: DigitalLayer, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    (mean,), (variance,) = means, variances
    maps = array_map(op.layer, tuple(mean.shape[1:]))
    weight = constant(op.layer.matrix, mean)
    return Linearized(
        mean=digital(op, mean),
        variance=maps.apply(variance, weight**2),
        pull=lambda adjoint: (over_batch(lambda a: maps.pull(a, weight), adjoint),),
        push=lambda perturbation: over_batch(lambda x: maps.apply(x, weight), perturbation),
    )
