"""Plans from the gains of an attempt, or of the best there are where the target is out of reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from powerplan._version import __version__
from powerplan.hardware.tiling import layer_arrays
from powerplan.moments.digital_scales import with_scales
from powerplan.moments.predicting import report
from powerplan.planning.explain.limits import Unreachable, unreachable
from powerplan.planning.explain.remedies import Advice, advice_for
from powerplan.planning.outcome import Certificate, Corner, DiscreteGap, Outcome, ShadowPrices, Termination
from powerplan.planning.plan_value import Plan
from powerplan.planning.session import Session, digests
from powerplan.planning.solve.attempt import Attempt
from powerplan.planning.solve.on_steps import on_best_steps
from powerplan.planning.solve.scan import Scan


def plan_at(
    attempt: Attempt,
    theta: np.ndarray,
    termination: Termination,
    *,
    certificate: Certificate | None = None,
    prices: ShadowPrices | None = None,
    discrete: DiscreteGap | None = None,
    reached: float | None = None,
) -> Plan:
    """The plan with the gains θ: predictions, power and error are those of the full predictor there.

    Args:
        reached: the target's quantity; None = by its ratio to the mean.
    """
    session, baseline = attempt.session, attempt.baseline
    predictor = session.predictor
    gains = with_scales(predictor.original, predictor.hardware, session.free.gains(theta), session.inputs)
    tells = session.settings.chip_spread or attempt.target.chips is not None
    told = [attempt.target.tell_chips(report(predictor, gains, chips=tells)) for predictor in session.predictors]
    prediction, *others = told
    return Plan(
        gains=gains,
        prediction=prediction,
        target=attempt.target,
        reached=attempt.exact.reached(theta) if reached is None else reached,
        granularity=session.settings.granularity,
        calibration=session.settings.calibration,
        ideal_accuracy=attempt.target.ideal_accuracy(predictor.ideal.cpu().numpy()),
        optimize=session.optimize,
        hardware=session.predictor.hardware,
        termination=termination,
        certificate=certificate,
        shadow_prices=prices,
        baseline_gains=baseline.gains if baseline else None,
        baseline_power=baseline.prediction.power if baseline else None,
        baseline_mse=attempt.target.error.of(baseline.prediction, session.weights) if baseline else None,
        output_weights=None if session.weights is None else tuple(session.weights.tolist()),
        corners=tuple(
            Corner(hardware=predictor.hardware, prediction=p)
            for predictor, p in zip(session.predictors[1:], others, strict=True)
        ),
        discrete=discrete,
        arrays=layer_arrays(session.predictor.network, session.predictor.hardware),
        provenance=_provenance(session, termination.seconds),
    )


def unreachable_plan(attempt: Attempt, best: np.ndarray, scan: Scan | None = None) -> Plan:
    """The plan of a target that even the best θ misses.

    Args:
        scan: what was seen all over the limits, if anything.
    """
    session, target, exact, options = attempt.session, attempt.target, attempt.exact, attempt.options
    advice = Advice()
    if options.advise:
        advice = advice_for(session, target, best, exact.excess(best), attempt.started, options.stop_at)
    explained = unreachable(target, session, best, exact, advice)
    if session.levels is not None:
        explained = on_best_steps(explained, session.levels, exact)
    if scan is not None and scan.count:
        message = f"{explained.message} A scan of {scan.count} gains over the whole range came no closer."
        explained = replace(explained, message=message)
    return infeasible_plan(attempt, explained)


def infeasible_plan(attempt: Attempt, explained: Unreachable, discrete: DiscreteGap | None = None) -> Plan:
    """The plan of a target out of reach: its gains are those that come nearest."""
    termination = Termination(
        outcome=Outcome.INFEASIBLE,
        message=explained.message,
        solver_status=explained.solver_status,
        iterations=0,
        predictions=attempt.predictions,
        seconds=attempt.seconds,
        best_reachable=explained.best,
        binding_limits=explained.limits,
        remedies=explained.remedies,
        floor=explained.floor,
        floor_parts=explained.floor_parts,
    )
    (reached,) = attempt.session.reached(attempt.target, attempt.exact, explained.theta, 1.0)
    return plan_at(attempt, explained.theta, termination, discrete=discrete, reached=reached)


def _provenance(session: Session, seconds: float) -> Mapping[str, Any]:
    return {
        "powerplan_version": __version__,
        **digests(session.predictor.original, session.inputs),
        "inputs_shape": list(session.inputs.shape),
        "method": session.predictor.method,
        **session.recorded,
        "seconds": {"optimise": seconds},
    }
