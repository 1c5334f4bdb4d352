"""Planning with many gains, or where a prediction is dear: gradients only, memory linear in the gains.

A step δ from θ solves the quadratic program, with g, h_r, e_r the gradients and values of log objective and
log(constraint_r / bound_r),

    min g·δ + ½ δᵀBδ   s.t.   e_r + h_r·δ ≤ 0 for every r,   θ + δ within the limits,   |δ|∞ ≤ trust radius.

B and the coordinates in which δ is taken, θ or reciprocals of the gains, are those of
:mod:`powerplan.planning.solve.curvature`. For multipliers λ ≥ 0 the step is −B⁻¹(g + Hᵀλ), put into the box entry by
entry; λ is found by Newton's method on the linearised constraints, over the entries inside the box a least-squares
problem of R nonnegative unknowns.

A step is taken if it lowers log objective + Σ_r μ_r max(e_r, 0), μ_r > λ_r; else the next one is shorter, and B knows
the curvature that this one ran into. A prediction with its 1 + R gradients is all that a step costs.

Why: docs/decisions/many-gains.md [0110].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

from powerplan.allocation import OptimalityCertificate, certify
from powerplan.planning.problem.problem import Problem, tightened
from powerplan.planning.problem.terms import Sum
from powerplan.planning.solve.curvature import Coordinates, Curvature
from powerplan.planning.solve.local_programs import Optimum
from powerplan.planning.solve.stall import Stall

_STEPS_PER_PROGRAM = 10
#: KKT residual above which B is made anew in every step, and that above which nothing is learnt beside a known bias:
#: what was learnt far away would mislead
_FAR, _VERY_FAR = 0.1, 0.3
#: KKT residual at which a known bias is looked at once more; most rows of its Jacobian
_NEAR, _MOST_ROWS = 0.01, 16
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
#: part of what is not settled that counts as much less, and rise of the merit that is let pass for it
_MUCH_LESS, _HARDLY = 0.1, 1e-3
#: relative rounding of the objective
_ROUNDING = 1e-12
#: KKT residual that counts as optimal where rounding allows no further step
_STALLED = 1e-6
#: accepted steps without progress after which the memory is dropped, and how often before there will be none
_STANDING, _MOST_RESTARTS = 10, 2
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


def minimise_many(
    problem: Problem,
    start: np.ndarray,
    *,
    tolerance: float,
    max_iterations: int,
    stop_at: float | None,
    progress: Callable[[int, float], None] | None = None,
) -> Optimum:
    """Descend from θ to a KKT point; arguments and result as :func:`powerplan.planning.solve.local_programs.minimise`.

    A step costs a tenth of a local program with its derivatives, or less: up to ten are taken for each of
    ``max_iterations``. ``start`` should be on the worst constraint or near it.
    """
    most = _STEPS_PER_PROGRAM * max_iterations
    point = best = _Point.at(problem, start)
    bias = _Bias.at(problem, point)
    coordinates = Coordinates(reference=problem.upper if bias.is_known else None)
    curvature, looks = _curvature(problem, point, coordinates, bias), [_FAR, _NEAR]
    radius, iteration, failures, words = _LARGEST_RADIUS, 0, 0, "limited-memory quasi-Newton"
    stall, stalled, restarts = Stall(window=_STANDING), False, 0
    for iteration in range(most + 1):
        if progress:
            progress(iteration, point.certificate.kkt_residual)
        settled = _settled(point, tolerance, problem.accuracy)
        late = problem.late(stop_at, "gradients", *_CLOSING)
        if settled or late or stalled or iteration == most or failures == _GIVE_UP:
            break
        residual = point.certificate.kkt_residual
        if iteration and not failures:
            if bias.is_known and (residual > _FAR or residual < max(looks, default=0.0)):
                bias, looks = _Bias.at(problem, point), [level for level in looks if level <= residual]
                curvature = replace(_curvature(problem, point, coordinates, bias), pairs=curvature.pairs)
            elif not bias.is_known and residual > _FAR and iteration < _MOST_FAR_STEPS:
                curvature = replace(_curvature(problem, point, coordinates, bias), pairs=curvature.pairs)
        step, duals = _step(problem, point, curvature, coordinates)
        longest = float(np.abs(coordinates.logs(point.theta, step)).max())
        step = coordinates.logs(point.theta, step * min(1.0, radius / max(longest, _SMALLEST_RADIUS)))
        moved = _Point.at(problem, np.clip(point.theta + step, problem.lower, problem.upper))
        # a step that fails still teaches the curvature it ran into
        accepted = _lowers(point, moved, duals)
        if bias.is_known and residual > _VERY_FAR:
            curvature.pairs.clear()
        else:
            curvature.learn(*_learnt(point, moved, (moved if accepted else point).certificate.duals, coordinates))
        if not accepted:
            radius = min(radius, float(np.abs(step).max())) * _SHRUNK
            failures += 1
            if failures % _MOST_FAILURES == 0:  # what was learnt misleads
                curvature, radius = _curvature(problem, point, coordinates, bias), _AFTER_FAILURES
            continue
        failures = 0
        radius = min(_LARGEST_RADIUS, 2 * radius)
        point = moved
        if stall.seen(point.objective.total, point.unsettled):  # what was learnt may mislead: once more without
            stalled, stall, restarts = restarts == _MOST_RESTARTS, Stall(window=_STANDING), restarts + 1
            curvature, radius = _curvature(problem, point, coordinates, bias), _AFTER_FAILURES
        if point.unsettled < best.unsettled:
            best = point
    point = _feasible(problem, point if settled else best)
    stalled |= failures == _GIVE_UP
    settled |= stalled and _settled(point, _STALLED, problem.accuracy)
    return Optimum(
        theta=point.theta,
        objective=point.objective,
        constraints=point.constraints,
        certificate=point.certificate,
        iterations=iteration,
        reason="optimal" if settled else "deadline" if late else "stalled" if stalled else "iteration_limit",
        solver_status=words,
    )


def unsettled_at(problem: Problem, theta: np.ndarray) -> float:
    """The largest of KKT residual, complementarity and excess of a problem at θ: 0 at a KKT point."""
    return _Point.at(problem, theta).unsettled


def _settled(point: _Point, tolerance: float, accuracy: float) -> bool:
    proof = point.certificate
    met = float(point.e.max()) <= max(_ON_CONSTRAINT, accuracy)
    return met and max(proof.kkt_residual, proof.complementarity) <= tolerance


@dataclass(frozen=True, kw_only=True, eq=False)
class _Bias:
    """The squared output biases in the Lagrangian at a point: with the weight 2 λ/F of each, Jacobian (k, n) of the
    biases in θ, or of random combinations, and gradient (n,) of half their squares' sum. No rows if not known."""

    rows: np.ndarray
    gradient: np.ndarray

    @classmethod
    def at(cls, problem: Problem, point: _Point) -> _Bias:
        if (problem.terms.layout.power_exponents <= 0).any():  # rows, which share a voltage
            return cls(rows=np.zeros((0, len(point.theta))), gradient=np.zeros(len(point.theta)))
        totals = np.array([s.total for s in (point.objective, *point.constraints)])
        weights = 2 * np.append(1.0, _prices(point)) / np.maximum(totals, np.finfo(float).tiny)
        rows, gradient = problem.terms.residuals(point.theta, weights, _MOST_ROWS)
        return cls(rows=rows, gradient=gradient)

    @property
    def is_known(self) -> bool:
        return len(self.rows) > 0


