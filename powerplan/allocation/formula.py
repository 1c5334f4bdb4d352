"""The closed form: one objective and one constraint term per gain, common exponents, no active limit.

For min Σ p_i e^{a x_i} s.t. Σ k_i e^{b x_i} <= D with a b < 0, stationarity of the Lagrangian gives

    x_i = log(k_i / p_i) / (a − b) + τ,   b τ = log D − log Σ_i k_i^{a/(a−b)} p_i^{−b/(a−b)}.

With a = t, b = −s and S the sum: c_i = (k_i/p_i)^{1/(s+t)} (S/D)^{1/s} and P* = S^{(s+t)/s} D^{−t/s}.
A constant part of the constraint is taken off D; one of the objective changes nothing.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp

from powerplan.allocation.posynomial import Posynomial
from powerplan.allocation.problem import GeometricProgram
from powerplan.allocation.result import AllocationResult, optimal
from powerplan.errors import InvalidInput

#: a limit passed by less than this (in log gain) is rounding, not an active limit
_ROUNDING = 1e-12


def closed_form(problem: GeometricProgram) -> AllocationResult:
    """The optimum by formula.

    Raises:
        InvalidInput: the formula does not cover the problem: several terms per gain, terms of several gains,
            different exponents, a constant constraint at or above the bound, or a limit that would be active.
    """
    answer = _stationary_point(problem)
    if isinstance(answer, str):
        raise InvalidInput.of(
            "problem",
            answer,
            "one objective and one constraint term per gain with common exponents, and no active limit",
            "Use method='kkt', or method='auto' to let powerplan choose.",
        )
    return optimal(problem, answer, dual=None, words="closed form", iterations=0)


def closed_form_covers(problem: GeometricProgram) -> bool:
    """Whether :func:`closed_form` answers this problem."""
    return not isinstance(_stationary_point(problem), str)


def _stationary_point(problem: GeometricProgram) -> np.ndarray | str:
    """The (n,) optimum without limits, or why the formula does not give it."""
    if not problem.is_separable:
        return "a problem with terms of several gains"
    monomials = [_one_term_per_gain(f) for f in (problem.objective, problem.constraint)]
    if monomials[0] is None or monomials[1] is None:
        return "a problem whose gains do not all have one term with one common exponent"
    (log_p, a), (log_k, b) = monomials[0], monomials[1]
    if a * b >= 0:
        return "a problem whose objective and constraint move the same way"
    log_room = problem.log_room
    if log_room == -np.inf:
        return "a constraint whose constant part alone reaches the bound"
    total = logsumexp((a * log_k - b * log_p) / (a - b))
    x = (log_k - log_p) / (a - b) + (log_room - total) / b
    outside = int(((x < problem.lower - _ROUNDING) | (x > problem.upper + _ROUNDING)).sum())
    if outside:
        return f"a problem in which the limits of {outside} of {problem.gains} gains are active"
    return np.asarray(np.clip(x, problem.lower, problem.upper))


def _one_term_per_gain(f: Posynomial) -> tuple[np.ndarray, float] | None:
    """(n,) log coefficients by gain and the common exponent, or None if there is no such form."""
    terms = np.flatnonzero(f.variables >= 0)
    gains, exponents = f.variables[terms], f.single_exponents[terms]
    if terms.size != f.gains or np.unique(gains).size != f.gains or np.ptp(exponents) > 0:
        return None
    logs = np.empty(f.gains)
    logs[gains] = f.log_coefficients[terms]
    return logs, float(exponents[0])
