"""Where a plan starts: the baseline, a plan by layers, or the largest gains, each on the constraint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from powerplan.hardware import Gains
from powerplan.moments.predict import report
from powerplan.moments.prediction import Prediction
from powerplan.planning.draft import sample_for
from powerplan.planning.problem import Problem, lowest_constraint, scale_onto
from powerplan.planning.requirements import Requirement
from powerplan.planning.sequential import minimise

if TYPE_CHECKING:
    from powerplan.planning.session import Session

#: log slack of a tight constraint of a plan that is only a start, and of a baseline that is
_COARSE, _NEAR = 1e-6, 1e-3
#: KKT residual and most local programs of a layers' plan that is only a start
_ROUGH, _ROUGH_ITERATIONS = 1e-3, 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Baseline:
    """One conductance range for every layer, scaled to a target: θ in the layers' conductance gains."""

    theta: np.ndarray
    gains: Gains
    prediction: Prediction


def near_baseline(session: Session, wanted: Requirement) -> Gains | None:
    """About the baseline, by a sample where predictions are dear; None if it cannot meet the target."""
    problem = session.problem(wanted, session.baseline, exact=True, sample=sample_for(session.predictor))
    problem = replace(problem, accuracy=max(_NEAR, problem.accuracy))
    theta = scale_onto(problem, problem.upper)
    return None if theta is None else session.baseline.gains(theta)


def baseline_on(session: Session, problem: Problem, near: Gains | None = None) -> Baseline | None:
    """One conductance range for every layer, scaled to the target; None if it cannot meet it."""
    known = None if near is None else session.baseline.theta_of(near)
    shift = None if known is None else float((known - problem.upper).max())
    theta = scale_onto(problem, problem.upper, first=shift)
    if theta is None:
        return None
    gains = session.baseline.gains(theta)
    return Baseline(theta=theta, gains=gains, prediction=report(session.predictor, gains))


def start_of(
    session: Session,
    problem: Problem,
    wanted: Requirement,
    baseline: Baseline | None,
    given: Gains | None,
    stop_at: float | None,
) -> tuple[np.ndarray, bool]:
    """A feasible θ on the constraint (from the given gains, else the layers' plan or the baseline where that is
    one) and True, or the best θ and False."""
    known = None if given is None else session.free.theta_of(given)
    if known is not None and (scaled := scale_onto(problem, known, first=0.0)) is not None:
        return scaled, True
    layers = _layers_plan(session, wanted, stop_at)
    starts = [] if layers is None else [session.free.theta_of(layers)]
    if baseline is not None:
        starts.append(baseline.theta if session.baseline is session.free else session.free.theta_of(baseline.gains))
    met = [start for start in starts if start is not None and problem.excess(start) <= problem.accuracy]
    if met:
        return min(met, key=problem.objective) if len(met) > 1 else met[0], True
    start = scale_onto(problem, problem.upper)
    if start is not None:
        return start, True
    best = lowest_constraint(problem, problem.upper if problem.minimise == "power" else problem.lower)
    return best, problem.excess(best) <= 0


def _layers_plan(session: Session, wanted: Requirement, stop_at: float | None) -> Gains | None:
    """A plan with one gain per layer, roughly, to start from; None if there is none or it is not needed.

    With voltages free the baseline, whose voltages are at their limits, is too far away to start from.
    """
    if session.layers is None:
        return None
    problem = session.problem(wanted, session.layers)
    problem = replace(problem, accuracy=max(_COARSE, problem.accuracy))
    start = scale_onto(problem, problem.upper)
    if start is None:
        return None
    rough = minimise(problem, start, tolerance=_ROUGH, max_iterations=_ROUGH_ITERATIONS, stop_at=stop_at)
    return session.layers.gains(rough.theta)