def _prices(point: _Point) -> np.ndarray:
    """The multipliers (R,); where none is positive, 1 for the worst constraint."""
    duals = point.certificate.duals
    return duals if duals.any() else (np.arange(len(duals)) == point.e.argmax()) * 1.0


def _curvature(problem: Problem, point: _Point, coordinates: Coordinates, bias: _Bias) -> Curvature:
    """The Hessian of log objective + Σ λ log constraint if every gain had its own power and error beside the bias.

    Far from the optimum, where multipliers are uncertain, those are raised that leave the constraints' share of the
    slopes below the objective's: at the optimum both are alike.
    """
    by_power = problem.minimise == "power"
    curved = 1.0 if bias.is_known else 0.0  # x = −1/c adds the slope to the curvature in θ
    power, error = problem.terms.layout.power_exponents + curved, _ERROR_EXPONENT - curved
    prices = _prices(point) if bias.is_known else point.certificate.duals
    objective, constraints = point.g, prices @ np.abs(point.h)
    rows = bias.rows
    if bias.is_known:
        objective = objective if by_power else objective - bias.gradient
        constraints = prices @ point.h - bias.gradient if by_power else constraints
        objective, constraints = np.abs(objective), np.abs(constraints)
        if point.certificate.kkt_residual > _FAR:
            raised = max(1.0, float(objective.sum() / max(constraints.sum(), np.finfo(float).tiny)))
            constraints = raised * constraints
            rows = rows * np.sqrt(raised) if by_power else rows
    of_objective, of_constraints = (power, error) if by_power else (error, power)
    size = np.abs(of_objective * objective) + np.abs(of_constraints * constraints)
    diagonal = np.maximum(size, max(_FLATTEST * float(size.max()), np.finfo(float).tiny))
    scale = coordinates.per_log(point.theta)
    return Curvature(diagonal=diagonal / scale**2, rows=rows / scale)


