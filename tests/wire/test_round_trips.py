"""Every conversion to the wire and back loses nothing."""

from __future__ import annotations

from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from wire_strategies import all_gains, hardwares, networks, targets

import powerplan as pp
from powerplan.hardware.by_layer import is_by_layer
from powerplan.network import Linear, Node
from powerplan_client import parsing
from powerplan_client._generated import v1 as pb
from powerplan_client.building import gains_message, hardware_message, target_message
from powerplan_client.by_layer import BY_LAYER
from powerplan_client.inputs import HARDWARE_FIELDS
from powerplan_client.networks import attribute_message, attribute_messages, attribute_value, network_message
from powerplan_client.packing import array_of, tensor_of
from powerplan_server.wire import Reader
from powerplan_server.wire.attributes import map_from_proto
from powerplan_server.wire.gains import gains_from_proto
from powerplan_server.wire.hardware import NAMES, hardware_from_proto
from powerplan_server.wire.networks import network_from_proto
from powerplan_server.wire.plans import plan_to_proto, termination_to_proto
from powerplan_server.wire.results import prediction_to_proto, simulation_to_proto
from powerplan_server.wire.tasks import target_from_proto
from powerplan_server.wire.tensors import DTYPES, array_from_proto

DETAIL = pb.ResultDetail(output_moments=True, layer_moments=True, layer_covariances=True, draws=True)


def read(function: Any, message: Any) -> Any:
    """What a reader makes of a message that went over the wire."""
    reader = Reader.start()
    value = function(reader, type(message).FromString(message.SerializeToString()))
    reader.done()
    return value


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int32, np.int64, np.dtype(">f8")]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
        elements=st.integers(-1000, 1000),
    )
)
def test_arrays(array: np.ndarray) -> None:
    message = tensor_of(array)
    back = read(lambda r, m: array_from_proto(r, m, dtypes=DTYPES, max_elements=10_000), message)
    for copy in (back, array_of(message)):
        assert copy.shape == array.shape
        assert copy.dtype == array.dtype.newbyteorder("=")
        assert np.array_equal(copy, array)


@given(networks())
def test_networks(network: pp.Network) -> None:
    assert read(network_from_proto, network_message(network)).digest == network.digest


def test_an_array_with_several_reads() -> None:
    """Its tensors are sent once."""
    op = Linear(weight=np.eye(3), bias=np.ones(3))
    nodes = tuple(Node(name=n, op=op, inputs=(s,), array="one") for n, s in (("a", "input"), ("b", "a")))
    network = pp.Network(input_shape=(3,), nodes=nodes)
    message = network_message(network)
    assert [len(node.tensors) for node in message.graph.nodes] == [2, 0]
    assert read(network_from_proto, message).digest == network.digest
    message.graph.nodes[1].array = "two"
    with pytest.raises(pp.InvalidInput, match="weight"):
        read(network_from_proto, message)


@given(hardwares())
def test_hardware(hardware: pp.Hardware) -> None:
    assert read(hardware_from_proto, hardware_message(hardware)) == hardware
    assert asdict(parsing.parse_hardware(hardware_message(hardware))) == {**hardware.to_dict(), "preset": None}


def test_every_field_of_hardware_has_a_place_in_the_message() -> None:
    names = {field.name for field in fields(pp.Hardware)}
    assert set(NAMES) == set(HARDWARE_FIELDS) - {"preset"} == names
    places = set(pb.Hardware.DESCRIPTOR.fields_by_name)
    assert {*NAMES.values(), "preset"} == set(HARDWARE_FIELDS.values()) == places - set(BY_LAYER.values())
    assert {field.name for field in fields(pp.Hardware) if is_by_layer(field)} == set(BY_LAYER)


def test_hardware_left_out_takes_the_defaults() -> None:
    assert read(hardware_from_proto, pb.Hardware()) == pp.Hardware()


@pytest.mark.slow
@given(all_gains())
def test_gains(gains: pp.Gains) -> None:
    for back in (read(gains_from_proto, gains_message(gains)), parsing.parse_gains(gains_message(gains))):
        assert_same(back.conductance, gains.conductance)
        assert_same(back.voltage, gains.voltage)
        assert_same(back.column_scale or None, gains.column_scale)
        assert_same(back.row_scale or None, gains.row_scale)


@given(targets)
def test_targets(target: pp.MaxMSE) -> None:
    assert read(target_from_proto, target_message(target)) == target
    again = parsing.parse_target(target_message(target))
    assert (type(again).__name__, again.value) == (type(target).__name__, target.value)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.dictionaries(st.text(max_size=5), plain, max_size=4))
@settings(max_examples=50)
def test_attributes(values: dict[str, Any]) -> None:
    assert map_from_proto(Reader.start(), attribute_messages(values)) == values
    for value in values.values():
        assert attribute_value(attribute_message(value)) == value


@pytest.fixture(scope="module")
def problem() -> tuple[pp.Network, pp.Hardware, np.ndarray]:
    rng = np.random.default_rng(5)
    network = pp.Network.mlp([rng.normal(size=(6, 4)), rng.normal(size=(3, 6))], [rng.normal(size=6), None])
    return network, pp.Hardware(read_noise_std=1e-8, feedback_resistance=1e3), rng.normal(size=(5, 4))


