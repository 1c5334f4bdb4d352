"""Gaussian moments of elementwise activations.

For z = μ + σt, t ~ N(0, 1), every activation f gives its mean E[f], variance Var f, slope P = E[f'(z)] and its
Hermite coefficients a_k = E[f(z) He_k(t)], in which

    Var f = Σ_{k≥1} a_k²/k!,      Cov(f(z₁), g(z₂)) = Σ_{k≥1} a_k b_k ρ^k / k!     (Mehler),      a_1 = σP.

Piecewise-linear activations have closed forms; smooth ones use the trapezoidal rule in t, whose error falls as
exp(−2πd/(σh)) with the step h and the distance d of the activation's nearest complex singularity.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from powerplan.gaussian import positive_std, rectified, tail
from powerplan.network.digital import activation_function
from powerplan.network.ops import Activation


class ActivationMoments(NamedTuple):
    """Mean, variance and slope E[f'] of an activation; elementwise."""

    mean: Tensor
    variance: Tensor
    slope: Tensor


class ActivationRule(ABC):
    """Gaussian moments of one activation. All tensors have the same shape; differentiable; no NaN at variance 0."""

    @abstractmethod
    def moments(self, mean: Tensor, variance: Tensor) -> ActivationMoments:
        """E[f], Var f and E[f'] for z ~ N(mean, variance)."""

    @abstractmethod
    def hermite(self, mean: Tensor, variance: Tensor, order: int) -> list[Tensor]:
        """Hermite coefficients a_1 ... a_order; all zero where the variance is zero."""


@dataclass(frozen=True, kw_only=True)
class PiecewiseLinear(ActivationRule):
    """f(z) = intercept + slope·z + Σ_k change_k max(0, z − knot_k), knots increasing.

    On the side of each knot where μ lies, f is extended as a line and only the far tail T_k is corrected for:
    no cancellation, however far away the knot is.
    """

    intercept: float = 0.0
    slope: float = 0.0
    knots: tuple[tuple[float, float], ...] = ()

    def moments(self, mean: Tensor, variance: Tensor) -> ActivationMoments:
        if self == _RELU:
            return ActivationMoments(*rectified(mean, variance))
        positive, std = positive_std(variance)
        line_slope = torch.full_like(mean, self.slope)
        line = torch.full_like(mean, self.intercept)
        flat_slope = torch.full_like(mean, self.slope)  # one-sided derivative, for zero variance
        tails, signs = [], []
        for knot, change in self.knots:
            tails.append(tail(mean, std, knot))
            right = (tails[-1].alpha < 0).to(mean.dtype)  # the far tail lies to the right of the knot
            signs.append(2 * right - 1)
            line_slope = line_slope + change * (1 - right)
            line = line - change * knot * (1 - right)
            flat_slope = flat_slope + change * (mean > knot).to(mean.dtype)
        centre = line + line_slope * mean
        first = centre
        slope = line_slope
        spread = line_slope**2 * variance
        for i, (knot, change) in enumerate(self.knots):
            t, sign = tails[i], signs[i]
            first = first + change * t.mean
            slope = slope + change * sign * t.mass
            spread = spread + 2 * line_slope * change * sign * t.mass * variance
            spread = spread + change**2 * (t.square - t.mean**2)
            for j in range(i):
                lower_knot, lower_change = self.knots[j]
                other, gap = tails[j], knot - lower_knot
                # both right: E[T_i T_j] = E[T_i²] + gap E[T_i]; both left: the same with T_j; else disjoint
                both_right = (1 + signs[j]) / 2
                both_left = (1 - sign) / 2
                product = both_right * (t.square + gap * t.mean) + both_left * (other.square + gap * other.mean)
                spread = spread + 2 * change * lower_change * (product - t.mean * other.mean)
        return ActivationMoments(
            mean=torch.where(positive, first, centre),
            variance=torch.where(positive, spread, variance * flat_slope**2).clamp(min=0),
            slope=torch.where(positive, slope, flat_slope),
        )

    def hermite(self, mean: Tensor, variance: Tensor, order: int) -> list[Tensor]:
        positive, std = positive_std(variance)
        zero = torch.zeros_like(mean)
        coefficients = [torch.where(positive, std * self.moments(mean, variance).slope, zero)]
        for k in range(2, order + 1):
            # a_k = σ E[f'(z) He_{k-1}(t)] = Σ change σ He_{k-2}(−α) φ(α)
            total = zero
            for knot, change in self.knots:
                t = tail(mean, std, knot)
                total = total + change * std * _hermite_polynomial(k - 2, -t.alpha.clamp(-40, 40)) * t.density
            coefficients.append(torch.where(positive, total, zero))
        return coefficients[:order]


_RELU = PiecewiseLinear(knots=((0.0, 1.0),))


@dataclass(frozen=True, kw_only=True)
class Smooth(ActivationRule):
    """An analytic f with derivative f', singularities at distance ``singularity`` from the real axis."""

    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]
    singularity: float

    def moments(self, mean: Tensor, variance: Tensor) -> ActivationMoments:
        z, _, weights = self._nodes(mean, variance)
        values = self.function(z)
        # sums of differences from f(μ): exact for constants and for zero variance
        centre = self.function(mean)
        first = (weights * (values - centre)).sum(0)
        spread = (weights * (values - centre - first) ** 2).sum(0)
        return ActivationMoments(mean=centre + first, variance=spread, slope=(weights * self.derivative(z)).sum(0))

    def hermite(self, mean: Tensor, variance: Tensor, order: int) -> list[Tensor]:
        z, t, weights = self._nodes(mean, variance)
        positive, std = positive_std(variance)
        scaled = weights * self.derivative(z) * torch.where(positive, std, torch.zeros_like(std))
        return [(scaled * _hermite_polynomial(k - 1, t)).sum(0) for k in range(1, order + 1)]

    def _nodes(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quadrature points z, standard normal points t and weights, along a new leading axis."""
        positive, safe = positive_std(variance)
        std = torch.where(positive, safe, torch.zeros_like(safe))
        widest = float(std.detach().max()) if std.numel() else 0.0
        step = min(_WIDEST_STEP, 2 * math.pi * self.singularity / (_DIGITS * max(widest, 1e-30)))
        half = min(math.ceil(_REACH / step), _MOST_NODES)
        shape = (2 * half + 1,) + (1,) * mean.dim()
        t = torch.linspace(-_REACH, _REACH, 2 * half + 1, dtype=mean.dtype, device=mean.device).view(shape)
        weights = torch.exp(-0.5 * t * t)
        return mean + std * t, t, weights / weights.sum()


_REACH = 8.5  # standard deviations: the density beyond is below 1e-16
_DIGITS = 27.0  # exp(-27) = 2e-12, the error aimed at
_WIDEST_STEP = 0.6
_MOST_NODES = 1000


def _hermite_polynomial(k: int, t: Tensor) -> Tensor:
    """Probabilists' Hermite polynomial He_k(t)."""
    below, value = torch.zeros_like(t), torch.ones_like(t)
    for i in range(k):
        below, value = value, t * value - i * below
    return value


def activation_rule(op: Activation) -> ActivationRule:
    """The Gaussian moments of an activation."""
    parameters = dict(op.parameters or {})
    match op.kind:
        case "identity":
            return PiecewiseLinear(slope=1.0)
        case "relu":
            return _RELU
        case "leaky_relu":
            slope = parameters["negative_slope"]
            return PiecewiseLinear(slope=slope, knots=((0.0, 1.0 - slope),))
        case "hard_tanh":
            low, high = parameters["low"], parameters["high"]
            return PiecewiseLinear(intercept=low, knots=((low, 1.0), (high, -1.0)))
        case kind:
            derivative, singularity = _SMOOTH[kind]
            return Smooth(function=activation_function(op), derivative=derivative, singularity=singularity)


def _gelu_tanh_derivative(z: Tensor) -> Tensor:
    scale, cubic = math.sqrt(2 / math.pi), 0.044715
    t = torch.tanh(scale * (z + cubic * z**3))
    return 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * scale * (1 + 3 * cubic * z * z)


def _gelu_derivative(z: Tensor) -> Tensor:
    below: Tensor = torch.special.ndtr(z)
    return below + z * torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def _silu_derivative(z: Tensor) -> Tensor:
    s = torch.sigmoid(z)
    return s * (1 + z * (1 - s))


#: derivative and distance of the nearest complex singularity (for the entire GELU: of equivalent accuracy)
_SMOOTH: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "tanh": (lambda z: 1 - torch.tanh(z) ** 2, math.pi / 2),
    "sigmoid": (lambda z: torch.sigmoid(z) * torch.sigmoid(-z), math.pi),
    "softplus": (torch.sigmoid, math.pi),
    "gelu": (_gelu_derivative, 1.5),
    "gelu_tanh": (_gelu_tanh_derivative, 1.5),
    "silu": (_silu_derivative, math.pi),
}
