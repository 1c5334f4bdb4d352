"""Quasi-Newton polish of a nearly optimal point of the full predictor.

Local geometric programs converge linearly: they see the curvature of monomials, not that of the predictor. Near
the optimum, with g, h the gradients of log objective and log constraint and H ≈ ∇²(log objective + λ log constraint),

    [H  h] [δ ]   [    −g      ]
    [hᵀ 0] [λ'] = [−log con/D  ]

over the gains that are not at a limit, and without the constraint if it does not bind. H starts as the Hessian of
the local model and learns the rest from the change of the gradients (symmetric rank-one updates), so each step
costs one prediction and two backward passes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from powerplan.allocation import OptimalityCertificate, certify
from powerplan.planning.problem import Problem
from powerplan.planning.terms import Sum

_LARGEST_STEP = 0.3
_MOST_STEPS = 40


@dataclass(frozen=True, kw_only=True, eq=False)
class _Point:
    theta: np.ndarray
    objective: np.ndarray  # gradient of its log
    constraint: np.ndarray  # likewise
    excess: float
    certificate: OptimalityCertificate

    @property
    def merit(self) -> float:
        c = self.certificate
        return max(c.kkt_residual, c.complementarity, max(self.excess, 0.0))


def polish(
    problem: Problem,
    theta: np.ndarray,
    objective: Sum,
    constraint: Sum,
    *,
    tolerance: float,
    stop_at: float | None,
) -> np.ndarray:
    """A point with a smaller KKT residual than θ (or θ itself).

    Args:
        objective, constraint: at θ, with Jacobians.
        tolerance: KKT residual to reach.
        stop_at: ``time.monotonic()`` value to stop at.
    """
    point = best = _at(problem, theta)
    hessian = _log_hessian(objective) + point.certificate.dual * _log_hessian(constraint)
    waited = 0
    for _ in range(_MOST_STEPS):
        if best.merit <= tolerance or waited == 4 or (stop_at is not None and time.monotonic() > stop_at):
            break
        step = _step(problem, point, hessian)
        if step is None:
            break
        moved = _at(problem, np.clip(point.theta + step, problem.lower, problem.upper))
        dual = moved.certificate.dual
        change = moved.theta - point.theta
        missed = moved.objective - point.objective + dual * (moved.constraint - point.constraint) - hessian @ change
        size = float(missed @ change)
        if abs(size) > 1e-8 * float(np.linalg.norm(missed) * np.linalg.norm(change)):
            hessian = hessian + np.outer(missed, missed) / size
        point = moved
        waited = 0 if point.merit < 0.5 * best.merit else waited + 1
        best = point if point.merit < best.merit else best
    return best.theta


def _at(problem: Problem, theta: np.ndarray) -> _Point:
    objective, constraint = problem.order(*problem.terms.gradients(theta))
    excess = float(np.log(constraint.total / problem.bound))
    return _Point(
        theta=theta,
        objective=objective.log_gradient,
        constraint=constraint.log_gradient,
        excess=excess,
        certificate=certify(
            objective.log_gradient, constraint.log_gradient, excess, theta, problem.lower, problem.upper
        ),
    )


def _step(problem: Problem, point: _Point, hessian: np.ndarray) -> np.ndarray | None:
    free = np.flatnonzero(point.certificate.limit_duals == 0)
    if not len(free):
        return None
    n = len(free)
    system = np.zeros((n + 1, n + 1))
    system[:n, :n] = hessian[np.ix_(free, free)]
    system[:n, n] = system[n, :n] = point.constraint[free]
    right = np.append(-point.objective[free], -point.excess)
    solved = _least_norm(system, right)
    if solved[n] <= 0:  # the constraint would pull, not push: it does not bind
        solved = _least_norm(system[:n, :n], right[:n])
    if not np.isfinite(solved).all():
        return None
    step = np.zeros_like(point.theta)
    step[free] = solved[:n] * min(1.0, _LARGEST_STEP / max(float(np.abs(solved[:n]).max()), 1e-300))
    return step


def _least_norm(system: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solution of least norm: a gain that changes nothing stays where it is."""
    return np.asarray(np.linalg.lstsq(system, right, rcond=1e-13)[0])


def _log_hessian(terms: Sum) -> np.ndarray:
    """Hessian of log Σ terms if each term is a monomial: Σ w a aᵀ − ḡ ḡᵀ."""
    _, exponents = terms.monomials()
    shares = terms.terms / terms.total
    mean = exponents.T @ shares
    return np.asarray((exponents.T * shares) @ exponents - np.outer(mean, mean))
