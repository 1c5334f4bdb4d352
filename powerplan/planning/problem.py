"""The planning problem in θ = log gains on the full predictor, and how to put a point onto its constraint."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from powerplan.errors import InvalidInput
from powerplan.planning.terms import Sum, Terms

#: relative accuracy with which a tight constraint is met
_ON_CONSTRAINT = 1e-12


@dataclass(frozen=True, kw_only=True)
class Problem:
    """min objective s.t. constraint ≤ bound; which of power and error is which is ``minimise``.

    Attributes:
        minimise: "power" or "error".
        bound: on the other one.
        lower, upper: limits of θ, (n,).
    """

    terms: Terms
    minimise: str
    bound: float
    lower: np.ndarray
    upper: np.ndarray

    def order(self, power: Sum, error: Sum) -> tuple[Sum, Sum]:
        """(objective, constraint)."""
        return (power, error) if self.minimise == "power" else (error, power)

    def excess(self, theta: np.ndarray) -> float:
        """log(constraint / bound) of the full predictor.

        Raises:
            InvalidInput: the constraint is not a number: values so large or small that float64 cannot hold it.
        """
        constraint = self.order(*self.terms.values(theta))[1].total
        if np.isnan(constraint):
            raise InvalidInput.of(
                "hardware",
                float(constraint),
                "values with which error and power can be computed in float64",
                "Check the units of the hardware, and the size of weights and inputs.",
            )
        return float(np.log(max(constraint, np.finfo(float).tiny) / self.bound))

    def shifted(self, theta: np.ndarray, shift: float) -> np.ndarray:
        """θ with every free gain multiplied by exp(shift), kept within its limits."""
        return np.asarray(np.clip(theta + shift, self.lower, self.upper))


def scale_onto(problem: Problem, theta: np.ndarray) -> np.ndarray | None:
    """θ + s, clipped to the limits, with the constraint tight; None if no shift meets the constraint.

    The cheapest feasible end of the ray is returned where the constraint is slack all along it.
    """
    span = float((problem.upper - problem.lower).max())
    cheap, dear = (-span, span) if problem.minimise == "power" else (span, -span)
    if problem.excess(problem.shifted(theta, dear)) > 0:
        return None
    if problem.excess(problem.shifted(theta, cheap)) <= 0:
        return problem.shifted(theta, cheap)
    shift = optimize.brentq(
        lambda s: problem.excess(problem.shifted(theta, s)), cheap, dear, xtol=1e-13, rtol=1e-14, maxiter=200
    )
    return _nudge(problem, problem.shifted(theta, float(shift)))


def lowest_constraint(problem: Problem, start: np.ndarray) -> np.ndarray:
    """The θ with the lowest value of the constrained quantity within the limits (L-BFGS-B)."""

    def value(theta: np.ndarray) -> tuple[float, np.ndarray]:
        constraint = problem.order(*problem.terms.derivatives(theta))[1]
        return float(np.log(constraint.total)), constraint.log_gradient

    bounds = list(zip(problem.lower, problem.upper, strict=True))
    found = optimize.minimize(
        value, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-14, "gtol": 1e-9}
    )
    return np.asarray(np.clip(found.x, problem.lower, problem.upper))


def back_onto(problem: Problem, theta: np.ndarray, near: Sum) -> np.ndarray | None:
    """A nearby θ that meets the constraint; None if there is none.

    A point with slack is moved onto the constraint only if that lowers the objective.

    Args:
        near: the constraint near θ, for its slope.
    """
    excess = problem.excess(theta)
    tight = _tightened(problem, theta, excess, float(near.log_gradient.sum()) or -1.0)
    if excess > 0 or tight is None:
        return tight if tight is not None else theta if excess <= 0 else None
    objectives = [problem.order(*problem.terms.values(point))[0].total for point in (tight, theta)]
    return tight if objectives[0] <= objectives[1] else theta


def _tightened(problem: Problem, theta: np.ndarray, excess: float, slope: float) -> np.ndarray | None:
    """Newton on a common shift of the gains; None if it does not get there."""
    shift = 0.0
    for _ in range(12):
        if -_ON_CONSTRAINT <= excess <= 0:
            break
        proposal = float(np.clip(shift - (excess + 0.5 * _ON_CONSTRAINT) / slope, shift - 3, shift + 3))
        there = problem.excess(problem.shifted(theta, proposal))
        if proposal == shift or there == excess:
            break
        slope = (there - excess) / (proposal - shift)
        shift, excess = proposal, there
    return problem.shifted(theta, shift) if excess <= _ON_CONSTRAINT else None


def _nudge(problem: Problem, theta: np.ndarray) -> np.ndarray:
    """Move a point that misses the constraint by rounding onto its feasible side."""
    for size in (0.0, 1e-13, 1e-12, 1e-11, 1e-10):
        moved = problem.shifted(theta, size if problem.minimise == "power" else -size)
        if problem.excess(moved) <= 0:
            return moved
    return theta
