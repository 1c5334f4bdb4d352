"""One pass of moments through a network, recorded so that adjoints can be pulled back through it.

Both forward passes leave the same record: at every crossbar the mean input, the injected variances and the
power; at every digital operation its linearisation. ``mean_field`` carries marginal variances (activations
taken as independent); ``full_covariance`` carries the joint covariance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from powerplan.moments.crossbar import CrossbarMoments, Injected
from powerplan.moments.rules import Linearized, linearize, propagate
from powerplan.network.graph import INPUT, Network


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossbarTrace:
    """What one crossbar did: moments (B, n) of its input and output, injected variances, power [W]."""

    moments: CrossbarMoments
    input_mean: Tensor
    mean: Tensor
    variance: Tensor
    covariance: Tensor | None
    injected: Injected
    array_power: Tensor
    tia_power: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """A forward pass: crossbars and digital operations by node name, and the output's moments (B, K)."""

    crossbars: Mapping[str, CrossbarTrace]
    digital: Mapping[str, Linearized]
    output_mean: Tensor
    output_variance: Tensor
    output_covariance: Tensor | None


def mean_field(network: Network, crossbars: Sequence[CrossbarMoments], inputs: Tensor) -> Trace:
    """Mean and marginal variance of every node for inputs (B, *shape), activations taken as independent."""
    known = {c.crossbar.name: c for c in crossbars}
    values: dict[str, tuple[Tensor, Tensor]] = {INPUT: (inputs, torch.zeros_like(inputs))}
    arrays: dict[str, CrossbarTrace] = {}
    digital: dict[str, Linearized] = {}
    for node in network.nodes:
        mean, variance = values[node.inputs[0]]
        if node.op.is_crossbar:
            moments = known[node.name]
            first = moments.mean(mean)
            square = mean * mean + variance
            injected = moments.injected(square)
            spread = injected.total
            if node.inputs[0] != INPUT or moments.has_row_noise:
                arriving = variance + moments.row_noise if moments.has_row_noise else variance
                spread = spread + arriving @ (moments.mean_weight * moments.mean_weight).T
            arrays[node.name] = CrossbarTrace(
                moments=moments,
                input_mean=mean,
                mean=first,
                variance=spread,
                covariance=None,
                injected=injected,
                array_power=moments.array_power(square),
                tia_power=moments.tia_power(mean, variance),
            )
            values[node.name] = (first, spread)
        else:
            digital[node.name] = step = linearize(node.op, (mean,), (variance,))
            values[node.name] = (step.mean, step.variance)
    mean, variance = values[network.output]
    return Trace(
        crossbars=arrays,
        digital=digital,
        output_mean=mean.flatten(1),
        output_variance=variance.flatten(1),
        output_covariance=None,
    )


def full_covariance(network: Network, crossbars: Sequence[CrossbarMoments], inputs: Tensor) -> Trace:
    """Mean and full covariance of every node for inputs (B, *shape): Σ' = W̄ΣW̄ᵀ + diag(q) at a crossbar."""
    known = {c.crossbar.name: c for c in crossbars}
    width = inputs.flatten(1).shape[1]
    still = torch.zeros(inputs.shape[0], width, width, dtype=inputs.dtype, device=inputs.device)
    values: dict[str, tuple[Tensor, Tensor]] = {INPUT: (inputs, still)}
    arrays: dict[str, CrossbarTrace] = {}
    digital: dict[str, Linearized] = {}
    for node in network.nodes:
        mean, covariance = values[node.inputs[0]]
        variance = covariance.diagonal(dim1=-2, dim2=-1)
        if node.op.is_crossbar:
            moments = known[node.name]
            weight = moments.mean_weight
            first = moments.mean(mean)
            square = mean * mean + variance
            injected = moments.injected(square)
            joint = torch.diag_embed(injected.total)
            if node.inputs[0] != INPUT:
                joint = joint + weight @ covariance @ weight.T
            if moments.has_row_noise:
                joint = joint + moments.row_noise * (weight @ weight.T)
            arrays[node.name] = CrossbarTrace(
                moments=moments,
                input_mean=mean,
                mean=first,
                variance=joint.diagonal(dim1=-2, dim2=-1),
                covariance=joint,
                injected=injected,
                array_power=moments.array_power(square),
                tia_power=moments.tia_power(mean, variance, covariance),
            )
            values[node.name] = (first, joint)
        else:
            shaped = variance.reshape(mean.shape)
            digital[node.name] = step = linearize(node.op, (mean,), (shaped,))
            flat, joint = propagate(node.op, mean.flatten(1), covariance)
            values[node.name] = (flat.reshape(step.mean.shape), joint)
    mean, covariance = values[network.output]
    return Trace(
        crossbars=arrays,
        digital=digital,
        output_mean=mean.flatten(1),
        output_variance=covariance.diagonal(dim1=-2, dim2=-1),
        output_covariance=covariance,
    )
