"""Plans whose gains are on steps: the planning problem as a step search, and what to say when no steps will do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from powerplan.planning import policy
from powerplan.planning.explain.limits import Unreachable
from powerplan.planning.iterate import Iterate, OnStep, unheard
from powerplan.planning.outcome import DiscreteGap, Outcome
from powerplan.planning.problem.levels import UNITS, Levels, name_of
from powerplan.planning.problem.problem import Problem, lowest_constraint, scale_onto
from powerplan.planning.problem.sums import Sum
from powerplan.planning.problem.variables import FreeGains
from powerplan.planning.session import Session
from powerplan.planning.solve.branch_and_bound import search
from powerplan.planning.solve.descent import Optimum, descend
from powerplan.planning.solve.step_search import Choice, SearchResult, StepSearch
from powerplan.planning.targets import Target


@dataclass(frozen=True, kw_only=True, eq=False)
class Stepped:
    """A plan on steps: θ (None if no choice of steps meets the target), what bounds it, how the search ended."""

    theta: np.ndarray | None
    gap: DiscreteGap
    outcome: Outcome

    @property
    def message(self) -> str:
        """One sentence for a person."""
        gap = self.gap
        how = (
            f"{gap.visited} choices evaluated, {gap.nodes} nodes"
            if gap.method == "branch_and_bound"
            else "rounded from the continuous plan, which bounds it"
        )
        if self.outcome is Outcome.OPTIMAL:
            return f"No choice of steps that meets the target costs less, proven by branch and bound: {how}."
        return f"{self.outcome.advice} No choice of steps is more than {100 * gap.gap:.3g} % better; {how}."


def on_steps(
    problem: Problem,
    levels: Levels,
    relaxed: Optimum,
    *,
    max_iterations: int,
    stop_at: float | None,
    progress: Callable[[float], None],
    on_step: OnStep = unheard,
) -> Stepped:
    """The best choice of steps, bounded by the continuous optimum ``relaxed``."""
    stepped = np.array([steps is not None for steps in levels])
    by_term = int(stepped.sum()) <= policy.MOST_SEARCHED

    def point(x: np.ndarray) -> Choice:
        cost, *constraints = problem.terms.derivatives(x) if by_term else problem.terms.gradients(x)
        problem.excesses_of(constraints)  # refuses NaN
        scaled = tuple(
            Sum(terms=c.terms / bound, jacobian=c.jacobian / bound)
            for c, bound in zip(constraints, np.exp(problem.log_bounds), strict=True)
        )
        return Choice(x=x, cost=cost, constraints=scaled)

    def complete(x: np.ndarray) -> Choice:
        if stepped.all():
            return point(x)
        fixed = replace(problem, lower=np.where(stepped, x, problem.lower), upper=np.where(stepped, x, problem.upper))
        start = scale_onto(fixed, np.where(stepped, x, relaxed.theta))
        if start is None:
            start = lowest_constraint(fixed, fixed.upper)
            if fixed.excess(start) > 0:
                return point(start)
        best = descend(fixed, start, tolerance=policy.BESIDE_STEPS, max_iterations=max_iterations, stop_at=stop_at)
        return point(best.theta)

    def tell(iterate: Iterate) -> None:
        on_step(iterate)
        progress(1 - 1 / (1 + 0.1 * iterate.iteration))

    result = search(
        StepSearch(
            levels=levels,
            lower=np.array([low if s is None else s[0] for low, s in zip(problem.lower, levels, strict=True)]),
            upper=np.array([high if s is None else s[-1] for high, s in zip(problem.upper, levels, strict=True)]),
            point=point,
            excess=problem.excesses,
            complete=complete,
            stop_at=stop_at,
            on_step=tell,
        ),
        point(relaxed.theta),
        relaxed.certificate.duals,
        relaxed.objective.total * float(np.exp(-relaxed.certificate.duality_gap)),
    )
    gap = _gap(result, relaxed.objective.total)
    proven = Outcome.OPTIMAL if gap.gap <= 2 * policy.TIE else Outcome.WITHIN_GAP
    outcome = Outcome.DEADLINE if result.late else proven
    return Stepped(theta=None if result.best is None else result.best.x, gap=gap, outcome=outcome)


def _gap(result: SearchResult, continuous: float) -> DiscreteGap:
    objective = np.nan if result.best is None else result.best.objective
    bound = result.bound if np.isfinite(result.bound) else np.nan
    return DiscreteGap(
        gap=max(objective / bound - 1, 0.0),
        bound=bound,
        continuous=continuous,
        method=result.method,
        nodes=result.nodes,
        visited=result.visited,
        convexity_violation=result.convexity_violation,
    )


def on_best_steps(explained: Unreachable, levels: Levels, problem: Problem) -> Unreachable:
    """An unreachable target with the θ on the steps that comes nearest: all largest, or all smallest; where errors rise
    again with the gains, also those next to the best gains or below."""
    pairs = list(zip(explained.theta, levels, strict=True))
    chosen = [np.array([x if steps is None else steps[end] for x, steps in pairs]) for end in (-1, 0)]
    if problem.turns:
        nearest = [0 if steps is None else int(np.abs(steps - x).argmin()) for x, steps in pairs]
        chosen += [
            np.array([x if s is None else s[max(at - lower, 0)] for (x, s), at in zip(pairs, nearest, strict=True)])
            for lower in (0, 1)
        ]
    return replace(explained, theta=min(chosen, key=problem.excess))


def no_steps(target: Target, session: Session, problem: Problem, relaxed: np.ndarray) -> Unreachable:
    """Why no choice of steps meets a target that the continuous plan ``relaxed`` meets."""
    free, levels = session.free, session.levels
    assert levels is not None
    nearest = on_best_steps(
        Unreachable(theta=relaxed, best=np.nan, limits=(), message="", solver_status="branch and bound over the steps"),
        levels,
        problem,
    )
    (best,) = session.reached(target, problem, nearest.theta, 1.0)
    missing = _missing_steps(free, levels, relaxed)
    return replace(
        nearest,
        best=best,
        limits=tuple(f"{name}: steps" for name, _ in missing),
        message=f"No choice of steps meets the target: the lowest {target.words} on them is {best:.6g}, "
        f"above {target.value:.6g}. Without steps it is met. "
        + "; ".join(f"{name}: {words}" for name, words in missing)
        + ".",
    )


def _missing_steps(free: FreeGains, levels: Levels, relaxed: np.ndarray) -> list[tuple[str, str]]:
    """The gains whose steps end before the continuous plan's gain, and in words what to add."""
    missing = []
    for entry, steps, x in zip(free.entries(range(free.count)), levels, relaxed, strict=True):
        if steps is None:
            continue
        unit, wanted = UNITS[entry.quantity], float(np.exp(x))
        name = f"{name_of(free, entry)} {entry.quantity}"
        if x > steps[-1] + policy.SAME_STEP:
            missing.append((name, f"largest step {np.exp(steps[-1]):.6g} {unit}, add one of at least {wanted:.6g}"))
        elif x < steps[0] - policy.SAME_STEP:
            missing.append((name, f"smallest step {np.exp(steps[0]):.6g} {unit}, add one of at most {wanted:.6g}"))
    return missing
