"""Where the currents of a column come from: how they are divided along it decides about the voltage of its wire."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from powerplan.hardware.hardware import Hardware
from powerplan.hardware.stored import stored
from powerplan.hardware.wires.tiles import Tiles
from powerplan.network.array_maps import ArrayMap, ConstantRowMap
from powerplan.network.forward import ideal_values, node_map
from powerplan.network.graph import Network
from powerplan.network.node import Node
from powerplan.network.ops import CrossbarOp

#: values at the rows of a layer that are worked on at a time
_ENTRIES = 1 << 22


@torch.no_grad()
def current_shares(network: Network, hardware: Hardware, inputs: np.ndarray) -> tuple[Tensor | None, ...]:
    """Share of every row in the currents of its columns, (G, T, m) by row tile, for every crossbar; None where wires
    have no resistance.

    With I_j = Σ_k w_kj x_k, w what the devices of a column hold above G_min, Σ_j w_kj E[x_k I_j]/Σ_j E[I_j²] over the
    columns of both sides; means over inputs (B, *input_shape), positions and reads. Whatever the gains.
    """
    if not hardware.has_wires:
        return (None,) * len(network.crossbars)
    shares: dict[str, Tensor] = {}

    def observe(node: Node, x: Tensor) -> None:
        assert isinstance(node.op, CrossbarOp)
        arrays, map = stored(node.op, hardware), node_map(network, node)
        reading: ArrayMap = ConstantRowMap(map, 1.0) if arrays.has_bias_row else map
        tiles = Tiles.of(hardware, map.n_out // map.groups, arrays.rows)
        rows = tiles.by_row(reading.patches(x)).permute(1, 3, 0, 2, 4).flatten(2, 3)  # (G, T, B P, m)
        for side in arrays.sides:
            held = tiles.by_row(torch.as_tensor(side.reshape(arrays.groups, -1, arrays.rows))).movedim(-2, 1)
            currents = rows @ held.mT  # (G, T, B P, o)
            share = (held * (currents.mT @ rows)).sum(-2)
            shares[node.array_name] = shares[node.array_name] + share if node.array_name in shares else share

    maps = [node_map(network, node) for nodes in network.reads.values() for node in nodes]
    step = max(1, _ENTRIES // max(m.groups * m.n_in * m.positions for m in maps))
    for low in range(0, len(inputs), step):
        ideal_values(network, inputs[low : low + step], keep=(), observe=observe)
    return tuple(_normalized(shares[name]) for name in network.layer_names)


def _normalized(share: Tensor) -> Tensor:
    total = share.sum(-1, keepdim=True)
    return share / torch.where(total > 0, total, torch.ones_like(total))
