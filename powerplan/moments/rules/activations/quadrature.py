"""Moments of any function of one value, by quadrature over t; no derivative of it is needed.

With g = f(z) - f(μ) and z = μ + σt, everything follows from sums of g He_k(t) and g² He_k(t) (Stein):

    D_k = E[f^(k)(z)] = E[g He_k(t)] / σ^k,      dD_k/dμ = D_{k+1},      dD_k/dσ² = D_{k+2} / 2,

for jumps too. The function is taken apart once (:mod:`.taking_apart`); then every entry has one of two rules:

- no break within reach: the trapezoidal rule, whose error falls as exp(-2πd/(σh)) with the step h and the distance d
  of the nearest complex singularity. One set of points for all such entries: their sums are products of matrices;
- else: Gauss-Legendre on every panel within reach.

Where σ is very small, differences of f are lost in its rounding. Without a break near, the sums are taken at a wider q
instead, and a_k = (σ/q)^k E_q[g He_k] but for what higher orders make of it.

Why: docs/decisions/moments.md [0162].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from powerplan.gaussian import positive_std
from powerplan.moments.rules.activations.pieces import RARE, Pieces
from powerplan.moments.rules.activations.rule import ActivationMoments, ActivationRule, hermite_polynomial
from powerplan.moments.rules.activations.taking_apart import pieces


@dataclass(frozen=True, kw_only=True)
class _Accuracy:
    """What a precision asks for.

    Attributes:
        reach: in standard deviations.
        digits: -log of the error aimed at.
        step: widest step of the trapezoidal rule.
        points, per_width: of a panel, and more of them per standard deviation of its width.
        least: least width of a window, of the distance of the singularity.
    """

    reach: float
    digits: float
    step: float
    points: int
    per_width: float
    least: float


_ACCURACY = {
    torch.float64: _Accuracy(reach=8.5, digits=27.0, step=0.6, points=12, per_width=1.6, least=1e-3),
    torch.float32: _Accuracy(reach=6.0, digits=16.0, step=0.8, points=8, per_width=1.3, least=5e-2),
}
#: σ below which a window of the least width is taken instead, and the least width next to a break, both of it
_NARROW, _CLOSE = 0.2, 1e-2
#: numbers of points are rounded up to few different ones, this much apart
_GROWTH = 1.3
#: one rule serves all entries where it has at most as many times the fewest points
_ONE_RULE = 2.5
#: points of a block: they stay in the processor's cache
_BLOCK = 1 << 18
#: beyond as many panels within reach, their detail is left to a fine trapezoidal rule
_MOST_PANELS, _FINE = 1024, 4096


class _Sums(NamedTuple):
    """What the nodes of one rule give at z = centre + width t.

    Attributes:
        value: f(centre), 0 where that is no number, (n,).
        first: E[g He_k(t)], k = 0 ..., with g = f(z) - value, (orders, n).
        second: E[(g - E g)² He_k(t)], k = 0, 1, 2, (3, n).
    """

    value: Tensor
    first: Tensor
    second: Tensor


class _Windows(NamedTuple):
    """Where the sums are taken, (n,) each; ``narrow``: at a width larger than σ."""

    centre: Tensor
    width: Tensor
    narrow: Tensor


class _Local(NamedTuple):
    """What is known about every entry, (n,) each, the Hermite coefficients (orders, n).

    ``slope``, ``second`` and ``third`` are the means of the derivatives of f; ``by_mean`` and ``by_variance`` those of
    the variance.
    """

    mean: Tensor
    variance: Tensor
    slope: Tensor
    second: Tensor
    third: Tensor
    by_mean: Tensor
    by_variance: Tensor
    hermite: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Quadrature(ActivationRule):
    """Any function of one value, elementwise."""

    function: Callable[[Tensor], Tensor]
    _pieces: dict[tuple[int, str], Pieces] = field(default_factory=dict)

    def moments(self, mean: Tensor, variance: Tensor) -> ActivationMoments:
        value, spread, slope = _Integrals.apply(self, 0, mean, variance)  # type: ignore[no-untyped-call]
        return ActivationMoments(mean=value, variance=spread, slope=slope)

    def hermite(self, mean: Tensor, variance: Tensor, order: int) -> list[Tensor]:
        return list(_Integrals.apply(self, order, mean, variance)[3:])  # type: ignore[no-untyped-call]

    @cached_property
    def highest_step(self) -> float:
        """The largest jump of the function between -4 and 4."""
        inner, step = pieces(self.function, 4.0).breaks[1:-1], 1e-9
        jumps = (self.function(inner + step) - self.function(inner - step)).abs()
        return _range(jumps[jumps.isfinite()])[1]

    @cached_property
    def largest_jump(self) -> float:
        """The largest jump between -4 and 4 as a part of the range of the values there."""
        values = self.function(torch.linspace(-4, 4, 1025, dtype=torch.float64))
        low, high = _range(values[values.isfinite()])
        return self.highest_step / (high - low) if high > low else 0.0

    def holds(self, mean: Tensor, variance: Tensor) -> bool:
        """False where poles, or values at which the function is no number, are in reach of the noise of an entry."""
        positive, std = positive_std(variance.double())
        mean, std = mean.double()[positive], std[positive]
        low, high = _range(mean - RARE * std)[0], _range(mean + RARE * std)[1]
        return self._taken_apart(max(-low, high), mean.device).holds(mean, std)

    def local(self, mean: Tensor, variance: Tensor, order: int) -> _Local:
        """Everything about entries (n,), with ``order`` Hermite coefficients; 1 = without derivatives."""
        positive, std = positive_std(variance)
        std = torch.where(positive, std, torch.zeros_like(std))
        accuracy = _ACCURACY[mean.dtype]
        low, high = _range(mean - accuracy.reach * std)[0], _range(mean + accuracy.reach * std)[1]
        parts = self._taken_apart(max(-low, high), mean.device)
        half = _half_for_all(parts, low, high, *_range(std), accuracy)
        if half:
            value, first, second = self._in_blocks(mean, std, half, max(order, 3), accuracy.reach)
            slope, d2, d3 = (first[k] / std**k for k in (1, 2, 3))
            derivatives = second[1] / std, 0.5 * second[2] / std**2
            return _Local(value + first[0], second[0], slope, d2, d3, *derivatives, first[1:])
        return self._each(parts, mean, std, order, accuracy)

    def _each(self, parts: Pieces, mean: Tensor, std: Tensor, order: int, accuracy: _Accuracy) -> _Local:
        """The same where entries need rules of their own."""
        windows = _windows(parts, mean, std, accuracy)
        value, first, second = self._sums(parts, windows, order, accuracy)
        centre, width, narrow = windows
        least = torch.finfo(mean.dtype).tiny
        d1, d2, d3, d4, d5 = (first[k] / (width**k).clamp(min=least) for k in range(1, 6))
        moved = mean - centre
        # what they are at σ rather than at the width of the window, and at μ rather than at its centre
        rest = 0.5 * (width**2 - std**2)
        d1, d2, d3 = (
            torch.where(narrow, a, b)
            for a, b in ((d1 - rest * (d3 - 0.5 * rest * d5), d1), (d2 - rest * d4, d2), (d3 - rest * d5, d3))
        )
        slope = d1 + moved * (d2 + 0.5 * d3 * moved)
        small = torch.where(narrow, std * std, torch.zeros_like(std))
        ratio = torch.where(narrow, std / width, torch.ones_like(std))
        hermite = first[1:] * ratio ** torch.arange(1, len(first), device=ratio.device).unsqueeze(1)
        hermite[0] = std * slope
        series = slope**2 * small + 0.5 * (d2 * small) ** 2 + d3**2 * small**3 / 6
        return _Local(
            mean=torch.where(narrow, self.function(mean) + small * (0.5 * d2 - 0.125 * d4 * small), value + first[0]),
            variance=torch.where(narrow, series, second[0]),
            slope=slope,
            second=d2,
            third=d3,
            by_mean=torch.where(narrow, 2 * slope * d2 * small + d2 * d3 * small**2, second[1] / width),
            by_variance=torch.where(narrow, slope**2 + small * (slope * d3 + d2**2), 0.5 * second[2] / width**2),
            hermite=hermite,
        )

    def _taken_apart(self, farthest: float, device: torch.device) -> Pieces:
        """The function taken apart on a range with room for all entries."""
        known = min(max(farthest, 1e-30), 1e30) if math.isfinite(farthest) else 1.0
        key = math.ceil(math.log(1.25 * known, 4)), str(device)
        if key not in self._pieces:
            self._pieces[key] = pieces(self.function, 4.0 ** key[0]).to(device)
        return self._pieces[key]

    def _sums(self, parts: Pieces, windows: _Windows, order: int, accuracy: _Accuracy) -> _Sums:
        """Up to ``order`` and, for what narrow windows need, up to the fifth."""
        centre, width, narrow = windows
        wide, reach = width.double(), accuracy.reach
        low, high = centre.double() - reach * wide, centre.double() + reach * wide
        step = (2 * math.pi / accuracy.digits * parts.nearest(low, high) / wide).clamp(max=accuracy.step)
        half = (reach / step).ceil()
        panels = parts.touched(low, high)
        dear = 2 * half + 1 > panels * accuracy.points + 2 * reach * accuracy.per_width
        fine = panels > _MOST_PANELS
        split = (parts.broken(low, high) | dear) & ~fine & ~narrow
        half = torch.where(fine, torch.full_like(half, _FINE), half)
        # few different numbers of panels, or, negative, of points of the trapezoidal rule
        counts = torch.where(split, _rounded(panels, 1), -_rounded(half, math.ceil(reach / accuracy.step)))
        most = max(order, 5)
        result = _no_sums(centre, most)
        for count in torch.unique(counts).tolist():
            (chosen,) = torch.nonzero(counts == count, as_tuple=True)
            window = centre[chosen], width[chosen]
            if count < 0:
                sums = self._in_blocks(*window, int(-count), most, reach)
            else:
                sums = self._in_panels(parts, *window, int(count), order, accuracy)
            result.value[chosen], result.second[:, chosen] = sums.value, sums.second
            result.first[: len(sums.first), chosen] = sums.first
        return result

    def _in_blocks(self, centre: Tensor, width: Tensor, half: int, order: int, reach: float) -> _Sums:
        if centre.numel() * (2 * half + 1) <= _BLOCK:
            return self._trapezoidal(centre, width, half, order, reach)
        result = _no_sums(centre, order)
        size = max(1, _BLOCK // (2 * half + 1))
        for i in range(0, len(centre), size):
            block = slice(i, i + size)
            sums = self._trapezoidal(centre[block], width[block], half, order, reach)
            result.value[block], result.first[:, block], result.second[:, block] = sums
        return result

    def _in_panels(
        self, parts: Pieces, centre: Tensor, width: Tensor, count: int, order: int, accuracy: _Accuracy
    ) -> _Sums:
        result = _no_sums(centre, order)
        size = max(1, _BLOCK // (4 * count * (accuracy.points + 8)))
        for i in range(0, len(centre), size):
            block = slice(i, i + size)
            sums = self._split(parts, centre[block], width[block], count, order, accuracy)
            result.value[block], result.first[:, block], result.second[:, block] = sums
        return result

    def _trapezoidal(self, centre: Tensor, width: Tensor, half: int, order: int, reach: float) -> _Sums:
        t, weights = (a.to(centre) for a in _trapezoid(half, order, reach))
        value = self.function(centre)
        g = self.function(centre + width * t) - value
        first = weights @ g
        return _Sums(value, first, weights[:3] @ (g - first[0]) ** 2)

    def _split(
        self, parts: Pieces, centre: Tensor, width: Tensor, count: int, order: int, accuracy: _Accuracy
    ) -> _Sums:
        t, weights = (a.to(centre.dtype) for a in parts.nodes(centre.double(), width.double(), count, accuracy))
        value = self.function(centre)
        value = torch.where(value.isfinite(), value, torch.zeros_like(value))
        g = self.function(centre + width * t) - value
        known = g.isfinite()
        if not known.all():  # of a root or a logarithm, the part where it is defined
            weights, g = (torch.where(known, a, torch.zeros_like(a)) for a in (weights, g))
        weights /= weights.sum(0)
        result = _no_sums(centre, order)
        product = weights * g
        below, polynomial = torch.zeros_like(t[:1]), t
        for k in range(order + 1):
            if k > 1:
                below, polynomial = polynomial, t * polynomial - (k - 1) * below if k > 2 else t * t - 1
            result.first[k] = (product * polynomial if k else product).sum(0)
        square = weights.mul_((g - result.first[0]) ** 2)
        result.second[0] = square.sum(0)
        if order > 1:
            for k in (1, 2):
                square *= t
                result.second[k] = square.sum(0)
            result.second[2] -= result.second[0]
        result.value[:] = value
        return result


def _no_sums(like: Tensor, order: int) -> _Sums:
    n = len(like)
    return _Sums(like.new_zeros(n), like.new_zeros(order + 1, n), like.new_zeros(3, n))


def _range(x: Tensor) -> tuple[float, float]:
    if not x.numel():
        return 0.0, 0.0
    low, high = x.aminmax()
    return float(low), float(high)


def _half_for_all(
    parts: Pieces, low: float, high: float, least: float, widest: float, accuracy: _Accuracy
) -> int | None:
    """Half the points of one trapezoidal rule that serves all entries in [low, high]; None if none does."""
    distances = parts.between(low, high)
    if not distances or least < _NARROW * accuracy.least * max(distances):
        return None
    half = accuracy.reach / min(accuracy.step, 2 * math.pi / accuracy.digits * min(distances) / widest)
    return math.ceil(half) if half <= _ONE_RULE * accuracy.reach / accuracy.step else None


def _windows(parts: Pieces, mean: Tensor, std: Tensor, accuracy: _Accuracy) -> _Windows:
    """μ and σ, or where σ is too small for the sums: a wider window between the same breaks."""
    mu, reach = mean.double(), 1.05 * accuracy.reach
    below, above = parts.around(mu)
    gap = torch.minimum(mu - below, above - mu)
    least = accuracy.least * parts.distance(mu)
    wider = torch.minimum(torch.maximum(gap / reach, _CLOSE * least), least)
    wider = torch.minimum(wider, (above - below) / (2 * reach))
    fits = gap >= reach * wider
    narrow = (std < _NARROW * wider) & (fits | (std == 0))
    inside = torch.maximum(below + reach * wider, torch.minimum(mu, above - reach * wider))
    return _Windows(
        centre=torch.where(narrow & ~fits, inside.to(mean.dtype), mean),
        width=torch.where(narrow, wider.to(std.dtype), std),
        narrow=narrow,
    )


def _rounded(counts: Tensor, least: float) -> Tensor:
    """Counts rounded up to few different ones, from ``least`` on."""
    level = (counts.to(torch.float64) / least).clamp(min=1).log() / math.log(_GROWTH)
    return (least * _GROWTH ** (level - 1e-9).ceil()).ceil()


@lru_cache(maxsize=64)
def _trapezoid(half: int, order: int, reach: float) -> tuple[Tensor, Tensor]:
    """Points (2 half + 1, 1), and weights times He_k (order + 1, 2 half + 1)."""
    t = torch.linspace(-reach, reach, 2 * half + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * t * t)
    weights = weights / weights.sum()
    return t.unsqueeze(1), torch.stack([weights * hermite_polynomial(k, t) for k in range(order + 1)])


class _Integrals(torch.autograd.Function):
    """Mean, variance, slope and Hermite coefficients of an elementwise function, and their derivatives in μ and σ²."""

    @staticmethod
    def forward(ctx: Any, rule: Quadrature, order: int, mean: Tensor, variance: Tensor) -> tuple[Tensor, ...]:
        mean, variance = torch.broadcast_tensors(mean, variance)  # type: ignore[no-untyped-call]
        needed = max(order + 2, 3) if order or any(ctx.needs_input_grad) else 1
        local = rule.local(mean.flatten(), variance.flatten(), needed)
        if any(ctx.needs_input_grad):
            ctx.save_for_backward(variance, *local)
        results = local.mean, local.variance, local.slope, *local.hermite[:order]
        return tuple(result.view(mean.shape) for result in results)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, Tensor, Tensor]:
        variance, _, _, slope, second, third, by_mean, by_variance, hermite = ctx.saved_tensors
        value, spread, tilt, *coefficients = (g.flatten() for g in gradients)
        mu = value * slope + spread * by_mean + tilt * second
        v = 0.5 * (value * second + tilt * third) + spread * by_variance
        positive, std = positive_std(variance.flatten())
        for k, gradient in enumerate(coefficients, start=1):
            a, following, next_but_one = hermite[k - 1 : k + 2]
            mu = mu + torch.where(positive, gradient * following / std, 0.0)
            v = v + torch.where(positive, gradient * (next_but_one + k * a) / (2 * std * std), 0.0)
        return None, None, mu.view(variance.shape), v.view(variance.shape)
