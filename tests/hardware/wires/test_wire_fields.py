"""What fields of wires demand of the rest of the hardware, and what a layout of pairs makes of the number of arrays."""

from typing import Any

import numpy as np
import pytest

import powerplan as pp
from powerplan.hardware.tiling import layer_arrays

SIZE: dict[str, Any] = {"array_rows": 64, "array_columns": 32}


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"wire_resistance_row": 1.0}, ("array_rows", "array_columns")),
        ({"sense_resistance": 1.0, "array_rows": 64}, ("array_columns",)),
        ({**SIZE, "driver_resistance": 1.0, "read_out": "divider", "load_conductance": 1e-3}, ("read_out",)),
        ({**SIZE, "wire_resistance_column": 1.0, "shot_noise": True, "bandwidth": 5e6}, ("shot_noise",)),
        ({"pair_layout": "separate_arrays", "weight_mapping": "offset"}, ("pair_layout",)),
        ({**SIZE, "wire_resistance_row": -1.0}, ("wire_resistance_row",)),
        ({"row_drive": "left"}, ("row_drive",)),
    ],
)
def test_what_cannot_be_combined_is_refused_with_advice(fields, named):
    with pytest.raises(pp.InvalidInput) as refused:
        pp.Hardware(**fields)
    assert tuple(v.field for v in refused.value.violations) == tuple(f"hardware.{name}" for name in named)
    assert all(violation.advice for violation in refused.value.violations)


def test_wires_are_hardware_with_errors():
    still = pp.Hardware(**SIZE, programming_noise_std=0.0)
    assert still.is_noiseless
    assert not still.replace(wire_resistance_row=1.0).is_noiseless
    assert pp.Hardware.from_dict({**SIZE, "sense_resistance": "0.2 kohm"}).sense_resistance == 200.0


def test_sides_in_arrays_of_their_own():
    """40 outputs in arrays of 32 columns: three of pairs, or two of either side, with converters of their own."""
    network = pp.Network.mlp([np.ones((40, 64))])
    for layout, arrays in (("interleaved", 3), ("separate_arrays", 4)):
        hardware = pp.Hardware(**SIZE, pair_layout=layout, dac_energy=1e-12, read_time=1e-7)
        assert layer_arrays(network, hardware)[0].arrays == arrays
        gains, x = pp.Gains(conductance=(1e-5,), voltage=(0.1,)), np.ones((1, 64))
        simulation = pp.simulate(network, hardware, gains, x, draws=1)
        np.testing.assert_allclose(simulation.converter_power_by_layer, 64 * arrays * 1e-5, rtol=1e-12)
