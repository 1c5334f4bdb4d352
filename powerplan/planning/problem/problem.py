"""The planning problem in θ = log gains on the full predictor, and how to put a point onto its constraints."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize
from scipy.special import logsumexp, softmax

from powerplan.errors import InvalidInput
from powerplan.planning import policy
from powerplan.planning.problem.sums import Sum
from powerplan.planning.problem.terms import Terms


@dataclass(frozen=True, kw_only=True)
class Problem:
    """min objective s.t. constraint_r <= bound_r for every r, within limits.

    Attributes:
        terms: objective and constraints.
        lower, upper: limits of θ, (n,).
        accuracy: largest slack log(bound / constraint) of a constraint that counts as tight; not below what the
            precision of the predictions can tell apart.
        turns: an error may rise again with the gains, as with resistive wires: what is least is looked for inside the
            limits too.
    """

    terms: Terms
    lower: np.ndarray
    upper: np.ndarray
    accuracy: float = policy.ON_CONSTRAINT
    turns: bool = False

    @property
    def cheapest(self) -> np.ndarray:
        """The end of the limits (n,) at which the objective is least, if it changes with the gains one way only."""
        return self.lower if self.terms.objective.rises else self.upper

    @property
    def costliest(self) -> np.ndarray:
        """The other end, (n,)."""
        return self.upper if self.terms.objective.rises else self.lower

    @property
    def log_bounds(self) -> np.ndarray:
        """(R,) log bounds."""
        return np.asarray(np.log(self.terms.bounds))

    def excesses_of(self, constraints: Sequence[Sum]) -> np.ndarray:
        """(R,) log(constraint / bound) of evaluated constraints.

        Raises:
            InvalidInput: a constraint is not a number: values so large or small that float64 cannot hold it.
        """
        totals = np.array([c.total for c in constraints])
        if np.isnan(totals).any():
            raise InvalidInput.of(
                "hardware",
                float(totals[np.isnan(totals)][0]),
                "values with which error and power can be computed in float64",
                "Check the units of the hardware, the size of weights and inputs, and that functions kept as digital "
                "operations have a derivative there: a root at 0 has none.",
            )
        return np.asarray([c.log_total for c in constraints] - self.log_bounds)

    def excesses(self, theta: np.ndarray) -> np.ndarray:
        """(R,) log(constraint / bound) of the full predictor."""
        return self.excesses_of(self.terms.values(theta)[1:])

    def excess(self, theta: np.ndarray) -> float:
        """The largest of :meth:`excesses`: the point is feasible if it is not above 0."""
        return float(self.excesses_of(self.terms.values(theta)[1:]).max())  # one call less deep

    def objective(self, theta: np.ndarray) -> float:
        """Value of the objective."""
        return self.terms.values(theta)[0].total

    def late(self, stop_at: float | None, *kinds: str) -> bool:
        """Whether evaluations of these kinds (see :meth:`Terms.seconds`) would end after ``stop_at``, a
        ``time.monotonic()`` value; None = never."""
        seconds = self.terms.seconds(*kinds)
        return self.terms.watch.ends_before(seconds) or (stop_at is not None and time.monotonic() + seconds > stop_at)

    def reached(self, theta: np.ndarray) -> float:
        """The target's quantity: the worst over its constraints."""
        pairs = zip(self.terms.constraints, self.terms.values(theta)[1:], strict=True)
        return max(c.quantity(s.total) for c, s in pairs if not c.beside)

    def shifted(self, theta: np.ndarray, shift: float) -> np.ndarray:
        """θ with every free gain multiplied by exp(shift), kept within its limits."""
        return np.asarray(np.clip(theta + shift, self.lower, self.upper))

    def inside(self) -> np.ndarray:
        """(n,) of the largest gains times a common factor, those whose worst constraint is least: where looking for the
        least constraint begins."""
        if not (self.turns and self.terms.objective.rises):
            return self.costliest
        return self.shifted(self.upper, _least_along(self, self.upper, self.excess, 0.0))


def scale_onto(problem: Problem, theta: np.ndarray, *, first: float | None = None) -> np.ndarray | None:
    """θ + s, clipped to the limits, with the worst constraint tight; None if no shift meets the constraints.

    The log constraint is nearly linear in s, so a bracketed secant method needs few predictions. The cheapest
    feasible end of the ray is returned where the constraints are slack all along it. Where the costly end misses a
    constraint that is met further in (an error that rises again with the gains), the search starts from there. Within a
    budget the point with the least error, if that rises again.

    Args:
        first: shift s to try first; None = the end of the ray from which the slope is known best.
    """
    tight = _onto(problem, theta, first)
    if tight is None or not problem.turns or problem.terms.objective.rises:
        return tight
    return problem.shifted(tight, _least_along(problem, tight, problem.objective, 0.0))


