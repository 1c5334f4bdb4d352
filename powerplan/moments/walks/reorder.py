"""The same function in an order that suits Gaussian moments: maxima before activations.

A non-decreasing f commutes with the maximum, max f(x_i) = f(max x_i). Before f the entries of a window are close to
Gaussian; behind it (a ReLU, half of whose outputs are zero) they are not, and maxima of Gaussians fit them badly.

Why: docs/decisions/moments.md [0161].
"""

from __future__ import annotations

from dataclasses import replace

from powerplan.network.graph import Network
from powerplan.network.node import Node
from powerplan.network.ops import Activation, AdaptiveMaxPool, MaxPool
from powerplan.remembered import remembered

#: kinds of activation that never decrease
_NON_DECREASING = {
    *("identity", "relu", "tanh", "sigmoid", "softplus", "hard_tanh", "hard_sigmoid", "selu", "softsign"),
}


def maxima_first(network: Network) -> Network:
    """The network with every max-pooling behind a non-decreasing activation that nothing else reads put before it.

    Nodes keep their names: the activation's then holds the maxima and the pooling's the activation. The result is
    kept as long as the network.
    """
    reordered = _reordered(network)
    return network if reordered is None else reordered


@remembered
def _reordered(network: Network) -> Network | None:
    """None = nothing to change."""
    readers = {node.name: [n for n in network.nodes if node.name in n.inputs] for node in network.nodes}
    swapped: dict[str, Node] = {}
    for node in network.nodes:
        following = readers[node.name]
        if not _never_decreases(node) or node.name == network.output or len(following) != 1:
            continue
        (pool,) = following
        if isinstance(pool.op, MaxPool | AdaptiveMaxPool):
            swapped[node.name] = replace(node, op=pool.op)
            swapped[pool.name] = replace(pool, op=node.op)
    if not swapped:
        return None
    return replace(network, nodes=tuple(swapped.get(node.name, node) for node in network.nodes))


def _never_decreases(node: Node) -> bool:
    if not isinstance(node.op, Activation):
        return False
    parameters = dict(node.op.parameters or {})
    match node.op.kind:
        case "leaky_relu":
            return parameters["negative_slope"] >= 0
        case "elu":
            return parameters["alpha"] >= 0
        case kind:
            return kind in _NON_DECREASING
