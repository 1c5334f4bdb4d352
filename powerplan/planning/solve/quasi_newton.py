"""Quasi-Newton steps: gradients only, memory linear in the gains.

A step δ from θ solves the quadratic program, with g, h_r, e_r the gradients and values of log objective and
log(constraint_r / bound_r),

    min g·δ + ½ δᵀBδ   s.t.   e_r + h_r·δ ≤ 0 for every r,   θ + δ within the limits,   |δ|∞ ≤ trust radius.

B and the coordinates in which δ is taken, θ or reciprocals of the gains, are those of
:mod:`powerplan.planning.solve.curvature`. For multipliers λ ≥ 0 the step is −B⁻¹(g + Hᵀλ), put into the box entry by
entry; λ is found by Newton's method on the linearised constraints, over the entries inside the box a least-squares
problem of R nonnegative unknowns. A prediction with its 1 + R gradients is all that a step costs.

Why: docs/decisions/many-gains.md [0110].
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

from powerplan.planning import policy
from powerplan.planning.problem.problem import Problem
from powerplan.planning.solve.curvature import Coordinates, Curvature
from powerplan.planning.solve.point import Point


class QuasiNewton:
    """Steps of a problem from the curvature that is known at a point and what is learnt from there on."""

    words = "limited-memory quasi-Newton"
    evaluations = ("gradients",)

    def __init__(self, problem: Problem, point: Point) -> None:
        self._problem = problem
        self._bias = _Bias.at(problem, point)
        self._coordinates = Coordinates(reference=problem.upper if self._bias.is_known else None)
        self._looks = [policy.FAR, policy.NEAR]
        self._count, self._has_moved = 0, False
        self.restart(point)

    def restart(self, point: Point) -> None:
        """See :class:`Step`."""
        self._curvature = _curvature(self._problem, point, self._coordinates, self._bias)

    def propose(self, point: Point, radius: float) -> tuple[np.ndarray, np.ndarray]:
        """See :class:`Step`."""
        if self._has_moved:
            self._look_again(point)
        step, duals = _step(self._problem, point, self._curvature, self._coordinates)
        longest = float(np.abs(self._coordinates.logs(point.theta, step)).max())
        shortened = step * min(1.0, radius / max(longest, policy.SMALLEST_STEP))
        self._count += 1
        return self._coordinates.logs(point.theta, shortened), duals

    def learn(self, point: Point, moved: Point, accepted: bool) -> None:
        """See :class:`Step`. A step that fails still teaches the curvature it ran into."""
        self._has_moved = accepted
        if self._bias.is_known and point.certificate.kkt_residual > policy.VERY_FAR:
            self._curvature.pairs.clear()
        else:
            duals = (moved if accepted else point).certificate.duals
            self._curvature.learn(*_learnt(point, moved, duals, self._coordinates))

    def _look_again(self, point: Point) -> None:
        """Make B anew where it has changed much since it was made, and keep what was learnt."""
        residual, pairs = point.certificate.kkt_residual, self._curvature.pairs
        if self._bias.is_known and (residual > policy.FAR or residual < max(self._looks, default=0.0)):
            self._bias = _Bias.at(self._problem, point)
            self._looks = [level for level in self._looks if level <= residual]
        elif self._bias.is_known or residual <= policy.FAR or self._count >= policy.MOST_FAR_STEPS:
            return
        self.restart(point)
        self._curvature = replace(self._curvature, pairs=pairs)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Bias:
    """The squared output biases in the Lagrangian at a point: with the weight 2 λ/F of each, Jacobian (k, n) of the
    biases in θ, or of random combinations, and gradient (n,) of half their squares' sum. No rows if not known."""

    rows: np.ndarray
    gradient: np.ndarray

    @classmethod
    def at(cls, problem: Problem, point: Point) -> _Bias:
        layout = problem.terms.layout
        # few gains are learnt in fewer predictions than the bias takes; rows share a voltage
        if layout.count <= policy.MOST_ROWS or (layout.power_exponents <= 0).any():
            return cls(rows=np.zeros((0, len(point.theta))), gradient=np.zeros(len(point.theta)))
        totals = np.array([s.total for s in (point.objective, *point.constraints)])
        weights = 2 * np.append(1.0, _prices(point)) / np.maximum(totals, np.finfo(float).tiny)
        rows, gradient = problem.terms.residuals(point.theta, weights, policy.MOST_ROWS)
        return cls(rows=rows, gradient=gradient)

    @property
    def is_known(self) -> bool:
        return len(self.rows) > 0


def _prices(point: Point) -> np.ndarray:
    """The multipliers (R,); where none is positive, 1 for the worst constraint."""
    duals = point.certificate.duals
    return duals if duals.any() else (np.arange(len(duals)) == point.e.argmax()) * 1.0


