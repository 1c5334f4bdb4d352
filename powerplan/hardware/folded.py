"""Moments of e^(−|z|) for z ~ N(a, b²): the factor by which a device has drifted.

With the Mills-type function erfcx(x) = e^(x²) erfc(x),

    E[e^(−k|z|)] = ½ e^(−a²/2b²) ( erfcx((kb − a/b)/√2) + erfcx((kb + a/b)/√2) ),

where the first term is written e^(k²b²/2 − ka) Φ(a/b − kb) if a/b > kb, so that nothing overflows.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: standard deviations beyond which a Gaussian has not been folded, in double precision
_FAR = 1e3
#: a smaller spread than this cannot be told from none
_LEAST = 1e-9
_ROOT = 1 / math.sqrt(2)


def folded_decay(mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of e^(−|z|), z ~ N(mean, std²), mean >= 0, std >= 0; elementwise, differentiable.

    Computed in double precision whatever is given: the variance is a difference of nearly equal numbers.
    """
    a, b = mean.double(), std.double().clamp(min=_LEAST)
    first = _decay(a, b)
    second = _decay(2 * a, 2 * b)
    return first.to(mean.dtype), (second - first * first).clamp(min=0).to(mean.dtype)


def _decay(a: Tensor, b: Tensor) -> Tensor:
    """E[e^(−|z|)], z ~ N(a, b²), b > 0."""
    ratio = (a / b).clamp(max=_FAR)
    near = ratio - b
    unfolded = near > 0
    direct = torch.exp(torch.where(unfolded, b * b / 2 - a, -a)) * torch.special.ndtr(near)
    density = 0.5 * torch.exp(-0.5 * ratio * ratio)
    folded = density * torch.special.erfcx(torch.where(unfolded, torch.zeros_like(near), -near) * _ROOT)
    other: Tensor = density * torch.special.erfcx((ratio + b) * _ROOT)
    return torch.where(unfolded, direct, folded) + other
