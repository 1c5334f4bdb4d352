"""Planes below a sum of terms that is convex in x = log gains, as far as it is."""

from __future__ import annotations

import numpy as np

from powerplan.planning import policy
from powerplan.planning.problem.sums import Sum


class Planes:
    """Planes below the terms of a sum: term m lies above offset[k, m] + slope[k, m]·x for every visited point k.

    Args:
        by_term: the terms are those of sum/scale; else the only one is 1 + log(sum/scale). Either is 1 at the scale.
    """

    def __init__(self, like: Sum, scale: float, by_term: bool) -> None:
        terms, size = (len(like.terms) if by_term else 1), like.jacobian.shape[1]
        self.scale, self.by_term = scale, by_term
        self.offsets = np.zeros((0, terms))
        self.slopes = np.zeros((0, terms, size))
        self.points = np.zeros((0, size))
        self.values = np.zeros((0, terms))
        self.violation = 0.0

    def add(self, x: np.ndarray, sum_: Sum) -> None:
        """Lay planes at x; those above a known point are lowered to it."""
        if self.by_term:
            values, slopes = sum_.terms / self.scale, sum_.jacobian / self.scale
        else:
            values, slopes = np.array([self.measure(sum_.total)]), sum_.log_gradient[None]
        self.offsets = self.offsets - self._excess(self.offsets + self.slopes @ x - values)
        offsets = values - slopes @ x
        over = self._excess(offsets + self.points @ slopes.T - self.values)
        self.offsets = np.vstack([self.offsets, offsets - np.max(over, axis=0, initial=0.0)])
        self.slopes = np.concatenate([self.slopes, slopes[None]])
        self.points = np.vstack([self.points, x])
        self.values = np.vstack([self.values, values])

    def measure(self, total: float) -> float:
        """A value of the sum in the unit of the planes."""
        return total / self.scale if self.by_term else 1 + float(np.log(total / self.scale))

    def total(self, measured: float) -> float:
        """Inverse of :meth:`measure`."""
        return self.scale * (measured if self.by_term else float(np.exp(measured - 1)))

    def _excess(self, above: np.ndarray) -> np.ndarray:
        wrong = np.where(above > policy.PLANE_ROUNDING, above, 0.0)
        self.violation = max(self.violation, float(np.max(wrong, initial=0.0)))
        return wrong
