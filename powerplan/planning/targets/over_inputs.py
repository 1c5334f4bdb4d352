"""What a target bounds, by input: so that it can hold for other inputs than those of calibration, or for a part."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from powerplan.errors import InvalidInput
from powerplan.per_input import Inputs, student
from powerplan.planning import policy

if TYPE_CHECKING:
    from powerplan.moments.prediction import Prediction
    from powerplan.montecarlo.simulation import Simulation

#: what the choices of the setting ``calibration`` are called
MEAN, UPPER = "mean", "upper"
CALIBRATIONS = (MEAN, UPPER)


def errors_by_input(result: Prediction | Simulation, weights: np.ndarray | None) -> Inputs:
    """The errors of single inputs, for weights (K,) of the outputs with mean 1; None = all alike."""
    if weights is None:
        assert result.inputs is not None
        return result.inputs
    ideal, mean, covariance = result.ideal_output, result.output_mean, result.output_covariance
    assert ideal is not None
    assert mean is not None
    assert covariance is not None
    squares = (mean - ideal) ** 2 + np.diagonal(covariance, axis1=1, axis2=2)
    return Inputs(
        mse_by_input=(squares * weights).mean(1),
        signal_by_input=(ideal**2 * weights).mean(1),
    )


def relative_error(by_input: np.ndarray) -> float:
    """The standard error of a mean over inputs, of which (B,) numbers are a random sample, over theirs.

    NaN from a single one, or where the mean is not above 0.
    """
    count, mean = len(by_input), float(by_input.mean())
    return float(by_input.std(ddof=1)) / math.sqrt(count) / mean if count > 1 and mean > 0 else math.nan


def upper_factor(by_input: np.ndarray) -> float:
    """The upper end of the 95 % interval of such a mean, over it; at most a plan's furthest bound.

    Raises:
        InvalidInput: a single input, which tells no interval.
    """
    if len(by_input) < 2:
        raise InvalidInput.of(
            "inputs",
            len(by_input),
            f"at least 2 calibration inputs with calibration={UPPER!r}",
            "One input does not tell how far others are from it; a few dozen do.",
        )
    factor = 1 + student(len(by_input) - 1) * relative_error(by_input)
    return min(factor, policy.FURTHEST_BOUND) if math.isfinite(factor) else policy.FURTHEST_BOUND
