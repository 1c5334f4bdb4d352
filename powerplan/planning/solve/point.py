"""A point of a descent: θ with the values and gradients of objective and constraints there, and its certificate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from powerplan.allocation import OptimalityCertificate, certify
from powerplan.planning.problem.problem import Problem
from powerplan.planning.problem.sums import Sum


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """θ (n,) with the objective and the R constraints there.

    Attributes:
        g: (n,) gradient of the log objective.
        h: (R, n) gradients of the log constraints.
        e: (R,) log(constraint / bound).
    """

    theta: np.ndarray
    objective: Sum
    constraints: tuple[Sum, ...]
    g: np.ndarray
    h: np.ndarray
    e: np.ndarray
    certificate: OptimalityCertificate

    @classmethod
    def at(cls, problem: Problem, theta: np.ndarray) -> Point:
        """The point at θ, by one prediction with its 1 + R gradients."""
        objective, *constraints = problem.terms.gradients(theta)
        g, h = objective.log_gradient, np.stack([c.log_gradient for c in constraints])
        e = problem.excesses_of(constraints)
        return cls(
            theta=theta,
            objective=objective,
            constraints=tuple(constraints),
            g=g,
            h=h,
            e=e,
            certificate=certify(g, h, e, theta, problem.lower, problem.upper),
        )

    def merit(self, prices: np.ndarray) -> float:
        """log objective + Σ μ_r max(e_r, 0)."""
        return float(self.objective.log_total + prices @ np.maximum(self.e, 0.0))

    @property
    def bound(self) -> float | None:
        """Lower bound on the objective of all gains that meet the constraints, by the certificate; None = none."""
        bound = self.objective.total * float(np.exp(-self.certificate.duality_gap))
        return bound if bound > 0 else None

    @property
    def unsettled(self) -> float:
        """The largest of KKT residual, complementarity and excess: 0 at a KKT point."""
        return max(self.certificate.kkt_residual, self.certificate.complementarity, float(self.e.max()))

    def is_optimal(self, tolerance: float, accuracy: float) -> bool:
        """Whether the KKT conditions hold to ``tolerance``, and the constraints to ``accuracy``."""
        met = float(self.e.max()) <= accuracy
        return met and max(self.certificate.kkt_residual, self.certificate.complementarity) <= tolerance
