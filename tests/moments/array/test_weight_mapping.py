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
import torch

import powerplan as pp
from powerplan.hardware.aging import PowerLawDrift
from powerplan.hardware.gains import reference_voltage
from powerplan.moments.array.constants import ArrayConstants
from powerplan.moments.array.power import array_power
from powerplan.moments.array.program import program
from powerplan.moments.array.reading import Reading
from powerplan.moments.sources import errors_of
from powerplan.network import Activation, Conv, ConvTranspose, Flatten, Linear, Node

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
    "divider": {"read_out": "divider", "load_conductance": 1e-4},
    "divider, small load, row noise, tiles": {
        "read_out": "divider",
        "load_conductance": 1e-5,
        "input_noise_std": 3e-3,
        "array_rows": 4,
    },
    "divider, column gains, row of biases": {
        "read_out": "divider",
        "load_conductance": 3e-4,
        "column_gain_std": 0.03,
        "bias_mapping": "row",
        "array_rows": 5,
    },
    "row of biases": {"bias_mapping": "row", "input_noise_std": 3e-3, "feedback_resistance": 1e4, "array_rows": 6},
    "offset, row of biases": {
        "weight_mapping": "offset",
        "bias_mapping": "row",
        "input_noise_std": 3e-3,
        "feedback_resistance": 1e4,
        "column_gain_std": 0.01,
    },
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
    weight, inputs, bias = WEIGHT, INPUTS, BIAS
    if hardware.bias_mapping == "row":
        weight, inputs, bias = np.column_stack([WEIGHT, BIAS]), np.column_stack([INPUTS, np.ones(3)]), np.zeros(4)
        v = np.append(v, v_ref)
    if hardware.weight_mapping == "offset":
        shift = -weight.min()
        sides = {1: weight + shift}
        offset = shift + hardware.conductance_min * v / (c * v_ref)
    else:
        sides = {1: np.maximum(weight, 0), -1: np.maximum(-weight, 0)}
        offset = np.zeros_like(weight)
    volts = v * inputs + hardware.input_noise_std * rng.normal(size=(DRAWS, *inputs.shape))
    aging = 1.0 if not hardware.drifts else float((hardware.time / 20.0) ** -0.05)
    count = weight.shape[1]
    rows = hardware.array_rows or count
    tiles = [slice(low, min(low + rows, count)) for low in range(0, count, rows)]
    # one noise for both sides of a pair
    current = np.sqrt(len(tiles)) * hardware.read_noise_std * rng.normal(size=(DRAWS, 3, 4))
    power = np.zeros(DRAWS)
    load = hardware.load_conductance
    for sign, side in sides.items():
        target = hardware.conductance_min + c * (v_ref / v) * side
        std = np.hypot(hardware.programming_noise_std, hardware.programming_noise_proportional * target)
        devices = aging * (target + std * rng.normal(size=(DRAWS, *target.shape)))
        for tile in tiles:
            devices[:, :, tile] *= 1 + hardware.column_gain_std * rng.normal(size=(DRAWS, 4, 1))
            column = np.einsum("doj,dbj->dbo", devices[:, :, tile], volts[:, :, tile])
            if load is not None:
                total = load + devices[:, :, tile].sum(2)[:, None]
                power -= (column**2 / total).sum(2).mean(1)
                column = column / total * (load + target[:, tile].sum(1))
            current += sign * column
            power += (hardware.feedback_resistance or 0.0) * (column**2).sum(2).mean(1)
        power += np.einsum("doj,dbj->d", devices, volts**2) / 3
    return Drawn(outputs=current / (c[:, 0] * v_ref) - inputs @ offset.T + bias, power=power)


def check(mean: np.ndarray, covariance: np.ndarray, power: float, truth: Drawn, draws: float) -> None:
    """Moments within SIGMAS standard errors of what was drawn (``draws``: of both samples together)."""
    variance = truth.outputs.var(0)
    assert (np.abs(mean - truth.outputs.mean(0)) < SIGMAS * np.sqrt(variance / draws)).all()
    apart = truth.outputs - truth.outputs.mean(0)
    joint = np.einsum("dbi,dbk->bik", apart, apart) / DRAWS
    error = np.sqrt((variance[:, :, None] * variance[:, None, :] + joint**2) / draws)
    assert (np.abs(covariance - joint) < SIGMAS * error).all()
    assert abs(power - truth.power.mean()) < SIGMAS * truth.power.std() / np.sqrt(draws)


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize("spread", [False, True], ids=["layer gain", "gains of columns and rows"])
@pytest.mark.parametrize("case", CASES)
def test_simulation_is_that_of_devices_drawn_one_by_one(case: str, spread: bool) -> None:
    hardware = pp.Hardware(**NOISE, **CASES[case])
    s = pp.simulate(NETWORK, hardware, gains(hardware, spread), INPUTS, draws=5000, seed=2)
    assert s.output_mean is not None
    assert s.output_covariance is not None
    check(s.output_mean, s.output_covariance, s.power, drawn(case, spread), 1 / (1 / 5000 + 1 / DRAWS))


