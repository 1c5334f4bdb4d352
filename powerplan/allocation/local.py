"""Local geometric programs: one parametrised cvxpy problem, compiled once and solved at every step.

At the current gains, with power terms P_t and their log-gradients σ_t, error terms F_m over their bound and τ_m:

    minimise log Σ_t exp(log P_t + σ_t·δ)   s.t.   log Σ_m exp(log F_m/D + τ_m·δ) ≤ 0,   lower ≤ δ ≤ upper.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from powerplan.allocation.conic import ConicAnswer, solve_conic
from powerplan.allocation.posynomial import Posynomial
from powerplan.allocation.problem import GeometricProgram
from powerplan.allocation.refine import refine
from powerplan.allocation.result import AllocationResult, Status, infeasible, optimal
from powerplan.checks import Checker, real_array
from powerplan.errors import SolverFailed

#: log terms and log-gradients (T,) and (T, n) of one sum
LogTerms = tuple[np.ndarray, np.ndarray]

#: terms this far below the largest one in log value are lost in rounding; zero terms are put there
_NEGLIGIBLE = 60.0
#: largest |log F − log D| that decides feasibility by rounding alone
_REACHED = 1e-12


@dataclass(frozen=True, kw_only=True)
class LocalProgram:
    """A local geometric program of fixed size.

    Attributes:
        objective_terms, constraint_terms: numbers of terms T >= 1 and M >= 1.
        gains: number of gains n >= 1.
    """

    objective_terms: int
    constraint_terms: int
    gains: int

    def __post_init__(self) -> None:
        check = Checker("local_program.")
        for name in ("objective_terms", "constraint_terms", "gains"):
            value = getattr(self, name)
            if check.number(name, value, at_least=1, at_most=10_000) and value != int(value):
                check.fail(name, value, "a whole number", "Give the number of terms or gains.")
        check.done()

    def solve(
        self,
        log_objective_terms: np.ndarray,
        objective_exponents: np.ndarray,
        log_constraint_terms: np.ndarray,
        constraint_exponents: np.ndarray,
        lower: np.ndarray,
        upper: np.ndarray,
    ) -> AllocationResult:
        """Solve for the step δ (``x`` of the result), refined to rounding.

        Args:
            log_objective_terms: (T,) log values at δ = 0; -inf for a term that is zero.
            objective_exponents: (T, n) log-gradients of the terms.
            log_constraint_terms: (M,) log of the terms over the bound; -inf likewise.
            constraint_exponents: (M, n).
            lower, upper: (n,) finite limits of the step (trust radius and gain limits).

        Returns:
            status OPTIMAL, or INFEASIBLE with the step of least constraint if the box cannot meet the bound;
            ``constraint_value`` is relative to the bound.

        Raises:
            InvalidInput: wrong shapes, NaN, +inf, limits that are not finite.
            SolverFailed: the solver gave no point.
        """
        objective, constraint = (log_objective_terms, objective_exponents), (log_constraint_terms, constraint_exponents)
        problem = self._problem(objective, constraint, lower, upper)
        answer = self._best.solve((problem.objective, problem.constraint), problem.lower, problem.upper)
        if answer.value is not None:
            done = refine(problem.objective, problem.constraint, 0.0, problem.lower, problem.upper, answer.value)
            words = f"{answer.words}; {done.steps} Newton steps"
            result = optimal(problem, done.x, dual=None, words=words, iterations=answer.iterations)
            if result.status is Status.OPTIMAL:
                return result
        least = self._least.solve((problem.constraint,), problem.lower, problem.upper)
        if least.value is None:
            raise SolverFailed(f"Local geometric program: no point. {answer.words}; least constraint: {least.words}")
        lowest = refine(problem.constraint, None, 0.0, problem.lower, problem.upper, least.value)
        words = f"{answer.words}; least constraint: {least.words}; {lowest.steps} Newton steps"
        iterations = answer.iterations + least.iterations
        if problem.log_constraint(lowest.x) > _REACHED:
            return infeasible(problem, lowest.x, words=words, iterations=iterations)
        # feasible, but the first attempt is no proof: start again from the point that meets the bound
        done = refine(problem.objective, problem.constraint, 0.0, problem.lower, problem.upper, lowest.x)
        return optimal(problem, done.x, dual=None, words=words, iterations=iterations)

    @cached_property
    def _best(self) -> Compiled:
        return Compiled.of(self.gains, (self.objective_terms, self.constraint_terms))

    @cached_property
    def _least(self) -> Compiled:
        return Compiled.of(self.gains, (self.constraint_terms,))

    def _problem(
        self, objective: LogTerms, constraint: LogTerms, lower: np.ndarray, upper: np.ndarray
    ) -> GeometricProgram:
        check = Checker("local_program.")
        sums = [
            checked_terms(check, (f"log_{name}_terms", f"{name}_exponents"), terms, (count, self.gains))
            for name, terms, count in (
                ("objective", objective, self.objective_terms),
                ("constraint", constraint, self.constraint_terms),
            )
        ]
        low, high = checked_limits(check, lower, upper, self.gains)
        f, h = (posynomial(*terms) for terms in sums)
        return GeometricProgram(objective=f, constraint=h, bound=1.0, lower=low, upper=high)


def checked_terms(check: Checker, names: tuple[str, str], terms: LogTerms, shape: tuple[int, int]) -> LogTerms:
    """Log terms and their log-gradients as arrays of the shape (T, n), or noted violations."""
    logs, exponents = (np.array(values, dtype=np.float64) for values in terms)
    if logs.shape != shape[:1]:
        check.fail(names[0], logs, f"shape ({shape[0]},)", "Give one log value per term.")
    elif np.isnan(logs).any() or (logs == np.inf).any() or (logs == -np.inf).all():
        check.fail(names[0], logs, "finite or -inf, not all -inf", "Check the terms: NaN, inf or all 0.")
    if exponents.shape != shape:
        check.fail(names[1], exponents, f"shape {shape}", "Give one slope per term and gain.")
    elif logs.shape == shape[:1] and not np.isfinite(exponents[logs > -np.inf]).all():
        check.fail(names[1], exponents, "finite numbers", "The terms have no gradient here.")
    return logs, exponents


def checked_limits(check: Checker, lower: object, upper: object, gains: int) -> list[np.ndarray]:
    """Lower and upper limits, (n,) finite numbers each.

    Raises:
        InvalidInput: with all violations noted.
    """
    limits = [real_array(check, name, value, ndim=1) for name, value in (("lower", lower), ("upper", upper))]
    for name, limit in zip(("lower", "upper"), limits, strict=True):
        if limit is not None and limit.shape != (gains,):
            check.fail(name, limit, f"shape ({gains},)", "Give one limit per gain.")
    check.done()
    return [np.asarray(limit) for limit in limits]


def posynomial(logs: np.ndarray, exponents: np.ndarray) -> Posynomial:
    """The sum of terms exp(logs + exponents·x); zero terms (log −inf) are put where they are lost in rounding."""
    return Posynomial(
        log_coefficients=np.maximum(logs, logs.max() - _NEGLIGIBLE),
        exponents=np.where(logs[:, None] > -np.inf, exponents, 0.0),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Compiled:
    """min log-sum-exp of one set of terms, subject to those of others being <= 0, as a parametrised problem."""

    problem: Any
    step: Any
    lower: Any
    upper: Any
    logs: tuple[Any, ...]
    slopes: tuple[Any, ...]

    @classmethod
    def of(cls, gains: int, counts: tuple[int, ...]) -> Compiled:
        """The problem for ``counts`` terms: of the objective, then of every constraint."""
        import cvxpy
        from cvxpy.atoms.log_sum_exp import log_sum_exp

        step = cvxpy.Variable(gains)
        lower, upper = cvxpy.Parameter(gains), cvxpy.Parameter(gains)
        logs = tuple(cvxpy.Parameter(count) for count in counts)
        slopes = tuple(cvxpy.Parameter((count, gains)) for count in counts)
        values = [log_sum_exp(b + a @ step) for b, a in zip(logs, slopes, strict=True)]
        problem = cvxpy.Problem(
            cvxpy.Minimize(values[0]), [v <= 0 for v in values[1:]] + [step >= lower, step <= upper]
        )
        return cls(problem=problem, step=step, lower=lower, upper=upper, logs=logs, slopes=slopes)

    def solve(self, posynomials: tuple[Posynomial, ...], lower: np.ndarray, upper: np.ndarray) -> ConicAnswer:
        """The step for an objective and constraints (over their bounds) within limits."""
        self.lower.value, self.upper.value = lower, upper
        for i, (f, logs, slopes) in enumerate(zip(posynomials, self.logs, self.slopes, strict=True)):
            # only differences of the objective matter: keep its numbers near zero
            offset = float(f.log_coefficients.max()) if i == 0 else 0.0
            logs.value, slopes.value = f.log_coefficients - offset, f.exponents.toarray()
        return solve_conic(self.problem, self.step)
