"""Plans on steps are never more expensive than those of coarser gains that they contain.

Many gains are rounded to steps, few are searched: rounded gains of columns can cost more than the best steps of the
layers, which they could all take.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from powerplan.planning import policy
from powerplan.planning.outcome import Outcome
from powerplan.planning.problem.levels import Levels
from powerplan.planning.problem.problem import Problem, scale_onto
from powerplan.planning.problem.requirement import Requirement
from powerplan.planning.problem.variables import FreeGains
from powerplan.planning.problem.watch import OutOfTime, Watch
from powerplan.planning.session import Session
from powerplan.planning.solve.descent import descend
from powerplan.planning.solve.on_steps import Stepped, on_steps


def or_coarser(
    session: Session, wanted: Requirement, exact: Problem, stepped: Stepped, stop_at: float | None
) -> Stepped:
    """The same, or the steps of a coarser plan where these cost less; what was searched is left as it is."""
    if stepped.gap.method != "rounding":
        return stepped
    for free in session.coarser:
        try:
            theta = _coarser(session, wanted, exact, free, stop_at)
            if theta is None or exact.excess(theta) > exact.accuracy:
                continue
            objective = exact.objective(theta)
            is_cheaper = stepped.theta is None or objective < exact.objective(stepped.theta)
        except OutOfTime:
            return stepped
        if is_cheaper:
            gap = replace(stepped.gap, gap=max(objective / stepped.gap.bound - 1, 0.0))
            outcome = Outcome.WITHIN_GAP if stepped.outcome is Outcome.OPTIMAL else stepped.outcome
            stepped = Stepped(theta=theta, gap=gap, outcome=outcome)
    return stepped


def _coarser(
    session: Session, wanted: Requirement, exact: Problem, free: FreeGains, stop_at: float | None
) -> np.ndarray | None:
    """The best steps of coarser gains, as θ of the session's; None if there are none."""
    levels = _common_steps(session, free)
    if levels is None:
        return None
    watch, tolerance, most = exact.terms.watch, session.settings.tolerance, session.settings.max_iterations
    problem = session.problem(
        wanted, free, exact=True, tolerance=tolerance, watch=Watch(watch.stop_at, reserved=watch.reserved)
    )
    start = scale_onto(problem, problem.upper)
    if start is None:
        return None
    relaxed = descend(problem, start, tolerance=tolerance, max_iterations=most, stop_at=stop_at)
    stepped = on_steps(problem, levels, relaxed, max_iterations=most, stop_at=stop_at, progress=lambda done: None)
    return None if stepped.theta is None else session.free.theta_of(free.gains(stepped.theta))


def _common_steps(session: Session, free: FreeGains) -> Levels | None:
    """Log steps of every coarser gain that all gains it stands for have; None if some have none in common."""
    assert session.levels is not None
    own = list(zip(session.free.entries(range(session.free.count)), session.levels, strict=True))
    common: list[np.ndarray | None] = []
    for entry in free.entries(range(free.count)):
        steps: np.ndarray | None = None
        for other, levels in own:
            if levels is None or other.quantity != entry.quantity or not set(other.layers) <= set(entry.layers):
                continue
            rounded = np.round(levels, policy.STEP_DECIMALS)
            steps = levels if steps is None else steps[np.isin(np.round(steps, policy.STEP_DECIMALS), rounded)]
        if steps is not None and not steps.size:
            return None
        common.append(steps)
    return tuple(common)
