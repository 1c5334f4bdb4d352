"""Sequential local geometric programs on the full predictor.

At θ_k every term of power and error is replaced by the monomial with its value and log-gradient there. The local
problem

    min log Σ exp(log P_t + σ_t·δ)   s.t.   log Σ exp(log F_rm/D_r + τ_rm·δ) ≤ 0 for every constraint r,
                                            |δ|∞ ≤ trust radius, limits

is a convex program. Its step is put back onto the worst constraint of the full predictor (a common shift of the free
gains), then accepted if the objective fell, else the trust radius shrinks. It stops at a KKT point of the
full problem.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from powerplan.allocation import JointProgram, LocalProgram, OptimalityCertificate, certify
from powerplan.planning.problem.problem import Problem, back_onto
from powerplan.planning.problem.terms import Sum
from powerplan.planning.solve.newton import polish
from powerplan.planning.solve.stall import Stall

_FIRST_RADIUS = 2.0
_SMALLEST_RADIUS = 1e-9
#: points without progress after which there will be none; KKT residual that counts as optimal then
_STALLED, _ROUNDING = 5, 1e-6
#: constraints beside the worst that a local program holds, and the log distance from their bounds that lets them in
_MOST_CONSTRAINTS = 24
_IN_REACH = 4.0
#: steps of log gains below which the quasi-Newton polish takes over
_NEAR = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class Optimum:
    """Where the sequence ended. ``reason`` is "optimal", "iteration_limit", "deadline" or "stalled"."""

    theta: np.ndarray
    objective: Sum
    constraints: tuple[Sum, ...]
    certificate: OptimalityCertificate
    iterations: int
    reason: str
    solver_status: str


def minimise(
    problem: Problem,
    start: np.ndarray,
    *,
    tolerance: float,
    max_iterations: int,
    stop_at: float | None,
    progress: Callable[[int, float], None] | None = None,
) -> Optimum:
    """Descend from a feasible θ to a KKT point.

    Args:
        start: feasible θ.
        tolerance: KKT residual to reach.
        stop_at: ``time.monotonic()`` value after which the best point so far is returned.
        progress: called with (iteration, KKT residual).
    """
    theta, radius = start, _FIRST_RADIUS
    local, stall = _LocalModel(), Stall(window=_STALLED)
    objective, *constraints = problem.terms.derivatives(theta)
    for iteration in range(max_iterations + 1):
        certificate = certify(
            objective.log_gradient,
            np.stack([c.log_gradient for c in constraints]),
            problem.excesses_of(constraints),
            theta,
            problem.lower,
            problem.upper,
        )
        if progress:
            progress(iteration, certificate.kkt_residual)
        settled = certificate.kkt_residual <= tolerance and certificate.complementarity <= tolerance
        late = problem.late(stop_at, "derivatives", "values", "values")
        stalled = stall.seen(objective.total, certificate.kkt_residual) or radius < _SMALLEST_RADIUS
        if settled or late or stalled or iteration == max_iterations:
            settled |= stalled and certificate.kkt_residual <= _ROUNDING
            reason = "optimal" if settled else "deadline" if late else "stalled" if stalled else "iteration_limit"
            break
        while True:
            step = local.step(problem, theta, objective, constraints, radius)
            moved = back_onto(problem, np.clip(theta + step, problem.lower, problem.upper), constraints)
            if moved is not None and problem.objective(moved) <= objective.total * (1 + 1e-13):
                break
            radius = min(radius, float(np.abs(step).max())) / 4
            if radius < _SMALLEST_RADIUS:
                break
        if radius < _SMALLEST_RADIUS:
            continue
        if np.abs(step).max() > 0.9 * radius:
            radius *= 2
        assert moved is not None
        theta = moved
        objective, *constraints = problem.terms.derivatives(theta)
        if np.abs(step).max() < _NEAR:
            theta, objective, constraints = _polished(problem, theta, objective, constraints, tolerance, stop_at)
    return Optimum(
        theta=theta,
        objective=objective,
        constraints=tuple(constraints),
        certificate=certificate,
        iterations=iteration,
        reason=reason,
        solver_status=local.words,
    )


class _LocalModel:
    """Local programs at successive points, compiled once per number of terms; ``words`` are the last solver's."""

    def __init__(self) -> None:
        self.words = "not needed"
        self._programs: dict[tuple[int, ...], LocalProgram | JointProgram] = {}

    def step(
        self, problem: Problem, theta: np.ndarray, objective: Sum, constraints: Sequence[Sum], radius: float
    ) -> np.ndarray:
        """The best step (n,) of the local model within the trust radius."""
        excesses = problem.excesses_of(constraints)
        held = np.sort(np.argsort(-excesses, kind="stable")[:_MOST_CONSTRAINTS])
        held = held[excesses[held] >= excesses.max() - _IN_REACH]
        log_objective = objective.monomials()
        log_constraints = []
        for r in held:
            logs, exponents = constraints[r].monomials()
            log_constraints.append((logs - problem.log_bounds[r], exponents))
        lower, upper = np.maximum(problem.lower - theta, -radius), np.minimum(problem.upper - theta, radius)
        sizes = (len(log_objective[0]), *(len(b) for b, _ in log_constraints))
        program = self._programs.get(sizes)
        if program is None:
            program = self._programs[sizes] = _program(sizes, len(theta))
        if isinstance(program, LocalProgram):
            answer = program.solve(*log_objective, *log_constraints[0], lower, upper)
            self.words = answer.solver_words
            return answer.x
        joint = program.solve(log_objective, log_constraints, lower, upper)
        self.words = joint.solver_words
        return np.zeros_like(theta) if joint.x is None else joint.x


def _program(sizes: tuple[int, ...], gains: int) -> LocalProgram | JointProgram:
    if len(sizes) == 2:
        return LocalProgram(objective_terms=sizes[0], constraint_terms=sizes[1], gains=gains)
    return JointProgram(objective_terms=sizes[0], constraint_terms=sizes[1:], gains=gains)


def _polished(
    problem: Problem,
    theta: np.ndarray,
    objective: Sum,
    constraints: list[Sum],
    tolerance: float,
    stop_at: float | None,
) -> tuple[np.ndarray, Sum, list[Sum]]:
    """The polished point if it is feasible and no dearer, else the given one."""
    close = polish(problem, theta, objective, constraints, tolerance=0.1 * tolerance, stop_at=stop_at)
    moved = back_onto(problem, close, constraints)
    if moved is None or np.array_equal(moved, theta):
        return theta, objective, constraints
    better, *bounded = problem.terms.derivatives(moved)
    if better.total > objective.total * (1 + 1e-13):
        return theta, objective, constraints
    return moved, better, list(bounded)
