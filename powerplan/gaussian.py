"""Moments of a rectified Gaussian, accurate in both tails.

For z ~ N(μ, σ²), α = |μ|/σ and the Mills ratio R(α) = Q(α)/φ(α) (Q the upper tail, φ the density), the part of
z on the far side of zero, T = max(0, −sign(μ) z), has

    E[T]  = σ φ(α) (1 − αR),     E[T²] = σ² φ(α) ((1 + α²)R − α),     P(T > 0) = Q = φ(α) R.

Everything else follows from max(0, z) = T (μ < 0) or z + T (μ ≥ 0) without subtracting large numbers.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

#: beyond this many standard deviations the density is zero in double precision
_FAR = 1e3
#: a Gaussian this many standard deviations above zero is never clipped
_CERTAIN = 40.0
#: elements worked on at a time
_BLOCK = 16_384


class Tail(NamedTuple):
    """The far side of a knot: mass Q = P(T > 0), E[T], E[T²], density φ(α), and signed distance α = (μ − knot)/σ."""

    mass: Tensor
    mean: Tensor
    square: Tensor
    density: Tensor
    alpha: Tensor


class Rectified(NamedTuple):
    """Mean and variance of max(0, z) and E[d max(0, z)/dz] = P(z > 0)."""

    mean: Tensor
    variance: Tensor
    slope: Tensor


def positive_std(variance: Tensor) -> tuple[Tensor, Tensor]:
    """(where the variance is positive, a standard deviation that is safe to divide by and to differentiate)."""
    positive = variance > 0
    return positive, torch.where(positive, variance, torch.ones_like(variance)).sqrt()


def tail(mean: Tensor, std: Tensor, knot: float = 0.0) -> Tail:
    """The far side of ``knot`` for z ~ N(mean, std²), std > 0; elementwise."""
    alpha = (mean - knot) / std
    # not abs(): its derivative at 0 would be 0 instead of one-sided
    distance = torch.where(alpha >= 0, alpha, -alpha).clamp(max=_FAR)
    density = torch.exp(-0.5 * distance * distance) * (1 / math.sqrt(2 * math.pi))
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
    tail, which is added to μ here) and many times faster. ``variance`` broadcasts to ``mean``. Differentiable
    once: with m = E[max(0, z)], ∂m/∂μ = 1 − Q, ∂m/∂σ² = φ/(2σ), ∂Var/∂μ = 2mQ, ∂Var/∂σ² = 1 − Q − mφ/σ.
    """
    first, second = _Clipped.apply(mean, variance)
    return first, second


class _Clipped(torch.autograd.Function):
    """:func:`clipped`, a block at a time: the dozen elementwise steps stay in the processor's cache."""

    @staticmethod
    def forward(ctx: Any, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        needed = any(ctx.needs_input_grad)
        first, second = torch.empty_like(mean), torch.empty_like(mean)
        mass, ratio = (torch.empty_like(mean), torch.empty_like(mean)) if needed else (None, None)
        one = variance.dim() == 0
        flat = [t.view(-1) for t in (mean.contiguous(), first, second)]
        spread = variance if one else variance.expand_as(mean).contiguous().view(-1)
        for low in range(0, flat[0].numel(), _BLOCK):
            part = slice(low, low + _BLOCK)
            mu, v = flat[0][part], spread if one else spread[part]
            std = (v + torch.finfo(mean.dtype).tiny).sqrt()
            alpha = (mu / std).clamp_(max=_CERTAIN)
            density = (alpha * alpha).mul_(-0.5).exp_().mul_(1 / math.sqrt(2 * math.pi))
            tail_mass = (alpha * (1 / math.sqrt(2))).erf_().mul_(-0.5).add_(0.5)
            excess = torch.addcmul(density, alpha, tail_mass, value=-1)
            torch.addcmul(mu, excess, std, out=flat[1][part])
            kept = (1 - tail_mass).addcmul_(excess, alpha.add_(excess), value=-1)
            torch.mul(kept, v, out=flat[2][part])
            if mass is not None and ratio is not None:
                mass.view(-1)[part] = tail_mass
                torch.div(density, std, out=ratio.view(-1)[part])
        ctx.one = one
        ctx.save_for_backward(first, mass, ratio)
        return first, second

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None]:
        first, mass, ratio = ctx.saved_tensors
        to_first, to_second = gradients
        by_mean = to_first * (1 - mass) + to_second * (2 * first * mass)
        if not ctx.needs_input_grad[1]:
            return by_mean, None
        by_variance = to_first * (0.5 * ratio) + to_second * (1 - mass - first * ratio)
        return by_mean, by_variance.sum() if ctx.one else by_variance
