"""How the output error is shared among the crossbar layers.

The variance that a crossbar's own noise causes is its own. The residual variance of an activation belongs to
the layers whose noise reached it, in proportion to their part of the variance there. Squared bias is shared in
proportion to the squared output bias that each layer's shifted mean weights cause, or like the variance where
nothing is shifted.
"""

from __future__ import annotations

import torch

from powerplan.moments.predictor import Moments
from powerplan.network.graph import INPUT, Network


def error_shares(network: Network, moments: Moments) -> tuple[torch.Tensor, torch.Tensor]:
    """Shares of the output variance and of the squared output bias by crossbar layer: two (L,), each sums to 1 or 0."""
    index = {name: i for i, name in enumerate(network.layer_names)}
    upstream = _variance_shares(network, moments, index)
    variance = torch.zeros(len(index), dtype=torch.float64)
    for source in moments.sources:
        amount = float(source.variance.detach().mean())
        if source.kind == "residual":
            variance += amount * upstream[source.node]
        else:
            variance[index[source.node]] += amount
    variance_shares = variance / (variance.sum() or 1.0)
    bias = moments.bias_by_layer.detach().double().cpu()
    return variance_shares, bias / bias.sum() if bias.sum() > 0 else variance_shares


def _variance_shares(network: Network, moments: Moments, index: dict[str, int]) -> dict[str, torch.Tensor]:
    """For every node, the (L,) share of each crossbar layer in the variance of its *input* (or own, for crossbars)."""
    still = torch.zeros(len(index), dtype=torch.float64)
    shares = {INPUT: still}
    for node in network.nodes:
        arriving = shares[node.inputs[0]]
        if node.op.is_crossbar:
            trace = moments.trace.crossbars[node.name]
            total = float(trace.variance.detach().sum())
            own = float(sum(q.detach().expand_as(trace.mean).sum() for q in trace.injected))
            if not arriving.any():
                own = total
            share = min(own / total, 1.0) if total > 0 else 0.0
            arriving = arriving * (1 - share)
            arriving[index[node.name]] += share
        shares[node.name] = arriving
    return shares
