"""Separable geometric programs by bisection on the multiplier.

If every term holds one gain, the Lagrangian P(x) + e^ν E(x) falls apart into one convex function per gain.
Write its derivative as R_i(x_i) − F_i(x_i): R collects the terms with exponent a > 0 (they rise with the gain),
F those with a < 0, each weighted by |a|. The gain solves

    φ_i(x_i) = log R_i(x_i) − log F_i(x_i) = 0,

whose slope lies between (least rising + least falling exponent) and (largest + largest): every value of φ
brackets the root, whatever the coefficients. The root is clipped to the limits. A gain with rising terms only
goes to its lower limit, with falling terms only to its upper one. E at these gains falls as ν rises, so ν is
found by a bracketed Newton method on log E(x(ν)) = log bound, in the log domain throughout.

Why: docs/decisions/optimisation.md [0012].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

from powerplan.allocation.posynomial import Posynomial
from powerplan.allocation.problem import GeometricProgram
from powerplan.allocation.result import AllocationResult, infeasible, optimal, unbounded
from powerplan.errors import InvalidInput, SolverFailed

#: largest error of the answer: |log(constraint / bound)| times max(1, dual)
_TOLERANCE = 1e-13
#: Newton step after which a gain's root is found to rounding: the error left is of the order of its square
_LAST_STEP = 3e-8
#: |log(constraint / bound)| that rounding may hide at a point where the constraint is least
_REACHED = 1e-12
_MAX_ITERATIONS = 300


def kkt_bisection(problem: GeometricProgram) -> AllocationResult:
    """The optimum of a separable program, to rounding.

    Raises:
        InvalidInput: a term holds several gains.
        SolverFailed: the iterations did not converge (not expected for any valid problem).
    """
    if not problem.is_separable:
        raise InvalidInput.of(
            "problem", "terms of several gains", "terms of at most one gain each", "Use method='cvxpy' or 'auto'."
        )
    n = problem.gains
    objective, constraint = _Terms.of(n, problem.objective), _Terms.of(n, problem.constraint)
    both = _Terms.of(n, problem.objective, problem.constraint)
    start = np.clip(np.zeros(n), problem.lower, problem.upper)
    tightest = constraint.minimise(problem, 0.0, objective.minimise(problem, 0.0, start))
    lowest = problem.log_constraint(tightest)
    if lowest > (-_REACHED if np.isinf(tightest).any() else _REACHED):
        words = "the constraint exceeds the bound even where it is least"
        return infeasible(problem, _finite(problem, tightest), words=words, iterations=0)
    runaway = both.runaway(problem)
    if np.isinf(runaway).any():
        words = f"{int(np.isinf(runaway).sum())} of {n} gains have no least objective within their limits"
        return unbounded(problem, runaway, words=words)
    if lowest > 0:
        return optimal(problem, tightest, dual=None, words="only one point meets the bound", iterations=0)
    cheapest = objective.minimise(problem, 0.0, constraint.minimise(problem, 0.0, start))
    if problem.log_constraint(cheapest) <= 0:
        return optimal(problem, cheapest, dual=0.0, words="the bound does not bind", iterations=0)
    x, iterations = _bisect(problem, both, start)
    return optimal(problem, x, dual=None, words="multiplier found", iterations=iterations)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Side:
    """The rising (or falling) terms of the Lagrangian's derivative.

    Columns are the m gains that have such terms, in rising order; the K rows are their terms, padded with
    terms of weight zero (log weight -inf). ``priced`` is 1 where a term is weighted by the price e^ν.
    """

    log_weights: np.ndarray
    exponents: np.ndarray
    priced: np.ndarray

    @classmethod
    def of(cls, gains: np.ndarray, logs: np.ndarray, exponents: np.ndarray, priced: np.ndarray) -> _Side:
        order = np.argsort(gains, kind="stable")
        _, starts, column, counts = np.unique(gains[order], return_index=True, return_inverse=True, return_counts=True)
        row = np.arange(order.size) - starts[column]
        shape = (int(counts.max(initial=0)), starts.size)
        log_weights, prices = np.full(shape, -np.inf), np.zeros(shape)
        # padding repeats a gain's first exponent, which leaves the bounds on the slope as they are
        powers = np.broadcast_to(exponents[order][starts], shape).copy()
        log_weights[row, column] = (logs + np.log(np.abs(exponents)))[order]
        powers[row, column] = exponents[order]
        prices[row, column] = priced[order]
        return cls(log_weights=log_weights, exponents=powers, priced=prices)

    def smallest(self) -> np.ndarray:
        """(m,) smallest |exponent| of each gain."""
        return np.asarray(np.abs(self.exponents).min(axis=0))

    def largest(self) -> np.ndarray:
        """(m,) largest |exponent| of each gain."""
        return np.asarray(np.abs(self.exponents).max(axis=0))

    def evaluate(self, x: np.ndarray, nu: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(m,) log sums at x (m,), and their derivatives in x and in ν."""
        logs = self.log_weights + self.exponents * x + nu * self.priced
        if len(logs) == 1:
            return logs[0], self.exponents[0], self.priced[0]
        peak = logs.max(axis=0)
        weights = np.exp(logs - peak)
        total = weights.sum(axis=0)
        slope = (weights * self.exponents).sum(axis=0) / total
        price = (weights * self.priced).sum(axis=0) / total
        return peak + np.log(total), slope, price


