"""Planning with many gains, or where a prediction is dear: gradients only, memory linear in the gains.

A step δ from θ solves the quadratic program, with g, h_r, e_r the gradients and values of log objective and
log(constraint_r / bound_r),

    min g·δ + ½ δᵀBδ   s.t.   e_r + h_r·δ ≤ 0 for every r,   θ + δ within the limits,   |δ|∞ ≤ trust radius.

B starts as the diagonal of the separable local model: power P_i ∝ exp(t_i θ_i) and error F_i ∝ exp(−2 θ_i) of a gain
give B_ii = t_i |g_i| + 2 Σ_r λ_r |h_ri|. The coupling between gains is learnt from the change of the Lagrangian's
gradient: limited-memory BFGS (Nocedal, Math. Comp. 35, 1980), which only ever applies B⁻¹ to vectors. For multipliers
λ ≥ 0 the step is −B⁻¹(g + Hᵀλ), put into the box entry by entry; λ is found by Newton's method on the linearised
constraints, over the entries inside the box a least-squares problem of R nonnegative unknowns.

A step is taken if it lowers log objective + Σ_r μ_r max(e_r, 0), μ_r > λ_r; else the next one is shorter, and B knows
the curvature that this one ran into. A prediction with its 1 + R gradients is all that a step costs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from scipy import optimize

from powerplan.allocation import OptimalityCertificate, certify
from powerplan.planning.problem import Problem, tightened
from powerplan.planning.sequential import Optimum
from powerplan.planning.terms import Sum

_STEPS_PER_PROGRAM = 10
#: pairs of steps and gradient changes remembered
_MEMORY = 50
#: KKT residual above which B is the fresh diagonal in every step: what was learnt far away would mislead
_FAR = 0.1
_MOST_FAR_STEPS = 8
_LARGEST_RADIUS, _SMALLEST_RADIUS = 1.0, 1e-10
#: factor on the trust radius after a step that failed; failures in a row after which the memory is dropped and the
#: radius set anew, and after which no progress is possible
_SHRUNK, _MOST_FAILURES, _AFTER_FAILURES, _GIVE_UP = 0.4, 8, 0.1, 24
#: curvature of a gain is at least this part of the largest
_FLATTEST = 1e-6
#: exponent with which the error of a gain falls
_ERROR_EXPONENT = 2.0
#: of a constraint along its own push, below which nothing moves it
_LEAST_SLOPE = 1e-100
#: steps for the multipliers, the first of them by Newton's method where enough gains are inside the box
_MOST_ROUNDS, _IN_FULL, _FLAT = 200, 10, 0.1
_LARGEST_DUAL = 1e6
#: relative change of the multipliers that ends them
_SAME_DUAL = 1e-9
#: what putting the last point onto its constraint takes
_CLOSING = ("values", "values", "gradients")
#: relative rounding of the objective
_ROUNDING = 1e-12
#: KKT residual that counts as optimal where rounding allows no further step
_STALLED = 1e-6
#: slack or excess of a binding constraint at an optimum
_ON_CONSTRAINT = 1e-10


@dataclass(frozen=True, kw_only=True, eq=False)
class _Point:
    """θ with what is known there: g (n,), h (R, n), e (R,)."""

    theta: np.ndarray
    objective: Sum
    constraints: tuple[Sum, ...]
    g: np.ndarray
    h: np.ndarray
    e: np.ndarray
    certificate: OptimalityCertificate

    @classmethod
    def at(cls, problem: Problem, theta: np.ndarray) -> _Point:
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
        return float(np.log(max(self.objective.total, np.finfo(float).tiny)) + prices @ np.maximum(self.e, 0.0))

    @property
    def unsettled(self) -> float:
        """The largest of KKT residual, complementarity and excess: 0 at a KKT point."""
        proof = self.certificate
        return max(proof.kkt_residual, proof.complementarity, float(self.e.max()))


@dataclass(kw_only=True, eq=False)
class _Curvature:
    """B⁻¹ by limited-memory BFGS around a diagonal (n,)."""

    diagonal: np.ndarray
    pairs: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    def learn(self, step: np.ndarray, change: np.ndarray) -> None:
        """The Lagrangian's gradient changed by ``change`` over ``step``."""
        self.pairs = [*self.pairs[1 - _MEMORY :], (step, change)]

    def solve(self, vectors: np.ndarray, free: np.ndarray) -> np.ndarray:
        """B⁻¹ applied to rows (k, n), restricted to the free gains; pairs without positive curvature there are left
        out."""
        used = []
        for step, change in self.pairs:
            s, y = step * free, change * free
            curvature = float(s @ y)
            if curvature > 1e-8 * float(np.sqrt((s * self.diagonal @ s) * (y / self.diagonal @ y))):
                used.append((s, y, curvature))
        q = vectors * free
        passed = []
        for s, y, curvature in reversed(used):
            amount = q @ s / curvature
            passed.append(amount)
            q = q - np.outer(amount, y)
        q = q / self.diagonal
        if used:
            _, y, curvature = used[-1]
            q *= curvature / float(y / self.diagonal @ y)
        for (s, y, curvature), amount in zip(used, reversed(passed), strict=True):
            q = q + np.outer(amount - q @ y / curvature, s)
        return np.asarray(q * free)


