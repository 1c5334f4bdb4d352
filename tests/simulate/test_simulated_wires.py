"""Simulated arrays with resistive wires against a nodal analysis of every array, and the fast solution of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from nodal_analysis import nodal

import powerplan as pp
from powerplan.hardware.devices import device_moments
from powerplan.montecarlo.scratch import Scratch
from powerplan.montecarlo.wires import BlockWires
from powerplan.network import Node
from powerplan.network.ops import Conv

ROWS, COLUMNS = 8, 6
WIRES: dict[str, Any] = {
    "array_rows": ROWS,
    "array_columns": COLUMNS,
    "wire_resistance_row": 20.0,
    "wire_resistance_column": 30.0,
    "driver_resistance": 50.0,
    "sense_resistance": 10.0,
}
STILL: dict[str, Any] = {"programming_noise_std": 0.0, "conductance_min": 5e-6}


def layer(seed: int = 0, *, bias: bool = False) -> tuple[np.ndarray, np.ndarray, pp.Network]:
    """19 inputs and 7 outputs: ragged tiles both ways."""
    rng = np.random.default_rng(seed)
    weight, offsets = rng.normal(size=(7, 19)), rng.normal(size=7) if bias else None
    return weight, offsets, pp.Network.mlp([weight], [offsets])


def by_hand(weight: np.ndarray, x: np.ndarray, hardware: pp.Hardware, c: np.ndarray, v: np.ndarray):
    """Outputs (B, o) and power of one layer, array by array."""
    around = {
        "row": hardware.wire_resistance_row,
        "column": hardware.wire_resistance_column,
        "driver": hardware.driver_resistance,
        "sense": hardware.sense_resistance,
        "both_ends": hardware.row_drive == "both_ends",
    }
    reference = np.exp(np.log(v).mean())
    unit = c[:, None] * reference / v
    if hardware.weight_mapping == "offset":
        least = max(-weight.min(), 0)
        sides = [weight + least]
    else:
        sides = [np.maximum(weight, 0), np.maximum(-weight, 0)]
    target = [hardware.conductance_min + unit * side for side in sides]
    apart = hardware.pair_layout == "separate_arrays"
    width = COLUMNS if apart or len(sides) == 1 else COLUMNS // 2
    volts, currents, power = x * v, np.zeros((len(x), len(weight))), 0.0
    for low in range(0, weight.shape[1], ROWS):
        rows = slice(low, low + ROWS)
        for left in range(0, len(weight), width):
            outputs = slice(left, left + width)
            g = [side[outputs, rows].T for side in target]
            signs = [1, -1][: len(g)]
            arrays = [(one, [(slice(None), sign)]) for one, sign in zip(g, signs, strict=True)]
            if not apart:
                places = [(slice(k, None, len(g)), sign) for k, sign in enumerate(signs)]
                arrays = [(np.stack(g, -1).reshape(len(g[0]), -1), places)]
            for array, places in arrays:
                transfer, drivers, _ = nodal(array, **around)
                read = volts[:, rows] @ transfer
                currents[:, outputs] += sum(sign * read[:, columns] for columns, sign in places)
                power += ((volts[:, rows] @ drivers) * volts[:, rows]).sum() / len(x)
    z = currents / (c * reference)
    if len(sides) == 1:
        z -= least * x.sum(1, keepdims=True) + (x * v / reference).sum(1, keepdims=True) * hardware.conductance_min / c
    return z, power


@pytest.mark.parametrize("change", [{}, {"weight_mapping": "offset"}, {"pair_layout": "separate_arrays"}], ids=str)
@pytest.mark.parametrize("drive", ["one_end", "both_ends"])
def test_a_layer_of_ragged_tiles_reads_as_its_network_of_resistors(change, drive):
    hardware = pp.Hardware(**WIRES, **STILL, **change, row_drive=drive)
    weight, _, network = layer()
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4, 19))
    gains = pp.Gains(conductance=(rng.uniform(5e-6, 12e-6, 7),), voltage=(rng.uniform(0.02, 0.05, 19),))
    simulation = pp.simulate(network, hardware, gains, x, draws=1, dtype="float64")
    outputs, power = by_hand(weight, x, hardware, gains.conductance[0], gains.voltage[0])
    np.testing.assert_allclose(simulation.output_mean, outputs, rtol=1e-9)
    np.testing.assert_allclose(simulation.power, power, rtol=1e-9)


def test_a_row_of_biases_and_converters():
    hardware = pp.Hardware(**WIRES, **STILL, bias_mapping="row")
    weight, bias, network = layer(bias=True)
    x = np.random.default_rng(1).normal(size=(4, 19))
    gains = pp.Gains(conductance=(1e-5,), voltage=(0.03,))
    simulation = pp.simulate(network, hardware, gains, x, draws=1, dtype="float64")
    full, ones = np.concatenate([weight, bias[:, None]], 1), np.ones((4, 1))
    outputs, power = by_hand(full, np.concatenate([x, ones], 1), hardware, np.full(7, 1e-5), np.full(20, 0.03))
    np.testing.assert_allclose(simulation.output_mean, outputs, rtol=1e-9)
    np.testing.assert_allclose(simulation.power, power, rtol=1e-9)
    converted = hardware.replace(feedback_resistance=1e4, adc_range=0.1, adc_bits=24)
    fine = pp.simulate(network, converted, gains, x, draws=1, dtype="float64")
    np.testing.assert_allclose(fine.output_mean, outputs, atol=1e-5)


NOISE = {
    "programming": {},
    "all": {
        "read_noise_std": 1e-6,
        "input_noise_std": 1e-3,
        "thermal_noise": True,
        "bandwidth": 5e6,
        "column_gain_std": 0.01,
        "stuck_on_fraction": 0.01,
        "stuck_off_fraction": 0.01,
    },
    "offset": {"weight_mapping": "offset", "thermal_noise": True, "bandwidth": 5e9, "feedback_resistance": 1e4},
}


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE.keys())
def test_fast_draws_are_those_of_exact_wires(noise):
    """The same random numbers: what the two differ by is far below what draws scatter by."""
    hardware = pp.Hardware(**WIRES, **noise)
    _, _, network = layer()
    x = np.random.default_rng(1).normal(size=(4, 19))
    gains = pp.Gains.full_range(network, hardware, x)
    exact, fast = (
        pp.simulate(network, hardware, gains, x, draws=50, dtype="float64", wires=wires) for wires in ("exact", "fast")
    )
    spread = np.sqrt(exact.output_covariance.diagonal(axis1=1, axis2=2).mean())
    assert np.abs(exact.output_mean - fast.output_mean).max() < 0.01 * spread
    np.testing.assert_allclose(fast.mse_by_draw, exact.mse_by_draw, rtol=0.02)
    np.testing.assert_allclose(fast.power, exact.power, rtol=0.002)


@pytest.mark.parametrize("layout", ["interleaved", "separate_arrays"])
def test_fast_weights_are_exact_to_a_small_part_of_what_noise_makes_of_them(layout):
    """Ragged row and column tiles, rows of different gains."""
    hardware = pp.Hardware(
        array_rows=48, array_columns=32, wire_resistance_row=2.0, wire_resistance_column=2.0, pair_layout=layout
    )
    random = torch.Generator().manual_seed(0)
    target = 50e-6 * torch.rand(2, 1, 40, 70, dtype=torch.float64, generator=random)
    target[:, :, :, ::2] = 0
    unit = 1e-4 * (1 + torch.rand(1, 1, 70, dtype=torch.float64, generator=random))
    noise = 2e-6 * torch.randn(3, *target.shape, dtype=torch.float64, generator=random)
    devices = (target + noise).clamp(min=0) / unit
    scratch = Scratch(torch.float64, target.device)
    exact, fast = (
        BlockWires.of(hardware, target, unit, fast=fast, dtype=torch.float64).around(devices, scratch)
        for fast in (False, True)
    )
    mean = BlockWires.of(hardware, target, unit, fast=False, dtype=torch.float64).around(
        device_moments(hardware, target)[0][None] / unit, scratch
    )
    assert (fast.devices - exact.devices).norm() < 0.003 * (exact.devices - mean.devices).norm()
    drive = torch.ones_like(mean.drivers)
    assert (fast.power(drive) / exact.power(drive) - 1).abs().max() < 1e-4


def test_draws_do_not_depend_on_how_many_are_run_at_a_time():
    hardware = pp.Hardware(**WIRES)
    _, _, network = layer()
    x = np.random.default_rng(1).normal(size=(4, 19))
    gains = pp.Gains.full_range(network, hardware, x)
    for wires in ("exact", "fast"):
        some, all_at_once = (
            pp.simulate(network, hardware, gains, x, draws=20, memory_limit=limit, wires=wires)
            for limit in (1, 1 << 28)
        )
        np.testing.assert_array_equal(some.mse_by_draw, all_at_once.mse_by_draw)


@pytest.mark.parametrize("mapping", ["shared", "unrolled"])
def test_a_grouped_convolution_has_arrays_for_every_group(mapping):
    """Two groups of one channel each: their arrays are those of two convolutions."""
    rng = np.random.default_rng(0)
    kernels, x = rng.normal(size=(4, 1, 3, 3)), rng.normal(size=(2, 2, 5, 5))
    hardware = pp.Hardware(**WIRES, **STILL, mapping=mapping)
    gains = pp.Gains(conductance=(1e-5,), voltage=(0.03,))

    def simulated(network: pp.Network, inputs: np.ndarray) -> pp.Simulation:
        return pp.simulate(network, hardware, gains, inputs, draws=1, dtype="float64")

    def convolution(weight: np.ndarray, groups: int) -> pp.Network:
        op = Conv(weight=weight, groups=groups)
        return pp.Network(input_shape=(groups, 5, 5), nodes=(Node(name="conv", op=op, inputs=("input",)),))

    both = simulated(convolution(kernels, 2), x)
    alone = [simulated(convolution(kernels[2 * k : 2 * k + 2], 1), x[:, k : k + 1]) for k in range(2)]
    np.testing.assert_allclose(both.output_mean, np.concatenate([part.output_mean for part in alone], 1), rtol=1e-9)
    np.testing.assert_allclose(both.power, sum(part.power for part in alone), rtol=1e-9)
