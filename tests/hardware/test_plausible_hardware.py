"""Numbers in another unit: what is doubted, what was likely meant, and that published devices are not."""

import dataclasses
import itertools
import re
import warnings

import numpy as np
import pytest

import powerplan as pp
from powerplan.hardware.operating_point import OperatingPoint


def _doubted(hardware: pp.Hardware) -> dict[str, str]:
    return {doubt.field.removeprefix("hardware."): doubt.advice for doubt in hardware.doubts()}


def test_published_and_default_devices_are_plausible() -> None:
    for preset in pp.presets():
        assert preset.hardware.doubts() == (), preset.name
    assert pp.Hardware().doubts() == ()


@pytest.mark.parametrize(
    ("field", "value", "meant"),
    [
        ("conductance_max", 100.0, "100 uS"),
        ("conductance_max", 0.1, "100 uS"),
        ("conductance_max", 50e-3, "50 uS"),
        ("conductance_max", 5e4, "50 uS"),
        ("bandwidth", 5e12, "5 MHz"),
        ("programming_noise_std", 2.0, "2 uS"),
        ("programming_noise_std", 0.002, "2 uS"),
        ("programming_noise_proportional", 5.0, "5 %"),
        ("read_noise_std", 0.05, "50 nA"),
        ("input_noise_std", 3.0, "3 mV"),
        ("voltage_max", 200.0, "200 mV"),
        ("read_time", 100.0, "100 ns"),
        ("column_gain_std", 2.0, "2 %"),
        ("device_gain_std", 10.0, "10 %"),
        ("time", 3.6e10, "36 Ms"),
        ("stuck_on_fraction", 0.5, "0.5 %"),
        ("temperature", 25.0, "25 degrees Celsius, 298.15 K"),
        ("temperature", 85.0, "85 degrees Celsius, 358.15 K"),
        ("bandwidth", 5.0, "5 MHz"),
        ("dac_energy", 2.0, "2 pJ"),
        ("programming_noise_polynomial", (0.26, 1.9), "2.16 uS"),
        ("programming_noise_curve", {"type": "polynomial", "coefficients": (1.0, 2.0)}, "3 uS"),
        ("drift", {"type": "power_law", "exponent_mean": 5.0, "reference_time": 20.0}, "0.05"),
        ("low_frequency_noise", {"std": 3.0}, "3 %"),
        ("measurements", [{"target": [0.0, 1e-4], "mean": [0.5, 99.0], "std": [2.0, 3.0]}], "99 uS"),
    ],
)
def test_the_likely_unit_is_said(field: str, value: object, meant: str) -> None:
    doubts = _doubted(pp.Hardware(**{field: value}))  # type: ignore[arg-type]
    assert doubts, field
    assert all(name.startswith(field) for name in doubts)
    assert any(f"Did you mean {meant}" in advice for advice in doubts.values()), doubts


def test_gains_in_another_unit_are_doubted_by_what_they_do_to_the_array() -> None:
    """A voltage gain in mV puts hundreds of volts on the rows, a tiny conductance gain stores next to nothing."""
    network, inputs, hardware = pp.Network.mlp([np.eye(3)]), np.array([[1.0, -2.0, 0.5]]), pp.Hardware()
    for voltage, conductance, field in ((200.0, 1e-5, "gains.voltage[0]"), (0.1, 1e-20, "gains.conductance[0]")):
        gains = pp.Gains(conductance=(conductance,), voltage=(voltage,))
        for calculate in (pp.predict, pp.simulate):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                calculate(network, hardware, gains, inputs, **({"draws": 2} if calculate is pp.simulate else {}))
            told = [str(w.message) for w in caught if issubclass(w.category, pp.PlausibilityWarning)]
            assert field in told[0]
    assert "got 400 V on a row" in str(
        OperatingPoint(
            network=network, hardware=hardware, gains=pp.Gains(conductance=(1e-5,), voltage=(200.0,)), inputs=inputs
        ).doubts()[0]
    )


def test_every_number_of_the_hardware_is_looked_at() -> None:
    """1e25 of anything is absurd: a new field of the hardware needs a limit of its own."""
    allowed = {"array_rows", "array_columns", "dac_bits", "adc_bits"}
    needs = {"load_conductance": {"read_out": "divider"}, "adc_range": {"feedback_resistance": 1e4}}
    for field in dataclasses.fields(pp.Hardware):
        if not re.match("float", str(field.type)) or field.name in allowed:
            continue
        for value in (1e25, 1e-25):
            try:
                hardware = pp.Hardware(**{field.name: value, **needs.get(field.name, {})})
            except pp.InvalidInput:
                continue  # cannot be at all
            doubts = {name.split("[")[0] for name in _doubted(hardware)}
            small = field.name.endswith(("_std", "_proportional", "time", "headroom")) or "fraction" in field.name
            assert field.name in doubts or (value < 1 and small), (field.name, value)


def test_likely_units_are_plausible_themselves() -> None:
    """What is proposed would not be doubted again."""
    for value, field in itertools.product((3.0, 4e4, 7e-2), ("conductance_max", "voltage_max", "read_time")):
        for doubt in pp.Hardware(**{field: value}).doubts():
            meant = re.search(r"mean ([\d.e+-]+) ?([a-z]?)[SVs]\b", doubt.advice)
            if meant:
                scale = {"": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "k": 1e3}[meant[2]]
                hardware = pp.Hardware(**{field: float(meant[1]) * scale})
                assert field not in _doubted(hardware)
