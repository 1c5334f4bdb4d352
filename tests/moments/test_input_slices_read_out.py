"""Inputs in slices read through resistive wires and by passive columns: the same array in every read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from nodal_analysis import nodal

import powerplan as pp

WEIGHT = np.random.default_rng(1).standard_normal((5, 12)).astype(np.float32).astype(np.float64)
INPUTS = np.random.default_rng(2).standard_normal((40, 12))
LEAST, BITS = 5e-6, 4
WIRES: dict[str, Any] = {
    "array_rows": 12,
    "array_columns": 10,
    "wire_resistance_row": 20.0,
    "wire_resistance_column": 30.0,
    "driver_resistance": 50.0,
    "sense_resistance": 10.0,
}
DIVIDER: dict[str, Any] = {"read_out": "divider", "load_conductance": 2e-4, "adc_range": 0.15}


def _network() -> pp.Network:
    layer = torch.nn.Linear(12, 5, bias=False)
    layer.weight.data = torch.as_tensor(WEIGHT, dtype=torch.float32)
    return pp.from_torch(layer, (12,))


def _case(**fields: Any) -> tuple[pp.Network, pp.Hardware, pp.Gains]:
    network = _network()
    exact = {"programming_noise_std": 0.0, "conductance_min": LEAST, "dac_bits": BITS, "input_slice_bits": 1}
    hardware = pp.Hardware.from_dict({**exact, **fields})
    return network, hardware, pp.Gains.uniform(network, hardware, inputs=INPUTS)


def _reads(limit: float) -> tuple[list[np.ndarray], list[float]]:
    """The digits of all inputs (B, n) in units of the value, read by read, and the weights of the reads."""
    top = 2 ** (BITS - 1) - 1
    level = np.clip(np.round(INPUTS / limit * top), -top, top)
    digits = [np.sign(level) * (np.abs(level).astype(int) >> bit & 1) * limit for bit in range(BITS - 1)]
    return digits, [2**bit / top for bit in range(BITS - 1)]


def _sides(c: float) -> list[np.ndarray]:
    """Conductances of the positive and the negative devices (o, n)."""
    return [LEAST + c * np.maximum(sign * WEIGHT, 0) for sign in (1, -1)]


def _rounded(column: np.ndarray, limit: np.ndarray | float) -> np.ndarray:
    step = limit / (2 ** (BITS - 1) - 1)
    return np.asarray(np.clip(np.round(column / step) * step, -limit, limit))


def test_every_read_is_converted_behind_the_wires_and_takes_the_power_of_its_voltages() -> None:
    network, hardware, gains = _case(**WIRES, adc_bits=BITS)
    c, v = float(gains.conductance[0]), float(gains.voltage[0])
    array = np.stack(_sides(c), 1).reshape(10, 12).T  # pairs side by side
    transfer, drivers, _ = nodal(array, row=20.0, column=30.0, driver=50.0, sense=10.0)
    effective = (transfer[:, ::2] - transfer[:, 1::2]).T / c
    assert np.abs(effective).sum() < 0.95 * np.abs(WEIGHT).sum()
    reads, shares = _reads(hardware.voltage_max / v)
    full = max(np.abs(read @ WEIGHT.T).max() for read in reads)
    outputs = sum(share * _rounded(read @ effective.T, full) for share, read in zip(shares, reads, strict=True))
    power = sum((((v * read) @ drivers) * (v * read)).sum() / len(read) for read in reads)
    simulated = pp.simulate(network, hardware, gains, INPUTS, draws=1, dtype="float64")
    np.testing.assert_allclose(simulated.output_mean, outputs, rtol=1e-9, atol=1e-12)
    assert simulated.power == pytest.approx(power, rel=1e-9)
    predicted = pp.predict(network, hardware, gains, INPUTS)
    assert predicted.mse == pytest.approx(simulated.mse, rel=0.02)  # some columns round to the other level
    assert predicted.power == pytest.approx(power, rel=1e-3)
    # without rounding the reads add up to the whole input through the same array
    exact = hardware.replace(adc_bits=None)
    whole = pp.predict(network, exact.replace(input_slice_bits=None), gains, INPUTS)
    assert pp.predict(network, exact, gains, INPUTS).mse == pytest.approx(whole.mse, rel=1e-9)


def test_wires_without_resistance_change_nothing() -> None:
    noise = {"programming_noise_std": 2e-6, "read_noise_std": 1e-7, "input_noise_std": 2e-3, "adc_bits": 6}
    network, ideal, gains = _case(**noise, array_rows=12, array_columns=10)
    wired = ideal.replace(**{name: 1e-7 for name in WIRES if name.endswith("resistance") or "_resistance_" in name})
    assert wired.has_wires
    assert not ideal.has_wires
    predictions = [pp.predict(network, hardware, gains, INPUTS) for hardware in (wired, ideal)]
    simulations = [
        pp.simulate(network, hardware, gains, INPUTS, draws=50, seed=3, dtype="float64") for hardware in (wired, ideal)
    ]
    assert predictions[0].mse == pytest.approx(predictions[1].mse, rel=1e-6)
    assert predictions[0].power == pytest.approx(predictions[1].power, rel=1e-6)
    assert simulations[0].mse == pytest.approx(simulations[1].mse, rel=1e-4)
    assert simulations[0].power == pytest.approx(simulations[1].power, rel=1e-6)


def test_passive_columns_divide_every_read_by_all_their_conductances() -> None:
    """Rows whose digit is 0 are held at 0 V: they load the node like the others."""
    network, hardware, gains = _case(**DIVIDER, adc_bits=BITS)
    c, v = float(gains.conductance[0]), float(gains.voltage[0])
    reads, shares = _reads(hardware.voltage_max / v)
    outputs, power = np.zeros((40, 5)), 0.0
    for share, read in zip(shares, reads, strict=True):
        for sign, side in zip((1, -1), _sides(c), strict=True):
            total = DIVIDER["load_conductance"] + side.sum(1)
            node = (v * read) @ side.T / total
            outputs += share * sign * _rounded(node, DIVIDER["adc_range"]) * total / (c * v)
            power += ((v * read) ** 2 @ side.T - node**2 * total).sum() / len(read)
    simulated = pp.simulate(network, hardware, gains, INPUTS, draws=1, dtype="float64")
    np.testing.assert_allclose(simulated.output_mean, outputs, rtol=1e-9, atol=1e-12)
    assert simulated.power == pytest.approx(power, rel=1e-9)
    predicted = pp.predict(network, hardware, gains, INPUTS)
    assert predicted.mse == pytest.approx(simulated.mse, rel=1e-9)
    assert predicted.power == pytest.approx(power, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["linearized", "covariance"])
@pytest.mark.parametrize(
    "fields",
    [
        {**WIRES, "input_slice_bits": 2, "feedback_resistance": 1e4, "thermal_noise": True, "bandwidth": 5e6},
        {**WIRES, "weight_mapping": "offset", "wire_resistance_column": 2.0, "adc_bits": 8},
        {**WIRES, "pair_layout": "separate_arrays", "row_drive": "both_ends", "input_noise_std": 5e-3},
        {**DIVIDER, "array_rows": 12, "adc_bits": 9, "read_noise_std": 2e-7, "column_gain_std": 0.01},
    ],
    ids=["amplifiers", "offset", "separate arrays", "divider"],
)
def test_deeper_layers_are_predicted(fields: dict[str, Any], method: str) -> None:
    draw = np.random.default_rng(1)
    network = pp.Network.mlp([draw.standard_normal((16, 24)), draw.standard_normal((6, 16))])
    inputs = np.abs(draw.standard_normal((8, 24)))
    hardware = pp.Hardware.from_dict(
        {"conductance_min": 1e-6, "programming_noise_std": 2e-6, "dac_bits": 8, "input_slice_bits": 1, **fields}
    )
    gains = pp.Gains.uniform(network, hardware, inputs=inputs)
    wires = "fast" if hardware.has_wires else "exact"
    simulation = pp.simulate(network, hardware, gains, inputs, draws=2000, seed=1, wires=wires)
    prediction = pp.predict(network, hardware, gains, inputs, method=method)
    error = simulation.mse_standard_error / simulation.mse
    assert prediction.mse == pytest.approx(simulation.mse, rel=0.015 + 3 * error)
    assert prediction.power == pytest.approx(simulation.power, rel=0.005)


def test_plans_with_wires_hold_in_simulations() -> None:
    draw = np.random.default_rng(4)
    network = pp.Network.mlp([draw.standard_normal((8, 12)), draw.standard_normal((4, 8))])
    inputs = np.abs(draw.standard_normal((8, 12)))
    hardware = pp.Hardware.from_dict(
        {**WIRES, "conductance_min": 1e-6, "programming_noise_std": 2e-6, "dac_bits": 8, "input_slice_bits": 2}
    )
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.05), verify_draws=1500)
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
    assert plan.certificate is not None
    assert plan.certificate.scanned > 0
    assert plan.verification is not None
    assert plan.verification.ratio == pytest.approx(1, abs=0.02 + 3 * plan.verification.ratio_standard_error)
