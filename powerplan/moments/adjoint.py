"""Adjoints of the linearised network: what each noise source adds to the output's covariance.

In the linearised network the output error is a sum over independent sources, J n with J = d(output)/d(source),
so its covariance is Σ_sources J diag(q) Jᵀ. One sweep from the output to the first crossbar gives every J, K
adjoints at a time; no covariance of inner layers is formed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from powerplan.moments.trace import Trace
from powerplan.network.graph import INPUT, Network


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """One noise source: its node, its kind ("programming", "read", "row" or "residual") and the output
    variance (B, K) it causes."""

    node: str
    kind: str
    variance: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Adjoints:
    """Result of a sweep: sources and, if full, the output covariance (B, K, K) and for every crossbar the
    output bias (B, K) that its shifted mean weights cause."""

    sources: tuple[Source, ...]
    covariance: Tensor | None
    bias: dict[str, Tensor]


def sweep(network: Network, trace: Trace, *, full: bool) -> Adjoints:
    """Pull the K unit adjoints of the output back through the linearised network.

    Args:
        full: also the output covariance and the bias by crossbar.
    """
    noisy = _downstream_of_crossbars(network)
    outputs = math.prod(network.output_shape)
    like = trace.output_mean
    eye = torch.eye(outputs, dtype=like.dtype, device=like.device)
    adjoints: dict[str, Tensor] = {network.output: eye.reshape(1, outputs, *network.output_shape)}
    sources: list[Source] = []
    bias: dict[str, Tensor] = {}
    joint = like.new_zeros(like.shape[0], outputs, outputs) if full else None

    def add(node: str, kind: str, adjoint: Tensor, variance: Tensor) -> None:
        nonlocal joint
        flat = adjoint.flatten(2)
        spread = variance.reshape(-1, 1, flat.shape[-1])
        weighted = flat * spread
        if joint is None:
            caused = (weighted * flat).sum(-1)
        else:
            part = weighted @ flat.mT
            joint = joint + part
            caused = part.diagonal(dim1=-2, dim2=-1)
        sources.append(Source(node=node, kind=kind, variance=caused))

    for node in reversed(network.nodes):
        adjoint = adjoints.pop(node.name, None)
        if adjoint is None or node.name not in noisy:
            continue
        if node.op.is_crossbar:
            crossbar = trace.crossbars[node.name]
            moments = crossbar.moments
            if moments.hardware.has_programming_noise:
                add(node.name, "programming", adjoint, crossbar.injected.programming)
            if crossbar.injected.read is not None:
                add(node.name, "read", adjoint, crossbar.injected.read)
            if joint is not None and moments.mean_weight is not moments.crossbar.weight:
                shift = crossbar.mean - moments.unshifted(crossbar.input_mean)
                bias[node.name] = (adjoint @ shift.unsqueeze(-1)).squeeze(-1)
            inner = node.inputs[0] in noisy
            pulled = adjoint @ moments.mean_weight if inner or moments.has_row_noise else None
            if moments.has_row_noise and pulled is not None:
                noise = pulled.new_ones(1, pulled.shape[-1]) * moments.row_noise
                add(node.name, "row", pulled, noise)
        else:
            step = trace.digital[node.name]
            if step.residual is not None:
                add(node.name, "residual", adjoint, step.residual)
            (pulled,) = step.pull(adjoint)
        source = node.inputs[0]
        if pulled is not None and source != INPUT:
            adjoints[source] = adjoints[source] + pulled if source in adjoints else pulled
    return Adjoints(sources=tuple(reversed(sources)), covariance=joint, bias=bias)


def _downstream_of_crossbars(network: Network) -> set[str]:
    """Nodes whose value is noisy."""
    noisy: set[str] = set()
    for node in network.nodes:
        if node.op.is_crossbar or noisy.intersection(node.inputs):
            noisy.add(node.name)
    return noisy
