"""The geometric program that every allocation solver shares.

With x = log gains, a posynomial is f(x) = Σ_t exp(b_t + a_t·x), and log f is convex. The problem is

    minimise log P(x)   subject to   log(E(x) / bound) ≤ 0,   lower ≤ x ≤ upper.

P is the power and E the error, or the other way round: the class is symmetric (:meth:`GeometricProgram.reversed`).

Why: docs/decisions/optimisation.md [0010].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import sparse

from powerplan.allocation.posynomial import Posynomial, coefficients_of, log_sum_exp
from powerplan.checks import Checker, frozen_array, number_array, real_array


@dataclass(frozen=True, kw_only=True, eq=False)
class GeometricProgram:
    """minimise objective(x) subject to constraint(x) <= bound and lower <= x <= upper, x = log gains.

    Attributes:
        objective: the posynomial to minimise (for example power [W]).
        constraint: the posynomial that is bounded (for example the mean squared error).
        bound: largest allowed value of the constraint, > 0, in its unit.
        lower, upper: (n,) limits of x; -inf and +inf mean no limit. A number is repeated for every gain.

    Raises:
        InvalidInput: numbers of gains that do not match, a bound that is not positive, lower > upper, NaN.
    """

    objective: Posynomial
    constraint: Posynomial
    bound: float
    lower: np.ndarray
    upper: np.ndarray

    def __post_init__(self) -> None:
        check = Checker("problem.")
        check.number("bound", self.bound, above=0, advice="Give the largest error (or power) that is allowed.")
        n = self.objective.gains
        if n == 0:
            check.fail("objective", self.objective.exponents, "at least one gain", "There is nothing to allocate.")
        if self.constraint.gains != n:
            check.fail(
                "constraint",
                f"{self.constraint.gains} gains",
                f"the same gains as the objective ({n})",
                "Give both posynomials one column of exponents per gain, zero where a gain does not enter.",
            )
        lower = _limit(check, "lower", self.lower, n, np.inf)
        upper = _limit(check, "upper", self.upper, n, -np.inf)
        if lower is not None and upper is not None and (lower > upper).any():
            i = int(np.flatnonzero(lower > upper)[0])
            check.fail(
                f"lower[{i}]",
                float(lower[i]),
                f"at most upper[{i}] = {float(upper[i]):.6g}",
                f"{int((lower > upper).sum())} of {n} gains have no allowed value; widen their limits.",
            )
        check.done()
        object.__setattr__(self, "bound", float(self.bound))
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "upper", upper)

    @classmethod
    def separable(
        cls,
        *,
        power_coefficients: npt.ArrayLike,
        power_exponents: npt.ArrayLike,
        error_coefficients: npt.ArrayLike,
        error_exponents: npt.ArrayLike,
        bound: float,
        lower: npt.ArrayLike = -np.inf,
        upper: npt.ArrayLike = np.inf,
        constant_power: float = 0.0,
        constant_error: float = 0.0,
    ) -> GeometricProgram:
        """Least P = constant_power + Σ_i Σ_t p_it c_i^t such that E = constant_error + Σ_i Σ_s k_is c_i^-s <= bound.

        Args:
            power_coefficients: (n, T) p_it >= 0; zero terms are dropped.
            power_exponents: (T,) t > 0.
            error_coefficients: (n, S) k_is >= 0.
            error_exponents: (S,) s > 0 (the error falls as c^-s).
            bound: largest allowed E, > 0.
            lower, upper: limits of x = log c, numbers or (n,).
            constant_power, constant_error: parts that no gain changes, >= 0. A constant error at or above
                the bound makes the problem infeasible.

        Raises:
            InvalidInput: negative, NaN or infinite coefficients, no power or no error term, mismatched shapes.
        """
        check = Checker("problem.")
        p = coefficients_of(check, "power_coefficients", power_coefficients, ndim=2)
        k = coefficients_of(check, "error_coefficients", error_coefficients, ndim=2)
        t = _positive(check, "power_exponents", power_exponents)
        s = _positive(check, "error_exponents", error_exponents)
        check.number("constant_power", constant_power, at_least=0)
        check.number("constant_error", constant_error, at_least=0)
        check.done()
        assert p is not None
        assert k is not None
        assert t is not None
        assert s is not None
        for name, coefficients, exponents in (("power", p, t), ("error", k, s)):
            if coefficients.shape[1] != exponents.size:
                check.fail(
                    f"{name}_exponents",
                    exponents,
                    f"one entry per column of {name}_coefficients ({coefficients.shape[1]})",
                    "Give one exponent per term.",
                )
            if not (coefficients > 0).any():
                check.fail(
                    f"{name}_coefficients",
                    coefficients,
                    "at least one coefficient > 0",
                    f"No gain changes the {name}, so there is nothing to trade; check the coefficients.",
                )
        if p.shape[0] != k.shape[0]:
            check.fail(
                "error_coefficients", k, f"one row per gain ({p.shape[0]})", "Give both sets of coefficients per gain."
            )
        check.done()
        return cls(
            objective=_separable_posynomial(p, t, float(constant_power)),
            constraint=_separable_posynomial(k, -s, float(constant_error)),
            bound=bound,
            lower=np.asarray(lower),
            upper=np.asarray(upper),
        )

    @property
    def gains(self) -> int:
        """Number of gains n."""
        return self.objective.gains

    @cached_property
    def is_separable(self) -> bool:
        """Whether every term holds at most one gain."""
        return bool((self.objective.variables > -2).all() and (self.constraint.variables > -2).all())

    @cached_property
    def log_room(self) -> float:
        """log(bound − constant terms of the constraint); -inf if they alone reach the bound."""
        constants = self.constraint.log_coefficients[self.constraint.variables == -1]
        share = log_sum_exp(constants) - np.log(self.bound) if constants.size else -np.inf
        return float(np.log(self.bound) + np.log(-np.expm1(share))) if share < 0 else -np.inf

    def reversed(self, bound: float) -> GeometricProgram:
        """The program that minimises the constraint while the objective stays within ``bound`` (> 0, its unit)."""
        return GeometricProgram(
            objective=self.constraint, constraint=self.objective, bound=bound, lower=self.lower, upper=self.upper
        )

    def log_constraint(self, x: np.ndarray) -> float:
        """log(constraint(x) / bound); the constraint holds where it is <= 0."""
        return self.constraint.log_value(x) - float(np.log(self.bound))


def _separable_posynomial(coefficients: np.ndarray, exponents: np.ndarray, constant: float) -> Posynomial:
    n = coefficients.shape[0]
    gain, term = np.nonzero(coefficients)
    values, rows = coefficients[gain, term], np.arange(gain.size)
    matrix = sparse.csr_array((exponents[term], (rows, gain)), shape=(gain.size + (constant > 0), n))
    if constant > 0:
        values = np.append(values, constant)
    return Posynomial(log_coefficients=np.log(values), exponents=matrix)


def _positive(check: Checker, field: str, value: object) -> np.ndarray | None:
    array = real_array(check, field, value, ndim=1)
    if array is not None and not (array > 0).all():
        check.fail(field, array, "numbers > 0", "Power rises as c^t and error falls as c^-s with t, s > 0.")
        return None
    return array


def _limit(check: Checker, field: str, value: object, n: int, forbidden: float) -> np.ndarray | None:
    sign = "-inf" if forbidden > 0 else "+inf"
    allowed = f"a number or {n} numbers, log gains, {sign} for none"
    limits = number_array(check, field, value, allowed)
    if limits is None:
        return None
    if limits.shape not in ((), (1,), (n,)):
        check.fail(field, limits, allowed, "Give one limit per gain.")
        return None
    array = frozen_array(np.broadcast_to(limits, (n,)), np.float64)
    if np.isnan(array).any() or (array == forbidden).any():
        check.fail(field, array if n > 1 else float(array[0]), allowed, "Remove NaN and infinities of the wrong sign.")
        return None
    return array