def minimise_many(
    problem: Problem,
    start: np.ndarray,
    *,
    tolerance: float,
    max_iterations: int,
    stop_at: float | None,
    progress: Callable[[int, float], None] | None = None,
) -> Optimum:
    """Descend from θ to a KKT point; arguments and result as :func:`powerplan.planning.sequential.minimise`.

    A step costs a tenth of a local program with its derivatives, or less: up to ten are taken for each of
    ``max_iterations``. ``start`` should be on the worst constraint or near it.
    """
    most = _STEPS_PER_PROGRAM * max_iterations
    point = best = _Point.at(problem, start)
    curvature = _Curvature(diagonal=_separable_curvature(problem, point))
    radius, iteration, failures, words = _LARGEST_RADIUS, 0, 0, "limited-memory quasi-Newton"
    for iteration in range(most + 1):
        if progress:
            progress(iteration, point.certificate.kkt_residual)
        settled = _settled(point, tolerance, problem.accuracy)
        late = problem.late(stop_at, "gradients", *_CLOSING)
        if settled or late or iteration == most or failures == _GIVE_UP:
            break
        if point.certificate.kkt_residual > _FAR and iteration < _MOST_FAR_STEPS:
            curvature.diagonal = _separable_curvature(problem, point)
        step, duals = _step(problem, point, curvature, _LARGEST_RADIUS)
        step = step * min(1.0, radius / max(float(np.abs(step).max()), _SMALLEST_RADIUS))
        moved = _Point.at(problem, np.clip(point.theta + step, problem.lower, problem.upper))
        # a step that fails still teaches the curvature it ran into
        accepted = _lowers(point, moved, duals)
        prices = (moved if accepted else point).certificate.duals
        curvature.learn(moved.theta - point.theta, moved.g - point.g + prices @ (moved.h - point.h))
        if not accepted:
            radius = min(radius, float(np.abs(step).max())) * _SHRUNK
            failures += 1
            if failures % _MOST_FAILURES == 0:  # what was learnt misleads
                curvature, radius = _Curvature(diagonal=_separable_curvature(problem, point)), _AFTER_FAILURES
            continue
        failures = 0
        radius = min(_LARGEST_RADIUS, 2 * radius)
        point = moved
        if point.unsettled < best.unsettled:
            best = point
    point = _feasible(problem, point if settled else best)
    stalled = failures == _GIVE_UP and _settled(point, _STALLED, problem.accuracy)
    return Optimum(
        theta=point.theta,
        objective=point.objective,
        constraints=point.constraints,
        certificate=point.certificate,
        iterations=iteration,
        reason="optimal" if settled or stalled else "deadline" if late else "iteration_limit",
        solver_status=words,
    )


