"""Hostile requests: each gets an InvalidInput with every violation by path, and nothing of its size is allocated."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings, strategies as st
from wire_strategies import networks

import powerplan as pp
from powerplan.errors import InvalidInput, UnsupportedOperation
from powerplan.jobs.contents import Contents
from powerplan_client._generated import v1 as pb
from powerplan_client.networks import network_message
from powerplan_client.packing import tensor_of
from powerplan_server import calls
from powerplan_server.wire import (
    BlobNotFound,
    FeatureUnavailable,
    FileBlobs,
    MemoryBlobs,
    Reader,
    TooLarge,
    WireLimits,
    blob_refs,
    reason_of,
)
from powerplan_server.wire.networks import network_from_proto
from powerplan_server.wire.tensors import array_from_proto

DIGEST = "ab" * 32


def request() -> pb.PlanRequest:
    """A good request that is only validated."""
    network = pp.Network.mlp([np.ones((3, 4)), np.ones((2, 3))], [np.zeros(3), None])
    task = pb.PlanTask(
        network=network_message(network), inputs=tensor_of(np.ones((2, 4))), target=pb.Target(max_nmse=0.01)
    )
    return pb.PlanRequest(task=task, validate_only=True)


def refused(message: pb.PlanRequest, limits: WireLimits | None = None) -> InvalidInput:
    """The error of a request."""
    with pytest.raises(InvalidInput) as caught:
        calls.run_plan(message, calls.CallContext(limits=limits or WireLimits()))
    return caught.value


def paths(error: InvalidInput) -> set[str]:
    return {violation.field for violation in error.violations}


def test_the_request_that_the_others_spoil_is_good() -> None:
    assert calls.run_plan(request(), calls.CallContext()).WhichOneof("result") is None


def spoil_shape(task: pb.PlanTask) -> None:
    task.network.graph.nodes[0].tensors["weight"].shape[:] = [2**62, 2**62]


def spoil_zero_times_huge(task: pb.PlanTask) -> None:
    task.network.graph.nodes[0].tensors["weight"].CopyFrom(pb.Tensor(dtype=2, shape=[0, 2**62]))


def spoil_negative_shape(task: pb.PlanTask) -> None:
    task.network.graph.nodes[0].tensors["weight"].shape[:] = [-3, -4]


def spoil_bytes(task: pb.PlanTask) -> None:
    task.network.graph.nodes[0].tensors["weight"].data += b"x"


def spoil_dtype(task: pb.PlanTask) -> None:
    task.network.graph.nodes[0].tensors["weight"].dtype = 77  # type: ignore[assignment]


def spoil_nan(task: pb.PlanTask) -> None:
    task.network.graph.nodes[0].tensors["weight"].data = np.full(12, np.nan).tobytes()


def spoil_axes(task: pb.PlanTask) -> None:
    task.inputs.shape[:] = [1] * 1000


def spoil_inputs_nan(task: pb.PlanTask) -> None:
    task.inputs.data = np.full(8, np.inf).tobytes()


def spoil_inputs_width(task: pb.PlanTask) -> None:
    task.inputs.CopyFrom(tensor_of(np.ones((2, 5))))


def spoil_inputs_empty(task: pb.PlanTask) -> None:
    task.inputs.CopyFrom(tensor_of(np.ones((0, 4))))


def spoil_cycle(task: pb.PlanTask) -> None:
    task.network.graph.nodes[0].inputs[0] = "linear2"


def spoil_edge(task: pb.PlanTask) -> None:
    task.network.graph.nodes[1].inputs[0] = "nowhere"


def spoil_duplicate(task: pb.PlanTask) -> None:
    task.network.graph.nodes[1].name = "linear1"


def spoil_name(task: pb.PlanTask) -> None:
    task.network.graph.nodes[0].name = "../../etc/passwd\x00"


def spoil_long_name(task: pb.PlanTask) -> None:
    task.network.graph.nodes[0].name = "n" * 300


def spoil_type(task: pb.PlanTask) -> None:
    task.network.graph.nodes[0].type = "__class__"


def spoil_input_shape(task: pb.PlanTask) -> None:
    task.network.graph.input_shape[:] = [2**62]


def spoil_output(task: pb.PlanTask) -> None:
    task.network.graph.output = "linear1"


def spoil_attribute(task: pb.PlanTask) -> None:
    task.network.graph.nodes[1].attributes["kind"].list_value.SetInParent()


def spoil_parameter(task: pb.PlanTask) -> None:
    task.network.graph.nodes[1].attributes["parameters"].map_value.entries["slope"].number_value = 1


def spoil_missing_tensor(task: pb.PlanTask) -> None:
    task.network.graph.nodes[0].ClearField("tensors")


def spoil_missing_attribute(task: pb.PlanTask) -> None:
    task.network.graph.nodes[1].ClearField("attributes")


def spoil_width(task: pb.PlanTask) -> None:
    task.network.graph.nodes[2].tensors["weight"].CopyFrom(tensor_of(np.ones((2, 5))))


def spoil_product(task: pb.PlanTask) -> None:
    task.network.graph.nodes[1].CopyFrom(pb.NetworkNode(name="much", type="pad", inputs=["linear1"]))
    pair = task.network.graph.nodes[1].attributes["padding"].list_value.values.add().list_value
    pair.values.add().integer_value = pair.values.add().integer_value = 2**33
    task.network.graph.nodes[2].inputs[:] = ["much"]


def spoil_depth(task: pb.PlanTask) -> None:
    value = task.network.graph.nodes[1].attributes["kind"]
    for _ in range(20):
        value = value.list_value.values.add()


def spoil_attribute_tensor(task: pb.PlanTask) -> None:
    task.network.graph.nodes[0].attributes["weight"].number_value = 1


def spoil_blob(task: pb.PlanTask) -> None:
    task.inputs.blob.CopyFrom(pb.BlobRef(sha256=DIGEST, size_bytes=64))


def spoil_blob_path(task: pb.PlanTask) -> None:
    task.inputs.blob.CopyFrom(pb.BlobRef(sha256="../../../etc/passwd", size_bytes=64))


def spoil_blob_size(task: pb.PlanTask) -> None:
    task.inputs.blob.CopyFrom(pb.BlobRef(sha256=DIGEST, size_bytes=2**60))


def spoil_source(task: pb.PlanTask) -> None:
    task.network.Clear()


def spoil_file(task: pb.PlanTask) -> None:
    task.network.saved_network.data = b"PK\x03\x04 not a network"


def spoil_onnx(task: pb.PlanTask) -> None:
    task.network.onnx.data = b"onnx"


def spoil_hardware(task: pb.PlanTask) -> None:
    task.hardware.voltage_max_volts = float("nan")


def spoil_polynomial(task: pb.PlanTask) -> None:
    task.hardware.programming_noise_polynomial_siemens.extend([1.0] * 1000)


def spoil_target(task: pb.PlanTask) -> None:
    task.target.max_mse = -1


def spoil_no_target(task: pb.PlanTask) -> None:
    task.ClearField("target")


def spoil_granularity(task: pb.PlanTask) -> None:
    task.settings.granularity = 9  # type: ignore[assignment]


def spoil_optimize(task: pb.PlanTask) -> None:
    task.settings.optimize.extend([1, 1])  # type: ignore[list-item]


def spoil_held(task: pb.PlanTask) -> None:
    task.settings.held_voltage_volts.add(scalar=-1)


def spoil_held_count(task: pb.PlanTask) -> None:
    task.settings.held_voltage_volts.add(scalar=0.1)


def spoil_draws(task: pb.PlanTask) -> None:
    task.settings.verify_draws = 2**62


def spoil_tolerance(task: pb.PlanTask) -> None:
    task.settings.tolerance = 0


SPOILED: dict[Callable[[pb.PlanTask], None], tuple[str, str]] = {
    spoil_shape: ("task.network.graph.nodes", "REQUEST_TOO_LARGE"),
    spoil_zero_times_huge: ('task.network.graph.nodes[0].tensors["weight"]', "INVALID_REQUEST"),
    spoil_negative_shape: ('task.network.graph.nodes[0].tensors["weight"].shape', "INVALID_REQUEST"),
    spoil_bytes: ('task.network.graph.nodes[0].tensors["weight"].data', "INVALID_REQUEST"),
    spoil_dtype: ('task.network.graph.nodes[0].tensors["weight"].dtype', "INVALID_REQUEST"),
    spoil_nan: ('task.network.graph.nodes[0].tensors["weight"].data', "INVALID_REQUEST"),
    spoil_axes: ("task.inputs.shape", "INVALID_REQUEST"),
    spoil_inputs_nan: ("task.inputs.data", "INVALID_REQUEST"),
    spoil_inputs_width: ("task.inputs.shape", "INVALID_REQUEST"),
    spoil_inputs_empty: ("task.inputs", "INVALID_REQUEST"),
    spoil_cycle: ("task.network.graph.nodes", "INVALID_REQUEST"),
    spoil_edge: ("task.network.graph.nodes[1].inputs", "INVALID_REQUEST"),
    spoil_duplicate: ("task.network.graph.nodes[1].name", "INVALID_REQUEST"),
    spoil_name: ("task.network.graph.nodes[0].name", "INVALID_REQUEST"),
    spoil_long_name: ("task.network.graph.nodes[0].name", "REQUEST_TOO_LARGE"),
    spoil_type: ("task.network.graph.nodes[0].type", "UNSUPPORTED_OPERATION"),
    spoil_input_shape: ("task.network.graph.input_shape", "REQUEST_TOO_LARGE"),
    spoil_output: ("task.network.graph.nodes", "INVALID_REQUEST"),
    spoil_attribute: ('task.network.graph.nodes[1].attributes["kind"]', "UNSUPPORTED_OPERATION"),
    spoil_parameter: ('task.network.graph.nodes[1].attributes["parameters"].slope', "INVALID_REQUEST"),
    spoil_width: ('task.network.graph.nodes[2].tensors["weight"]', "INVALID_REQUEST"),
    spoil_product: ("task.network.graph.nodes[1]", "INVALID_REQUEST"),
    spoil_missing_tensor: ('task.network.graph.nodes[0].tensors["weight"]', "INVALID_REQUEST"),
    spoil_missing_attribute: ('task.network.graph.nodes[1].attributes["kind"]', "INVALID_REQUEST"),
    spoil_depth: ("task.network.graph.nodes[1]", "INVALID_REQUEST"),
    spoil_attribute_tensor: ("task.network.graph.nodes[0]", "INVALID_REQUEST"),
    spoil_blob: ("task.inputs.blob.sha256", "BLOB_NOT_FOUND"),
    spoil_blob_path: ("task.inputs.blob.sha256", "INVALID_REQUEST"),
    spoil_blob_size: ("task.inputs.blob.size_bytes", "INVALID_REQUEST"),
    spoil_source: ("task.network", "INVALID_REQUEST"),
    spoil_file: ("task.network.saved_network.data", "CORRUPT_FILE"),
    spoil_onnx: ("task.network.onnx.data", "CORRUPT_FILE"),
    spoil_hardware: ("task.hardware.voltage_max_volts", "INVALID_REQUEST"),
    spoil_polynomial: ("task.hardware.programming_noise_polynomial_siemens", "INVALID_REQUEST"),
    spoil_target: ("task.target.max_mse", "INVALID_REQUEST"),
    spoil_no_target: ("task.target", "INVALID_REQUEST"),
    spoil_granularity: ("task.settings.granularity", "INVALID_REQUEST"),
    spoil_optimize: ("task.settings.optimize", "INVALID_REQUEST"),
    spoil_held: ("task.settings.held_voltage_volts[0].scalar", "INVALID_REQUEST"),
    spoil_held_count: ("task.settings.held_voltage_volts", "INVALID_REQUEST"),
    spoil_draws: ("task.settings.verify_draws", "REQUEST_TOO_LARGE"),
    spoil_tolerance: ("task.settings.tolerance", "INVALID_REQUEST"),
}


@pytest.mark.parametrize("spoil", SPOILED, ids=lambda spoil: spoil.__name__)
def test_a_spoiled_request_is_refused_by_path_and_reason(spoil: Callable[[pb.PlanTask], None]) -> None:
    message = request()
    spoil(message.task)
    error = refused(message)
    path, reason = SPOILED[spoil]
    assert any(found.startswith(path) for found in paths(error)), str(error)
    assert reason_of(error) == reason


def test_all_violations_are_listed_at_once() -> None:
    message = request()
    for spoil in (spoil_bytes, spoil_hardware, spoil_inputs_nan, spoil_target, spoil_granularity, spoil_tolerance):
        spoil(message.task)
    assert len(refused(message).violations) == 6


def test_a_million_layers_are_refused_without_looking_at_them() -> None:
    message = request()
    one = pb.NetworkGraph(nodes=[pb.NetworkNode(name="n", type="linear", inputs=["input"])])
    message.task.network.graph.MergeFromString(one.SerializeToString() * 1_000_000)
    error = refused(message)
    assert paths(error) == {"task.network.graph.nodes"}
    assert isinstance(error, TooLarge)


@pytest.mark.parametrize("spoil", [spoil_shape, spoil_blob_size, spoil_input_shape, spoil_zero_times_huge])
def test_nothing_of_the_claimed_size_is_allocated(spoil: Callable[[pb.PlanTask], None]) -> None:
    message = request()
    spoil(message.task)
    tracemalloc.start()
    try:
        refused(message)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


def test_the_limits_are_kept() -> None:
    for limits, path in (
        (WireLimits(max_nodes=2), "task.network.graph.nodes"),
        (WireLimits(max_network_elements=20), "task.network.graph.nodes"),
        (WireLimits(max_inputs_bytes=32), "task.inputs"),
        (WireLimits(max_name_length=3), "task.network.graph.output"),
    ):
        error = refused(request(), limits)
        assert any(found.startswith(path) for found in paths(error))
        assert isinstance(error, TooLarge)


def test_blobs_are_read_from_memory_and_from_files(tmp_path: Path) -> None:
    array = np.arange(8.0).reshape(2, 4)
    digest = Contents(tmp_path).put(array.tobytes())
    message = pb.Tensor(dtype=2, shape=[2, 4], blob=pb.BlobRef(sha256=digest, size_bytes=64))
    for blobs in (MemoryBlobs({digest: array.tobytes()}), FileBlobs({digest: tmp_path / digest})):
        reader = Reader.start(blobs=blobs)
        back = array_from_proto(reader, message, max_elements=8)
        reader.done()
        assert np.array_equal(back, array)
    reader = Reader.start(blobs=MemoryBlobs({digest: b"short"}))
    assert array_from_proto(reader, message, max_elements=8) is None
    assert paths_of(reader) == ["blob.size_bytes"]


def test_a_damaged_blob_is_missing_and_makes_room_for_its_repair(tmp_path: Path) -> None:
    """One flipped bit, and one lost byte: no array of them, but the request to upload the blob again."""
    content = np.arange(8.0).tobytes()
    for damaged in (b"\x01" + content[1:], content[:-1]):
        digest = Contents(tmp_path).put(content)
        (tmp_path / digest).write_bytes(damaged)
        reader = Reader.start(blobs=FileBlobs({digest: tmp_path / digest}))
        message = pb.Tensor(dtype=2, shape=[8], blob=pb.BlobRef(sha256=digest, size_bytes=len(content)))
        assert array_from_proto(reader, message, max_elements=8) is None
        assert paths_of(reader) == ["blob.sha256"]
        assert not (tmp_path / digest).exists()


def paths_of(reader: Reader) -> list[str]:
    return [violation.field for violation, _ in reader.found]


def test_a_saved_network_is_read_whole(tmp_path: Path) -> None:
    network = pp.Network.mlp([np.ones((3, 4))])
    network.save(tmp_path / "network.npz")
    content = (tmp_path / "network.npz").read_bytes()
    digest = Contents(tmp_path).put(content)
    for file, blobs in (
        (pb.FileContent(data=content), MemoryBlobs()),
        (
            pb.FileContent(blob=pb.BlobRef(sha256=digest, size_bytes=len(content))),
            FileBlobs({digest: tmp_path / digest}),
        ),
    ):
        reader = Reader.start(blobs=blobs)
        back = network_from_proto(reader, pb.Network(saved_network=file))
        reader.done()
        assert back is not None
        assert back.digest == network.digest


def test_blob_refs_are_found_everywhere() -> None:
    digests = [f"{i:064x}" for i in range(3)]
    message = request()
    message.task.network.graph.nodes[0].tensors["weight"].blob.sha256 = digests[0]
    message.task.inputs.blob.sha256 = digests[1]
    assert blob_refs(message) == set(digests[:2])
    message.task.network.saved_network.blob.sha256 = digests[2]
    assert blob_refs(message) == set(digests[1:])


def test_the_kind_of_an_error_says_what_to_do_about_it() -> None:
    assert issubclass(BlobNotFound, InvalidInput)
    assert reason_of(FeatureUnavailable()) == "FEATURE_UNAVAILABLE"
    assert reason_of(UnsupportedOperation()) == "UNSUPPORTED_OPERATION"
    assert reason_of(RuntimeError()) == "INTERNAL"


def mutations(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """``data`` with bytes changed, removed, repeated and cut."""
    random_ = random.Random(seed)
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(random_.randint(1, 4)):
            at = random_.randrange(len(changed))
            match random_.randrange(4):
                case 0:
                    changed[at] = random_.randrange(256)
                case 1:
                    del changed[at : at + random_.randint(1, 8)]
                case 2:
                    changed[at:at] = changed[at : at + random_.randint(1, 16)]
                case _:
                    changed[at] ^= 1 << random_.randrange(8)
            if not changed:
                break
        yield bytes(changed)


@pytest.mark.slow
def test_mutated_bytes_of_requests_raise_nothing_but_invalid_input() -> None:
    """Validation only: what parses is either good or refused as InvalidInput."""
    good = request()
    good.task.hardware.read_noise_std_amperes = 1e-8
    good.task.settings.optimize.append(pb.GAIN_KIND_CONDUCTANCE)
    good.task.settings.held_voltage_volts.add(scalar=0.1)
    good.task.settings.held_voltage_volts.add(scalar=0.1)
    parsed = accepted = 0
    for data in mutations(good.SerializeToString(), 3000, seed=1):
        try:
            message = pb.PlanRequest.FromString(data)
        except DecodeError:
            continue
        parsed += 1
        message.validate_only = True
        try:
            calls.run_plan(message, calls.CallContext())
            accepted += 1
        except InvalidInput as error:
            assert error.violations  # noqa: PT017
    assert parsed > 300
    assert accepted > 20


@pytest.mark.slow
@given(networks(), st.randoms(use_true_random=False), st.integers(1, 3))
@settings(max_examples=60)
def test_rearranged_graphs_raise_nothing_but_invalid_input(
    network: pp.Network, random_: random.Random, changes: int
) -> None:
    graph = network_message(network).graph
    names = [node.name for node in graph.nodes] + ["input", "", "x"]
    for _ in range(changes):
        node = random_.choice(graph.nodes)
        match random_.randrange(6):
            case 0:
                node.name = random_.choice(names)
            case 1:
                node.inputs[:] = random_.choices(names, k=random_.randrange(3))
            case 2:
                node.type = random_.choice([n.type for n in graph.nodes])
            case 3:
                for tensor in node.tensors.values():
                    tensor.shape[:] = [random_.choice([0, 1, 2**40, -1]) for _ in tensor.shape]
            case 4:
                node.tensors["bias"].CopyFrom(pb.Tensor(dtype=random_.randrange(6), data=b"12345678"))  # type: ignore[arg-type]
            case _:
                node.attributes["parameters"].text_value = random_.choice(names)
    reader = Reader.start()
    result = network_from_proto(reader, pb.Network(graph=graph))
    assert (result is None) == bool(reader.found)


@given(st.binary(max_size=300))
def test_random_bytes_as_a_profile_raise_nothing_but_invalid_input(data: bytes) -> None:
    try:
        profile = pb.PlanningProfile.FromString(data)
    except DecodeError:
        return
    message = pb.PlanRequest(task=pb.PlanTask(profile=profile, target=pb.Target(max_mse=1)), validate_only=True)
    with pytest.raises(InvalidInput):
        calls.run_plan(message, calls.CallContext())
