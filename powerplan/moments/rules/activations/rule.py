"""Gaussian moments of elementwise activations: what every rule gives.

For z = μ + σt, t ~ N(0, 1), every activation f gives its mean E[f], variance Var f, slope P = E[f'(z)] and its
Hermite coefficients a_k = E[f(z) He_k(t)], in which

    Var f = Σ_{k≥1} a_k²/k!,      Cov(f(z₁), g(z₂)) = Σ_{k≥1} a_k b_k ρ^k / k!     (Mehler),      a_1 = σP.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor


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


def hermite_polynomial(k: int, t: Tensor) -> Tensor:
    """Probabilists' Hermite polynomial He_k(t)."""
    below, value = torch.zeros_like(t), torch.ones_like(t)
    for i in range(k):
        below, value = value, t * value - i * below
    return value
