"""Numbers of costs that are most likely in another unit."""

from __future__ import annotations

import numpy as np
import pytest

import powerplan as pp


@pytest.mark.parametrize(
    ("costs", "field"),
    [
        ({"buffer_energy": 0.2}, "hardware.costs.buffer_energy"),
        ({"row_capacitance": 2.0}, "hardware.costs.row_capacitance"),
        ({"device_area": 1.5}, "hardware.costs.device_area"),
        ({"adc": {"type": "capacitor", "voltage": 900}}, "hardware.costs.adc.voltage"),
        ({"adc": {"type": "number", "conversion_time": 12}}, "hardware.costs.adc.conversion_time"),
        ({"dac": 1.2}, "hardware.costs.dac.energy_per_conversion"),
    ],
)
def test_numbers_in_other_units_are_asked_about(costs: dict, field: str) -> None:
    doubts = pp.Hardware(costs=costs).doubts()
    assert [doubt.field for doubt in doubts] == [field]
    assert "Check its unit" in doubts[0].advice or "Did you mean" in doubts[0].advice


@pytest.mark.parametrize("name", pp.cost_presets().names)
def test_published_costs_are_believed(name: str) -> None:
    assert pp.Hardware(costs=name).doubts() == ()


@pytest.mark.parametrize(("name", "field"), [("adc_energy", "adc"), ("dac_energy", "dac")])
def test_the_hardwares_names_of_conversions_lead_to_those_of_costs(name: str, field: str) -> None:
    with pytest.raises(pp.InvalidInput, match=rf"{name}: .*Write {field} instead, as in {field} = \"1pJ\""):
        pp.Costs.from_dict({"preset": "node_32nm", name: 1e-12})


def test_the_fewest_bits_that_costs_know_are_told() -> None:
    """Hardware has no converters of one bit, whatever costs could tell of them."""
    network = pp.Network.mlp([np.ones((3, 4))])
    hardware = pp.Hardware(programming_noise_std=1e-6, adc_bits=8, costs={"dac": {"type": "capacitor"}})
    gains = pp.Gains(conductance=(1e-6,), voltage=(0.1,))
    with pytest.raises(pp.InvalidInput, match="dac_bits: got None; allowed: at least 2 bits in every layer"):
        pp.predict(network, hardware, gains, np.ones((2, 4)))
