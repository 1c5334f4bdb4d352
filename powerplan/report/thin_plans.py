"""Plans reduced to what the table and the figures of a report show: a study of many need not fit into memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from powerplan.batch.results import PointResult, StudyResult
from powerplan.hardware import Gains
from powerplan.hardware.gains import Gain
from powerplan.moments.prediction import Prediction
from powerplan.planning import LimitPrice, Plan
from powerplan.report.study_layers import price_by_layer


def thinned(study: StudyResult) -> StudyResult:
    """The study with every plan, read one at a time, reduced to a size of its layers: see :func:`thin`."""
    return replace(study, points=tuple(map(_thin_point, study.points)))


def thin(plan: Plan) -> Plan:
    """A plan without what it has for each column, row or output.

    The gains of a layer become their median, which stays an array where they were one; prices of limits are added up
    over its columns and rows; errors of single outputs are left out.
    """
    prices = plan.shadow_prices
    limits = tuple(LimitPrice(layer=a, limit=b, price=price) for (a, b), price in price_by_layer(plan).items())
    return replace(
        plan,
        gains=_medians(plan.gains),
        baseline_gains=None if plan.baseline_gains is None else _medians(plan.baseline_gains),
        prediction=_by_layer(plan.prediction),
        corners=tuple(replace(corner, prediction=_by_layer(corner.prediction)) for corner in plan.corners),
        shadow_prices=None if prices is None else replace(prices, limits=limits),
    )


def _thin_point(point: PointResult) -> PointResult:
    plan = point.plan
    return point if plan is None else replace(point, source=thin(plan))


def _medians(gains: Gains) -> Gains:
    return Gains(conductance=tuple(map(_median, gains.conductance)), voltage=tuple(map(_median, gains.voltage)))


def _median(gain: Gain) -> Gain:
    return np.median(gain, keepdims=True) if np.ndim(gain) else gain


def _by_layer(prediction: Prediction) -> Prediction:
    nothing = np.zeros(0)
    return replace(
        prediction, mse_by_output=nothing, ideal_output=None, output_mean=None, output_covariance=None, layers=()
    )