@dataclass(frozen=True, kw_only=True, eq=False)
class _Terms:
    """The terms of a separable Lagrangian; those of the second posynomial are weighted by the price e^ν.

    ``rising`` and ``falling`` hold the gains that have both kinds of terms (``balanced``), in the same order;
    ``only_rising`` and ``only_falling`` are the gains with one kind.
    """

    balanced: np.ndarray
    only_rising: np.ndarray
    only_falling: np.ndarray
    rising: _Side
    falling: _Side

    @classmethod
    def of(cls, n: int, *posynomials: Posynomial) -> _Terms:
        single = [f.variables >= 0 for f in posynomials]
        gains = np.concatenate([f.variables[s] for f, s in zip(posynomials, single, strict=True)])
        logs = np.concatenate([f.log_coefficients[s] for f, s in zip(posynomials, single, strict=True)])
        exponents = np.concatenate([f.single_exponents[s] for f, s in zip(posynomials, single, strict=True)])
        priced = np.concatenate([np.full(int(s.sum()), float(i)) for i, s in enumerate(single)])
        sides = []
        has = []
        for side in (exponents > 0, exponents < 0):
            sides.append((gains[side], logs[side], exponents[side], priced[side]))
            has.append(np.bincount(gains[side], minlength=n) > 0)
        both = has[0] & has[1]
        balanced = [tuple(a[both[side[0]]] for a in side) for side in sides]
        return cls(
            balanced=np.flatnonzero(both),
            only_rising=np.flatnonzero(has[0] & ~has[1]),
            only_falling=np.flatnonzero(has[1] & ~has[0]),
            rising=_Side.of(*balanced[0]),
            falling=_Side.of(*balanced[1]),
        )

    def runaway(self, problem: GeometricProgram) -> np.ndarray:
        """(n,) −inf or +inf for the gains that everything drives one way without a limit, 0 elsewhere."""
        x = np.zeros(problem.gains)
        x[self.only_rising] = np.where(np.isinf(problem.lower[self.only_rising]), -np.inf, 0.0)
        x[self.only_falling] = np.where(np.isinf(problem.upper[self.only_falling]), np.inf, 0.0)
        return x

    def minimise(self, problem: GeometricProgram, nu: float, start: np.ndarray) -> np.ndarray:
        """(n,) minimiser of the Lagrangian at price e^ν within the limits; gains without terms stay."""
        x = start.copy()
        x[self.only_rising] = problem.lower[self.only_rising]
        x[self.only_falling] = problem.upper[self.only_falling]
        root, _ = self.roots(nu, np.where(np.isfinite(x), x, 0.0)[self.balanced])
        x[self.balanced] = np.clip(root, problem.lower[self.balanced], problem.upper[self.balanced])
        return x

    def roots(self, nu: float, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(m,) roots of φ for the balanced gains, from the guess x, and their derivatives in ν.

        Newton's method, kept inside the bracket that the slope bounds give; bisection where it is slow.
        """
        if x.size == 0:
            return x, x
        flattest = self.rising.smallest() + self.falling.smallest()
        steepest = self.rising.largest() + self.falling.largest()
        low, high = np.full(x.size, -np.inf), np.full(x.size, np.inf)
        for iteration in range(_MAX_ITERATIONS):
            up, up_slope, up_price = self.rising.evaluate(x, nu)
            down, down_slope, down_price = self.falling.evaluate(x, nu)
            phi, slope = up - down, up_slope - down_slope
            newton = x - phi / slope
            if np.all(np.abs(newton - x) <= _LAST_STEP * (1.0 + np.abs(up) / slope)):
                return newton, (down_price - up_price) / slope
            near, far = x - phi / steepest, x - phi / flattest
            low = np.maximum(low, np.where(phi > 0, far, near))
            high = np.minimum(high, np.where(phi > 0, near, far))
            inside = (newton >= low) & (newton <= high)
            if iteration >= 12 and iteration % 2:
                inside[:] = False
            x = np.where(inside, newton, 0.5 * (low + high))
        raise SolverFailed("KKT bisection: a gain's stationarity equation did not converge; please report the problem.")


def _bisect(problem: GeometricProgram, terms: _Terms, start: np.ndarray) -> tuple[np.ndarray, int]:
    """The gains (n,) at the price that makes the constraint tight, and the prices tried."""
    x = terms.minimise(problem, 0.0, start)
    balanced = terms.balanced
    lower, upper = problem.lower[balanced], problem.upper[balanced]
    nu = problem.objective.log_value(x) - problem.constraint.log_value(x)
    low, high, step, change = -np.inf, np.inf, 1.0, nu
    log_bound, last = float(np.log(problem.bound)), np.inf
    roots, rate = x[balanced], np.zeros(balanced.size)
    for iteration in range(1, _MAX_ITERATIONS):
        roots, rate = terms.roots(nu, roots + rate * change)
        x[balanced] = np.clip(roots, lower, upper)
        log_constraint = problem.constraint.log_value(x)
        excess = log_constraint - log_bound
        # a relative error ε of the constraint shifts the objective by dual × ε
        dual = float(np.exp(min(nu + log_constraint - problem.objective.log_value(x), 700.0)))
        if abs(excess) * max(dual, 1.0) <= _TOLERANCE or high - low <= 4e-16 * abs(nu):
            return x, iteration
        if abs(excess) <= _TOLERANCE and abs(excess) >= last:
            return x, iteration
        last = abs(excess)
        low, high = (nu, high) if excess > 0 else (low, nu)
        moving = np.zeros(problem.gains)
        moving[balanced] = np.where((roots > lower) & (roots < upper), rate, 0.0)
        slope = float(problem.constraint.gradient(x) @ moving)
        target = nu - excess / slope if slope < 0 else np.inf * np.sign(excess)
        if np.isfinite(high - low):
            if not low < target < high or iteration % 4 == 0:
                target = 0.5 * (low + high)
        else:
            step *= 2.0
            target = float(np.clip(target, nu - 4 * step, nu + 4 * step))
        change, nu = target - nu, target
    raise SolverFailed("KKT bisection: the multiplier did not converge; please report the problem.")


def _finite(problem: GeometricProgram, x: np.ndarray) -> np.ndarray:
    """x with every infinite gain moved to where its terms of the constraint are 1e-12 of the rest."""
    f = problem.constraint
    endless = np.isinf(x)
    term = np.flatnonzero((f.variables >= 0) & endless[np.maximum(f.variables, 0)])
    x = np.where(endless, 0.0, x)
    rest = np.delete(f.log_terms(x), term)
    floor = float(logsumexp(rest)) if rest.size else float(np.log(problem.bound))
    edge = (floor + np.log(1e-12 / max(term.size, 1)) - f.log_coefficients[term]) / f.single_exponents[term]
    far = f.single_exponents[term] < 0
    np.maximum.at(x, f.variables[term][far], edge[far])
    np.minimum.at(x, f.variables[term][~far], edge[~far])
    return np.asarray(np.clip(x, problem.lower, problem.upper))
