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


def error_amounts(network: Network, moments: Moments) -> tuple[torch.Tensor, torch.Tensor]:
    """What each crossbar layer adds to the output variance, and the squared output bias it causes alone.

    Two (L,), means over inputs and outputs. Every input is shared out by itself: the result for a batch is the mean
    of the results for its parts.
    """
    index = {name: i for i, name in enumerate(network.layer_names)}
    upstream = _variance_shares(network, moments, index)
    variance = torch.zeros(len(index), dtype=torch.float64)
    for source in moments.sources:
        by_input = source.variance.detach().double().cpu().mean(1).expand(len(moments.mean))
        if source.kind == "residual":
            variance += (by_input.unsqueeze(1) * upstream[source.node]).mean(0)
        else:
            variance[index[source.node]] += by_input.mean()
    return variance, moments.bias_by_layer.detach().double().cpu()


def _variance_shares(network: Network, moments: Moments, index: dict[str, int]) -> dict[str, torch.Tensor]:
    """For every node, the (B, L) share of each crossbar layer in the variance of its *input* (or own, for crossbars)."""
    shares = {INPUT: torch.zeros(len(moments.mean), len(index), dtype=torch.float64)}
    for node in network.nodes:
        arriving = shares[node.inputs[0]]
        if node.op.is_crossbar:
            trace = moments.trace.crossbars[node.name]
            total = trace.variance.detach().double().cpu().flatten(1).sum(1)
            own = sum(q.detach().expand_as(trace.mean).double().cpu().flatten(1).sum(1) for q in trace.injected)
            own = torch.where(arriving.any(1), own, total)
            share = torch.where(total > 0, own / total, 0.0).clamp(max=1).unsqueeze(1)
            arriving = arriving * (1 - share)
            arriving[:, index[node.name]] += share.squeeze(1)
        shares[node.name] = arriving
    return shares
