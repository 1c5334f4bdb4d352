"""Keywords of plans, as type checkers see them. Written by scripts/generate_keywords.py. Do not edit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy.typing as npt

from powerplan.hardware import Hardware
from powerplan.hardware.gains import Gain
from powerplan.hardware.steps import StepsGiven
from powerplan.moments.keywords import PredictionOptions


class PlanOptions(PredictionOptions, total=False):
    """The settings of :class:`~.settings.PlanSettings`."""

    granularity: str
    optimize: Sequence[str]
    objective: str | None
    max_energy: float | None
    max_latency: float | None
    max_area: float | None
    least_bits: int
    most_bits: int
    conductance: Sequence[Gain] | None
    voltage: Sequence[Gain] | None
    verify_draws: int | None
    yield_width: float | None
    calibrate: bool | None
    calibration: str
    tolerance: float
    max_iterations: int
    deadline: float | None
    corners: Sequence[Hardware]
    output_weights: npt.ArrayLike | None
    conductance_steps: StepsGiven
    voltage_steps: StepsGiven
