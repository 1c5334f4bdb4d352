"""Sequential local geometric programs on the full predictor.

At θ_k every term of power and error is replaced by the monomial with its value and log-gradient there. The local
problem

    min log Σ exp(log P_t + σ_t·δ)   s.t.   log Σ exp(log F_m/D + τ_m·δ) ≤ 0,   |δ|∞ ≤ trust radius, limits

is a convex program. Its step is put back onto the constraint of the full predictor (a common shift of the free
gains), then accepted if the objective fell, else the trust radius shrinks. It stops at a KKT point of the
full problem.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from powerplan.allocation import LocalProgram, OptimalityCertificate, certify
from powerplan.planning.polish import polish
from powerplan.planning.problem import Problem, back_onto
from powerplan.planning.terms import Sum

_FIRST_RADIUS = 2.0
_SMALLEST_RADIUS = 1e-9
#: steps of log gains below which the quasi-Newton polish takes over
_NEAR = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class Optimum:
    """Where the sequence ended. ``reason`` is "optimal", "iteration_limit" or "deadline"."""

    theta: np.ndarray
    objective: Sum
    constraint: Sum
    certificate: OptimalityCertificate
    iterations: int
    reason: str
    solver_status: str


def minimise(
    problem: Problem,
    start: np.ndarray,
    *,
    tolerance: float,
    max_iterations: int,
    stop_at: float | None,
    progress: Callable[[int, float], None] | None = None,
) -> Optimum:
    """Descend from a feasible θ to a KKT point.

    Args:
        start: feasible θ.
        tolerance: KKT residual to reach.
        stop_at: ``time.monotonic()`` value after which the best point so far is returned.
        progress: called with (iteration, KKT residual).
    """
    theta, radius = start, _FIRST_RADIUS
    local: LocalProgram | None = None
    status = "not needed"
    objective, constraint = problem.order(*problem.terms.derivatives(theta))
    for iteration in range(max_iterations + 1):
        certificate = certify(
            objective.log_gradient,
            constraint.log_gradient,
            float(np.log(constraint.total / problem.bound)),
            theta,
            problem.lower,
            problem.upper,
        )
        if progress:
            progress(iteration, certificate.kkt_residual)
        settled = certificate.kkt_residual <= tolerance and certificate.complementarity <= tolerance
        late = stop_at is not None and time.monotonic() > stop_at
        if settled or late or iteration == max_iterations or radius < _SMALLEST_RADIUS:
            stalled = radius < _SMALLEST_RADIUS and certificate.kkt_residual <= 1e-6
            reason = "optimal" if settled or stalled else "deadline" if late else "iteration_limit"
            break
        log_objective, objective_exponents = objective.monomials()
        log_constraint, constraint_exponents = constraint.monomials()
        if local is None:
            local = LocalProgram(
                objective_terms=len(log_objective), constraint_terms=len(log_constraint), gains=len(theta)
            )
        while True:
            step = local.solve(
                log_objective,
                objective_exponents,
                log_constraint - np.log(problem.bound),
                constraint_exponents,
                np.maximum(problem.lower - theta, -radius),
                np.minimum(problem.upper - theta, radius),
            )
            status = step.solver_words
            moved = back_onto(problem, np.clip(theta + step.x, problem.lower, problem.upper), constraint)
            if moved is not None:
                reached = problem.order(*problem.terms.values(moved))[0].total
                if reached <= objective.total * (1 + 1e-13):
                    break
            radius = min(radius, float(np.abs(step.x).max())) / 4
            if radius < _SMALLEST_RADIUS:
                break
        if radius < _SMALLEST_RADIUS:
            continue
        if np.abs(step.x).max() > 0.9 * radius:
            radius *= 2
        assert moved is not None
        theta = moved
        objective, constraint = problem.order(*problem.terms.derivatives(theta))
        if np.abs(step.x).max() < _NEAR:
            theta, objective, constraint = _polished(problem, theta, objective, constraint, tolerance, stop_at)
    return Optimum(
        theta=theta,
        objective=objective,
        constraint=constraint,
        certificate=certificate,
        iterations=iteration,
        reason=reason,
        solver_status=status,
    )


def _polished(
    problem: Problem, theta: np.ndarray, objective: Sum, constraint: Sum, tolerance: float, stop_at: float | None
) -> tuple[np.ndarray, Sum, Sum]:
    """The polished point if it is feasible and no dearer, else the given one."""
    close = polish(problem, theta, objective, constraint, tolerance=0.1 * tolerance, stop_at=stop_at)
    moved = back_onto(problem, close, constraint)
    if moved is None or np.array_equal(moved, theta):
        return theta, objective, constraint
    better = problem.order(*problem.terms.derivatives(moved))
    if better[0].total > objective.total * (1 + 1e-13):
        return theta, objective, constraint
    return moved, *better
