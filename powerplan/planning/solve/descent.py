"""Descent to a KKT point: a step that proposes where to go, and a search that takes it or shortens it.

The step sees the problem through a :class:`Point` and learns from what came of its proposals. The search takes a
proposal if it lowers log objective + Σ_r μ_r max(e_r, 0), with e_r = log(constraint_r / bound_r) and μ_r above the
multipliers; else the next one is shorter. Nothing here asks how objective and constraints change with the gains: an
error that rises again with a gain is as good as one that falls.

Why: docs/decisions/optimisation.md [0638].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from powerplan.planning import policy
from powerplan.planning.iterate import Iterate, OnStep, unheard
from powerplan.planning.problem.problem import Problem
from powerplan.planning.solve.point import Point
from powerplan.planning.solve.quasi_newton import QuasiNewton
from powerplan.planning.solve.stall import Stall

#: what putting the last point onto its constraint takes
_CLOSING = ("values", "values", "gradients")


class Step(Protocol):
    """Proposes steps of log gains, and learns from what came of them."""

    @property
    def words(self) -> str:
        """The method, in its own words."""

    @property
    def evaluations(self) -> tuple[str, ...]:
        """Kinds of evaluations (see :meth:`Terms.seconds`) that a step and its new point take."""

    def propose(self, point: Point, radius: float) -> tuple[np.ndarray, np.ndarray]:
        """A step (n,) of at most ``radius`` in every log gain, within the limits, and the multipliers (R,) there."""

    def learn(self, point: Point, moved: Point, accepted: bool) -> None:
        """The proposal at ``point`` led to ``moved``, and was taken or not."""

    def restart(self, point: Point) -> None:
        """Forget what was learnt: it misleads."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Optimum(Point):
    """The point where a descent ended. ``reason`` is "optimal", "iteration_limit", "deadline" or "stalled"."""

    iterations: int
    reason: str
    solver_status: str


def descend(
    problem: Problem,
    start: np.ndarray,
    *,
    tolerance: float,
    max_iterations: int,
    stop_at: float | None,
    on_step: OnStep = unheard,
    step: Step | None = None,
) -> Optimum:
    """Descend from θ to a KKT point.

    Args:
        start: θ (n,), best on the worst constraint or near it.
        tolerance: KKT residual to reach.
        max_iterations: at most ten steps for each.
        stop_at: ``time.monotonic()`` value after which the best point so far is returned.
        on_step: told of every step.
        step: what proposes the steps; None = :class:`QuasiNewton`.
    """
    most = policy.STEPS_PER_ITERATION * max_iterations
    accuracy = max(policy.SETTLED_CONSTRAINT, problem.accuracy)
    point = best = Point.at(problem, start)
    step = QuasiNewton(problem, point) if step is None else step
    radius, iteration, failures = policy.LARGEST_STEP, 0, 0
    stall, stalled, restarts = Stall(window=policy.STANDING), False, 0
    for iteration in range(most + 1):
        on_step(Iterate(iteration=iteration, objective=point.objective.total, bound=point.bound))
        settled = point.is_optimal(tolerance, accuracy)
        late = problem.late(stop_at, *step.evaluations, *_CLOSING)
        if settled or late or stalled or iteration == most or failures == policy.GIVE_UP:
            break
        change, duals = step.propose(point, radius)
        moved = Point.at(problem, np.clip(point.theta + change, problem.lower, problem.upper))
        accepted = _lowers(point, moved, duals, best.unsettled)
        step.learn(point, moved, accepted)
        if not accepted:
            radius = min(radius, float(np.abs(change).max())) * policy.SHRUNK
            failures += 1
            if failures % policy.MOST_FAILURES == 0:
                step.restart(point)
                radius = policy.RADIUS_ANEW
            continue
        failures = 0
        radius = min(policy.LARGEST_STEP, 2 * radius)
        point = moved
        if stall.seen(point.objective.total, point.unsettled):
            stalled, stall, restarts = restarts == policy.MOST_RESTARTS, Stall(window=policy.STANDING), restarts + 1
            step.restart(point)
            radius = policy.RADIUS_ANEW
        if point.unsettled < best.unsettled:
            best = point
    point = _feasible(problem, point if settled else best)
    stalled |= failures == policy.GIVE_UP
    settled |= stalled and point.is_optimal(policy.STALLED_RESIDUAL, accuracy)
    return Optimum(
        **vars(point),
        iterations=iteration,
        reason="optimal" if settled else "deadline" if late else "stalled" if stalled else "iteration_limit",
        solver_status=step.words,
    )


def _lowers(point: Point, moved: Point, duals: np.ndarray, least: float) -> bool:
    """Whether a step is acceptable: the merit falls or, near a KKT point, what is not yet settled, below the ``least``
    so far; so no descent comes back to where it was."""
    prices = np.maximum(1.0, 2 * duals)
    rise = moved.merit(prices) - point.merit(prices)
    return moved.unsettled < least <= policy.FAR or rise <= policy.OBJECTIVE_ROUNDING


def _feasible(problem: Problem, point: Point) -> Point:
    """The point, put onto its worst constraint by a common shift of the gains (Newton) if it exceeds it, and if that
    gets there."""
    worst = int(point.e.argmax())
    excess, slope, shift = float(point.e[worst]), float(point.h[worst].sum()) or -1.0, 0.0
    if excess <= policy.SETTLED_CONSTRAINT:
        return point
    for _ in range(policy.MOST_TIGHTENED):
        if -problem.accuracy <= excess <= 0:
            break
        proposal = float(np.clip(shift - (excess + 0.5 * problem.accuracy) / slope, shift - 3, shift + 3))
        there = problem.excess(problem.shifted(point.theta, proposal))
        if proposal == shift or there == excess:
            break
        slope = (there - excess) / (proposal - shift)
        shift, excess = proposal, there
    return point if excess > problem.accuracy else Point.at(problem, problem.shifted(point.theta, shift))
