"""Folding of digital scales (batch norms, constant factors and offsets) into neighbouring linear layers.

Behind a linear layer:      s ∘ (W x + b) + t = (diag(s) W) x + (s ∘ b + t).
In front of linear layers:  W (s ∘ x + t) + b = (W diag(s)) x + (W t + b).

Both are exact; computed in float64, kept in the weights' own dtype.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from powerplan.network.graph import Node
from powerplan.network.ops import Linear, Scale


def fold_scales(nodes: list[Node], output: str) -> tuple[list[Node], str]:
    """The same graph with every scale folded that can be, and the name of its output.

    A scale goes into the linear layer it reads if nothing else reads that layer; else into the linear layers that
    read it, if nothing else does and it is not the output. What is left stays a digital scale.
    """
    by_name = {node.name: node for node in nodes}
    folded = True
    while folded:
        folded = False
        for node in list(by_name.values()):
            if not isinstance(node.op, Scale):
                continue
            (source,) = node.inputs
            readers = [n for n in by_name.values() if node.name in n.inputs]
            before = by_name.get(source)
            alone = source != output and sum(source in n.inputs for n in by_name.values()) == 1
            if before is not None and isinstance(before.op, Linear) and alone:
                by_name[source] = replace(before, op=_behind(before.op, node.op))
            elif node.name != output and all(isinstance(n.op, Linear) for n in readers):
                for reader in readers:
                    assert isinstance(reader.op, Linear)
                    by_name[reader.name] = replace(reader, op=_in_front(reader.op, node.op))
            else:
                continue
            for reader in readers:
                by_name[reader.name] = replace(by_name[reader.name], inputs=(source,))
            del by_name[node.name]
            output = source if node.name == output else output
            folded = True
    return list(by_name.values()), output


def _behind(linear: Linear, scale: Scale) -> Linear:
    weight, bias = _double(linear)
    s, t = scale.scale.astype(np.float64), scale.shift.astype(np.float64)
    return _like(linear, s[:, None] * weight, s * bias + t)


def _in_front(linear: Linear, scale: Scale) -> Linear:
    weight, bias = _double(linear)
    s, t = scale.scale.astype(np.float64), scale.shift.astype(np.float64)
    return _like(linear, weight * s, weight @ t + bias)


def _double(linear: Linear) -> tuple[np.ndarray, np.ndarray]:
    bias = np.zeros(linear.n_out) if linear.bias is None else linear.bias.astype(np.float64)
    return linear.weight.astype(np.float64), bias


def _like(linear: Linear, weight: np.ndarray, bias: np.ndarray) -> Linear:
    dtype = linear.weight.dtype
    silent = linear.bias is None and not bias.any()
    return Linear(weight=weight.astype(dtype), bias=None if silent else bias.astype(dtype))