def _curvature(problem: Problem, point: Point, coordinates: Coordinates, bias: _Bias) -> Curvature:
    """The Hessian of log objective + Σ λ log constraint if every gain had its own power and error beside the bias.

    Far from the optimum, where multipliers are uncertain, those are raised that leave the constraints' share of the
    slopes below the objective's: at the optimum both are alike.
    """
    terms = problem.terms
    curved = 1.0 if bias.is_known else 0.0  # x = −1/c adds the slope to the curvature in θ
    measures = (terms.objective, terms.constraints[0].measure)
    of_objective, of_constraints = (measure.exponents(terms.layout) + curved for measure in measures)
    prices = _prices(point) if bias.is_known else point.certificate.duals
    objective, constraints = point.g, prices @ np.abs(point.h)
    rows = bias.rows
    if bias.is_known:
        objective = objective if terms.objective.rises else objective - bias.gradient
        constraints = prices @ point.h - bias.gradient if terms.objective.rises else constraints
        objective, constraints = np.abs(objective), np.abs(constraints)
        if point.certificate.kkt_residual > policy.FAR:
            raised = max(1.0, float(objective.sum() / max(constraints.sum(), np.finfo(float).tiny)))
            constraints = raised * constraints
            rows = rows * np.sqrt(raised) if terms.objective.rises else rows
    size = np.abs(of_objective * objective) + np.abs(of_constraints * constraints)
    diagonal = np.maximum(size, max(policy.FLATTEST * float(size.max()), np.finfo(float).tiny))
    scale = coordinates.per_log(point.theta)
    return Curvature(diagonal=diagonal / scale**2, rows=rows / scale)


def _learnt(point: Point, moved: Point, prices: np.ndarray, coordinates: Coordinates) -> tuple[np.ndarray, np.ndarray]:
    """A step in x and how it changed the Lagrangian's gradient in x."""
    before, after = (coordinates.per_log(p.theta) for p in (point, moved))
    change = (moved.g + prices @ moved.h) / after - (point.g + prices @ point.h) / before
    return coordinates.steps(point.theta, moved.theta - point.theta), change


def _step(
    problem: Problem, point: Point, curvature: Curvature, coordinates: Coordinates
) -> tuple[np.ndarray, np.ndarray]:
    """The step (n,) in x within limits and the largest trust radius, and the multipliers (R,) of the constraints."""
    theta, scale = point.theta, coordinates.per_log(point.theta)
    lower = coordinates.steps(theta, np.maximum(problem.lower - theta, -policy.LARGEST_STEP))
    upper = coordinates.steps(theta, np.minimum(problem.upper - theta, policy.LARGEST_STEP))
    g, h = point.g / scale, point.h / scale
    pull = g + point.certificate.duals @ h
    free = ~((lower >= 0) & (pull > 0) | (upper <= 0) & (pull < 0))
    aim = point.e + 0.5 * problem.accuracy  # the middle of what counts as tight
    newton, *pushes = curvature.solve(np.vstack([g, h]), free)
    push, duals = np.array(pushes), point.certificate.duals
    all_slopes = h @ push.T
    for count in range(policy.MULTIPLIER_ROUNDS):
        inner = -newton - duals @ push
        step = np.clip(inner, lower, upper)
        inside = free & (inner == step)
        slopes = h[:, inside] @ push[:, inside].T
        if count >= policy.NEWTON_ROUNDS or (slopes.diagonal() < policy.FLAT * all_slopes.diagonal()).any():
            slopes = all_slopes  # steeper than the constraints are: the multipliers cannot overshoot
        updated = _multipliers(slopes, aim + h @ step + slopes @ duals)
        change, duals = updated - duals, updated
        if np.abs(change).max() <= policy.SAME_DUAL * max(float(updated.max()), policy.SMALL_DUAL):
            break
    return np.clip(-newton - duals @ push, lower, upper), duals


def _multipliers(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """argmin over λ >= 0 of ½ λᵀ matrix λ − λᵀ right, (R,); 0 for constraints that no gain moves."""
    duals = np.zeros(len(right))
    size = matrix.diagonal()
    moved = size > policy.UNMOVED * float(size.max())
    scale = np.sqrt(size[moved])
    wanted = right[moved] / scale
    if not moved.any() or wanted.max() <= 0:
        return duals
    # far below its bound a constraint does not bind, and how far must not cost the others their digits
    wanted = np.maximum(wanted, -policy.NO_MATTER * wanted.max())
    scaled = matrix[np.ix_(moved, moved)] / np.outer(scale, scale)
    values, vectors = np.linalg.eigh(0.5 * (scaled + scaled.T))
    roots = np.sqrt(np.maximum(values, policy.FLATTEST_DIRECTION))
    answer = optimize.nnls((vectors * roots).T, (vectors.T @ wanted) / roots)[0]
    duals[moved] = np.minimum(answer / scale, policy.LARGEST_DUAL)
    return duals
