"""Quasi-Newton polish of a nearly optimal point of the full predictor.

Local geometric programs converge linearly: they see the curvature of monomials, not that of the predictor. Near
the optimum, with g, h the gradients of log objective and log constraint and H ≈ ∇²(log objective + λ log constraint),

    [H  h] [δ ]   [    −g      ]
    [hᵀ 0] [λ'] = [−log con/D  ]

over the gains that are not at a limit and the constraints that bind. H starts as the Hessian of
the local model and learns the rest from the change of the gradients (symmetric rank-one updates), so each step
costs one prediction and two backward passes.

Why: docs/decisions/optimisation.md [0076].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from powerplan.allocation import OptimalityCertificate, certify
from powerplan.planning.problem.problem import Problem
from powerplan.planning.problem.terms import Sum

_LARGEST_STEP = 0.3
_MOST_STEPS = 40
#: what a step, and taking its point, takes
_CLOSING = ("gradients", "values", "derivatives")
#: linearised excess of a constraint that a step may leave: rounding
_BROKEN = 1e-12


@dataclass(frozen=True, kw_only=True, eq=False)
class _Point:
    theta: np.ndarray
    objective: np.ndarray  # gradient of its log
    constraints: np.ndarray  # (R, n) likewise
    excesses: np.ndarray  # (R,)
    certificate: OptimalityCertificate

    @property
    def merit(self) -> float:
        c = self.certificate
        return max(c.kkt_residual, c.complementarity, max(float(self.excesses.max()), 0.0))


def polish(
    problem: Problem,
    theta: np.ndarray,
    objective: Sum,
    constraints: Sequence[Sum],
    *,
    tolerance: float,
    stop_at: float | None,
) -> np.ndarray:
    """A point with a smaller KKT residual than θ (or θ itself).

    Args:
        objective, constraints: at θ, with Jacobians.
        tolerance: KKT residual to reach.
        stop_at: ``time.monotonic()`` value to stop at.
    """
    point = best = _at(problem, theta)
    hessian = _log_hessian(objective)
    for dual, constraint in zip(point.certificate.duals, constraints, strict=True):
        if dual > 0:
            hessian = hessian + dual * _log_hessian(constraint)
    waited = 0
    for _ in range(_MOST_STEPS):
        if best.merit <= tolerance or waited == 4 or problem.late(stop_at, *_CLOSING):
            break
        step = _step(problem, point, hessian)
        if step is None:
            break
        moved = _at(problem, np.clip(point.theta + step, problem.lower, problem.upper))
        duals = moved.certificate.duals
        change = moved.theta - point.theta
        missed = moved.objective - point.objective + duals @ (moved.constraints - point.constraints) - hessian @ change
        size = float(missed @ change)
        if abs(size) > 1e-8 * float(np.linalg.norm(missed) * np.linalg.norm(change)):
            hessian = hessian + np.outer(missed, missed) / size
        point = moved
        waited = 0 if point.merit < 0.5 * best.merit else waited + 1
        best = point if point.merit < best.merit else best
    return best.theta


def _at(problem: Problem, theta: np.ndarray) -> _Point:
    objective, *bounded = problem.terms.gradients(theta)
    constraints = np.stack([c.log_gradient for c in bounded])
    excesses = problem.excesses_of(bounded)
    return _Point(
        theta=theta,
        objective=objective.log_gradient,
        constraints=constraints,
        excesses=excesses,
        certificate=certify(objective.log_gradient, constraints, excesses, theta, problem.lower, problem.upper),
    )


def _step(problem: Problem, point: _Point, hessian: np.ndarray) -> np.ndarray | None:
    free = np.flatnonzero(point.certificate.limit_duals == 0)
    if not len(free):
        return None
    n = len(free)
    slopes = point.constraints[:, free]
    binding = [int(r) for r in np.flatnonzero(point.certificate.duals > 0)]
    if not binding:
        binding = [int(point.excesses.argmax())]
    seen: set[tuple[int, ...]] = set()
    while tuple(binding) not in seen:
        seen.add(tuple(binding))
        m = len(binding)
        system = np.zeros((n + m, n + m))
        system[:n, :n] = hessian[np.ix_(free, free)]
        system[:n, n:] = slopes[binding].T
        system[n:, :n] = slopes[binding]
        solved = _least_norm(system, np.concatenate([-point.objective[free], -point.excesses[binding]]))
        if not np.isfinite(solved).all():
            return None
        # a constraint that would pull, not push, does not bind; one that the step would break does
        pulling = [r for r, dual in zip(binding, solved[n:], strict=True) if dual <= 0]
        broken = point.excesses + slopes @ solved[:n]
        broken[binding] = -np.inf
        if pulling:
            binding = [r for r in binding if r not in pulling]
        elif broken.max() > _BROKEN:
            binding = sorted([*binding, int(broken.argmax())])
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
