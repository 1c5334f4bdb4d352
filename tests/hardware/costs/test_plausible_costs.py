"""Numbers of costs that are most likely in another unit."""

from __future__ import annotations

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
