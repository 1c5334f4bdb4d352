"""Running Clarabel through cvxpy, with an own record of how it ended.

cvxpy's statuses mislead when a solver stops early, so a status is only reported, never believed: the caller
checks the point. Tolerances start tight and are loosened until the solver gives a finite point.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

#: tolerances tried in turn
TIGHT = (1e-11, 1e-8, 1e-5)
_MAX_ITERATIONS = 300


@dataclass(frozen=True, kw_only=True, eq=False)
class ConicAnswer:
    """What the solver gave.

    Attributes:
        value: the variable's value, or None if no finite point came back.
        words: status, tolerances and iterations of every attempt.
        iterations: of all attempts.
    """

    value: np.ndarray | None
    words: str
    iterations: int


def solve_conic(problem: Any, variable: Any, tolerances: tuple[float, ...] = TIGHT) -> ConicAnswer:
    """Solve a cvxpy problem and read one variable.

    Args:
        problem: a ``cvxpy.Problem``.
        variable: the ``cvxpy.Variable`` to read.
        tolerances: of the gap and of feasibility, tried in turn until a finite point comes back.
    """
    import cvxpy

    words: list[str] = []
    total = 0
    for tolerance in tolerances:
        try:
            with warnings.catch_warnings():
                # "Solution may be inaccurate": the caller recomputes everything from the point
                warnings.simplefilter("ignore")
                problem.solve(
                    solver=cvxpy.CLARABEL,
                    max_iter=_MAX_ITERATIONS,
                    max_threads=1,
                    **dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), tolerance),
                )
        except cvxpy.error.SolverError as error:
            words.append(f"Clarabel at {tolerance:g}: {str(error).splitlines()[0]}")
            continue
        iterations = int(problem.solver_stats.num_iters or 0)
        total += iterations
        words.append(f"Clarabel at {tolerance:g}: {problem.status} after {iterations} iterations")
        if problem.status in (cvxpy.INFEASIBLE, cvxpy.UNBOUNDED):
            break
        value = variable.value
        if value is not None and np.isfinite(value).all():
            return ConicAnswer(value=np.asarray(value, dtype=np.float64), words="; ".join(words), iterations=total)
    return ConicAnswer(value=None, words="; ".join(words), iterations=total)