def convolution() -> pp.Network:
    """A grouped convolution with padding, ReLU, and a linear layer without a bias."""
    rng = np.random.default_rng(4)
    first = Conv(weight=rng.normal(size=(4, 1, 3, 3)), bias=rng.normal(size=4), groups=2, padding=((1, 1), (0, 1)))
    return pp.Network(
        input_shape=(2, 4, 5),
        nodes=(
            Node(name="conv", op=first, inputs=("input",)),
            Node(name="relu", op=Activation(kind="relu"), inputs=("conv",)),
            Node(name="flat", op=Flatten(), inputs=("relu",)),
            Node(name="out", op=Linear(weight=0.3 * rng.normal(size=(3, 64))), inputs=("flat",)),
        ),
    )


@pytest.mark.slow
@pytest.mark.parametrize("mapping", ["shared", "unrolled"])
@pytest.mark.parametrize(
    "fields",
    [
        {"weight_mapping": "offset", "bias_mapping": "row", "feedback_resistance": 1e4},
        {"bias_mapping": "row", "feedback_resistance": 1e4},
        {"read_out": "divider", "load_conductance": 2e-4},
        {"read_out": "divider", "load_conductance": 2e-5, "bias_mapping": "row", "column_gain_std": 0.01},
    ],
    ids=["offset", "row of biases", "divider", "divider with a small load"],
)
def test_convolutions_are_predicted_as_simulated(fields: dict[str, Any], mapping: str) -> None:
    """MSE within 2 % and power within 1 %, each with its standard errors; both methods."""
    network, x = convolution(), np.random.default_rng(5).normal(size=(4, 2, 4, 5))
    hardware = pp.Hardware(
        mapping=mapping,
        conductance_min=2e-6,
        programming_noise_std=5e-7,
        input_noise_std=5e-4,
        read_noise_std=2e-8,
        array_rows=8,
        **fields,
    )
    full = pp.Gains.full_range(network, hardware, x)
    volts = (full.voltage[0] * np.linspace(0.7, 1, 18), full.voltage[1])
    chosen = pp.Gains(conductance=tuple(0.7 * c for c in full.conductance), voltage=volts)
    s = pp.simulate(network, hardware, chosen, x, draws=3000, seed=1)
    for method in ("linearized", "covariance"):
        p = pp.predict(network, hardware, chosen, x, method=method)
        assert p.mse == pytest.approx(s.mse, abs=0.02 * s.mse + 3 * s.mse_standard_error)
        assert p.power == pytest.approx(s.power, abs=0.01 * s.power + 3 * s.power_standard_error)
    assert s.mse_standard_error < 0.015 * s.mse


def test_the_constant_of_a_row_of_biases_is_a_voltage() -> None:
    """v · 1 ≤ voltage_max, and the bias is among the weights that must fit."""
    from powerplan.hardware.gains import conductance_limits, voltage_limits

    digital, row = pp.Hardware(), pp.Hardware(bias_mapping="row")
    large = pp.Network.mlp([WEIGHT], [np.array([0.0, 9.0, 0.0, 0.0])])
    assert voltage_limits(large, digital, 0.1 * INPUTS)[0] > digital.voltage_max
    assert voltage_limits(large, row, 0.1 * INPUTS) == [row.voltage_max]
    assert conductance_limits(large, row)[0] == pytest.approx(row.conductance_max / 9)
    beyond = pp.Gains(conductance=(1e-6,), voltage=(2 * row.voltage_max,))
    with pytest.warns(pp.LimitWarning, match="voltage_max"):
        pp.predict(large, row, beyond, 0.1 * INPUTS)


def test_a_row_of_biases_takes_a_tile_if_the_last_is_full() -> None:
    from powerplan.hardware.tiling import layer_arrays

    tiles = [
        layer_arrays(NETWORK, pp.Hardware(bias_mapping=bias, array_rows=3))[0].row_tiles for bias in ("digital", "row")
    ]
    assert tiles == [2, 3]


def test_row_voltages_are_planned_with_a_row_of_biases() -> None:
    """The constant's own voltage and conductance stay within their limits, whatever the other rows do."""
    rng = np.random.default_rng(3)
    network = pp.Network.mlp([rng.normal(size=(5, 4))], [3 * rng.normal(size=5)])
    hardware = pp.Hardware(bias_mapping="row", input_noise_std=1e-3)
    x = 0.2 * rng.normal(size=(8, 4))
    plan = pp.plan(
        network,
        hardware,
        x,
        pp.MaxNMSE(0.05),
        granularity="signal",
        optimize=("conductance", "voltage"),
        max_iterations=5,
    )
    plan.gains.check(network, hardware)
    assert reference_voltage(plan.gains.voltage[0]) <= hardware.voltage_max * (1 + 1e-9)


