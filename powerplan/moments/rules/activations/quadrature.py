"""Moments of activations without a closed form, by quadrature over t.

Two rules, each as fine as the widest σ asks for:

- analytic f, small σ: the trapezoidal rule, whose error falls as exp(−2πd/(σh)) with the step h and the distance d
  of f's nearest complex singularity;
- f with a kink, or large σ: Gauss-Legendre on both sides of the kink (of the real part of the singularity), whose
  error with n points on a panel of half length l falls as (1 + √(d/(σl)))^(−2n): nodes grow with √σ only.

Large tensors are worked off in blocks, derivatives too: memory does not grow with the number of nodes.

Why: docs/decisions/moments.md [0162].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from powerplan.gaussian import positive_std
from powerplan.moments.rules.activations.rule import ActivationMoments, ActivationRule, hermite_polynomial


@dataclass(frozen=True, kw_only=True)
class _Accuracy:
    """What a precision asks for: reach in standard deviations, −log of the error aimed at, widest step of the
    trapezoidal rule and fewest points of a panel."""

    reach: float
    digits: float
    step: float
    points: int


_ACCURACY = {
    torch.float64: _Accuracy(reach=8.5, digits=27.0, step=0.6, points=48),
    torch.float32: _Accuracy(reach=6.0, digits=16.0, step=0.8, points=24),
}
_MOST_POINTS = 600
#: entries of a block: its nodes stay in the processor's cache
_BLOCK = 1 << 13


@dataclass(frozen=True, kw_only=True)
class Quadrature(ActivationRule):
    """f with derivative f', analytic but at ``knot``.

    Attributes:
        singularity: distance of f's nearest complex singularity, as seen from the side of the knot that it is
            not on (for entire functions: of equivalent accuracy).
        knot: where f has a kink, or the real part of the singularity.
        kinked: f is analytic on each side of the knot only.
    """

    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    singularity: float
    knot: float = 0.0
    kinked: bool = False

    def moments(self, mean: Tensor, variance: Tensor) -> ActivationMoments:
        return ActivationMoments(*_in_blocks(self._moments, mean, variance))

    def hermite(self, mean: Tensor, variance: Tensor, order: int) -> list[Tensor]:
        return list(_in_blocks(lambda m, v: self._hermite(m, v, order), mean, variance))

    def _moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, ...]:
        z, _, weights = self._nodes(mean, variance)
        values = self.function(z)
        # sums of differences from f(μ): exact for constants and for zero variance
        centre = self.function(mean)
        first = (weights * (values - centre)).sum(0)
        spread = (weights * (values - centre - first) ** 2).sum(0)
        return centre + first, spread, (weights * self.derivative(z)).sum(0)

    def _hermite(self, mean: Tensor, variance: Tensor, order: int) -> tuple[Tensor, ...]:
        z, t, weights = self._nodes(mean, variance)
        positive, std = positive_std(variance)
        scaled = weights * self.derivative(z) * torch.where(positive, std, torch.zeros_like(std))
        return tuple((scaled * hermite_polynomial(k - 1, t)).sum(0) for k in range(1, order + 1))

    def _nodes(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quadrature points z, standard normal points t and weights, along a new leading axis."""
        positive, safe = positive_std(variance)
        std = torch.where(positive, safe, torch.zeros_like(safe))
        accuracy = _ACCURACY[mean.dtype]
        # σ in units of the distance of the singularity
        widest = (float(std.detach().max()) if std.numel() else 0.0) / self.singularity
        step = min(accuracy.step, 2 * math.pi / (accuracy.digits * max(widest, 1e-30)))
        half = math.ceil(accuracy.reach / step)
        ratio = math.sqrt(2 / (accuracy.reach * widest)) if widest else math.inf
        points = max(accuracy.points, math.ceil(accuracy.digits / 2 / math.log1p(ratio)))
        if self.kinked or half > points:
            t, weights = self._split(mean, safe, min(-(-points // 8) * 8, _MOST_POINTS), accuracy.reach)
        else:
            shape = (2 * half + 1,) + (1,) * mean.dim()
            reach = accuracy.reach
            t = torch.linspace(-reach, reach, 2 * half + 1, dtype=mean.dtype, device=mean.device).view(shape)
            weights = torch.exp(-0.5 * t * t)
        return mean + std * t, t, weights / weights.detach().sum(0)

    def _split(self, mean: Tensor, std: Tensor, points: int, reach: float) -> tuple[Tensor, Tensor]:
        """Points and weights on both sides of the knot."""
        shape = (points,) + (1,) * mean.dim()
        x, w = (torch.tensor(a, dtype=mean.dtype, device=mean.device).view(shape) for a in _legendre(points))
        knot = ((self.knot - mean) / std).clamp(-reach, reach)
        below, above = (knot + reach) / 2, (reach - knot) / 2
        t = torch.cat([below * (x + 1) - reach, above * (x - 1) + reach])
        return t, torch.cat([below * w, above * w]) * torch.exp(-0.5 * t * t)


@lru_cache(maxsize=64)
def _legendre(points: int) -> tuple[np.ndarray, np.ndarray]:
    from scipy.special import roots_legendre

    x, w = roots_legendre(points)
    return x, w


Function = Callable[[Tensor, Tensor], tuple[Tensor, ...]]


def _in_blocks(function: Function, mean: Tensor, variance: Tensor) -> tuple[Tensor, ...]:
    """An elementwise function of two tensors of the same shape, a block of entries at a time."""
    if mean.numel() <= _BLOCK:
        return function(mean, variance)
    results: tuple[Tensor, ...] = _InBlocks.apply(function, mean, variance)  # type: ignore[no-untyped-call]
    return results


class _InBlocks(torch.autograd.Function):
    """Backward evaluates every block anew instead of keeping all of its nodes."""

    @staticmethod
    def forward(ctx: Any, function: Function, mean: Tensor, variance: Tensor) -> tuple[Tensor, ...]:
        ctx.function = function
        ctx.save_for_backward(mean, variance)
        blocks = zip(torch.split(mean.flatten(), _BLOCK), torch.split(variance.flatten(), _BLOCK), strict=True)
        columns = zip(*(function(m, v) for m, v in blocks), strict=True)
        return tuple(torch.cat(column).view(mean.shape) for column in columns)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor]:
        mean, variance = ctx.saved_tensors
        parts = []
        for m, v, *g in zip(
            torch.split(mean.flatten(), _BLOCK),
            torch.split(variance.flatten(), _BLOCK),
            *(torch.split(gradient.flatten(), _BLOCK) for gradient in gradients),
            strict=True,
        ):
            with torch.enable_grad():
                m, v = m.detach().requires_grad_(), v.detach().requires_grad_()
                parts.append(torch.autograd.grad(ctx.function(m, v), (m, v), g))
        by_mean, by_variance = (torch.cat(column).view(mean.shape) for column in zip(*parts, strict=True))
        return None, by_mean, by_variance
