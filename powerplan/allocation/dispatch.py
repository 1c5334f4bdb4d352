"""One call for all solvers."""

from __future__ import annotations

from powerplan.allocation.convex import cvxpy_solve
from powerplan.allocation.formula import closed_form, closed_form_covers
from powerplan.allocation.kkt import kkt_bisection
from powerplan.allocation.problem import GeometricProgram
from powerplan.allocation.result import AllocationResult
from powerplan.checks import choice

METHODS = ("auto", "closed_form", "kkt", "cvxpy")


def solve(problem: GeometricProgram, method: str = "auto") -> AllocationResult:
    """Solve a geometric program.

    Args:
        method: "closed_form", "kkt" (separable problems), "cvxpy" (any), or "auto": the first of the three
            that covers the problem.

    Raises:
        InvalidInput: an unknown method, or one that does not cover the problem.
        SolverFailed: the solver stopped without an answer.
    """
    choice("method", method, METHODS)
    if method == "closed_form" or (method == "auto" and closed_form_covers(problem)):
        return closed_form(problem)
    if method == "kkt" or (method == "auto" and problem.is_separable):
        return kkt_bisection(problem)
    return cvxpy_solve(problem)
