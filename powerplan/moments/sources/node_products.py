"""Covariances that the devices of passive columns cause: what the nodes add to those of amplifiers.

An error of device (i, k) moves column i at position p by e_ik (x_pk − r_k ỹ_pi), ỹ_pi = Σ_l h_il x_pl over the tile.
With b = Σ_k K_ik r_k x_pk and R = Σ_k K_ik r_k², the columns at positions p and p′ covary by

    Σ_k K_ik E[x_pk x_p′k]  −  E[b_pi ỹ_p′i] − E[ỹ_pi b_p′i] + R_i E[ỹ_pi ỹ_p′i].
"""

from __future__ import annotations

import torch
from torch import Tensor

from powerplan.moments.array.device_errors import DeviceErrors, TileNodes
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.rules.linearized import over_batch
from powerplan.network.array_maps import ArrayMap

#: entries of one block of covariances
_BLOCK_ENTRIES = 1 << 22


def node_products(array: ProgrammedArray, mean: Tensor, incoming: Tensor | None, place: Tensor) -> Tensor:
    """The last three terms, added up over sides and tiles, (B, G, o, P, P).

    Args:
        mean: of the inputs, (B, *input_shape).
        incoming: their covariance (B, n, n), None = 0.
        place: of every row at every position in a flat input, counted from 1, (G, n, P); 0 = padding.
    """
    total = mean.new_zeros(())
    for part in array.read_out.device_errors(array):
        for nodes in part.nodes:
            total = total + _of_tile(array, part, nodes, mean, incoming, place)
    return total


def _of_tile(
    array: ProgrammedArray, part: DeviceErrors, nodes: TileNodes, mean: Tensor, incoming: Tensor | None, place: Tensor
) -> Tensor:
    map = array.map
    r, node = mean.new_zeros(map.groups, map.n_in), torch.zeros_like(map.matrices(part.variance))
    r[:, nodes.rows], node[..., nodes.rows] = nodes.relative, nodes.weight
    errors = map.matrices(part.variance) * r.unsqueeze(1)
    load = (errors * r.unsqueeze(1)).sum(2)[..., None, None]  # (G, o, 1, 1)
    rows = array.affine.patches(mean)
    y, b = ((rows @ w.mT).transpose(2, 3) for w in (node, errors))  # (B, G, o, P)
    crossed = b.unsqueeze(-1) * y.unsqueeze(-2)
    squares = y.unsqueeze(-1) * y.unsqueeze(-2)
    if incoming is not None:
        flat = node.reshape(map.n_out, map.n_in)
        perturbations = incoming.mT.reshape(*incoming.shape[:2], *mean.shape[1:])
        to_nodes = over_batch(lambda x: map.as_columns(map.apply_columns(x, flat)), perturbations)  # (B, n, G, P, o)
        crossed = crossed + _gathered(map, errors, to_nodes, place)
        squares = squares + _gathered(map, node, to_nodes, place)
    return load * squares - crossed - crossed.mT


def _gathered(map: ArrayMap, weight: Tensor, to_nodes: Tensor, place: Tensor) -> Tensor:
    """Σ_k weight_ok Cov(x_pk, ỹ_p′o) (B, G, o, P, P) from Cov(x, ỹ) (B, n, G, P, o)."""
    padded = torch.nn.functional.pad(to_nodes, (0, 0, 0, 0, 0, 0, 1, 0)).permute(2, 1, 0, 3, 4)  # (G, n + 1, B, P, o)
    group = torch.arange(map.groups, device=place.device)[:, None, None]
    size = max(1, _BLOCK_ENTRIES // (to_nodes[:, 0].numel() * map.positions))
    total = to_nodes.new_zeros(())
    for low in range(0, map.n_in, size):
        here = slice(low, low + size)
        total = total + torch.einsum("gok,gkpbqo->bgopq", weight[..., here], padded[group, place[:, here]])
    return total
