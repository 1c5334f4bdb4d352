"""The reference solver: a disciplined convex program in cvxpy, for separable and general problems.

Two forms of one problem, both centred on a point x₀ and scaled so that objective and bound are 1 there:

- *powers*, where every term holds one gain and the exponents are simple fractions: y_i = (c_i / c₀_i)^{m_i}
  with m_i the least rising exponent, so that c^a = c₀^a y^{a/m} is linear or convex (second-order cones);
- *logarithms* otherwise: log-sum-exp in z = x − x₀ (exponential cones).

x₀ starts where every gain has the same share of the bound. Each round centres the next one on its own answer,
until the point is certified. Answers are recomputed from the point and refined by Newton steps; statuses are
only reported.

Why: docs/decisions/optimisation.md [0013].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from scipy import optimize, sparse

from powerplan.allocation.certificate import certificate_at
from powerplan.allocation.conic import TIGHT, solve_conic
from powerplan.allocation.posynomial import Posynomial
from powerplan.allocation.problem import GeometricProgram
from powerplan.allocation.refine import refine
from powerplan.allocation.result import AllocationResult, Status, infeasible, optimal, unbounded
from powerplan.errors import SolverFailed

#: rounds of centring; the first is rough
_ROUNDS = 6
_ROUGH = (1e-4,)
#: certificate of a conic point that needs no further round
_GOOD = 1e-9
#: largest change of a log gain in one round: in the form in powers and in that in logarithms
_REACH = 15.0
_LOG_REACH = 50.0
#: log slack at which a point counts as well inside the constraint
_SLACK = 1e-3
#: largest denominator of exponents that the form in powers takes
_MAX_DENOMINATOR = 8
#: |log(constraint / bound)| that decides feasibility by rounding alone
_ROUNDING = 1e-12


def cvxpy_solve(problem: GeometricProgram, *, refinement: bool = True) -> AllocationResult:
    """The optimum by cvxpy and Clarabel.

    Args:
        refinement: False returns the conic solver's own point, moved onto the constraint only.

    Raises:
        SolverFailed: the solver gave no finite point.
    """
    best = _Centred(x=None, words="the constant terms of the constraint reach the bound", iterations=0)
    if problem.log_room > -np.inf:
        best = _rounds(problem, problem.objective, problem.constraint, refinement)
    if best.x is not None:
        result = optimal(problem, best.x, dual=None, words=best.words, iterations=best.iterations)
        if result.status is Status.OPTIMAL:
            return result
    least = _rounds(problem, problem.constraint, None, refinement)
    words = f"{best.words}; least constraint: {least.words}"
    if least.x is None:
        raise SolverFailed(f"cvxpy gave no finite point. {words}")
    if problem.log_constraint(least.x) > _ROUNDING or problem.log_room == -np.inf:
        proof = infeasible(problem, least.x, words=words, iterations=best.iterations + least.iterations)
        if proof.status is Status.INFEASIBLE or best.x is None:
            return proof
    direction = _runaway(problem)
    if direction is not None:
        x = np.where(direction != 0, np.copysign(np.inf, direction), least.x)
        return unbounded(problem, x, words=f"{words}; {int((direction != 0).sum())} gains run away")
    again = _rounds(problem, problem.objective, problem.constraint, refinement, start=least.x)
    words = f"{words}; again from there: {again.words}"
    iterations = best.iterations + least.iterations + again.iterations
    candidates = [
        optimal(problem, x, dual=None, words=words, iterations=iterations) for x in (best.x, again.x) if x is not None
    ]
    if not candidates:
        raise SolverFailed(f"cvxpy gave no finite point. {words}")
    return min(candidates, key=_doubt)


def _doubt(result: AllocationResult) -> float:
    """How far a result is from proven."""
    assert result.certificate is not None
    return result.certificate.worst


@dataclass(frozen=True, kw_only=True, eq=False)
class _Centred:
    """The point after some rounds (None if there is none), with the solver's words and iterations."""

    x: np.ndarray | None
    words: str
    iterations: int


