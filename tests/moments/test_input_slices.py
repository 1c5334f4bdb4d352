"""Inputs in slices: predicted, simulated, and what their reads take."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import powerplan as pp
from powerplan.hardware.input_slices import InputSlices

WEIGHT = np.random.default_rng(1).standard_normal((5, 12))
INPUTS = np.random.default_rng(2).standard_normal((40, 12))


def _network() -> pp.Network:
    layer = torch.nn.Linear(12, 5, bias=False)
    layer.weight.data = torch.as_tensor(WEIGHT, dtype=torch.float32)
    return pp.from_torch(layer, (12,))


@pytest.mark.parametrize(("bits", "slice_bits"), [(8, 1), (8, 3), (5, 2), (2, 1)])
def test_parts_add_up_to_the_input(bits: int, slice_bits: int) -> None:
    cut, top = InputSlices(bits, slice_bits), 2 ** (bits - 1) - 1
    limit = torch.tensor(1.5, dtype=torch.float64)
    x = torch.arange(-top, top + 1, dtype=torch.float64) * (1.5 / top)
    parts = cut.cut(x, limit)
    assert len(parts) == -(-(bits - 1) // slice_bits)
    assert sum(cut.weights) == pytest.approx(1)
    whole = torch.stack([weight * part for weight, part in zip(cut.weights, parts, strict=True)]).sum(0)
    torch.testing.assert_close(whole, x, rtol=1e-12, atol=1e-12)
    assert all(len(part.unique()) == 2 ** (width + 1) - 1 for width, part in zip(cut.widths, parts, strict=True))
    assert all(float(part.abs().max()) == pytest.approx(1.5) for part in parts)


def test_every_read_is_converted_by_itself() -> None:
    network = _network()
    hardware = pp.Hardware(programming_noise_std=0.0, dac_bits=4, adc_bits=4, input_slice_bits=1)
    gains = pp.Gains.uniform(network, hardware, inputs=INPUTS)
    weight = np.asarray(network.crossbars[0].op.matrix, dtype=np.float64)  # type: ignore[union-attr]
    limit = hardware.voltage_max / float(gains.voltage[0])
    level = np.clip(np.round(INPUTS / limit * 7), -7, 7)
    reads = [np.sign(level) * (np.abs(level).astype(int) >> bit & 1) * limit for bit in range(3)]
    full = max(np.abs(read @ weight.T).max() for read in reads)
    step = full / 7
    outputs = sum(2**bit / 7 * step * np.round(read @ weight.T / step) for bit, read in enumerate(reads))
    expected = np.mean((outputs - INPUTS @ weight.T) ** 2)
    simulated = pp.simulate(network, hardware, gains, INPUTS, draws=2)
    assert simulated.mse == pytest.approx(expected, rel=1e-5)
    assert pp.predict(network, hardware, gains, INPUTS).mse == pytest.approx(expected, rel=1e-9)


def test_noise_and_power_of_a_read_by_hand() -> None:
    """Bits as likely as not: noise that is fresh in each of 7 reads, a_s² of it, and half of the rows driven."""
    network, levels = _network(), np.random.default_rng(3).integers(-127, 128, (200, 12))
    inputs = levels / 127
    hardware = pp.Hardware(
        programming_noise_std=0.0, read_noise_std=2e-7, input_noise_std=1e-2, dac_bits=8, input_slice_bits=1
    )
    gains = pp.Gains(conductance=(2e-5,), voltage=(hardware.voltage_max,))
    prediction = pp.predict(network, hardware, gains, inputs)
    weight = np.asarray(network.crossbars[0].op.matrix, dtype=np.float64)  # type: ignore[union-attr]
    share = sum((2**bit / 127) ** 2 for bit in range(7))
    read, rows = (2e-7 / (2e-5 * 0.2)) ** 2, (1e-2 / 0.2) ** 2 * (weight**2).sum(1).mean()
    assert prediction.mse == pytest.approx(share * (read + rows), rel=1e-9)
    ones = sum((np.abs(levels) >> bit & 1).mean(0) for bit in range(7))
    conductance = 2e-5 * np.abs(weight).sum(0)
    assert prediction.power == pytest.approx(((0.04 * ones + 7 * 1e-4) * conductance).sum(), rel=1e-9)
    assert pp.simulate(network, hardware, gains, inputs, draws=20).power == pytest.approx(prediction.power, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"input_slice_bits": 2, "feedback_resistance": 1e4, "shot_noise": True, "bandwidth": 5e6, "array_rows": 8},
        {"adc_bits": 6, "weight_mapping": "offset"},
    ],
)
def test_deeper_layers_are_predicted(fields: dict[str, object]) -> None:
    draw = np.random.default_rng(1)
    network = pp.Network.mlp([draw.standard_normal((16, 24)), draw.standard_normal((6, 16))])
    inputs = np.abs(draw.standard_normal((8, 24)))
    hardware = pp.Hardware.from_dict(
        {"conductance_min": 1e-6, "dac_bits": 8, "adc_bits": 8, "input_slice_bits": 1, **fields}
    )
    gains = pp.Gains.uniform(network, hardware, inputs=inputs)
    simulation = pp.simulate(network, hardware, gains, inputs, draws=1500, seed=1)
    prediction = pp.predict(network, hardware, gains, inputs)
    assert prediction.mse == pytest.approx(
        simulation.mse, rel=0.015 + 3 * simulation.mse_standard_error / simulation.mse
    )
    assert prediction.power == pytest.approx(simulation.power, rel=0.005)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "count", "bound"),
    [
        ({"input_slice_bits": 1, "adc_bits": 5, "adc_headroom": 1.5}, 16, 0.015),
        ({"input_slice_bits": 2, "adc_bits": 6, "weight_mapping": "offset"}, 64, 0.01),
    ],
)
def test_coarse_converters_of_single_reads_are_predicted(
    digits_example: pp.Example, fields: dict[str, object], count: int, bound: float
) -> None:
    """What few bits that flip make of a column is not Gaussian, and rounded to a few levels another error than a
    Gaussian's: 3 to 14 % were told too much by closed forms alone."""
    network, inputs = digits_example.network, digits_example.inputs[:count]
    hardware = pp.Hardware.from_dict(
        {"conductance_min": 1e-6, "programming_noise_std": 2e-6, "dac_bits": 8, "adc_headroom": 1.0, **fields}
    )
    gains = pp.Gains.full_range(network, hardware, inputs)
    simulation = pp.simulate(network, hardware, gains, inputs, draws=1500, relative_standard_error=0.006, seed=7)
    prediction = pp.predict(network, hardware, gains, inputs)
    error = np.hypot(simulation.mse_standard_error / simulation.mse, prediction.mse_standard_error / prediction.mse)
    assert prediction.mse == pytest.approx(simulation.mse, rel=bound + 2 * error)
    assert pp.predict(network, hardware, gains, inputs, marginal_fields=0).mse > 1.02 * prediction.mse


