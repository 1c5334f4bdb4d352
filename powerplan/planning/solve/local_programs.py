"""Steps by local geometric programs, the reference formulation of a plan, each solved by cvxpy as a convex program.

At θ_k every term of power and error is replaced by the monomial with its value and log-gradient there. The local
problem

    min log Σ exp(log P_t + σ_t·δ)   s.t.   log Σ exp(log F_rm/D_r + τ_rm·δ) ≤ 0 for every constraint r,
                                            |δ|∞ ≤ trust radius, limits

is a convex program. It knows the curvature of monomials, not that of the predictor, so these steps converge linearly.
They need the derivatives of every term: few gains, and predictions that are cheap.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from powerplan.allocation import JointProgram
from powerplan.planning import policy
from powerplan.planning.problem.problem import Problem
from powerplan.planning.problem.sums import Sum
from powerplan.planning.solve.point import Point


class LocalPrograms:
    """Local programs at successive points, compiled once per number of terms; ``words`` are the last solver's."""

    evaluations = ("derivatives", "gradients")

    def __init__(self, problem: Problem) -> None:
        self.words = "not needed"
        self._problem = problem
        self._programs: dict[tuple[int, ...], JointProgram] = {}

    def propose(self, point: Point, radius: float) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`Step`."""
        problem = self._problem
        objective, *constraints = problem.terms.derivatives(point.theta)
        lower, upper = problem.lower - point.theta, problem.upper - point.theta
        box = np.maximum(lower, -radius), np.minimum(upper, radius)
        return self._solve(objective, constraints, point.e, *box), point.certificate.duals

    def learn(self, point: Point, moved: Point, accepted: bool) -> None:
        """See :class:`Step`. Nothing: every program is made from its own point."""

    def restart(self, point: Point) -> None:
        """See :class:`Step`."""

    def _solve(
        self, objective: Sum, constraints: Sequence[Sum], excesses: np.ndarray, lower: np.ndarray, upper: np.ndarray
    ) -> np.ndarray:
        """The best step (n,) within a box."""
        near = np.sort(np.argsort(-excesses, kind="stable")[: policy.PROGRAM_CONSTRAINTS])
        near = near[excesses[near] >= excesses.max() - policy.PROGRAM_REACH]
        log_objective = objective.monomials()
        log_constraints = []
        for r in near:
            logs, exponents = constraints[r].monomials()
            log_constraints.append((logs - self._problem.log_bounds[r], exponents))
        sizes = (len(log_objective[0]), *(len(logs) for logs, _ in log_constraints))
        program = self._programs.get(sizes)
        if program is None:
            program = self._programs[sizes] = JointProgram(
                objective_terms=sizes[0], constraint_terms=sizes[1:], gains=len(lower)
            )
        joint = program.solve(log_objective, log_constraints, lower, upper)
        self.words = joint.solver_words
        return np.zeros_like(lower) if joint.x is None else joint.x
