"""The distribution of a sum of weighted χ², Q = constant + Σ_i w_i χ²(ν_i, δ_i).

Its cumulants and cumulant generating function are

    κ_n = 2^(n−1) (n−1)! Σ_i w_iⁿ (ν_i + n δ_i)   (κ_1 + constant),
    K(s) = Σ_i −ν_i/2 log(1 − 2 w_i s) + δ_i w_i s/(1 − 2 w_i s),      s < 1/(2 max w),

and 1/(2πi) ∫ exp(K(s) − s (x − constant))/s ds along a path from −i∞ to +i∞ is P(Q > x) if it passes 0 on the right,
−P(Q ≤ x) on the left. The path taken leaves the real axis where the integrand is least, on the side of the smaller
probability, and bends to the right, along the steepest descent at first; the trapezoidal rule then converges
exponentially. (The inversion is that of Rice, *SIAM J. Sci. Stat. Comput.* 1 (1980) 438; ν need not be whole.)
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import optimize

#: steps of the trapezoidal rule in standard deviations of the integrand, and how far it goes
_STEP, _REACH = 0.15, 12.0
#: least bend of the path, in units of 1/width
_LEAST_BEND = 0.02


@dataclass(frozen=True, kw_only=True, eq=False)
class QuadraticForm:
    """Q = constant + Σ_i w_i χ²(ν_i, δ_i).

    Attributes:
        weights: w (n,), positive.
        freedom: ν (n,), degrees of freedom, positive.
        offsets: δ (n,), noncentralities.
        constant: what does not vary.
    """

    weights: np.ndarray
    freedom: np.ndarray
    offsets: np.ndarray
    constant: float = 0.0

    def cumulant(self, order: int) -> float:
        """κ of this order, at least 1."""
        factor = 2.0 ** (order - 1) * math.factorial(order - 1)
        total = factor * float((self.weights**order * (self.freedom + order * self.offsets)).sum())
        return total + (self.constant if order == 1 else 0.0)

    @property
    def mean(self) -> float:
        """E[Q]."""
        return self.cumulant(1)

    @cached_property
    def std(self) -> float:
        """Standard deviation."""
        return math.sqrt(self.cumulant(2))

    @cached_property
    def _quantiles(self) -> dict[float, float]:
        """Those that were asked for, by probability: an interval and a table ask again."""
        return {}

    @property
    def varies(self) -> bool:
        """Whether it does by more than the rounding of its mean."""
        return self.std > sys.float_info.epsilon * self.mean

    def scaled(self, factor: float) -> QuadraticForm:
        """The distribution of Q times a positive factor."""
        return replace(self, weights=factor * self.weights, constant=factor * self.constant)

    def stretched(self, factor: float) -> QuadraticForm:
        """That whose deviations from the mean are a positive factor times as large."""
        constant = self.mean - factor * (self.mean - self.constant)
        return replace(self, weights=factor * self.weights, constant=constant)

    def tail(self, value: float) -> float:
        """P(Q > value), to about 1e-10."""
        if not self.varies:
            return float(value < self.mean)
        if value <= self.constant:
            return 1.0
        s, density = self._path(value)
        probability = min(max(abs(float((density / s).imag.sum())) / math.pi, 0.0), 1.0)
        return probability if value > self.mean else 1 - probability

    def conditional(self, value: float) -> tuple[np.ndarray, np.ndarray]:
        """Points s (m,) and weights (m,), both complex, with the sum 1 of the real parts of the weights.

        K/s changes with parameters of Q by ∂K/s; the real part of the sum of weights times ∂K/s is E[∂Q | Q = value],
        and of a value that is a quantile it is the quantile's change. The value is larger than the constant.
        """
        s, density = self._path(value)
        return s / self.std, -1j * density / density.imag.sum()

    def _path(self, value: float) -> tuple[np.ndarray, np.ndarray]:
        """Points s (m,) on half the path, in units of 1/std (the other half is their conjugate), and exp(K − s x) ds
        there."""
        weights, beyond = self.weights / self.std, (value - self.constant) / self.std
        least = self._least(weights, beyond, above=value > self.mean)
        second = self._derivative(weights, least, 2)
        width = 1 / math.sqrt(second + 1 / least**2)
        bend = max(self._derivative(weights, least, 3) / (6 * second), _LEAST_BEND / width)
        y = np.arange(0.5, _REACH / _STEP) * _STEP * width
        s = least + bend * y * y + 1j * y
        return s, np.exp(self._cgf(weights, s) - s * beyond) * (2 * bend * y + 1j) * _STEP * width

    def cdf(self, value: float) -> float:
        """P(Q ≤ value)."""
        return 1 - self.tail(value)

    def quantile(self, probability: float) -> float:
        """The value that Q exceeds with the probability 1 − ``probability``, which is between 0 and 1."""
        if not self.varies:
            return self.mean
        if probability not in self._quantiles:
            low, high = self.constant, self.mean + self.std
            while self.tail(high) > 1 - probability:
                low, high = high, high + 2 * (high - self.constant)
            found = optimize.brentq(lambda x: self.cdf(x) - probability, low, high, xtol=1e-8 * self.std, rtol=1e-8)
            self._quantiles[probability] = float(found)
        return self._quantiles[probability]

    def _least(self, weights: np.ndarray, beyond: float, *, above: bool) -> float:
        """Where |exp(K(s) − s x)/s| is least, between 0 and the first pole or below 0."""

        def slope(s: float) -> float:
            return self._derivative(weights, s, 1) - beyond - 1 / s

        if above:
            pole = 1 / (2 * weights.max())
            return float(optimize.brentq(slope, 1e-13 * pole, (1 - 1e-13) * pole, rtol=1e-6))
        low = -1.0
        while slope(low) > 0:
            low *= 2
        return float(optimize.brentq(slope, low, -1e-12, rtol=1e-6))

    def _derivative(self, weights: np.ndarray, s: float, order: int) -> float:
        """The derivative of K at s of this order, at least 1."""
        pole = weights / (1 - 2 * weights * s)
        factor = 2.0 ** (order - 1) * math.factorial(order - 1)
        return factor * float((pole**order * (self.freedom + order * self.offsets / (1 - 2 * weights * s))).sum())

    def _cgf(self, weights: np.ndarray, s: np.ndarray) -> np.ndarray:
        """K at s."""
        along = 1 - 2 * np.multiply.outer(s, weights)
        shifted = self.offsets * np.multiply.outer(s, weights) / along
        return np.asarray((shifted - self.freedom / 2 * np.log(along)).sum(-1))
