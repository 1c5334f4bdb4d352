"""Read-out, mapping of weights and converters in messages and in what a client gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import powerplan as pp
import powerplan_client as pc
from powerplan.cli.options import take_hardware
from powerplan_client._generated import v1 as pb
from powerplan_client.building import hardware_message
from powerplan_client.inputs import HARDWARE_FIELDS, hardware_fields
from powerplan_client.parsing import parse_hardware, parse_prediction, parse_simulation
from powerplan_server.wire import Reader
from powerplan_server.wire.hardware import hardware_from_proto
from powerplan_server.wire.results import prediction_to_proto, simulation_to_proto

CONVERTERS: dict[str, Any] = {
    "weight_mapping": "offset",
    "bias_mapping": "row",
    "feedback_tracking": True,
    "dac_bits": 6,
    "adc_bits": 8,
    "adc_range": 1.0,
    "adc_headroom": 0.8,
    "thermal_noise": True,
    "shot_noise": True,
    "temperature": 350.0,
    "bandwidth": 5e6,
    "dac_energy": 50e-15,
    "adc_energy": 1e-12,
}
DIVIDER: dict[str, Any] = {"read_out": "divider", "load_conductance": 1e-3}
WIRES: dict[str, Any] = {
    "array_rows": 128,
    "array_columns": 64,
    "wire_resistance_row": 0.35,
    "wire_resistance_column": 1.0,
    "driver_resistance": 100.0,
    "sense_resistance": 50.0,
    "row_drive": "both_ends",
    "pair_layout": "separate_arrays",
}


def read(message: pb.Hardware) -> pp.Hardware | None:
    """What the server makes of a message."""
    reader = Reader.start(path="hardware")
    hardware = hardware_from_proto(reader, pb.Hardware.FromString(message.SerializeToString()))
    reader.done()
    return hardware


@pytest.mark.parametrize("fields", [CONVERTERS, DIVIDER, WIRES])
def test_the_server_reads_what_a_client_gives(fields: dict[str, Any]) -> None:
    """As the client's class, as a mapping and as the engine's class; a field left out takes its default."""
    wanted = pp.Hardware(**fields)
    for given in (pc.Hardware(**fields), fields, wanted):
        assert read(pb.Hardware(**hardware_fields(given))) == wanted
    back = parse_hardware(hardware_message(wanted))
    assert {name: getattr(back, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("fields", "path", "value"),
    [
        ({"weight_mapping": "offest"}, "weight_mapping", "'offest'"),
        ({"bias_mapping": "x" * 10_000}, "bias_mapping", "'xxx"),
        ({"read_out": ""}, "read_out", "''"),
        ({"dac_bits": 1}, "dac_bits", "1"),
        ({"adc_bits": 2**62}, "adc_bits", str(2**62)),
        ({"adc_bits": -8}, "adc_bits", "-8"),
        ({"load_conductance": 1e-3}, "load_conductance_siemens", "0.001"),
        ({"read_out": "divider", "load_conductance": 0.0}, "load_conductance_siemens", "0"),
        ({"read_out": "divider"}, "load_conductance_siemens", "None"),
        ({"feedback_tracking": True}, "adc_range_volts", "None"),
        ({"adc_range": float("inf"), "feedback_resistance": 1e3}, "adc_range_volts", "inf"),
        ({"adc_headroom": float("nan")}, "adc_headroom", "nan"),
        ({"thermal_noise": True}, "bandwidth_hertz", "None"),
        ({"shot_noise": True, "bandwidth": -1.0}, "bandwidth_hertz", "-1"),
        ({"temperature": 0.0}, "temperature_kelvin", "0"),
        ({"temperature": 1e300}, "temperature_kelvin", r"1e\+300"),
        ({"dac_energy": -1e-15}, "dac_energy_joules", "-1e-15"),
        ({"adc_energy": float("nan")}, "adc_energy_joules", "nan"),
    ],
)
def test_the_server_names_the_field_that_is_wrong(fields: dict[str, Any], path: str, value: str) -> None:
    message = pb.Hardware(**{HARDWARE_FIELDS[name]: entry for name, entry in fields.items()})
    with pytest.raises(pp.InvalidInput, match=rf"hardware\.{path}: got {value}"):
        read(message)


@pytest.mark.parametrize(
    ("fields", "name"), [({"dac_bits": "six"}, "dac_bits"), ({"thermal_noise": "yes"}, "thermal_noise")]
)
def test_the_client_refuses_values_of_another_type(fields: dict[str, Any], name: str) -> None:
    client = pc.PlannerClient.local()
    network, inputs = [[[1.0]]], [[1.0]]
    with pytest.raises(pc.InvalidRequest, match="hardware"):
        client.predict(network, pc.Hardware(**fields), None, inputs)


def test_take_hardware_keeps_a_boolean_that_is_false() -> None:
    """--no-thermal-noise is an answer, not a field left out."""
    options = {"hw_thermal_noise": False, "hw_dac_bits": None, "hw_adc_bits": 8, "seed": 0}
    assert take_hardware(options) == {"thermal_noise": False, "adc_bits": 8}
    assert options == {"seed": 0}


def test_the_power_of_converters_passes_the_wire() -> None:
    """A prediction from a server has it by layer; a server that does not know it leaves zeros."""
    network, inputs = pp.Network.mlp([np.eye(3), np.ones((2, 3))]), np.ones((2, 3))
    hardware = pp.Hardware(dac_energy=1e-12, adc_energy=2e-12)
    prediction = pp.predict(network, hardware, pp.Gains.full_range(network, hardware, inputs), inputs)
    answer = pc.PlannerClient.local().predict(network, hardware, None, inputs)
    assert answer.converter_power_by_layer.tolist() == prediction.converter_power_by_layer.tolist()
    assert (answer.converter_power_by_layer > 0).all()
    message = prediction_to_proto(prediction)
    message.ClearField("converter_power_by_layer_watts")
    assert parse_prediction(message).converter_power_by_layer.tolist() == [0.0, 0.0]


def test_the_power_of_converters_in_a_simulation_passes_the_wire() -> None:
    network, inputs = pp.Network.mlp([np.eye(3), np.ones((2, 3))]), np.ones((2, 3))
    hardware = pp.Hardware(dac_energy=1e-12, adc_energy=2e-12)
    simulation = pp.simulate(network, hardware, pp.Gains.full_range(network, hardware, inputs), inputs, draws=4)
    assert (simulation.converter_power_by_layer > 0).all()
    message = simulation_to_proto(simulation)
    assert parse_simulation(message).converter_power_by_layer.tolist() == simulation.converter_power_by_layer.tolist()
    message.ClearField("converter_power_by_layer_watts")
    assert parse_simulation(message).converter_power_by_layer.tolist() == [0.0, 0.0]
