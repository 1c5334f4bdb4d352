"""A look at gains all over the limits, for what a certificate cannot say where errors rise again with the gains.

A certificate proves that nothing near a point is better. With prices λ >= 0 of the constraints, log excesses e_r and
objective f, every θ that meets the constraints has

    log f(θ) >= L(θ) = log f(θ) + Σ_r λ_r e_r(θ),

so no plan is cheaper than the least L over all gains (weak duality). At a KKT point that is the best of all, L is least
there if objective and errors are convex in the log gains. With wires they need not be: L is looked at elsewhere too,
and where it is lower, the descent is made once more from there.

Why: docs/decisions/optimisation.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from powerplan.planning import policy
from powerplan.planning.problem.problem import Problem, lowest_constraint, scale_onto
from powerplan.planning.problem.watch import OutOfTime
from powerplan.planning.solve.descent import Optimum


@dataclass(frozen=True, kw_only=True, eq=False)
class Scan:
    """What was seen elsewhere.

    Attributes:
        count: gains looked at.
        gap: how far the value looked at fell below that of the point, >= 0.
        lowest: θ (n,) where it did.
    """

    count: int
    gap: float
    lowest: np.ndarray


def best_of_all(problem: Problem, optimum: Optimum, descend: Callable[[np.ndarray], Optimum]) -> tuple[Optimum, Scan]:
    """An optimum, or a better one that a scan led to, and what is seen all over the limits from there.

    Args:
        descend: from a θ on the constraint to an optimum.
    """
    for _ in range(policy.MOST_SCANS):
        scan = _scan(problem, optimum.theta, lambda at, o=optimum: _lagrangian(problem, at, o))  # type: ignore[misc]
        if scan.gap <= policy.SCAN_GAP:
            break
        start = scale_onto(problem, scan.lowest, first=0.0)
        other = None if start is None else descend(start)
        if other is None or other.objective.total >= optimum.objective.total * (1 - policy.SAME_OBJECTIVE):
            break
        optimum = other
    return optimum, scan


def nearest_of_all(problem: Problem, theta: np.ndarray) -> tuple[np.ndarray, Scan]:
    """The θ with the least worst constraint, or a nearer one that a scan led to, and what is seen from there."""
    for _ in range(policy.MOST_SCANS):
        scan = _scan(problem, theta, problem.excess)
        if not scan.gap:
            break
        theta = lowest_constraint(problem, scan.lowest)
    return theta, scan


def _lagrangian(problem: Problem, theta: np.ndarray, optimum: Optimum) -> float:
    objective, *constraints = problem.terms.values(theta)
    return objective.log_total + float(optimum.certificate.duals @ problem.excesses_of(constraints))


def _scan(problem: Problem, theta: np.ndarray, value: Callable[[np.ndarray], float]) -> Scan:
    """A value elsewhere, as far as there is time."""
    here, count, least, lowest = value(theta), 0, np.inf, theta
    try:
        for other in _elsewhere(problem, theta):
            there = value(other)
            count += 1
            if there < least:
                least, lowest = there, other
    except OutOfTime:
        pass
    return Scan(count=count, gap=max(0.0, here - least), lowest=lowest)


def _elsewhere(problem: Problem, theta: np.ndarray) -> Iterator[np.ndarray]:
    """The largest gains times common factors; then every block of gains by itself at random between a part of what it
    is and the largest."""
    for shift in np.linspace(0.0, np.log(policy.LEAST_IN_USE), policy.SHIFTS_SCANNED):
        yield problem.shifted(problem.upper, shift)
    low = np.maximum(problem.lower, theta + np.log(policy.SCANNED_FROM))
    sizes = [len(block.upper) for block in problem.terms.layout.blocks]
    rng = np.random.default_rng(0)
    for _ in range(policy.RANDOM_SCANNED):
        part = np.repeat(rng.uniform(size=len(sizes)), sizes)
        yield low + part * (problem.upper - low)
