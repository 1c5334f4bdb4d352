"""A search for the cheapest gains on given steps: the problem, a choice of steps, and what a search ends with."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from powerplan.planning.iterate import OnStep, unheard
from powerplan.planning.problem.sums import Sum


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """The predictor at x: the objective's terms, and those of every constraint over its bound, with Jacobians."""

    x: np.ndarray
    cost: Sum
    constraints: tuple[Sum, ...]

    @property
    def objective(self) -> float:
        """Value of the objective."""
        return self.cost.total

    @property
    def is_feasible(self) -> bool:
        """True if every constraint is met."""
        return all(c.total <= 1 for c in self.constraints)


@dataclass(frozen=True, kw_only=True, eq=False)
class StepSearch:
    """A problem on steps.

    Attributes:
        levels: per gain its log steps in increasing order, or None for a continuous gain.
        lower, upper: limits of x (n,).
        point: the predictor with Jacobians at x.
        excess: log(constraint / bound) (m,) at x, without derivatives.
        complete: the best point with the stepped gains held at x: evaluates x where every gain has steps; otherwise it
            optimises the continuous ones, or makes the constraint as small as it can where they cannot meet it.
        stop_at: ``time.monotonic()`` value after which the best point so far is returned.
        on_step: told how many choices were visited, the best and the bound.
    """

    levels: tuple[np.ndarray | None, ...]
    lower: np.ndarray
    upper: np.ndarray
    point: Callable[[np.ndarray], Choice]
    excess: Callable[[np.ndarray], np.ndarray]
    complete: Callable[[np.ndarray], Choice]
    stop_at: float | None = None
    on_step: OnStep = unheard

    @property
    def stepped(self) -> tuple[int, ...]:
        """The gains with steps."""
        return tuple(i for i, steps in enumerate(self.levels) if steps is not None)

    @property
    def late(self) -> bool:
        """True once the deadline has passed."""
        return self.stop_at is not None and time.monotonic() > self.stop_at


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchResult:
    """The best point on the steps (None if none meets the constraints) and what bounds it.

    Attributes:
        bound: lower bound on the objective of every choice of steps; inf if there is no feasible one.
        method: "branch_and_bound" or "rounding".
        nodes: nodes of the branch and bound trees.
        visited: choices of steps evaluated by the full predictor.
        convexity_violation: largest correction of a plane, as a fraction of the objective or of a bound; 0 if all
            visited points were convex.
        late: the deadline ended the search.
    """

    best: Choice | None
    bound: float
    method: str
    nodes: int
    visited: int
    convexity_violation: float
    late: bool
