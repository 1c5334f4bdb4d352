"""Gaussian moments of what a converter makes of a value.

For x ~ N(μ, s²), a converter with limit L and step Δ (:mod:`powerplan.hardware.converters`) gives Q(x) = c(x) + e,
c(x) = x held within ±L, e the error of rounding. c has closed forms (a piecewise linear function). Of e,

    s > 0.3 Δ:   E e      = Σ_k (−1)^k Δ/(πk) sin(2πkμ/Δ) ε_k,              ε_k = exp(−2π²k²s²/Δ²),
                 E e²     = Δ²/12 + Σ_k (−1)^k Δ²/(π²k²) cos(2πkμ/Δ) ε_k,
                 Cov(x, e) = 2 s² Σ_k (−1)^k cos(2πkμ/Δ) ε_k,

the Fourier series of a saw tooth, counted with the chance that x lies within the limits; and for smaller s the three
nearest thresholds t of the staircase, each a step of Δ Φ((μ − t)/s). With the slope P = Cov(x, Q)/s² a converter is
the linear map P and an independent *residual* of variance Var Q − P² s².

Derivatives are those at fixed μ/Δ and s/Δ: the trend of the error, which grows with Δ, without the ripple of the
staircase. Averaged over μ the two are the same.

Why: docs/decisions/read-out.md [0190, 0191].
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from powerplan.gaussian import positive_std
from powerplan.hardware.converters import quantised, top_level
from powerplan.moments.rules.activations.piecewise import piecewise_linear
from powerplan.moments.rules.linearized import Linearized

_CLIP = piecewise_linear((-1.0, 0.0), (0.0, 1.0), (1.0, 0.0), knots=(-1.0, 1.0))
#: s/Δ below which single thresholds are counted, and terms of the series above it
_NARROW, _TERMS = 0.3, 3
#: relative deviation of the gains that rounding errors are averaged over
BAND = 0.25


class Converted(NamedTuple):
    """A converted value: its mean, its slope P = Cov(x, Q)/Var x and the variance of the residual; elementwise."""

    mean: Tensor
    slope: Tensor
    residual: Tensor

    def variance(self, before: Tensor) -> Tensor:
        """Variance of what is converted, for that before."""
        return self.slope**2 * before + self.residual

    def linearized(self, before: Tensor, *, noisy: bool = True) -> Linearized:
        """The converters as a step, for the variance before; without noise there is no residual."""
        return Linearized.elementwise(self.mean, self.variance(before), self.slope, self.residual if noisy else None)


def converted_exact(x: Tensor, limit: Tensor, bits: int | None) -> Tensor:
    """Q(x) of a value without error; its derivative in L is that at fixed x/Δ where x is within ±L."""
    clipped = torch.minimum(torch.maximum(x, -limit), limit)
    if bits is None:
        return clipped
    error = ((quantised(x, limit, bits) - clipped) / limit).detach()
    return clipped + error * limit


def converted(mean: Tensor, variance: Tensor, limit: Tensor, bits: int | None) -> Converted:
    """Moments of Q(x) for x ~ N(mean, variance); differentiable, see above.

    Args:
        mean, variance: of one shape; where the variance is 0 x is a constant.
        limit: L > 0, broadcasts to them.
        bits: b; None = no steps.
    """
    clip = _clipped(mean, variance, limit)
    if bits is None:
        return clip
    step = limit / top_level(bits)
    with torch.no_grad():
        value = _rounded(clip, mean, variance, limit, step)
    residual = clip.residual + step**2 * ((value.residual - clip.residual) / step**2).detach()
    return Converted(
        mean=clip.mean + step * ((value.mean - clip.mean) / step).detach(),
        slope=clip.slope + (value.slope - clip.slope).detach(),
        residual=residual.clamp(min=0),
    )


def converted_on_average(mean: Tensor, variance: Tensor, limit: Tensor, bits: int | None) -> Converted:
    """As :func:`converted`, averaged over a band of gains: without the ripple of the staircase.

    A gain that varies by a relative deviation of :data:`BAND` moves x by that part of μ: the rounding error is that of
    a Gaussian with the variance s² + (band μ)². A value of 0 stays exact, one of several steps has a uniform error.
    Derivatives are those of the average.
    """
    clip = _clipped(mean, variance, limit)
    if bits is None:
        return clip
    step = limit / top_level(bits)
    positive, std = positive_std(variance + (BAND * mean) ** 2)
    ratio = torch.where(positive, std, torch.zeros_like(std)) / step
    place = torch.minimum(torch.maximum(mean, -limit), limit) / step
    first, square, slope = _series(place, ratio)
    level, spread, rise = _staircase(place, ratio, limit / step)
    wide = ratio > _NARROW
    first = torch.where(wide, first, level - place)
    slope = torch.where(wide, slope, rise - 1)
    spread = torch.where(wide, square - first**2, spread + ratio**2 * (1 - 2 * rise))
    return Converted(
        mean=clip.mean + step * clip.slope * first,
        slope=clip.slope * (1 + slope),
        residual=(clip.residual + step**2 * clip.slope * spread - variance * slope**2).clamp(min=0),
    )


def _clipped(mean: Tensor, variance: Tensor, limit: Tensor) -> Converted:
    """x held within ±L; the slope is P(|x| < L)."""
    unit = _CLIP.moments(mean / limit, variance / limit**2)
    residual = limit**2 * unit.variance - unit.slope**2 * variance
    return Converted(limit * unit.mean, unit.slope, residual.clamp(min=0))


def _rounded(clip: Converted, mean: Tensor, variance: Tensor, limit: Tensor, step: Tensor) -> Converted:
    """Moments of Q(x), values only."""
    positive, std = positive_std(variance)
    ratio = torch.where(positive, std, torch.zeros_like(std)) / step
    inside = torch.special.ndtr((limit - mean) / std) - torch.special.ndtr((-limit - mean) / std)
    first, square, slope = (inside * e for e in _series(mean / step, ratio))
    wide = Converted(
        mean=clip.mean + step * first,
        slope=clip.slope + slope,
        residual=clip.residual + step**2 * (square - first * first) - variance * slope * slope,
    )
    level, spread, rise = _staircase(mean / step, ratio, limit / step)
    narrow = Converted(mean=step * level, slope=rise, residual=step**2 * (spread - (ratio * rise) ** 2))
    mean, slope, residual = (torch.where(ratio > _NARROW, w, n) for w, n in zip(wide, narrow, strict=True))
    return Converted(mean, slope, residual.clamp(min=0))


def _series(place: Tensor, ratio: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """E e/Δ, E e²/Δ² and Cov(x, e)/s² at μ/Δ and s/Δ."""
    first = slope = torch.zeros_like(place)
    square = torch.full_like(place, 1 / 12)
    for k in range(1, _TERMS + 1):
        envelope = (-1) ** k * torch.exp(-2 * (math.pi * k * ratio) ** 2)
        phase = 2 * math.pi * k * place
        cosine = torch.cos(phase) * envelope
        first = first + torch.sin(phase) * envelope / (math.pi * k)
        square = square + cosine / (math.pi * k) ** 2
        slope = slope + 2 * cosine
    return first, square, slope


def _staircase(place: Tensor, ratio: Tensor, top: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """E Q/Δ, Var Q/Δ² and Cov(x, Q)/s² at μ/Δ and small s/Δ, from the three thresholds nearest to μ."""
    nearest = torch.minimum(torch.maximum(torch.floor(place) + 0.5, 0.5 - top), top - 0.5)
    positive = ratio > 0
    safe = torch.where(positive, ratio, torch.ones_like(ratio))
    chances, present = [], []
    rise = torch.zeros_like(place)
    for threshold in (nearest - 1, nearest, nearest + 1):
        exists = (threshold.abs() < top).to(place.dtype)
        z = (place - threshold) / safe
        chances.append(exists * torch.where(positive, torch.special.ndtr(z), (z >= 0).to(place.dtype)))
        density = torch.exp(-0.5 * z * z) / (safe * math.sqrt(2 * math.pi))
        rise = rise + exists * torch.where(positive, density, torch.zeros_like(density))
        present.append(exists)
    level = sum(chances, nearest - 0.5 - present[0])
    # of two steps, the higher is climbed only with the lower: their covariance is Φ_high (1 − Φ_low)
    spread = sum((chance * (1 - chance) for chance in chances), torch.zeros_like(place))
    for low, high in ((0, 1), (1, 2), (0, 2)):
        spread = spread + 2 * chances[high] * (1 - chances[low]) * present[low]
    return level, spread, rise