@pytest.mark.parametrize("method", ["linearized", "covariance", "diagonal"])
def test_predictions(problem: tuple[pp.Network, pp.Hardware, np.ndarray], method: str) -> None:
    network, hardware, inputs = problem
    prediction = pp.predict(network, hardware, pp.Gains.full_range(network, hardware, inputs), inputs, method=method)
    back = parsing.parse_prediction(prediction_to_proto(prediction, DETAIL, accuracy=(0.5, 0.01, 0.05)))
    assert_fields(back, prediction)
    assert (back.accuracy, back.accuracy_standard_error) == (0.5, 0.01)
    short = parsing.parse_prediction(prediction_to_proto(prediction))
    assert short.output_mean is None and short.layers == () and short.mse == prediction.mse  # noqa: PT018


def test_predictions_keep_their_standard_error_and_number_of_fields(
    problem: tuple[pp.Network, pp.Hardware, np.ndarray],
) -> None:
    network, hardware, inputs = problem
    gains = pp.Gains.full_range(network, hardware, inputs)
    prediction = pp.predict(network, hardware, gains, inputs, output_combinations=3, seed=7)
    prediction = replace(prediction, marginal_fields=64)
    back = parsing.parse_prediction(prediction_to_proto(prediction, DETAIL))
    assert_fields(back, prediction)
    assert back.mse_standard_error > 0
    assert back.marginal_fields == 64
    assert back.output_covariance is None


def test_simulations(problem: tuple[pp.Network, pp.Hardware, np.ndarray]) -> None:
    network, hardware, inputs = problem
    gains = pp.Gains.full_range(network, hardware, inputs)
    simulation = pp.simulate(network, hardware, gains, inputs, draws=40, layer_moments="covariance")
    back = parsing.parse_simulation(simulation_to_proto(simulation, DETAIL))
    assert_fields(back, simulation)
    assert back.mse_confidence_interval == simulation.mse_confidence_interval
    assert parsing.parse_simulation(simulation_to_proto(simulation)).classes is None


@pytest.mark.slow
@pytest.mark.parametrize("target", [pp.MaxNMSE(0.01), pp.MaxNMSE(1e-9), pp.MaxPower(1e-6)])
@pytest.mark.parametrize("granularity", ["network", "layer", "column"])
def test_plans(problem: tuple[pp.Network, pp.Hardware, np.ndarray], target: pp.MaxMSE, granularity: str) -> None:
    network, hardware, inputs = problem
    plan = pp.plan(network, hardware, inputs, target, granularity=granularity, verify_draws=20)
    back = parsing.parse_plan(plan_to_proto(plan, DETAIL))
    assert_fields(back, plan)
    assert (back.saving, back.power, back.mse) == (plan.saving, plan.power, plan.mse)
    assert back.termination.advice == plan.termination.outcome.advice


@pytest.mark.slow
def test_a_target_out_of_reach(problem: tuple[pp.Network, pp.Hardware, np.ndarray]) -> None:
    network, hardware, inputs = problem
    plan = pp.plan(network, hardware.replace(column_gain_std=0.1, adc_bits=3), inputs, pp.MaxNMSE(1e-5))
    assert plan.termination.floor_parts
    assert plan.termination.remedies
    assert_fields(parsing.parse_termination(termination_to_proto(plan.termination)), plan.termination)


@pytest.mark.parametrize("mapping", ["shared", "unrolled"])
def test_arrays_of_a_plan(mapping: str) -> None:
    """A plan states the arrays of every layer and their sum; a server that does not count them leaves None."""
    rng = np.random.default_rng(8)
    network = pp.Network.mlp([rng.normal(size=(6, 4)), rng.normal(size=(3, 6))])
    hardware = pp.Hardware(array_rows=4, array_columns=6, mapping=mapping)
    plan = pp.plan(network, hardware, rng.normal(size=(5, 4)), pp.MaxNMSE(0.01))
    message = plan_to_proto(plan)
    back = parsing.parse_plan(message)
    assert_same(back.arrays, plan.arrays)
    # 4 rows of inputs in 1 tile, 6 outputs of 2 columns in 2 tiles; then 6 rows in 2 tiles, 3 outputs in 1
    assert [layer.arrays for layer in back.arrays or ()] == [2, 2]
    assert [layer.arrays for layer in message.arrays] == [2, 2]
    assert back.array_count == plan.array_count == message.array_count == 4
    message.ClearField("arrays")
    message.ClearField("array_count")
    older = parsing.parse_plan(message)
    assert older.arrays is None
    assert older.array_count is None


def assert_fields(back: Any, original: Any) -> None:
    """Every field of the engine's value is in the client's, with the same name and content."""
    for field in fields(original):
        assert_same(getattr(back, field.name), getattr(original, field.name))


def assert_same(back: Any, original: Any) -> None:
    if is_dataclass(original) and not isinstance(original, type):
        if hasattr(original, "value") and not fields(original)[1:]:
            assert back.value == original.value
        assert_fields(back, original)
    elif isinstance(original, np.ndarray):
        assert back.shape == original.shape
        assert np.array_equal(back, original, equal_nan=True)
    elif isinstance(original, tuple | list):
        assert len(back) == len(original)
        for one, other in zip(back, original, strict=True):
            assert_same(one, other)
    elif hasattr(original, "advice"):
        assert back.value == original.value
    elif isinstance(original, float) and np.isnan(original):
        assert np.isnan(back)
    else:
        assert back == original
