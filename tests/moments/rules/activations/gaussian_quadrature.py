"""Expectations over Gaussians by composite Gauss-Legendre quadrature, split at kinks.

Independent of the package: other nodes, other panels, plain numpy. ``test_activations`` holds it against mpmath.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.polynomial.hermite_e import hermeval
from numpy.polynomial.legendre import leggauss

Function = Callable[[np.ndarray], np.ndarray]


def nodes(
    breaks: Sequence[float], *, reach: float = 40.0, width: float = 0.02, degree: int = 12
) -> tuple[np.ndarray, ...]:
    """Points t and weights on [-reach, reach], in panels no wider than ``width`` that end at every break."""
    inner = [b for b in breaks if -reach < b < reach]
    edges = np.unique(np.concatenate([np.arange(-reach, reach + width / 2, width), inner]))
    x, w = leggauss(degree)
    half, middle = np.diff(edges) / 2, (edges[1:] + edges[:-1]) / 2
    return (middle[:, None] + half[:, None] * x).ravel(), (half[:, None] * w).ravel()


def moments(
    f: Function, derivative: Function, mean: float, std: float, *, knots: Sequence[float] = (), order: int = 6
) -> tuple[float, float, float, list[float]]:
    """E[f], Var f, E[f'] and a_k = E[f(z) He_k(t)], k = 1 to ``order``, for z = mean + std t."""
    t, w = nodes([(knot - mean) / std for knot in knots])
    density = w * np.exp(-(t**2) / 2) / np.sqrt(2 * np.pi)
    z = mean + std * t
    # differences from f(mean): no cancellation where f hardly varies
    centre = f(np.array([mean]))[0]
    values = f(z) - centre
    first = density @ values
    spread = density @ (values - first) ** 2
    coefficients = [density @ ((values - first) * hermeval(t, [0.0] * k + [1.0])) for k in range(1, order + 1)]
    return centre + first, spread, density @ derivative(z), coefficients


def covariance(
    f: Function, means: Sequence[float], stds: Sequence[float], correlation: float, *, knots: Sequence[float] = ()
) -> float:
    """Cov(f(z₁), f(z₂)) for correlated Gaussians, on a grid of the plane."""
    (t, w), (s, u) = (
        nodes([(knot - m) / d for knot in knots], reach=9.0, width=0.25, degree=10)
        for m, d in zip(means, stds, strict=True)
    )
    rest = 1 - correlation**2
    joint = np.exp(-(t[:, None] ** 2 - 2 * correlation * t[:, None] * s + s**2) / (2 * rest))
    first, second = f(means[0] + stds[0] * t), f(means[1] + stds[1] * s)
    first = first - w @ (np.exp(-(t**2) / 2) * first) / np.sqrt(2 * np.pi)
    second = second - u @ (np.exp(-(s**2) / 2) * second) / np.sqrt(2 * np.pi)
    return float((w * first) @ joint @ (u * second) / (2 * np.pi * np.sqrt(rest)))
