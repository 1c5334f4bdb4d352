"""What an inference takes, by hand; nothing changes without costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import powerplan as pp
from powerplan.hardware.costs.model import CostModel, Precision

COSTS = pp.Costs(
    adc={"type": "number", "energy_per_conversion": 2e-12, "conversion_time": 5e-9, "converter_area": 3e-10},
    dac=0.5e-12,
    row_capacitance=1e-15,
    row_voltage=2.0,
    amplifier_power=1e-6,
    sample_hold_energy=1e-14,
    shift_add_energy=1e-13,
    output_energy=2e-13,
    buffer_energy=1e-14,
    leakage_power=1e-6,
    digital_time=10e-9,
    device_area=1e-14,
    amplifier_area=1e-11,
    array_area=1e-10,
)


def _hardware(**fields: object) -> pp.Hardware:
    return pp.Hardware.from_dict(
        {"conductance_min": 1e-6, "programming_noise_std": 1e-6, "read_time": 1e-7, "dac_bits": 6, **fields}
    )


INPUTS = np.random.default_rng(0).standard_normal((8, 6))


def test_components_by_hand(two_layers: pp.Network) -> None:
    network, hardware = two_layers, _hardware(array_rows=3, array_columns=4, costs=COSTS)
    gains = pp.Gains.uniform(network, hardware, inputs=INPUTS)
    prediction = pp.predict(network, hardware, gains, INPUTS)
    costs = prediction.costs
    assert costs is not None
    # 6 rows are 2 row tiles, 4 outputs of two columns each 2 column tiles; 4 rows are 2 row tiles, 2 outputs one
    conversions, driven, arrays = np.array([4 * 2, 2 * 2]), np.array([6 * 2, 4]), np.array([4, 2])
    energy = dict(zip(costs.components, costs.energy_by_component.T, strict=True))
    period = 2 * (100e-9 + 5e-9 + 10e-9)
    expected = {
        "arrays": (prediction.array_power_by_layer + prediction.tia_power_by_layer) * 1e-7,
        "amplifiers": conversions * 1e-6 * 1e-7,
        "adc": conversions * 2e-12,
        "dac": driven * 0.5e-12,
        "drivers": np.array([24, 8]) * 2 * 1e-15 * 4,
        "sample_hold": conversions * 1e-14,
        "shift_add": conversions * 1e-13,
        "outputs": np.array([4, 2]) * 2e-13,
        "buffers": (np.array([6, 4]) * 6 + np.array([4, 2]) * 8) * 1e-14,
        "leakage": arrays * 1e-6 * period,
    }
    assert list(energy) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(energy[name], value, rtol=1e-12, err_msg=name)
    assert costs.latency == pytest.approx(period)
    assert costs.operations == 2 * (24 + 8)
    assert costs.tops_per_watt == pytest.approx(64e-12 / sum(map(np.sum, expected.values())))
    area = np.array([48, 16]) * 1e-14 + arrays * 1e-10 + conversions * (1e-11 + 3e-10)
    np.testing.assert_allclose(costs.area_by_component.sum(1), area, rtol=1e-12)


def test_a_convolution_reads_at_every_position() -> None:
    network = pp.from_torch(torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3)), (2, 5, 5))
    for mapping, reads, copies in (("shared", 9, 1), ("unrolled", 1, 9)):
        model = CostModel.of(network, _hardware(mapping=mapping, costs=COSTS))
        assert model is not None
        costs = model.breakdown(np.zeros(1))
        energy = costs.energy_of
        assert energy["adc"] == pytest.approx(27 * 2e-12)
        assert energy["dac"] == pytest.approx(18 * 9 * 0.5e-12)
        assert costs.latency == pytest.approx(reads * 115e-9)
        assert energy["leakage"] == pytest.approx(copies * 1e-6 * costs.latency)


def test_without_sample_and_hold_arrays_wait_for_shared_converters(two_layers: pp.Network) -> None:
    held, waiting = (
        CostModel.of(two_layers, _hardware(costs={**COSTS.to_dict(), "sample_hold_energy": energy}))
        for energy in (0.0, None)
    )
    assert held is not None
    assert waiting is not None
    shared = Precision(adc_bits=np.full(2, 8.0), dac_bits=np.full(2, 6.0), columns_per_adc=np.full(2, 4.0))
    np.testing.assert_allclose(held.energies(np.ones(2), shared)["arrays"], 1e-7)
    np.testing.assert_allclose(waiting.energies(np.ones(2), shared)["arrays"], 1e-7 + np.array([3, 1]) * 5e-9)
    np.testing.assert_allclose(waiting.latencies(shared), (130e-9, 120e-9))  # the second array has 2 columns
    by_layer = CostModel.of(two_layers, _hardware(costs=COSTS, columns_per_adc=(4, 1)))
    assert by_layer is not None
    np.testing.assert_allclose(by_layer.latencies(), (130e-9, 115e-9))
    np.testing.assert_allclose(by_layer.areas()["adc"], np.array([4 / 4, 2]) * 3e-10)


def test_an_adc_is_whole_and_converts_no_more_columns_than_an_array_has(two_layers: pp.Network) -> None:
    """Layers of 4 and 2 outputs, in pairs of columns on arrays of 6 columns: 3 and 1, and 2."""
    for shared, adcs, converted in ((2, (2 + 1, 1), (2, 2)), (100, (1 + 1, 1), (3, 2))):
        model = CostModel.of(two_layers, _hardware(costs=COSTS, columns_per_adc=shared, array_columns=6))
        assert model is not None
        np.testing.assert_allclose(model.areas()["adc"], np.array(adcs) * 3e-10)
        np.testing.assert_allclose(model.latencies(), 110e-9 + np.array(converted) * 5e-9)


def test_a_survey_adc_without_a_rate_converts_its_columns_in_the_time_of_a_read(two_layers: pp.Network) -> None:
    survey = {"type": "survey", "node": 32e-9}
    own, given = (
        CostModel.of(two_layers, _hardware(adc_bits=11, columns_per_adc=4, costs={"adc": adc}))
        for adc in (survey, {**survey, "rate": 4e7})
    )
    assert own is not None
    assert given is not None
    for ours, theirs in ((own.energies(0.0), given.energies(0.0)), (own.areas(), given.areas())):
        assert ours["adc"][0] == pytest.approx(theirs["adc"][0], rel=1e-12)  # 4 columns in 100 ns
        assert ours["adc"][1] < theirs["adc"][1]  # its array has 2
    np.testing.assert_allclose(own.latencies(), 1e-7)


def test_conversions_of_row_converters_take_time(two_layers: pp.Network) -> None:
    slow = {"type": "number", "energy_per_conversion": 0.5e-12, "conversion_time": 20e-9}
    model = CostModel.of(two_layers, _hardware(costs={**COSTS.to_dict(), "dac": slow}))
    assert model is not None
    np.testing.assert_allclose(model.latencies(), 115e-9 + 20e-9)


def test_energies_have_slopes_in_what_is_decided(two_layers: pp.Network) -> None:
    model = CostModel.of(two_layers, _hardware(adc_bits=8, costs="node_32nm"))
    assert model is not None
    bits = torch.tensor([6.5, 7.5], dtype=torch.float64, requires_grad=True)
    power = torch.ones(2, dtype=torch.float64)
    precision = Precision(adc_bits=bits, dac_bits=bits, columns_per_adc=torch.ones(2, dtype=torch.float64))
    total = sum(map(torch.sum, map(torch.as_tensor, model.energies(power, precision).values())))
    assert isinstance(total, torch.Tensor)
    (slope,) = torch.autograd.grad(total, bits)
    assert bool((slope > 0).all())


def test_pipelined_layers_set_the_rate_by_the_slowest(two_layers: pp.Network) -> None:
    model = CostModel.of(two_layers, _hardware(costs={**COSTS.to_dict(), "pipelined": True}))
    assert model is not None
    costs = model.breakdown(np.zeros(2))
    assert (costs.period, costs.latency) == (pytest.approx(115e-9), pytest.approx(230e-9))
    assert costs.operations_per_second == pytest.approx(64 / 115e-9)
    assert costs.energy_of["leakage"] == pytest.approx(2 * 1e-6 * 115e-9)


def test_costs_change_nothing_but_themselves(two_layers: pp.Network) -> None:
    network, plain = two_layers, _hardware(adc_bits=8)
    gains = pp.Gains.uniform(network, plain, inputs=INPUTS)
    without, told = (
        pp.predict(network, hardware, gains, INPUTS) for hardware in (plain, plain.replace(costs="node_32nm"))
    )
    assert without.costs is None
    assert told.costs is not None
    assert (without.mse, without.power, without.energy) == (told.mse, told.power, told.energy)
    simulated = pp.simulate(network, plain.replace(costs="node_32nm"), gains, INPUTS, draws=200)
    assert simulated.costs is not None
    np.testing.assert_allclose(simulated.costs.energy_by_layer, told.costs.energy_by_layer, rtol=0.01)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"costs": "node_32nm", "adc_bits": 3}, "adc_bits"),
        ({"costs": "node_32nm", "adc_bits": {"0": 8, "2": None}}, "adc_bits"),
        ({"costs": {"dac": 1e-12}, "dac_energy": 1e-12}, "dac_energy"),
    ],
)
def test_converters_that_are_not_told_are_refused(
    two_layers: pp.Network, fields: dict[str, object], field: str
) -> None:
    network = two_layers
    with pytest.raises(pp.InvalidInput, match=rf"hardware\.{field}: got"):
        CostModel.of(network, _hardware(**fields))


def test_costs_survive_files(tmp_path: Path) -> None:
    hardware = _hardware(costs={"preset": "isaac_32nm", "array_area": "20um2", "dac": "0.3pJ"})
    assert hardware.costs is not None
    assert (hardware.costs.array_area, hardware.costs.value_bits) == (pytest.approx(20e-12), 16)
    path = tmp_path / "chip.toml"
    path.write_text(hardware.to_toml())
    assert pp.Hardware.from_toml(path) == hardware
    path.write_text('[costs]\npreset = "node_65nm"\npipelined = true\n')
    assert pp.Costs.from_toml(path) == pp.Costs.preset("node_65nm", pipelined=True)