def test_the_bias_of_a_transposed_convolution_cannot_be_a_row() -> None:
    rng = np.random.default_rng(4)
    up = ConvTranspose(weight=rng.normal(size=(2, 3, 3, 3)), bias=rng.normal(size=3))
    network = pp.Network(input_shape=(2, 4, 4), nodes=(Node(name="up", op=up, inputs=("input",)),))
    x = rng.normal(size=(2, 2, 4, 4))
    hardware = pp.Hardware(bias_mapping="row")
    chosen = pp.Gains(conductance=(1e-6,), voltage=(0.01,))
    for call in (pp.predict, pp.simulate):
        with pytest.raises(pp.InvalidInput, match="bias_mapping"):
            call(network, hardware, chosen, x)


def test_an_offset_mapping_takes_one_column_per_output() -> None:
    """Twice as many outputs fit on an array, and the largest stored weight is that of W − min W."""
    pairs, offset = (pp.Hardware(array_columns=4, weight_mapping=mapping) for mapping in ("differential", "offset"))
    from powerplan.hardware.gains import conductance_limits
    from powerplan.hardware.tiling import layer_arrays

    assert [layer_arrays(NETWORK, hardware)[0].column_tiles for hardware in (pairs, offset)] == [2, 1]
    (limit,) = conductance_limits(NETWORK, offset)
    assert limit == pytest.approx(100e-6 / (WEIGHT.max() - WEIGHT.min()))


MAPPINGS: dict[str, dict[str, Any]] = {
    "offset": {"weight_mapping": "offset", "bias_mapping": "row"},
    "divider": {"read_out": "divider", "load_conductance": 5e-5},
    "divider, tiles": {"read_out": "divider", "load_conductance": 5e-5, "bias_mapping": "row", "array_rows": 4},
}


@pytest.mark.parametrize("fields", MAPPINGS.values(), ids=MAPPINGS.keys())
def test_without_noise_the_output_is_ideal(fields: dict[str, Any]) -> None:
    """What is decoded is what was meant, with gains of columns and rows."""
    hardware = pp.Hardware(conductance_min=1e-6, programming_noise_std=0.0, **fields)
    p = pp.predict(NETWORK, hardware, gains(hardware, spread=True), INPUTS)
    s = pp.simulate(NETWORK, hardware, gains(hardware, spread=True), INPUTS, draws=2, dtype="float64")
    assert p.mse < 1e-28
    assert s.mse < 1e-26


@pytest.mark.slow
@pytest.mark.parametrize("spread", [False, True], ids=["layer gain", "gains of columns and rows"])
@pytest.mark.parametrize("fields", MAPPINGS.values(), ids=MAPPINGS.keys())
def test_derivatives_in_the_gains(fields: dict[str, Any], spread: bool) -> None:
    """What planning differentiates, against central differences."""
    hardware = pp.Hardware(
        conductance_min=1e-6, programming_noise_std=2e-6, input_noise_std=2e-3, column_gain_std=0.01, **fields
    )
    (crossbar,) = ArrayConstants.all_of(NETWORK, hardware, torch.float64)
    mean, variance = torch.tensor(INPUTS), torch.tensor(0.1 * INPUTS**2)
    chosen = gains(hardware, spread)

    def value(log_gain: torch.Tensor, log_volt: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = program(crossbar, hardware, log_gain.exp(), log_volt.exp())
        reading = Reading(array=found, mean=mean, variance=variance)
        injected = sum(
            (errors.output_variance for errors in errors_of(reading, found.whole)), torch.zeros_like(mean[:, :1])
        )
        return found.mean(mean), injected, 1e3 * array_power(reading)

    logs = (torch.tensor(np.log(g[0]), requires_grad=True) for g in (chosen.conductance, chosen.voltage))
    assert torch.autograd.gradcheck(value, tuple(logs), eps=1e-5, atol=1e-7, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("fields", MAPPINGS.values(), ids=MAPPINGS.keys())
def test_a_plan_is_optimal_and_keeps_its_limits(fields: dict[str, Any]) -> None:
    """Conductances and voltages free."""
    rng = np.random.default_rng(3)
    network = pp.Network.mlp([rng.normal(size=(8, 6)), rng.normal(size=(3, 8))])
    hardware = pp.Hardware(conductance_min=1e-6, programming_noise_std=2e-7, read_noise_std=1e-8, **fields)
    plan = pp.plan(
        network,
        hardware,
        rng.normal(size=(16, 6)),
        pp.MaxNMSE(0.02),
        optimize=("conductance", "voltage"),
        verify_draws=200,
    )
    assert plan.termination.outcome.value == "optimal"
    assert plan.verification is not None
    assert plan.verification.mse == pytest.approx(
        plan.prediction.mse, abs=4 * plan.verification.mse_standard_error, rel=0.02
    )
    plan.gains.check(network, hardware)
