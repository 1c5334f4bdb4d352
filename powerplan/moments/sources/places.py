"""Where columns are in the output of an operation, and covariances between them put there."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from powerplan.network.array_maps import ArrayMap


def output_places(map: ArrayMap, device: torch.device) -> Tensor:
    """Place in the flat output, counted from 1, of every column at every position, (G, P, o); 0 = cut off."""
    shape = map.output_shape
    numbered = torch.arange(1.0, math.prod(shape) + 1, dtype=torch.float64, device=device)
    return map.columns(numbered.reshape(1, *shape))[0].round().long()


def between_positions(map: ArrayMap, block: Tensor) -> Tensor:
    """Covariances (B, G, o, P, P) of every column between its reads at their places in (B, n, n)."""
    place = output_places(map, block.device).transpose(1, 2)  # (G, o, P)
    shape = block.shape[1:]
    return scattered(map, block, place.unsqueeze(-1).expand(shape), place.unsqueeze(-2).expand(shape))


def scattered(map: ArrayMap, block: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Covariances (B, ...) added up at their places in (B, n, n)."""
    size = math.prod(map.output_shape) + 1
    flat = (rows * size + columns).reshape(1, -1).expand(block.shape[0], -1)
    full = block.new_zeros(block.shape[0], size * size).scatter_add(1, flat, block.flatten(1))
    return full.reshape(-1, size, size)[:, 1:, 1:]
