"""Drift compensation by total conductance, by mean |weight| and by column: predicted, simulated, and by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import powerplan as pp
from powerplan.hardware.aging import PowerLawDrift
from powerplan.hardware.hardware import COMPENSATIONS

_DAY = 86400.0


def _layer(weight: np.ndarray) -> pp.Network:
    return pp.Network.mlp([weight], [np.zeros(len(weight))])


def _nmse(kind: str, weight: np.ndarray, inputs: np.ndarray, **fields: Any) -> float:
    hardware = pp.Hardware(
        conductance_max=50e-6,
        programming_noise_std=0.0,
        time=_DAY,
        drift_compensation=True,
        drift_compensation_by=kind,
        **fields,
    )
    network = _layer(weight)
    gains = pp.Gains.full_range(network, hardware, inputs)
    return pp.simulate(network, hardware, gains, inputs, draws=2).nmse


_WEIGHT = np.array([[1.0, -0.5, 0.25], [0.1, 0.05, -0.2]])
_INPUTS = np.array([[1.0, 2.0, -1.0], [0.5, -1.0, 3.0]])
_EVEN = PowerLawDrift(exponent_mean=0.1, reference_time=1.0)
#: small conductances decay faster
_UNEVEN = PowerLawDrift(
    exponent_mean={"type": "logarithm", "slope": -0.03, "offset": 0.05, "low": 0.0, "high": 0.2},  # type: ignore[arg-type]
    reference_time=1.0,
)


@pytest.mark.parametrize("kind", COMPENSATIONS)
def test_a_common_factor_is_made_up_for(kind: str) -> None:
    assert _nmse(kind, _WEIGHT, _INPUTS, drift=_EVEN) < 1e-12


@pytest.mark.parametrize("kind", COMPENSATIONS)
def test_the_gain_is_that_of_the_sums(kind: str) -> None:
    """Noiseless drift of every device by its own exponent, by hand; idle devices of conductance 5 uS count too."""
    low, high = 5e-6, 50e-6
    gain = (high - low) / np.abs(_WEIGHT).max()
    sides = [low + gain * np.maximum(sign * _WEIGHT, 0) for sign in (1, -1)]
    later = [side * (_DAY + 1) ** -np.clip(0.05 - 0.03 * np.log(side / high), 0, 0.2) for side in sides]
    before, now = ((side[0] - side[1]) / gain for side in (sides, later))
    factor: Any
    if kind == "conductance":
        factor = sum(side.sum() for side in sides) / sum(side.sum() for side in later)
    elif kind == "weight":
        factor = np.abs(before).sum() / np.abs(now).sum()
    else:
        factor = (np.abs(before).sum(1) / np.abs(now).sum(1))[:, None]
    error = _INPUTS @ (factor * now - _WEIGHT).T
    expected = (error**2).sum() / ((_INPUTS @ _WEIGHT.T) ** 2).sum()
    assert _nmse(kind, _WEIGHT, _INPUTS, drift=_UNEVEN, conductance_min=low) == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("mapping", ["differential", "offset"])
@pytest.mark.parametrize("kind", ["conductance", "weight"])
@pytest.mark.parametrize("name", ["pcm_nandakumar2019", "pcm_hermes_1dev"])
def test_predicted_as_simulated(name: str, kind: str, mapping: str, digits_example: pp.Example) -> None:
    example = digits_example
    inputs, limit = example.inputs[:16], 0.01
    hardware = pp.Hardware.preset(
        name, time=_DAY, drift_compensation=True, drift_compensation_by=kind, weight_mapping=mapping
    )
    gains = pp.Gains.full_range(example.network, hardware, inputs)
    predicted = pp.predict(example.network, hardware, gains, inputs)
    simulated = pp.simulate(example.network, hardware, gains, inputs, draws=600)
    relative = predicted.mse / simulated.mse - 1
    if mapping == "offset":
        limit = 0.03  # errors of 20 to 120 % NMSE
    assert abs(relative) < 4 * simulated.mse_standard_error / simulated.mse + limit


@pytest.mark.parametrize("method", ["linearized", "covariance", "diagonal"])
def test_what_is_not_predicted_is_refused(method: str) -> None:
    hardware = pp.Hardware(drift=_EVEN, time=_DAY, drift_compensation=True, drift_compensation_by="column")
    network = _layer(_WEIGHT)
    gains = pp.Gains.full_range(network, hardware, _INPUTS)
    with pytest.raises(pp.InvalidInput, match=r"drift_compensation_by.*'conductance' or 'weight'.*simulate"):
        pp.predict(network, hardware, gains, _INPUTS, method=method)
    with pytest.raises(pp.InvalidInput, match=r"drift_compensation_by"):
        pp.plan(network, hardware, _INPUTS, pp.MaxNMSE(0.1))


@pytest.mark.slow
def test_plans_meet_their_target_by_mean_weight(iris_example: pp.Example) -> None:
    """The gradient of the gain is right: the plan is optimal, and meets its target in a simulation."""
    example = iris_example
    hardware = pp.Hardware.preset(
        "pcm_nandakumar2019", time=_DAY, drift_compensation=True, drift_compensation_by="weight"
    )
    found = pp.plan(example.network, hardware, example.inputs[:16], pp.MaxNMSE(0.15), verify_draws=2000)
    assert found.termination.outcome is pp.Outcome.OPTIMAL
    assert found.verification is not None
    simulated = found.verification
    assert simulated.nmse == pytest.approx(0.15, rel=0.05 + 4 * simulated.mse_standard_error / simulated.mse)


def test_columns_of_a_column_gain_error_are_no_drift() -> None:
    """A gain error of a column is there before and after: no kind makes up for it."""
    hardware = pp.Hardware(
        drift=_EVEN, time=_DAY, drift_compensation=True, drift_compensation_by="column", column_gain_std=0.1,
        programming_noise_std=0.0,
    )  # fmt: skip
    network = _layer(_WEIGHT)
    gains = pp.Gains.full_range(network, hardware, _INPUTS)
    drawn = pp.simulate(network, hardware, gains, _INPUTS, draws=2000)
    still = pp.predict(network, hardware.replace(drift_compensation=False, drift=None), gains, _INPUTS)
    assert drawn.mse == pytest.approx(still.mse, abs=4 * drawn.mse_standard_error)


def test_kinds_are_named() -> None:
    with pytest.raises(pp.InvalidInput, match="Did you mean 'column'"):
        pp.Hardware(drift_compensation_by="columns")
    assert math.isfinite(pp.Hardware(drift_compensation_by="weight").conductance_max)