def _onto(problem: Problem, theta: np.ndarray, first: float | None) -> np.ndarray | None:
    """As :func:`scale_onto`, on the constraint also where less of the gains is better."""
    accuracy = problem.accuracy
    down, up = -float((theta - problem.lower).max()), float((problem.upper - theta).max())
    rises = problem.terms.objective.rises
    cheap, costly = (down, up) if rises else (up, down)
    # far from all limits the error falls as exp(−2 s), and the power rises as exp(s)
    shift, slope = (costly, -2.0) if rises else (cheap, 1.0)
    if first is not None:
        shift = min(max(first, min(costly, cheap)), max(costly, cheap))
    feasible, infeasible = costly, cheap
    tried: dict[float, float] = {}
    for count in range(policy.MOST_SHIFTS):
        excess = problem.excess(problem.shifted(theta, shift))
        if shift == costly and excess > 0:
            inside = _met_inside(problem, theta, cheap, costly)
            if inside is None:
                return None
            shift = costly = feasible = inside
            excess = problem.excess(problem.shifted(theta, shift))
        if -accuracy <= excess <= 0 or (shift == cheap and excess <= 0):
            return problem.shifted(theta, shift)
        if tried:
            last = next(reversed(tried))
            slope = (excess - tried[last]) / (shift - last)
        tried[shift] = excess
        feasible, infeasible = (shift, infeasible) if excess <= 0 else (feasible, shift)
        low, high = sorted((feasible, infeasible))
        aim = min(max(shift - (excess + 0.5 * accuracy) / slope, low), high) if slope else np.nan
        if aim in tried or not np.isfinite(aim) or (count > 10 and count % 2):
            aim = 0.5 * (feasible + infeasible)
        if aim in tried:  # the bracket is down to rounding
            break
        shift = aim
    if feasible == costly and costly not in tried and problem.excess(problem.shifted(theta, costly)) > 0:
        return None
    return problem.shifted(theta, feasible)


def _met_inside(problem: Problem, theta: np.ndarray, cheap: float, costly: float) -> float | None:
    """A shift between the ends of the ray that meets the constraints although the costly end misses them; None if the
    worst one falls up to that end, or none is found.

    Bisects the slope of the worst constraint, which is one convex function of the shift where all of them are; where
    it may not be, looks all along the ray.
    """
    inside = _turning_back(problem, theta, cheap, costly)
    if inside is None and problem.turns:
        inside = _least_along(problem, theta, problem.excess, costly)
        inside = inside if problem.excess(problem.shifted(theta, inside)) <= 0 else None
    return inside


def _turning_back(problem: Problem, theta: np.ndarray, cheap: float, costly: float) -> float | None:
    """A shift that meets the constraints, by bisection of the slope of the worst one; None if that finds none."""
    shift, inner, outer = costly, cheap, costly
    for _ in range(policy.MOST_HALVINGS):
        constraints = problem.terms.gradients(problem.shifted(theta, shift))[1:]
        excesses = problem.excesses_of(constraints)
        worst = int(excesses.argmax())
        if excesses[worst] <= 0:
            return shift
        rises = float(constraints[worst].log_gradient.sum()) * (costly - cheap) > 0
        if shift == costly and not rises:
            return None
        inner, outer = (inner, shift) if rises else (shift, outer)
        shift = 0.5 * (inner + outer)
    return None


def _least_along(problem: Problem, theta: np.ndarray, value: Callable[[np.ndarray], float], largest: float) -> float:
    """The shift of θ up to the largest at which a value is least, of a few all over the range that gains are used in;
    then by golden section between its neighbours."""

    def at(shift: float) -> float:
        return value(problem.shifted(theta, shift))

    shifts = largest - np.linspace(0.0, -np.log(policy.LEAST_IN_USE), policy.SHIFTS_SCANNED)
    least = int(np.argmin([at(shift) for shift in shifts]))
    ends = shifts[min(least + 1, len(shifts) - 1)], shifts[max(least - 1, 0)]
    found = optimize.minimize_scalar(at, bounds=ends, method="bounded", options={"xatol": policy.CLOSE_SHIFT})
    return min(float(shifts[least]), float(found.x), key=at)


def lowest_constraint(problem: Problem, start: np.ndarray) -> np.ndarray:
    """The θ with the lowest worst constraint within the limits.

    L-BFGS-B on the log constraint; on a smooth maximum of ever greater sharpness if there are several.
    """
    bounds = list(zip(problem.lower, problem.upper, strict=True))
    theta = start
    rounds = policy.SHARPNESS if len(problem.terms.constraints) > 1 else (1.0,)
    for sharpness in rounds:
        answer = optimize.minimize(
            _smooth_maximum(problem, sharpness),
            theta,
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options=policy.CLOSELY if len(theta) <= policy.FEW_GAINS and sharpness == rounds[-1] else policy.ROUGHLY,
        )
        theta = np.clip(answer.x, problem.lower, problem.upper)
    return np.asarray(theta)


def _smooth_maximum(problem: Problem, sharpness: float) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """log Σ_r (constraint_r / bound_r)^s / s and its gradient, as a function of θ."""

    def value(theta: np.ndarray) -> tuple[float, np.ndarray]:
        constraints = problem.terms.gradients(theta)[1:]
        logs = sharpness * problem.excesses_of(constraints)
        gradient = softmax(logs) @ np.stack([c.log_gradient for c in constraints])
        return float(logsumexp(logs)) / sharpness, gradient

    return value