def unsettled_at(problem: Problem, theta: np.ndarray) -> float:
    """The largest of KKT residual, complementarity and excess of a problem at θ: 0 at a KKT point."""
    return _Point.at(problem, theta).unsettled


def _settled(point: _Point, tolerance: float, accuracy: float) -> bool:
    proof = point.certificate
    met = float(point.e.max()) <= max(_ON_CONSTRAINT, accuracy)
    return met and max(proof.kkt_residual, proof.complementarity) <= tolerance


def _separable_curvature(problem: Problem, point: _Point) -> np.ndarray:
    """Diagonal of the Hessian of log objective + Σ λ log constraint if every gain had its own power and error."""
    power, error = problem.terms.layout.power_exponents, _ERROR_EXPONENT
    of_objective, of_constraints = (power, error) if problem.minimise == "power" else (error, power)
    size = np.abs(of_objective * point.g) + np.abs(of_constraints * (point.certificate.duals @ np.abs(point.h)))
    return np.asarray(np.maximum(size, max(_FLATTEST * float(size.max()), np.finfo(float).tiny)))


def _step(problem: Problem, point: _Point, curvature: _Curvature, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """The step (n,) within limits and trust radius, and the multipliers (R,) of the constraints."""
    lower = np.maximum(problem.lower - point.theta, -radius)
    upper = np.minimum(problem.upper - point.theta, radius)
    pull = point.g + point.certificate.duals @ point.h
    free = ~((lower >= 0) & (pull > 0) | (upper <= 0) & (pull < 0))
    aim = point.e + 0.5 * problem.accuracy  # the middle of what counts as tight
    newton, *pushes = curvature.solve(np.vstack([point.g, point.h]), free)
    push, duals = np.array(pushes), point.certificate.duals
    all_slopes = point.h @ push.T
    for count in range(_MOST_ROUNDS):
        inner = -newton - duals @ push
        step = np.clip(inner, lower, upper)
        inside = free & (inner == step)
        slopes = point.h[:, inside] @ push[:, inside].T
        if count >= _IN_FULL or (slopes.diagonal() < _FLAT * all_slopes.diagonal()).any():
            slopes = all_slopes  # steeper than the constraints are: the multipliers cannot overshoot
        found = _multipliers(slopes, aim + point.h @ step + slopes @ duals)
        change, duals = found - duals, found
        if np.abs(change).max() <= _SAME_DUAL * max(float(found.max()), 1e-3):
            break
    return np.clip(-newton - duals @ push, lower, upper), duals


def _multipliers(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """argmin over λ >= 0 of ½ λᵀ matrix λ − λᵀ right, (R,)."""
    scale = np.sqrt(np.maximum(matrix.diagonal(), _LEAST_SLOPE))
    scaled = matrix / np.outer(scale, scale)
    values, vectors = np.linalg.eigh(0.5 * (scaled + scaled.T))
    roots = np.sqrt(np.maximum(values, 1e-12))
    answer = optimize.nnls((vectors * roots).T, (vectors.T @ (right / scale)) / roots)[0]
    return np.asarray(np.minimum(answer / scale, _LARGEST_DUAL))


def _lowers(point: _Point, moved: _Point, duals: np.ndarray) -> bool:
    """Whether a step is acceptable: the merit falls or, near a KKT point, what is not yet settled."""
    prices = np.maximum(1.0, 2 * duals)
    nearer = moved.unsettled < point.unsettled <= _FAR
    return nearer or moved.merit(prices) <= point.merit(prices) + _ROUNDING


def _feasible(problem: Problem, point: _Point) -> _Point:
    """The point, put onto its worst constraint by a common shift of the gains if it exceeds it."""
    worst = int(point.e.argmax())
    if point.e[worst] <= _ON_CONSTRAINT:
        return point
    theta = tightened(problem, point.theta, float(point.e[worst]), float(point.h[worst].sum()) or -1.0)
    return point if theta is None else _Point.at(problem, theta)
