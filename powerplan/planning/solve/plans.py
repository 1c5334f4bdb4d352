"""Plans made of the gains that were found, or of the best there are where the target is out of reach."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from powerplan._version import __version__
from powerplan.hardware.tiling import layer_arrays
from powerplan.moments.predict import report
from powerplan.planning.explain.limits import Unreachable, unreachable
from powerplan.planning.explain.remedies import Advice, advice_for
from powerplan.planning.outcome import Certificate, Corner, DiscreteGap, Outcome, ShadowPrices, Termination
from powerplan.planning.plan_value import Plan, weighted_mse
from powerplan.planning.problem.problem import Problem
from powerplan.planning.solve.on_steps import on_best_steps
from powerplan.planning.solve.starts import Baseline
from powerplan.planning.targets import Target

if TYPE_CHECKING:
    from powerplan.planning.session import Options, Session


def plan_at(
    session: Session,
    target: Target,
    theta: np.ndarray,
    problem: Problem,
    baseline: Baseline | None,
    termination: Termination,
    certificate: Certificate | None,
    prices: ShadowPrices | None,
    discrete: DiscreteGap | None = None,
) -> Plan:
    """The plan with the gains θ: predictions, power and error are those of the full predictor there."""
    gains = session.free.gains(theta)
    prediction, *others = [report(predictor, gains) for predictor in session.predictors]
    return Plan(
        gains=gains,
        prediction=prediction,
        target=target,
        reached=problem.reached(theta),
        granularity=session.granularity,
        optimize=session.optimize,
        hardware=session.predictor.hardware,
        termination=termination,
        certificate=certificate,
        shadow_prices=prices,
        baseline_gains=baseline.gains if baseline else None,
        baseline_power=baseline.prediction.power if baseline else None,
        baseline_mse=weighted_mse(baseline.prediction, session.weights) if baseline else None,
        output_weights=None if session.weights is None else tuple(session.weights.tolist()),
        corners=tuple(
            Corner(hardware=predictor.hardware, prediction=p)
            for predictor, p in zip(session.predictors[1:], others, strict=True)
        ),
        discrete=discrete,
        arrays=layer_arrays(session.predictor.network, session.predictor.hardware),
        provenance=_provenance(session, termination.seconds),
    )


def unreachable_plan(
    session: Session,
    target: Target,
    problem: Problem,
    best: np.ndarray,
    baseline: Baseline | None,
    started: float,
    options: Options,
) -> Plan:
    """The plan of a target that even the best θ misses."""
    advice = Advice()
    if options.advise:
        advice = advice_for(session, target, best, problem.excess(best), started, options.stop_at)
    explained = unreachable(target, session.free, best, problem, session.predictor.hardware, advice)
    if session.levels is not None:
        explained = on_best_steps(explained, session.levels, problem)
    return infeasible_plan(session, target, problem, explained, baseline, started)


def infeasible_plan(
    session: Session,
    target: Target,
    problem: Problem,
    explained: Unreachable,
    baseline: Baseline | None,
    started: float,
    discrete: DiscreteGap | None = None,
) -> Plan:
    """The plan of a target out of reach: its gains are those that come nearest."""
    termination = Termination(
        outcome=Outcome.INFEASIBLE,
        message=explained.message,
        solver_status=explained.solver_status,
        iterations=0,
        predictions=problem.terms.evaluations,
        seconds=time.monotonic() - started,
        best_reachable=explained.best,
        binding_limits=explained.limits,
        remedies=explained.remedies,
        floor=explained.floor,
        floor_parts=explained.floor_parts,
    )
    return plan_at(session, target, explained.theta, problem, baseline, termination, None, None, discrete)


def _provenance(session: Session, seconds: float) -> Mapping[str, Any]:
    return {
        "powerplan_version": __version__,
        **session.digests,
        "inputs_shape": list(session.inputs.shape),
        "method": session.predictor.method,
        **session.recorded,
        "seconds": {"optimise": seconds},
    }
