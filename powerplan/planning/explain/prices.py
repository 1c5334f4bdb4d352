"""Shadow prices of the parameters of a plan.

The shadow price of a parameter p (a noise, a limit, the target) is, by the envelope theorem,

    d log f* / d log p = ∂ log f/∂ log p + Σ_r λ_r ∂ log h_r/∂ log p − Σ_i μ_i ∂ log limit_i/∂ log p

with objective f, constraints h_r over their bounds, limits of the log gains, and their multipliers λ, μ at the plan; it
says that a change of p by a factor k changes the objective by k^price.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from powerplan.errors import InvalidInput
from powerplan.planning import policy
from powerplan.planning.explain.relaxing import Change
from powerplan.planning.explain.replanner import Replanner
from powerplan.planning.problem.requirement import requirement
from powerplan.planning.solve.point import Point
from powerplan.planning.verify.calibration import planned_bound


def shadow_prices(replanner: Replanner, changes: Sequence[Change]) -> dict[str, float]:
    """Shadow prices by the envelope theorem, from a small change of each parameter at the same gains."""
    target, gains = planned_bound(replanner.plan), replanner.smooth.gains
    session = replanner.session(replanner.hardwares, steps=False).corrected_at(gains).spread_at(gains, target)
    theta = session.free.theta_of(gains)
    if theta is None:
        return {}
    problem = session.problem(requirement(target, session.predictors, session.weights), session.free)
    point = Point.at(problem, theta)
    certificate = point.certificate
    prices = {}
    for change in changes:
        if change.bits:
            continue
        step = policy.PRICE_STEP if change.factor > 1 else -policy.PRICE_STEP
        try:
            other, hardwares = replanner.changed(replace(change, factor=1 + step))
            changed = replanner.session(hardwares, steps=False).corrected_like(session)
            bounds = requirement(other, changed.predictors, changed.weights)
        except InvalidInput:
            continue
        there = changed.problem(bounds, changed.free)
        f, *h = there.terms.values(theta)
        limits = np.where(certificate.limit_duals > 0, there.upper - problem.upper, there.lower - problem.lower)
        effect = (
            np.log(f.total / point.objective.total)
            + certificate.duals @ (there.excesses_of(h) - point.e)
            - certificate.limit_duals @ limits
        )
        prices[change.parameter] = float(effect / np.log1p(step))
    return prices
