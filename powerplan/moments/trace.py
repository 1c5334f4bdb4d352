"""One pass of moments through a network, recorded so that adjoints can be pulled back through it.

The record holds, at every crossbar, the moments of its input, the injected variances and the power; at every digital
operation its linearisation. ``mean_field`` carries marginal variances (activations taken as independent).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from torch import Tensor

from powerplan.moments.crossbar import CrossbarMoments, Injected
from powerplan.moments.rules import Linearized
from powerplan.moments.rules.maxima import linearize_joint
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


def mean_field(
    network: Network,
    crossbars: Sequence[CrossbarMoments],
    inputs: Tensor,
    correct: Callable[[str, Tensor, Tensor], tuple[Tensor, Tensor]] = lambda name, mean, variance: (mean, variance),
    correlations: Mapping[str, Tensor] = MappingProxyType({}),
) -> Trace:
    """Mean and marginal variance of every node for inputs (B, *shape), activations taken as independent.

    ``correct`` is applied to every node's name, mean and variance; ``correlations`` are those in the windows of
    max-pooling.
    """
    known = {c.crossbar.name: c for c in crossbars}
    values: dict[str, tuple[Tensor, Tensor]] = {INPUT: (inputs, torch.zeros_like(inputs))}
    arrays: dict[str, CrossbarTrace] = {}
    digital: dict[str, Linearized] = {}
    for node in network.nodes:
        arriving = [values[name] for name in node.inputs]
        if node.op.is_crossbar:
            ((mean, variance),) = arriving
            step = crossbar_step(known[node.name], mean, variance, exact_input=node.inputs[0] not in network.noisy)
            mean, variance = correct(node.name, step.mean, step.variance)
            arrays[node.name] = replace(step, mean=mean, variance=variance)
            values[node.name] = (mean, variance)
        else:
            digital[node.name] = made = linearize_joint(
                node.op, [m for m, _ in arriving], [v for _, v in arriving], correlations.get(node.name)
            )
            # a constant comes in float64
            values[node.name] = correct(node.name, made.mean.to(inputs), made.variance.to(inputs))
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
        spread = spread + moments.row_noise_through(moments.analog_weight**2)
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
