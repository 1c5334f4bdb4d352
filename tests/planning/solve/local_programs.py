"""Steps by local geometric programs, the reference formulation of a plan, each solved by cvxpy as a convex program.

At θ_k every term of power and error is replaced by the monomial with its value and log-gradient there. The local
problem

    min log Σ exp(log P_t + σ_t·δ)   s.t.   log Σ exp(log F_rm/D_r + τ_rm·δ) ≤ 0 for every constraint r,
                                            |δ|∞ ≤ trust radius, limits

is a convex program. It knows the curvature of monomials, not that of the predictor, so these steps converge linearly.
They need the derivatives of every term: few gains, and predictions that are cheap.
"""

from __future__ import annotations

import cvxpy
import numpy as np
from cvxpy.atoms.log_sum_exp import log_sum_exp

from powerplan.allocation.conic import solve_conic
from powerplan.planning.problem.problem import Problem
from powerplan.planning.problem.sums import Sum
from powerplan.planning.solve.point import Point

#: terms below this part of their sum are constants: their slopes are lost in rounding
_NEGLIGIBLE = 1e-18


class LocalPrograms:
    """Local programs at successive points; ``words`` are the last solver's."""

    evaluations = ("derivatives", "gradients")

    def __init__(self, problem: Problem) -> None:
        self.words = "not needed"
        self._problem = problem

    def propose(self, point: Point, radius: float) -> tuple[np.ndarray, np.ndarray]:
        problem = self._problem
        objective, *constraints = problem.terms.derivatives(point.theta)
        step = cvxpy.Variable(len(point.theta))
        limits = [
            step >= np.maximum(problem.lower - point.theta, -radius),
            step <= np.minimum(problem.upper - point.theta, radius),
        ]
        limits += [_log_sum(c, step) <= bound for c, bound in zip(constraints, problem.log_bounds, strict=True)]
        # only differences of the objective matter: keep its numbers near zero
        least = cvxpy.Minimize(_log_sum(objective.times(1 / objective.total), step))
        answer = solve_conic(cvxpy.Problem(least, limits), step)
        self.words = answer.words
        return np.zeros_like(point.theta) if answer.value is None else answer.value, point.certificate.duals

    def learn(self, point: Point, moved: Point, accepted: bool) -> None:
        """Nothing: every program is made from its own point."""

    def restart(self, point: Point) -> None:
        """Likewise."""


def _log_sum(terms: Sum, step: cvxpy.Variable) -> cvxpy.Expression:
    """The logarithm of a sum of monomials with the values and log-gradients of the terms."""
    floor = terms.total * _NEGLIGIBLE
    counts = terms.terms > floor
    values = np.where(counts, terms.terms, floor)
    return log_sum_exp(np.log(values) + np.where(counts[:, None], terms.jacobian / values[:, None], 0.0) @ step)
