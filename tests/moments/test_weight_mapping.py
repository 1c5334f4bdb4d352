"""How a weight becomes devices and a column becomes a number: prediction and simulation against plain numpy.

One linear layer, drawn here device by device from the formulas alone: with N draws each statistic must agree within a
stated number of its standard errors.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import powerplan as pp
from powerplan.hardware.aging import PowerLawDrift

RNG = np.random.default_rng(11)
WEIGHT = RNG.normal(size=(4, 6))
BIAS = np.array([0.5, -0.3, 0.0, 0.8])
INPUTS = RNG.normal(size=(3, 6)) * 0.8
NETWORK = pp.Network.mlp([WEIGHT], [BIAS])
DRAWS = 40_000
SIGMAS = 5.0

NOISE: dict[str, Any] = {
    "programming_noise_std": 1.5e-6,
    "programming_noise_proportional": 0.03,
    "conductance_min": 4e-6,
    "clip_conductance": False,
    "read_noise_std": 1e-7,
}
AGED = {"time": 1e4, "drift": PowerLawDrift(exponent_mean=0.05, reference_time=20.0)}  # type: ignore[arg-type]
CASES: dict[str, dict[str, Any]] = {
    "offset": {"weight_mapping": "offset"},
    "offset, row noise, amplifiers, tiles": {
        "weight_mapping": "offset",
        "input_noise_std": 3e-3,
        "feedback_resistance": 1e4,
        "array_rows": 4,
    },
    "offset, column gains": {"weight_mapping": "offset", "column_gain_std": 0.02, "array_rows": 3},
    "offset, drift": {"weight_mapping": "offset", **AGED},
}


def gains(hardware: pp.Hardware, spread: bool) -> pp.Gains:
    """One gain for the layer, or one per column and a voltage per row, all within the limits."""
    full = pp.Gains.full_range(NETWORK, hardware, INPUTS)
    if not spread:
        return full
    volts = full.voltage[0] * np.linspace(0.5, 1.0, 6)
    return pp.Gains(conductance=(full.conductance[0] * np.linspace(0.2, 0.45, 4),), voltage=(volts,))


@dataclass(frozen=True)
class Drawn:
    """Outputs (N, B, 4) and power (N,) of the layer."""

    outputs: np.ndarray
    power: np.ndarray


@functools.cache
def drawn(case: str, spread: bool) -> Drawn:
    """The layer, device by device."""
    hardware = pp.Hardware(**NOISE, **CASES[case])
    chosen = gains(hardware, spread)
    rng = np.random.default_rng(7)
    c = np.broadcast_to(chosen.conductance[0], 4)[:, None]
    v = np.broadcast_to(chosen.voltage[0], 6)
    v_ref = np.exp(np.log(v).mean())
    shift = np.abs(WEIGHT).max()
    targets = [hardware.conductance_min + c * (v_ref / v) * (WEIGHT + shift)]
    volts = v * INPUTS + hardware.input_noise_std * rng.normal(size=(DRAWS, *INPUTS.shape))
    aging = 1.0 if not hardware.drifts else float((hardware.time / 20.0) ** -0.05)
    rows = hardware.array_rows or 6
    tiles = [slice(low, min(low + rows, 6)) for low in range(0, 6, rows)]
    current = np.zeros((DRAWS, 3, 4))
    power = np.zeros(DRAWS)
    for target in targets:
        std = np.hypot(hardware.programming_noise_std, hardware.programming_noise_proportional * target)
        devices = aging * (target + std * rng.normal(size=(DRAWS, *target.shape)))
        for tile in tiles:
            devices[:, :, tile] *= 1 + hardware.column_gain_std * rng.normal(size=(DRAWS, 4, 1))
            column = np.einsum("doj,dbj->dbo", devices[:, :, tile], volts[:, :, tile])
            current += column + hardware.read_noise_std * rng.normal(size=column.shape)
            power += (hardware.feedback_resistance or 0.0) * (column**2).sum(2).mean(1)
        power += np.einsum("doj,dbj->d", devices, volts**2) / 3
    offset = shift + hardware.conductance_min * v / (c * v_ref)
    return Drawn(outputs=current / (c[:, 0] * v_ref) - INPUTS @ offset.T + BIAS, power=power)


def check(mean: np.ndarray, covariance: np.ndarray, power: float, truth: Drawn, draws: float) -> None:
    """Moments within SIGMAS standard errors of what was drawn (``draws``: of both samples together)."""
    variance = truth.outputs.var(0)
    assert (np.abs(mean - truth.outputs.mean(0)) < SIGMAS * np.sqrt(variance / draws)).all()
    apart = truth.outputs - truth.outputs.mean(0)
    joint = np.einsum("dbi,dbk->bik", apart, apart) / DRAWS
    error = np.sqrt((variance[:, :, None] * variance[:, None, :] + joint**2) / draws)
    assert (np.abs(covariance - joint) < SIGMAS * error).all()
    assert abs(power - truth.power.mean()) < SIGMAS * truth.power.std() / np.sqrt(draws)


@pytest.mark.parametrize("spread", [False, True], ids=["layer gain", "gains of columns and rows"])
@pytest.mark.parametrize("case", CASES)
def test_prediction_is_that_of_devices_drawn_one_by_one(case: str, spread: bool) -> None:
    """Mean, covariance and power, by both methods that know covariances."""
    hardware = pp.Hardware(**NOISE, **CASES[case])
    for method in ("linearized", "covariance"):
        p = pp.predict(NETWORK, hardware, gains(hardware, spread), INPUTS, method=method)
        assert p.output_mean is not None
        assert p.output_covariance is not None
        check(p.output_mean, p.output_covariance, p.power, drawn(case, spread), DRAWS)


@pytest.mark.parametrize("spread", [False, True], ids=["layer gain", "gains of columns and rows"])
@pytest.mark.parametrize("case", CASES)
def test_simulation_is_that_of_devices_drawn_one_by_one(case: str, spread: bool) -> None:
    hardware = pp.Hardware(**NOISE, **CASES[case])
    s = pp.simulate(NETWORK, hardware, gains(hardware, spread), INPUTS, draws=5000, seed=2)
    assert s.output_mean is not None
    assert s.output_covariance is not None
    check(s.output_mean, s.output_covariance, s.power, drawn(case, spread), 1 / (1 / 5000 + 1 / DRAWS))


def test_an_offset_mapping_takes_one_column_per_output() -> None:
    """Twice as many outputs fit on an array, and the largest stored weight is that of W + max|W|."""
    pairs, offset = (pp.Hardware(array_columns=4, weight_mapping=mapping) for mapping in ("differential", "offset"))
    from powerplan.hardware.gains import conductance_limits
    from powerplan.hardware.tiling import layer_arrays

    assert [layer_arrays(NETWORK, hardware)[0].column_tiles for hardware in (pairs, offset)] == [2, 1]
    (limit,) = conductance_limits(NETWORK, offset)
    assert limit == pytest.approx(100e-6 / (WEIGHT.max() + np.abs(WEIGHT).max()))


def test_a_plan_with_an_offset_mapping_is_optimal_and_keeps_its_limits() -> None:
    """Conductances and row noise with the voltage free: what the planner needs is differentiable."""
    rng = np.random.default_rng(3)
    network = pp.Network.mlp([rng.normal(size=(8, 6)), rng.normal(size=(3, 8))])
    hardware = pp.Hardware(
        weight_mapping="offset", conductance_min=1e-6, programming_noise_std=2e-7, read_noise_std=1e-8
    )
    plan = pp.plan(
        network,
        hardware,
        rng.normal(size=(16, 6)),
        pp.MaxNMSE(0.02),
        optimize=("conductance", "voltage"),
        verify_draws=400,
    )
    assert plan.termination.outcome.value == "optimal"
    assert plan.verification is not None
    assert plan.verification.mse == pytest.approx(
        plan.prediction.mse, abs=4 * plan.verification.mse_standard_error, rel=0.02
    )
    plan.gains.check(network, hardware)