def _rounds(
    problem: GeometricProgram,
    objective: Posynomial,
    constraint: Posynomial | None,
    refinement: bool,
    start: np.ndarray | None = None,
) -> _Centred:
    """Solve min objective (s.t. constraint <= bound), centring each round on the last answer.

    The first centre is ``start``, or the point of equal shares.
    """
    log_bound = float(np.log(problem.bound))
    build = in_powers if _has_simple_powers(objective, constraint) else in_logarithms
    x = _equal_shares(problem) if start is None else start
    words, iterations = [build.__name__.replace("_", " ")], 0
    has_point = start is not None
    for turn in range(_ROUNDS):
        model, variable, decode = build(problem, objective, constraint, x)
        answer = solve_conic(model, variable, _ROUGH if turn == 0 else TIGHT)
        words.append(answer.words)
        iterations += answer.iterations
        far = False
        if answer.value is not None:
            moved = np.clip(decode(answer.value), problem.lower, problem.upper)
            far = float(np.abs(moved - x).max()) > 0.9 * _REACH
            x, has_point = moved, True
            if constraint is None and problem.log_constraint(x) < -_SLACK:
                break  # the bound can be met: nobody asks how much further the constraint can fall
        elif turn > 0 and not has_point:
            break
        if turn == 0 or far:
            continue
        if constraint is not None:
            x = _onto_constraint(problem, x)
        if _is_good(problem, constraint, x):
            break
        if refinement:
            done = refine(objective, constraint, log_bound, problem.lower, problem.upper, x)
            x = done.x
            words.append(f"{done.steps} Newton steps")
            if _is_good(problem, constraint, x):
                break
    return _Centred(x=x if has_point else None, words="; ".join(words), iterations=iterations)


def _is_good(problem: GeometricProgram, constraint: Posynomial | None, x: np.ndarray) -> bool:
    return certificate_at(problem, x, least_constraint=constraint is None).worst <= _GOOD


def _equal_shares(problem: GeometricProgram) -> np.ndarray:
    """(n,) point at which no gain's terms of the constraint exceed its equal share of the bound."""
    n, f = problem.gains, problem.constraint
    single = f.variables >= 0
    x = np.full(n, -np.inf)
    room = np.log(problem.bound / n)
    falling = single & (f.single_exponents < 0)
    np.maximum.at(x, f.variables[falling], ((room - f.log_coefficients) / _nonzero(f.single_exponents))[falling])
    rising = single & (f.single_exponents > 0)
    ceiling = np.full(n, np.inf)
    np.minimum.at(ceiling, f.variables[rising], ((room - f.log_coefficients) / _nonzero(f.single_exponents))[rising])
    x = np.where(np.isinf(x), np.where(np.isinf(ceiling), 0.0, ceiling), x)
    return np.asarray(np.clip(x, problem.lower, problem.upper))


def _nonzero(a: np.ndarray) -> np.ndarray:
    return np.where(a == 0, 1.0, a)


def _has_simple_powers(*posynomials: Posynomial | None) -> bool:
    for f in posynomials:
        if f is None:
            continue
        if not (f.variables > -2).all():
            return False
        for a in np.unique(f.single_exponents):
            if float(Fraction(float(a)).limit_denominator(_MAX_DENOMINATOR)) != a:
                return False
    return True


_Model = tuple[Any, Any, Callable[[np.ndarray], np.ndarray]]


def in_logarithms(
    problem: GeometricProgram, objective: Posynomial, constraint: Posynomial | None, x0: np.ndarray
) -> _Model:
    """The program in z = x − x0 as log-sum-exp."""
    import cvxpy
    from cvxpy.atoms.log_sum_exp import log_sum_exp

    z = cvxpy.Variable(problem.gains)
    lower, upper = np.maximum(problem.lower - x0, -_LOG_REACH), np.minimum(problem.upper - x0, _LOG_REACH)
    logs = objective.log_terms(x0) - objective.log_value(x0)
    constraints = [z >= lower, z <= upper]
    if constraint is not None:
        excess = constraint.log_terms(x0) - np.log(problem.bound)
        constraints.append(log_sum_exp(excess + constraint.exponents @ z) <= 0)
    model = cvxpy.Problem(cvxpy.Minimize(log_sum_exp(logs + objective.exponents @ z)), constraints)
    return model, z, lambda value: x0 + value