def test_reads_over_few_rows_are_predicted() -> None:
    """Full scale is the largest ideal value: Gaussian reads would saturate more often."""
    draw = np.random.default_rng(2)
    network = pp.Network.mlp([draw.standard_normal((5, 24)), draw.standard_normal((6, 5))])
    inputs = np.abs(draw.standard_normal((8, 24)))
    hardware = pp.Hardware(conductance_min=1e-6, dac_bits=8, programming_noise_std=4e-6, input_slice_bits=2, adc_bits=8)
    gains = pp.Gains.full_range(network, hardware, inputs)
    simulation = pp.simulate(network, hardware, gains, inputs, draws=4000, seed=7)
    prediction = pp.predict(network, hardware, gains, inputs)
    error = simulation.mse_standard_error / simulation.mse
    assert prediction.mse == pytest.approx(simulation.mse, rel=2 * error)
    assert pp.predict(network, hardware, gains, inputs, marginal_fields=0).mse > 1.015 * prediction.mse


def test_reads_convert_and_drive_each() -> None:
    network = _network()
    costs = pp.Costs(
        adc={"type": "number", "energy_per_conversion": 2e-12, "conversion_time": 5e-9},
        dac={"type": "capacitor"},
        row_capacitance=1e-15,
        buffer_energy=1e-14,
    )
    hardware = pp.Hardware(dac_bits=8, adc_bits=8, costs=costs, read_time=1e-7)
    gains = pp.Gains.uniform(network, hardware, inputs=INPUTS)
    whole, serial = (
        pp.predict(network, changed, gains, INPUTS).costs
        for changed in (hardware, hardware.replace(input_slice_bits=2))
    )
    assert whole is not None
    assert serial is not None
    of_whole, of_serial = whole.energy_of, serial.energy_of
    assert of_serial["adc"] == pytest.approx(4 * 5 * 2e-12)  # 7 bits, 2 at a time
    assert of_serial["drivers"] == pytest.approx(4 * of_whole["drivers"])
    assert of_serial["dac"] == pytest.approx(4 * of_whole["dac"] * 3 / 8)  # 2 bits and the sign
    assert of_serial["buffers"] == of_whole["buffers"]
    assert serial.latency == pytest.approx(4 * (1e-7 + 5e-9))


def test_nonsense_is_refused_by_name() -> None:
    with pytest.raises(pp.InvalidInput, match=r"hardware\.dac_bits: got None.*input_slice_bits"):
        pp.Hardware(input_slice_bits=1)
    with pytest.raises(pp.InvalidInput, match="dac_bits"):
        pp.plan(
            _network(),
            pp.Hardware(input_slice_bits=1, dac_bits=8, costs="node_32nm", adc_bits=8),
            INPUTS,
            pp.MaxNMSE(0.05),
            optimize=("conductance", "dac_bits"),
        )
