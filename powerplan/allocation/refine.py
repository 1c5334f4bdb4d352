"""Newton refinement of a point that an interior-point solver found.

Near the optimum x_k of min P s.t. E <= D, l <= x <= u the Lagrangian P(x)/P_k + λ E(x)/D has gradient
g + λ h and Hessian Aᵀ diag(w) A + λ Bᵀ diag(v) B (A, B exponents, w, v terms over P_k and D): positive
semidefinite and as sparse as the terms. Each step solves the KKT equations of the gains that are free and of the
constraint if it binds. The best point seen is kept, so refinement never makes a point worse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from powerplan.allocation.certificate import ACTIVE_TOLERANCE, OptimalityCertificate, certify
from powerplan.allocation.posynomial import Posynomial

#: largest change of a log gain in one step
_MAX_STEP = 2.0
#: stands for the distance to no limit
_FAR = 1e300
#: residual at which refinement stops: rounding
_ENOUGH = 1e-14


@dataclass(frozen=True, kw_only=True, eq=False)
class Refined:
    """A refined point: ``x`` (n,), its certificate over the box, and the Newton steps taken."""

    x: np.ndarray
    certificate: OptimalityCertificate
    steps: int


@dataclass(frozen=True, kw_only=True, eq=False)
class _Program:
    """min objective s.t. constraint <= exp(log_bound), lower <= x <= upper; ``constraint`` None: with limits only."""

    objective: Posynomial
    constraint: Posynomial | None
    log_bound: float
    lower: np.ndarray
    upper: np.ndarray

    def slack(self, x: np.ndarray) -> float:
        """log(constraint / bound), 0 without one."""
        return 0.0 if self.constraint is None else self.constraint.log_value(x) - self.log_bound

    def certificate(self, x: np.ndarray) -> OptimalityCertificate:
        g = self.objective.gradient(x)
        if self.constraint is None:
            return certify(g, np.zeros(x.size), 0.0, x, self.lower, self.upper, dual=0.0)
        return certify(g, self.constraint.gradient(x), self.slack(x), x, self.lower, self.upper)


def refine(
    objective: Posynomial,
    constraint: Posynomial | None,
    log_bound: float,
    lower: np.ndarray,
    upper: np.ndarray,
    x: np.ndarray,
    *,
    max_steps: int = 40,
) -> Refined:
    """Refine x for min objective s.t. constraint <= exp(log_bound), lower <= x <= upper.

    Args:
        constraint: None for a problem with limits only.
        x: (n,) a point near the optimum.
    """
    program = _Program(objective=objective, constraint=constraint, log_bound=log_bound, lower=lower, upper=upper)
    x = np.clip(x, lower, upper)
    best = Refined(x=x, certificate=program.certificate(x), steps=0)
    current, waited = best, 0
    for step in range(1, max_steps + 1):
        if _merit(best.certificate) <= _ENOUGH or waited == 8:
            break
        moved = _step(program, current)
        if moved is None:
            break
        certificate = program.certificate(moved)
        current = Refined(x=moved, certificate=certificate, steps=step)
        waited += 1
        if _merit(certificate) < _merit(best.certificate):
            best, waited = current, 0
    return best


def _merit(certificate: OptimalityCertificate) -> float:
    return max(certificate.kkt_residual, certificate.constraint_violation, certificate.complementarity)


def _step(program: _Program, current: Refined) -> np.ndarray | None:
    """The next point, or None if the equations have no usable solution."""
    objective, constraint, lower, upper = program.objective, program.constraint, program.lower, program.upper
    x, dual, slack = current.x, current.certificate.dual, program.slack(current.x)
    # as for the limits below: the constraint binds if its multiplier outweighs its slack
    binds = constraint is not None and dual + slack > 0
    r = objective.gradient(x)
    hessian = _hessian(objective, x, 1.0)
    h = np.zeros(x.size)
    if binds:
        assert constraint is not None
        ratio = float(np.exp(min(slack, 50.0)))
        h = ratio * constraint.gradient(x)
        r = r + dual * h
        hessian = hessian + _hessian(constraint, x, dual * ratio)
    # primal-dual active set: held are the gains that a step of their own would take to a limit or beyond
    curvature = hessian.diagonal()
    at_low = (r > 0) & (r >= curvature * np.minimum(x - lower, _FAR))
    at_high = (r < 0) & (-r >= curvature * np.minimum(upper - x, _FAR))
    at_low |= lower >= upper - ACTIVE_TOLERANCE
    target = np.where(at_low, lower, np.where(at_high, upper, x))
    free = np.flatnonzero(~at_low & ~at_high)
    change = target - x
    if free.size:
        right = -r[free] - (hessian @ change)[free]
        columns = np.stack([right, h[free]], axis=1)
        solved = _solve(sparse.csc_array(hessian[free][:, free]), columns)
        step = solved[:, 0]
        if binds:
            response = float(h[free] @ solved[:, 1])
            if response > 0:
                wanted = -np.expm1(min(slack, 50.0)) - float(h @ change)
                step = step + solved[:, 1] * (wanted - float(h[free] @ step)) / response
        if not np.isfinite(step).all():
            return None
        change[free] = np.clip(step, -_MAX_STEP, _MAX_STEP)
    return np.asarray(np.clip(x + change, lower, upper))


def _hessian(f: Posynomial, x: np.ndarray, weight: float) -> sparse.csr_array:
    shares = sparse.diags_array(weight * f.shares(x))
    return sparse.csr_array(f.exponents.T @ shares @ f.exponents)


def _solve(matrix: sparse.csc_array, right: np.ndarray) -> np.ndarray:
    """Solve a positive semidefinite system, scaled to unit diagonal and regularised at rounding level."""
    diagonal = matrix.diagonal()
    scale = 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    scaled = sparse.diags_array(scale) @ matrix @ sparse.diags_array(scale) + 1e-14 * sparse.eye_array(diagonal.size)
    right = scale[:, None] * right
    with np.errstate(all="ignore"):
        if scaled.nnz == diagonal.size:
            solved = right / scaled.diagonal()[:, None]
        elif diagonal.size <= 500:
            try:
                solved = np.linalg.solve(scaled.toarray(), right)
            except np.linalg.LinAlgError:
                solved = np.full_like(right, np.nan)
        else:
            solved = linalg.splu(sparse.csc_array(scaled)).solve(right)
    return np.asarray(scale[:, None] * solved)