def in_powers(
    problem: GeometricProgram, objective: Posynomial, constraint: Posynomial | None, x0: np.ndarray
) -> _Model:
    """The program in y = exp(m (x − x0)), every term a convex power of one y."""
    import cvxpy
    from cvxpy.atoms.elementwise.power import power

    posynomials = [objective] if constraint is None else [objective, constraint]
    m = np.full(problem.gains, np.inf)
    for f in posynomials:
        rising = f.single_exponents > 0
        np.minimum.at(m, f.variables[rising], f.single_exponents[rising])
    m[np.isinf(m)] = 1.0
    y = cvxpy.Variable(problem.gains)

    def total(f: Posynomial, log_scale: float) -> Any:
        terms = np.exp(f.log_terms(x0) - log_scale)
        gain = np.maximum(f.variables, 0)
        ratios = f.single_exponents / m[gain]
        parts: list[Any] = []
        for ratio in np.unique(ratios):
            chosen = ratios == ratio
            if ratio == 0:
                parts.append(float(terms[chosen].sum()))
                continue
            weights = np.bincount(gain[chosen], weights=terms[chosen], minlength=problem.gains)
            used = np.flatnonzero(weights)
            part = y if used.size == problem.gains else y[used]
            parts.append(weights[used] @ (part if ratio == 1 else power(part, float(ratio))))
        return sum(parts)

    low, high = m * (problem.lower - x0), m * (problem.upper - x0)
    # a limit this far from the centre cannot be told from none; the next round sees it nearer
    constraints = [y >= np.where(low > -_REACH, np.exp(np.maximum(low, -_REACH)), 0.0)]
    near = np.flatnonzero(high < _REACH)
    if near.size:
        constraints.append(y[near] <= np.exp(high[near]))
    if constraint is not None:
        constraints.append(total(constraint, float(np.log(problem.bound))) <= 1)
    model = cvxpy.Problem(cvxpy.Minimize(total(objective, objective.log_value(x0))), constraints)
    smallest = np.exp(-_REACH * m)
    return model, y, lambda value: x0 + np.log(np.maximum(value, smallest)) / m


def _onto_constraint(problem: GeometricProgram, x: np.ndarray) -> np.ndarray:
    """x moved along the constraint's gradient until the constraint is tight, if a small move does it.

    A point inside the constraint whose multiplier is zero stays.
    """
    value = problem.log_constraint(x)
    dual = certificate_at(problem, x).dual
    if value == 0 or (value < 0 and dual == 0) or abs(value) > 1e-3:
        return x
    gradient = problem.constraint.gradient(x)
    ray = gradient / (float(gradient @ gradient) or 1.0)

    def at(length: float) -> np.ndarray:
        return np.asarray(np.clip(x + length * ray, problem.lower, problem.upper))

    reach = -4 * value
    if problem.log_constraint(at(reach)) * value >= 0:
        return x
    root = optimize.brentq(lambda s: problem.log_constraint(at(s)), 0.0, reach, xtol=1e-16, rtol=1e-15)
    return at(root)


def _runaway(problem: GeometricProgram) -> np.ndarray | None:
    """A direction (n,) in which x may move for ever while no term rises and some fall, or None.

    It exists exactly if a feasible problem has no finite optimum that cannot be bettered; a linear program
    finds it.
    """
    matrix = sparse.vstack([problem.objective.exponents, problem.constraint.exponents], format="csr")
    low = np.where(np.isinf(problem.lower), -1.0, 0.0)
    high = np.where(np.isinf(problem.upper), 1.0, 0.0)
    answer = optimize.linprog(
        np.asarray(matrix.sum(axis=0)).ravel(),
        A_ub=matrix,
        b_ub=np.zeros(matrix.shape[0]),
        bounds=np.stack([low, high], axis=1),
        method="highs",
    )
    if answer.status != 0 or answer.fun > -1e-9:
        return None
    return np.where(np.abs(answer.x) > 1e-9, answer.x, 0.0)
