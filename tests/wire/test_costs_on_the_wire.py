"""Costs of the hardware and of results, between client and server."""

from __future__ import annotations

import numpy as np
import pytest

import powerplan as pp
from powerplan_client import Hardware
from powerplan_client._generated import v1 as pb
from powerplan_client.building import hardware_message
from powerplan_client.parsing import parse_hardware, parse_plan, parse_prediction
from powerplan_server.wire import Reader
from powerplan_server.wire.hardware import hardware_from_proto
from powerplan_server.wire.plans import plan_to_proto
from powerplan_server.wire.results import prediction_to_proto

TABLE = {"type": "table", "bits": (4.0, 8.0), "energies": (1e-12, 3e-12)}


def _through(value: object) -> pp.Hardware:
    message = pb.Hardware.FromString(hardware_message(value).SerializeToString())
    reader = Reader.start(path="task.hardware")
    hardware = hardware_from_proto(reader, message)
    reader.done()
    assert hardware is not None
    return hardware


@pytest.mark.parametrize(
    "costs",
    [
        "node_32nm",
        {"preset": "isaac_32nm", "pipelined": True},
        {"adc": 1e-12, "sample_hold_energy": 0.0},
        {"adc": TABLE},
    ],
)
def test_costs_arrive_as_they_were_given(costs: object) -> None:
    expected = pp.Hardware.from_dict(
        {"costs": costs, "columns_per_adc": [8, 4], "dac_bits": 8, "input_slice_bits": [1, None]}
    )
    assert _through(Hardware(costs=costs, columns_per_adc=(8, 4), dac_bits=8, input_slice_bits=(1, None))) == expected  # type: ignore[arg-type]
    assert _through(expected) == expected
    assert _through(parse_hardware(hardware_message(expected))) == expected


def test_nonsense_is_refused_by_name() -> None:
    with pytest.raises(pp.InvalidInput, match=r"hardware\.costs\.adc\.node: got -1"):
        _through({"costs": {"adc": {"type": "survey", "node": -1.0}}})


def test_results_tell_costs() -> None:
    example = pp.load_example("iris")
    network, inputs = example.network, example.inputs[:8]
    hardware = pp.Hardware(conductance_min=1e-6, adc_bits=8, dac_bits=8, costs="node_22nm")
    gains = pp.Gains.uniform(network, hardware, inputs=inputs)
    prediction = pp.predict(network, hardware, gains, inputs)
    assert prediction.costs is not None
    arrived = parse_prediction(prediction_to_proto(prediction)).costs
    assert arrived is not None
    np.testing.assert_array_equal(arrived.energy_by_component, prediction.costs.energy_by_component)
    assert arrived.tops_per_watt == prediction.costs.tops_per_watt
    assert parse_prediction(prediction_to_proto(pp.predict(network, pp.Hardware(), gains, inputs))).costs is None


def test_plans_tell_the_bits_chosen_for_every_layer() -> None:
    example = pp.load_example("iris")
    hardware = pp.Hardware(conductance_min=1e-6, programming_noise_std=1e-6, adc_bits=(7, 5), columns_per_adc=(4, 1))
    corner = hardware.replace(adc_bits=(8, 6))
    plan = pp.plan(example.network, hardware, example.inputs[:8], pp.MaxNMSE(0.05), corners=[corner])
    arrived = parse_plan(plan_to_proto(plan))
    assert (arrived.hardware.adc_bits, arrived.hardware.columns_per_adc) == ((7, 5), (4, 1))
    assert arrived.corners[0].hardware.adc_bits == (8, 6)
