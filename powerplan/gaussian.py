"""Moments of a rectified Gaussian, accurate in both tails.

For z ~ N(μ, σ²), α = |μ|/σ and the Mills ratio R(α) = Q(α)/φ(α) (Q the upper tail, φ the density), the part of
z on the far side of zero, T = max(0, −sign(μ) z), has

    E[T]  = σ φ(α) (1 − αR),     E[T²] = σ² φ(α) ((1 + α²)R − α),     P(T > 0) = Q = φ(α) R.

Everything else follows from max(0, z) = T (μ < 0) or z + T (μ ≥ 0) without subtracting large numbers.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

#: beyond this many standard deviations nothing is on the far side of a knot; exp() would underflow there, slowly
_CERTAIN = {torch.float64: 37.0, torch.float32: 12.0}
#: and this many above zero what clipping does is less than rounding
_NEAR = {torch.float64: 9.0, torch.float32: 6.0}
#: numbers of which those near zero are worked on alone, if they are at most one in so many
_MANY, _FEW = 1 << 12, 4


class Tail(NamedTuple):
    """The far side of a knot: mass Q = P(T > 0), E[T], E[T²], density φ(α), and signed distance α = (μ − knot)/σ."""

    mass: Tensor
    mean: Tensor
    square: Tensor
    density: Tensor
    alpha: Tensor


def higher_powers(t: Tail, std: Tensor) -> tuple[Tensor, Tensor]:
    """E[T³] and E[T⁴]: with J_n = E[(T/σ)ⁿ],  J_{n+1} = n J_{n−1} − |α| J_n."""
    distance = torch.where(t.alpha >= 0, t.alpha, -t.alpha).clamp(max=_CERTAIN[std.dtype])
    third = std * (2 * std * t.mean - distance * t.square)
    return third, std * (3 * std * t.square - distance * third)


class Rectified(NamedTuple):
    """Mean and variance of max(0, z) and E[d max(0, z)/dz] = P(z > 0)."""

    mean: Tensor
    variance: Tensor
    slope: Tensor


def positive_std(variance: Tensor) -> tuple[Tensor, Tensor]:
    """(where the variance is positive, a standard deviation that is safe to divide by and to differentiate).

    Variances so small that (mean/std)/std could overflow count as zero.
    """
    positive = variance > _least_variance(variance.dtype)
    return positive, torch.where(positive, variance, torch.ones_like(variance)).sqrt()


@cache
def _least_variance(dtype: torch.dtype) -> float:
    """1e-292 in float64, 1e-31 in float32."""
    return torch.finfo(dtype).tiny / torch.finfo(dtype).eps


def tail(mean: Tensor, std: Tensor, knot: float = 0.0) -> Tail:
    """The far side of ``knot`` for z ~ N(mean, std²), std > 0; elementwise."""
    alpha = (mean - knot) / std
    # not abs(): its derivative at 0 would be 0 instead of one-sided
    distance = torch.where(alpha >= 0, alpha, -alpha)
    far = distance >= _CERTAIN[std.dtype]
    distance = distance.clamp(max=_CERTAIN[std.dtype])
    density = torch.exp(-0.5 * distance * distance) * (1 / math.sqrt(2 * math.pi))
    density = density.masked_fill(far, 0.0)
    mills = torch.special.erfcx(distance * (1 / math.sqrt(2))) * math.sqrt(math.pi / 2)
    return Tail(
        mass=density * mills,
        mean=std * density * (1 - distance * mills),
        square=std * std * density * ((1 + distance * distance) * mills - distance),
        density=density,
        alpha=alpha,
    )


def rectified(mean: Tensor, variance: Tensor) -> Rectified:
    """Moments of max(0, z) for z ~ N(mean, variance), variance >= 0; elementwise, differentiable.

    With zero variance z is the constant ``mean``.
    """
    positive, std = positive_std(variance)
    t = tail(mean, std)
    above = mean >= 0
    spread = t.square - t.mean * t.mean
    step = (mean > 0).to(mean.dtype)
    return Rectified(
        mean=torch.where(positive, torch.where(above, mean + t.mean, t.mean), mean.clamp(min=0)),
        variance=torch.where(
            positive, torch.where(above, variance * (1 - 2 * t.mass) + spread, spread), variance * step
        ),
        slope=torch.where(positive, torch.where(above, 1 - t.mass, t.mass), step),
    )


def clipped(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of max(0, z) for z ~ N(mean, variance), mean >= 0: a device that cannot go below zero.

    The formulas of :func:`rectified` for μ ≥ 0 with Q from erf, exact to rounding relative to σ (not in the far
    tail, which is added to μ here) and many times faster. ``variance`` broadcasts to ``mean``; differentiable.
    """
    std = (variance + _least_variance(mean.dtype)).sqrt()
    if mean.numel() >= _MANY and not (mean.requires_grad or variance.requires_grad):
        near = (mean < _NEAR[mean.dtype] * std).flatten().nonzero().squeeze(1)
        if _FEW * len(near) <= mean.numel():
            spread = variance.expand_as(mean).flatten()
            held = mean.flatten()
            level, rest = _clipped(held[near], spread[near], std.expand_as(mean).flatten()[near])
            return held.index_copy(0, near, level).view_as(mean), spread.index_copy(0, near, rest).view_as(mean)
    return _clipped(mean, variance, std)


def _clipped(mean: Tensor, variance: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    alpha = (mean / std).clamp(max=_CERTAIN[mean.dtype])
    density = torch.exp(-0.5 * alpha * alpha) * (1 / math.sqrt(2 * math.pi))
    mass = 0.5 - 0.5 * torch.erf(alpha * (1 / math.sqrt(2)))
    excess = density - alpha * mass
    return mean + std * excess, variance * (1 - mass - excess * (alpha + excess))
