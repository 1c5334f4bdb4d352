"""How the output error is shared among the crossbar layers.

The variance that a crossbar's own noise causes is its own. The residual variance of an activation belongs to
the layers whose noise reached it, in proportion to their part of the variance there. Squared bias is shared in
proportion to the squared output bias that each layer's shifted mean weights and converters cause, or like the variance
where nothing is shifted.
"""

from __future__ import annotations

import numpy as np
import torch

from powerplan.moments.predictor import Moments
from powerplan.moments.walks.lowered import Place
from powerplan.moments.walks.marginal import Trace
from powerplan.network.graph import Network
from powerplan.network.node import INPUT


def error_amounts(network: Network, moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """What each crossbar layer adds to the output variance, and the squared output bias it causes alone.

    Two (L,), means over inputs and outputs. Every input is shared out by itself: the result for a batch is the mean
    of the results for its parts.
    """
    index = {name: i for i, name in enumerate(network.layer_names)}
    upstream = _variance_shares(network, moments, index)
    variance = np.zeros(len(index))
    for source in moments.sources:
        by_input = _by_input(source.variance) / source.variance.shape[1]
        if source.kind == "residual":
            variance += (by_input[:, None] * upstream[source.node]).mean(0)
        else:
            variance[index[source.node]] += by_input.mean()
    return variance, _numpy(moments.bias_by_layer)


def _variance_shares(network: Network, moments: Moments, index: dict[str, int]) -> dict[str, np.ndarray]:
    """For every node, the (B or 1, L) share of each layer in the variance of its *input* (or its own, for crossbars).

    Where an operation joins several values, their shares are mixed in proportion to the variances that arrive.
    """
    shares = {INPUT: np.zeros((1, len(index)))}
    spread = {INPUT: np.zeros((1, 1))}
    for node in network.nodes:
        total = _by_input(moments.trace.behind(node.name).variance)[:, None]
        weights = [spread[name] for name in node.inputs]
        total_weight = sum(weights[1:], weights[0]) if weights else spread[INPUT]
        arriving = shares[INPUT]
        for name, weight in zip(node.inputs, weights, strict=True):
            arriving = arriving + _part(weight, total_weight) * shares[name]
        if node.op.is_crossbar:
            own = _by_input(_own_variance(moments.trace, node.name))[:, None]
            own = np.where(arriving.any(1, keepdims=True), own, total)
            share = np.minimum(_part(own, total), 1)
            arriving = arriving * (1 - share)
            arriving[:, index[node.array_name], None] += share
        spread[node.name] = total
        shares[node.name] = arriving
    return shares


def _part(value: np.ndarray, of: np.ndarray) -> np.ndarray:
    """A value over another, 0 where that is not positive."""
    positive = of > 0
    return np.where(positive, value, 0.0) / np.where(positive, of, 1.0)


def _own_variance(trace: Trace, name: str) -> torch.Tensor:
    """Variance of the output of a crossbar that arises there, conversions included, (B, *shape)."""
    step = trace.array(name)
    rows, columns = (trace.steps.get(Place(name, part)) for part in ("rows", "columns"))
    own = step.own
    if rows is not None and rows.residual is not None:
        own = own + step.array.passed(rows.residual)
    if columns is None or columns.residual is None:
        return own
    return columns.push(columns.push(own.unsqueeze(1))).squeeze(1) + columns.residual  # of squares, the slope twice


def _by_input(value: torch.Tensor) -> np.ndarray:
    """Sums (B,) over everything but the batch; float64."""
    return _numpy(value.reshape(value.shape[0], -1).sum(1))


def _numpy(value: torch.Tensor) -> np.ndarray:
    return np.asarray(value.numpy(force=True), dtype=np.float64)