def _learnt(
    point: _Point, moved: _Point, prices: np.ndarray, coordinates: Coordinates
) -> tuple[np.ndarray, np.ndarray]:
    """A step in x and how it changed the Lagrangian's gradient in x."""
    before, after = (coordinates.per_log(p.theta) for p in (point, moved))
    change = (moved.g + prices @ moved.h) / after - (point.g + prices @ point.h) / before
    return coordinates.steps(point.theta, moved.theta - point.theta), change


def _step(
    problem: Problem, point: _Point, curvature: Curvature, coordinates: Coordinates
) -> tuple[np.ndarray, np.ndarray]:
    """The step (n,) in x within limits and the largest trust radius, and the multipliers (R,) of the constraints."""
    theta, scale = point.theta, coordinates.per_log(point.theta)
    lower = coordinates.steps(theta, np.maximum(problem.lower - theta, -_LARGEST_RADIUS))
    upper = coordinates.steps(theta, np.minimum(problem.upper - theta, _LARGEST_RADIUS))
    g, h = point.g / scale, point.h / scale
    pull = g + point.certificate.duals @ h
    free = ~((lower >= 0) & (pull > 0) | (upper <= 0) & (pull < 0))
    aim = point.e + 0.5 * problem.accuracy  # the middle of what counts as tight
    newton, *pushes = curvature.solve(np.vstack([g, h]), free)
    push, duals = np.array(pushes), point.certificate.duals
    all_slopes = h @ push.T
    for count in range(_MOST_ROUNDS):
        inner = -newton - duals @ push
        step = np.clip(inner, lower, upper)
        inside = free & (inner == step)
        slopes = h[:, inside] @ push[:, inside].T
        if count >= _IN_FULL or (slopes.diagonal() < _FLAT * all_slopes.diagonal()).any():
            slopes = all_slopes  # steeper than the constraints are: the multipliers cannot overshoot
        found = _multipliers(slopes, aim + h @ step + slopes @ duals)
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
    """Whether a step is acceptable: the merit falls or, near a KKT point, what is not yet settled.

    Much of that may go elsewhere too while the merit hardly rises: by a constraint's curvature along a long step.
    """
    prices = np.maximum(1.0, 2 * duals)
    rise = moved.merit(prices) - point.merit(prices)
    nearer = moved.unsettled < point.unsettled <= _FAR
    much_nearer = moved.unsettled < _MUCH_LESS * point.unsettled and rise <= _HARDLY
    return nearer or much_nearer or rise <= _ROUNDING


def _feasible(problem: Problem, point: _Point) -> _Point:
    """The point, put onto its worst constraint by a common shift of the gains if it exceeds it."""
    worst = int(point.e.argmax())
    if point.e[worst] <= _ON_CONSTRAINT:
        return point
    theta = tightened(problem, point.theta, float(point.e[worst]), float(point.h[worst].sum()) or -1.0)
    return point if theta is None else _Point.at(problem, theta)
