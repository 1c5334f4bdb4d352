"""One pass of moments through a network, recorded so that adjoints can be pulled back through it.

The record holds, at every crossbar, the moments of its input, the injected variances and the power; at every digital
operation its linearisation. ``mean_field`` carries marginal variances (activations taken as independent).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from powerplan.moments.crossbar import CrossbarMoments, Injected
from powerplan.moments.rules import Linearized, linearize
from powerplan.network.graph import INPUT, Network


@dataclass(frozen=True, kw_only=True, eq=False)
class CrossbarTrace:
    """What one crossbar did: moments of its input (B, *input_shape) and output (B, *shape), injected variances,
    power [W]."""

    moments: CrossbarMoments
    input_mean: Tensor
    input_variance: Tensor
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
        arriving = [values[name] for name in node.inputs]
        if node.op.is_crossbar:
            ((mean, variance),) = arriving
            arrays[node.name] = step = crossbar_step(
                known[node.name], mean, variance, exact_input=node.inputs[0] not in network.noisy
            )
            values[node.name] = (step.mean, step.variance)
        else:
            digital[node.name] = made = linearize(node.op, [m for m, _ in arriving], [v for _, v in arriving])
            values[node.name] = (made.mean, made.variance)
        for name in network.last_readers.get(node.name, ()):
            if name != network.output:
                del values[name]
    mean, variance = values[network.output]
    return Trace(
        crossbars=arrays,
        digital=digital,
        output_mean=mean.flatten(1),
        output_variance=variance.flatten(1),
        output_covariance=None,
    )


def crossbar_step(moments: CrossbarMoments, mean: Tensor, variance: Tensor, *, exact_input: bool) -> CrossbarTrace:
    """A crossbar for independent inputs of these moments, each (B, *input_shape)."""
    injected = moments.injected(mean, variance)
    spread = injected.total
    if not exact_input:
        spread = spread + moments.map.apply(variance, moments.mean_weight * moments.mean_weight)
    if moments.has_row_noise:
        spread = spread + moments.row_noise_through(moments.mean_weight * moments.mean_weight)
    return CrossbarTrace(
        moments=moments,
        input_mean=mean,
        input_variance=variance,
        mean=moments.mean(mean),
        variance=spread,
        covariance=None,
        injected=injected,
        array_power=moments.array_power(mean, variance),
        tia_power=moments.tia_power(mean, variance),
    )


def full_covariance(network: Network, crossbars: Sequence[CrossbarMoments], inputs: Tensor) -> Trace:
    """Mean and full covariance of every node for inputs (B, *shape): Σ' = W̄ΣW̄ᵀ + diag(q) at a crossbar."""
    from powerplan.moments.rules import propagate

    known = {c.crossbar.name: c for c in crossbars}
    width = inputs.flatten(1).shape[1]
    still = torch.zeros(inputs.shape[0], width, width, dtype=inputs.dtype, device=inputs.device)
    values: dict[str, tuple[Tensor, Tensor]] = {INPUT: (inputs, still)}
    arrays: dict[str, CrossbarTrace] = {}
    digital: dict[str, Linearized] = {}
    for node in network.nodes:
        mean, covariance = values[node.inputs[0]]
        variance = covariance.diagonal(dim1=-2, dim2=-1).reshape(mean.shape)
        if node.op.is_crossbar:
            moments = known[node.name]
            weight = moments.mean_weight
            injected = moments.injected(mean, variance)
            joint = torch.diag_embed(injected.total)
            if node.inputs[0] != INPUT:
                joint = joint + weight @ covariance @ weight.T
            if moments.has_row_noise:
                noise = moments.row_noise * torch.ones_like(weight[0])
                joint = joint + (weight * noise) @ weight.T
            arrays[node.name] = CrossbarTrace(
                moments=moments,
                input_mean=mean,
                input_variance=variance,
                mean=moments.mean(mean),
                variance=joint.diagonal(dim1=-2, dim2=-1),
                covariance=joint,
                injected=injected,
                array_power=moments.array_power(mean, variance),
                tia_power=moments.tia_power(mean, variance, covariance),
            )
            values[node.name] = (arrays[node.name].mean, joint)
        else:
            digital[node.name] = step = linearize(node.op, (mean,), (variance,))
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
