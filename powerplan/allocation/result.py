"""What an allocation solver answers."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np

from powerplan.allocation.certificate import OptimalityCertificate, certificate_at
from powerplan.allocation.problem import GeometricProgram

#: largest KKT residual, duality gap and violation of a point that is called optimal
OPTIMALITY_TOLERANCE = 1e-6


class Status(enum.Enum):
    """How a solver ended. ``advice`` says what it means and what to do next."""

    OPTIMAL = "optimal"
    INFEASIBLE = "infeasible"
    UNBOUNDED = "unbounded"
    INACCURATE = "inaccurate"

    @property
    def advice(self) -> str:
        """What the status means for the caller."""
        return _ADVICE[self]


_ADVICE = {
    Status.OPTIMAL: "The point meets the bound at the least objective; its certificate proves it.",
    Status.INFEASIBLE: (
        "No point within the limits meets the bound; x is the point with the least constraint value. "
        "Loosen the bound to constraint_value or more, or widen the limits whose dual is not zero."
    ),
    Status.UNBOUNDED: (
        "Gains without a limit can move for ever while nothing gets worse, so no point is the best: "
        "give every gain that x shows as infinite a finite limit on that side."
    ),
    Status.INACCURATE: "The solver's point could not be proven optimal to 1e-6; see the certificate and solver_words.",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class AllocationResult:
    """The answer of a solver to a :class:`GeometricProgram`; every number is recomputed from ``x``.

    Attributes:
        x: (n,) log gains. INFEASIBLE: the point of least constraint. UNBOUNDED: ±inf marks the gains that
            run away, the others are not meaningful.
        gains: (n,) exp(x).
        objective: value of the objective at x; NaN if UNBOUNDED.
        constraint_value: value of the constraint at x; if INFEASIBLE the lowest reachable; NaN if UNBOUNDED.
        status: how it ended.
        dual: λ >= 0, the multiplier of log(constraint / bound) <= 0: d log objective* / d log bound = -λ.
        limit_duals: (n,) multipliers of the limits, > 0 at an upper limit, < 0 at a lower one, 0 inside:
            d log objective* / d x_limit = -limit_dual. If INFEASIBLE they refer to the log constraint instead.
        certificate: proof of optimality; if INFEASIBLE, of the constraint value being the least reachable;
            None if UNBOUNDED.
        solver_words: what the solver says about how it ended.
        iterations: of the solver's outermost loop.
    """

    x: np.ndarray
    gains: np.ndarray
    objective: float
    constraint_value: float
    status: Status
    dual: float
    limit_duals: np.ndarray
    certificate: OptimalityCertificate | None
    solver_words: str
    iterations: int

    @property
    def advice(self) -> str:
        """What the status means and what to do next."""
        return self.status.advice


def optimal(
    problem: GeometricProgram, x: np.ndarray, *, dual: float | None, words: str, iterations: int
) -> AllocationResult:
    """The result for a point claimed optimal: INACCURATE unless its certificate proves it to 1e-6."""
    certificate = certificate_at(problem, x, dual=dual)
    proven = certificate.worst <= OPTIMALITY_TOLERANCE
    return _result(problem, x, Status.OPTIMAL if proven else Status.INACCURATE, certificate, words, iterations)


def infeasible(problem: GeometricProgram, x: np.ndarray, *, words: str, iterations: int) -> AllocationResult:
    """The result when the bound cannot be met; ``x`` (n,) is the point of least constraint.

    It is INACCURATE unless the certificate proves that no point within the limits meets the bound.
    """
    certificate = certificate_at(problem, x, least_constraint=True)
    proven = problem.log_constraint(x) - certificate.duality_gap > -1e-12
    return _result(problem, x, Status.INFEASIBLE if proven else Status.INACCURATE, certificate, words, iterations)


def unbounded(problem: GeometricProgram, x: np.ndarray, *, words: str) -> AllocationResult:
    """The result when no point attains the least objective; ``x`` holds ±inf for the gains that run away."""
    with np.errstate(over="ignore"):
        gains = np.exp(x)
    return AllocationResult(
        x=x,
        gains=gains,
        objective=np.nan,
        constraint_value=np.nan,
        status=Status.UNBOUNDED,
        dual=np.nan,
        limit_duals=np.full(problem.gains, np.nan),
        certificate=None,
        solver_words=words,
        iterations=0,
    )


def _result(
    problem: GeometricProgram,
    x: np.ndarray,
    status: Status,
    certificate: OptimalityCertificate,
    words: str,
    iterations: int,
) -> AllocationResult:
    with np.errstate(over="ignore"):
        gains = np.exp(x)
    return AllocationResult(
        x=x,
        gains=gains,
        objective=problem.objective.value(x),
        constraint_value=problem.constraint.value(x),
        status=status,
        dual=certificate.dual,
        limit_duals=certificate.limit_duals,
        certificate=certificate,
        solver_words=words,
        iterations=iterations,
    )
