"""What drives the rows of arrays without noise, as few samples with the same second moments."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from powerplan.hardware.hardware import Hardware
from powerplan.hardware.stored import stored
from powerplan.network.array_maps import ArrayMap, ConstantRowMap
from powerplan.network.forward import ideal_values, node_map
from powerplan.network.graph import Network
from powerplan.network.node import Node
from powerplan.network.ops import CrossbarOp

#: values at the rows of a layer that are worked on at a time
_ENTRIES = 1 << 22


@torch.no_grad()
def row_samples(network: Network, hardware: Hardware, inputs: np.ndarray) -> tuple[Tensor | None, ...]:
    """Values (S, G, n) at the rows of every array whose mean of x x' is that over inputs (B, *input_shape), positions
    and reads; None where no digital scale asks for them.

    The very values where they are at most n, else n others.
    """
    if not (hardware.scales_columns or hardware.scales_rows):
        return (None,) * len(network.crossbars)
    kept: dict[str, Tensor] = {}
    counts = dict.fromkeys(network.layer_names, 0)

    def observe(node: Node, x: Tensor) -> None:
        assert isinstance(node.op, CrossbarOp)
        map: ArrayMap = node_map(network, node)
        map = ConstantRowMap(map, 1.0) if stored(node.op, hardware).has_bias_row else map
        rows = map.patches(x).transpose(0, 1).flatten(1, 2)  # (G, B P, n)
        name = node.array_name
        counts[name] += rows.shape[1]
        kept[name] = _fewer(torch.cat([kept[name], rows], 1) if name in kept else rows)

    maps = [node_map(network, node) for nodes in network.reads.values() for node in nodes]
    step = max(1, _ENTRIES // max(m.groups * m.n_in * m.positions for m in maps))
    for low in range(0, len(inputs), step):
        ideal_values(network, inputs[low : low + step], keep=(), observe=observe)
    return tuple(
        (kept[name] * math.sqrt(kept[name].shape[1] / counts[name])).transpose(0, 1).contiguous()
        for name in network.layer_names
    )


def _fewer(rows: Tensor) -> Tensor:
    """At most n rows with the same sum of x x', of (G, S, n)."""
    return rows if rows.shape[1] <= rows.shape[2] else torch.linalg.qr(rows, mode="r").R
