"""Where a plan starts: the baseline, a plan by layers, or the largest gains, each on the constraint."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from powerplan.hardware import Gains
from powerplan.moments.predicting import report
from powerplan.moments.prediction import Prediction
from powerplan.planning import policy
from powerplan.planning.problem.problem import Problem, lowest_constraint, scale_onto
from powerplan.planning.problem.requirement import Requirement
from powerplan.planning.problem.variables import FreeGains
from powerplan.planning.problem.watch import OutOfTime, Watch
from powerplan.planning.session import Session
from powerplan.planning.solve.descent import descend
from powerplan.planning.solve.surrogate import sample_for


@dataclass(frozen=True, kw_only=True, eq=False)
class Baseline:
    """One conductance range for every layer, scaled to a target, and the seconds that its report took."""

    gains: Gains
    prediction: Prediction
    seconds: float


def near_baseline(session: Session, wanted: Requirement, watch: Watch) -> Gains | None:
    """About the baseline, by a sample where predictions are expensive; None if it cannot meet the target,
    or time lacks."""
    problem = session.problem(wanted, session.baseline, exact=True, sample=sample_for(session.predictor), watch=watch)
    problem = replace(problem, accuracy=max(policy.NEAR_CONSTRAINT, problem.accuracy))
    try:
        theta = scale_onto(problem, problem.upper)
    except OutOfTime:
        return None
    return None if theta is None else session.baseline.gains(theta)


def baseline_on(session: Session, problem: Problem, near: Gains | None = None, *, chips: bool) -> Baseline | None:
    """One conductance range for every layer, scaled to the target; None if it cannot meet it.

    Args:
        chips: its report tells how the error is spread over chips.
    """
    known = None if near is None else session.baseline.theta_of(near)
    shift = None if known is None else float((known - problem.upper).max())
    theta = scale_onto(problem, problem.upper, first=shift)
    if theta is None:
        return None
    gains = session.baseline.gains(theta)
    problem.terms.watch.begin(problem.terms.seconds("values"), first=False)
    started = time.monotonic()
    prediction = report(session.predictor, gains, chips=chips)
    return Baseline(gains=gains, prediction=prediction, seconds=time.monotonic() - started)


def start_of(
    session: Session, problem: Problem, wanted: Requirement, baseline: Baseline | None, gains: Gains | None
) -> tuple[np.ndarray, bool]:
    """A feasible θ on the constraint (from these gains, else the cheapest of coarser plans and the baseline) and
    True, or the best θ and False.

    Raises:
        OutOfTime: the problem's watch knows the best point there is.
    """
    known = None if gains is None else session.free.theta_of(gains)
    if known is not None and (scaled := scale_onto(problem, known, first=0.0)) is not None:
        return scaled, True
    starts = [] if baseline is None else [session.free.theta_of(baseline.gains)]
    # without a deadline a plan of one gain for all layers is not worth its predictions: the layers' leaves it behind
    skipped = 1 if problem.terms.watch.stop_at is None or session.levels is not None else 0
    for free in session.coarser[skipped:]:
        coarse = _coarse_plan(session, problem, wanted, free, starts)
        starts += [] if coarse is None else [session.free.theta_of(coarse)]
    met = [start for start in starts if start is not None and problem.excess(start) <= problem.accuracy]
    if met:
        return min(met, key=problem.objective) if len(met) > 1 else met[0], True
    start = scale_onto(problem, problem.upper)
    if start is not None:
        return start, True
    best = lowest_constraint(problem, problem.inside())
    if problem.excess(best) > 0:
        return best, False
    tight = scale_onto(problem, best, first=0.0) if problem.turns else None
    return best if tight is None else tight, True


def _coarse_plan(
    session: Session,
    problem: Problem,
    wanted: Requirement,
    free: FreeGains,
    starts: Sequence[np.ndarray | None],
) -> Gains | None:
    """A plan with fewer free gains, roughly, to start from: on the constraint of the problem. None if there is none.

    It takes a part of the time left. With voltages free the baseline, whose voltages are at their limits, is too far
    away to start from.
    """
    watch = problem.terms.watch.part(policy.COARSE_SHARE)
    coarse = session.problem(wanted, free, watch=watch)
    coarse = replace(coarse, accuracy=max(policy.COARSE_CONSTRAINT, coarse.accuracy))
    theta = None
    try:
        theta = _nearest(session, coarse, free, starts)
        if theta is not None and free.count > 1:
            rough = descend(
                coarse,
                theta,
                tolerance=policy.ROUGH_RESIDUAL,
                max_iterations=policy.ROUGH_ITERATIONS,
                stop_at=watch.stop_at,
            )
            theta = rough.theta
    except OutOfTime:
        if watch.seen is not None and watch.seen.best is not None and watch.seen.best.is_met:
            return session.free.gains(watch.seen.best.theta)
    if theta is None:
        return None
    fine = session.free.theta_of(free.gains(theta))
    tight = None if fine is None else scale_onto(problem, fine, first=0.0)
    return None if tight is None else session.free.gains(tight)


def _nearest(
    session: Session, coarse: Problem, free: FreeGains, starts: Sequence[np.ndarray | None]
) -> np.ndarray | None:
    """A start of a coarse plan: of those that it can express the last, which cost most, or its largest gains."""
    for start in reversed(starts):
        known = None if start is None or "voltage" in session.optimize else free.theta_of(session.free.gains(start))
        if known is not None:
            return scale_onto(coarse, known, first=0.0)
    return scale_onto(coarse, coarse.upper)
