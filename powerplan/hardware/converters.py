"""What a converter does to a value: 2^b − 1 levels, symmetric to 0, a level itself; beyond the limit it saturates.

    Δ = 2 L/(2^b − 2),      Q(x) = Δ round(x/Δ) within ±L.

The same for the converters that drive the rows, L = V_max/v_j in units of the activation, and for those that read
the columns. Without a resolution, b = None, a converter only saturates.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: values this close to the middle between two levels, relative to the value, are rounded away from 0 in every precision
_TIE = 4e-7


def top_level(bits: int) -> int:
    """Number of the highest level: L/Δ = 2^(b − 1) − 1."""
    return int(2 ** (bits - 1)) - 1


def quantised(x: Tensor, limit: Tensor, bits: int | None) -> Tensor:
    """Q(x), elementwise; differentiable in the limit where x is beyond it, and as a staircase elsewhere.

    Args:
        limit: L > 0, broadcasts to x.
        bits: b; None = no steps.
    """
    clipped = torch.minimum(torch.maximum(x, -limit), limit)
    if bits is None:
        return clipped
    top = top_level(bits)
    steps = clipped * (top / limit)
    return torch.sign(steps) * torch.floor(steps.abs() * (1 + _TIE) + 0.5).clamp(max=top) * (limit / top)
