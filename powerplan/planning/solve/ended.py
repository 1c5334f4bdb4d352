"""Plans whose time ran out before the optimisation came to its end: the best gains seen, and what is known of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from powerplan.planning import policy
from powerplan.planning.outcome import DiscreteGap, Outcome, Termination
from powerplan.planning.plan_value import Plan
from powerplan.planning.problem.levels import Levels
from powerplan.planning.problem.problem import Problem
from powerplan.planning.problem.watch import Seen, Watch
from powerplan.planning.solve.attempt import Attempt
from powerplan.planning.solve.plans import plan_at
from powerplan.planning.targets import Target


def ended_plan(attempt: Attempt) -> Plan:
    """The plan with the best gains that were seen: the cheapest that meet the target, else those nearest to it.

    At most a prediction at the largest gains or on steps is made beside those that report the plan. Where there was no
    time for a baseline, it is the plan itself, if that meets the target.
    """
    session, exact = attempt.session, attempt.exact
    seen = exact.terms.watch.seen
    assert seen is not None
    exact.terms.watch = Watch(None, seen)  # what is left is the report
    if seen.best is None:
        exact.excess(exact.upper)
    discrete = None if session.levels is None else _on_steps(exact, session.levels, seen)
    best = seen.best if session.levels is None else seen.on_steps
    assert best is not None
    outcome = Outcome.DEADLINE
    reached = None
    if not best.is_met:
        (reached,) = session.reached(attempt.target, exact, best.theta, 1.0)
    termination = Termination(
        outcome=outcome,
        message=outcome.advice if reached is None else _missed(attempt.target, reached),
        solver_status="stopped",
        iterations=0,
        predictions=attempt.predictions,
        seconds=attempt.seconds,
    )
    plan = plan_at(attempt, best.theta, termination, discrete=discrete, reached=reached)
    if attempt.baseline is None and best.is_met and best.layout is session.baseline:
        own = attempt.target.error.of(plan.prediction, session.weights)
        plan = replace(plan, baseline_gains=plan.gains, baseline_power=plan.power, baseline_mse=own)
    return plan


def _missed(target: Target, reached: float) -> str:
    return (
        f"Time ran out before gains were found that meet the target; the plan holds the nearest seen, whose "
        f"{target.words} is {reached:.6g} for the target {target.value:.6g}. Whether the target can be met "
        "is not known: give a later deadline."
    )


def _on_steps(exact: Problem, levels: Levels, seen: Seen) -> DiscreteGap:
    """Bounds of the best choice of steps seen; the best gains seen are put on the next more expensive steps for it."""
    assert seen.best is not None
    direction = 1 if exact.terms.objective.rises else -1
    next_steps = np.array(
        [x if s is None else _next(s, x, direction) for x, s in zip(seen.best.theta, levels, strict=True)]
    )
    exact.excess(next_steps)
    if seen.on_steps is None or not seen.on_steps.is_met:
        end = -1 if direction > 0 else 0
        exact.excess(np.array([x if s is None else s[end] for x, s in zip(next_steps, levels, strict=True)]))
    bound = exact.objective(exact.cheapest)
    assert seen.on_steps is not None
    return DiscreteGap(
        gap=max(seen.on_steps.objective / bound - 1, 0.0) if seen.on_steps.is_met and bound > 0 else float("nan"),
        bound=bound,
        continuous=seen.best.objective if seen.best.is_met else float("nan"),
        method="rounding",
        nodes=0,
        visited=1,
        convexity_violation=0.0,
    )


def _next(steps: np.ndarray, x: float, direction: int) -> float:
    """The step at x or the next one beyond it, upwards or downwards; the last one where there is none."""
    at = (
        np.searchsorted(steps, x - policy.SAME_STEP)
        if direction > 0
        else np.searchsorted(steps, x + policy.SAME_STEP, side="right") - 1
    )
    return float(steps[np.clip(at, 0, len(steps) - 1)])
