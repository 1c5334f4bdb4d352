"""Requests made to harm: each gets a clean error in time, and the server still answers afterwards."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from planner_fakes import plan_request
from planner_running import Running, failure, outcome

from powerplan_client._generated import v1
from powerplan_server.config import ServeConfig
from powerplan_server.errors import ServiceError
from powerplan_server.limits import check_request

BIG = 2**62
REFUSED = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.NOT_FOUND)


def _network(change: Callable[[v1.NetworkGraph], None]) -> v1.PlanRequest:
    request = v1.PlanRequest()
    change(request.task.network.graph)
    return request


def _weight(*shape: int) -> v1.PlanRequest:
    return _network(lambda graph: graph.nodes.add().tensors["weight"].shape.extend(shape))


def _million_nodes(graph: v1.NetworkGraph) -> None:
    for _ in range(1_000_000):
        graph.nodes.add()


def _many_tensors(graph: v1.NetworkGraph) -> None:
    tensors = graph.nodes.add().tensors
    for i in range(100_000):
        tensors[str(i)].dtype = v1.DataType.DATA_TYPE_FLOAT64


def _deep(depth: int) -> bytes:
    """A plan request with attributes nested so deep that reading them naively would end in a stack overflow."""
    data = b""
    for _ in range(depth):
        inner = b"\x0a" + _length(data) + data  # AttributeList.values
        data = b"\x32" + _length(inner) + inner  # AttributeValue.list_value
    return data


def _length(data: bytes) -> bytes:
    value, out = len(data), b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


HOSTILE: dict[str, Callable[[], v1.PlanRequest]] = {
    "product that overflows": lambda: _weight(BIG, BIG, BIG, BIG),
    "product that wraps to zero": lambda: _weight(2**32, 2**32),
    "more weights than fit": lambda: _weight(10**6, 10**6),
    "million nodes": lambda: _network(_million_nodes),
    "many tensors": lambda: _network(_many_tensors),
    "path as blob": lambda: plan_request(blob="../../../etc/passwd"),
    "blob of nobody": lambda: plan_request(blob="cd" * 32),
    "request id": lambda: plan_request(label="x" * 129),
    "request id with a line break": lambda: plan_request(label="a\nb"),
    "empty request id": lambda: plan_request(label=""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_request_is_refused_before_it_is_queued(server: Running, name: str) -> None:
    request = HOSTILE[name]()
    began = time.monotonic()
    failed = failure(lambda: server.stub.Plan(request, timeout=10))
    assert time.monotonic() - began < 3
    assert failed.code in REFUSED
    assert server.stub.Plan(plan_request(salt=time.monotonic()), timeout=5).HasField("profile_plan")


@pytest.mark.parametrize("name", ["product that overflows", "product that wraps to zero", "more weights than fit"])
def test_announced_size_decides(name: str) -> None:
    with pytest.raises(ServiceError) as refused:
        check_request(HOSTILE[name](), ServeConfig())
    assert refused.value.reason == "REQUEST_TOO_LARGE"
    assert refused.value.violations


def test_memory_is_estimated_before_anything_is_allocated() -> None:
    """Weights, activations of the batch, covariances and the classes of every draw count."""
    config = ServeConfig(worker_memory=2**30)
    request = v1.PredictRequest()
    request.network.graph.nodes.add().tensors["weight"].shape.extend([1000, 1000])
    request.inputs.shape.extend([100, 1000])
    check_request(request, config)
    request.method = v1.PredictionMethod.PREDICTION_METHOD_COVARIANCE
    with pytest.raises(ServiceError, match="memory"):
        check_request(request, config)
    simulate = v1.SimulateRequest(draws=1_000_000, network=request.network, inputs=request.inputs)
    check_request(v1.SimulateRequest(draws=1000, network=request.network, inputs=request.inputs), config)
    with pytest.raises(ServiceError, match="draws"):
        check_request(simulate, config)


def test_every_violation_is_listed_within_the_size_of_a_header(server: Running) -> None:
    failed = failure(lambda: server.stub.Plan(plan_request("refuse 3"), timeout=5))
    assert failed.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [v.field for v in failed.bad.field_violations] == ["task.field0", "task.field1", "task.field2"]
    failed = failure(lambda: server.stub.Plan(plan_request("refuse 5000"), timeout=5))
    listed = failed.bad.field_violations
    assert len(listed) > 10
    assert listed[-1].description == f"{5000 - len(listed) + 1} more violations not shown"
    assert failed.status is not None
    assert failed.status.ByteSize() <= 4096


def test_random_and_truncated_bytes(server: Running) -> None:
    """Bytes that are not a message, or another one, never end in anything but a clean error or an answer."""
    rng = random.Random(0)
    good = plan_request("", salt=77.0, label="fuzz").SerializeToString()
    methods = ("Plan", "Predict", "GetPlanJob", "ListPlanJobs", "GetBlobStatus", "CancelPlanJob", "GetServerInfo")
    clean = {*REFUSED, grpc.StatusCode.OK, grpc.StatusCode.INTERNAL, grpc.StatusCode.ALREADY_EXISTS}
    for i in range(400):
        data = bytearray(good) if i % 2 else bytearray(rng.randbytes(rng.randrange(60)))
        for _ in range(rng.randrange(4)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        data = data[: rng.randrange(len(data) + 1)]
        call = server.channel.unary_unary(f"/powerplan.v1.PlannerService/{methods[i % len(methods)]}")
        code, said = outcome(lambda call=call, data=data: call(bytes(data), timeout=5))
        assert code in clean
        assert "Traceback" not in said
    assert server.stub.Plan(plan_request(salt=78.0), timeout=5).HasField("profile_plan")


def test_bytes_that_are_no_message(server: Running) -> None:
    for method in ("Plan", "Simulate", "SubmitPlan", "WatchPlanJob"):
        kind = server.channel.unary_stream if method in ("Simulate", "WatchPlanJob") else server.channel.unary_unary
        call = kind(f"/powerplan.v1.PlannerService/{method}")
        failed = failure(lambda call=call: call(b"\xff\xff\xff", timeout=5))
        assert (failed.code, failed.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")


def test_deep_nesting(server: Running) -> None:
    attribute = _deep(5000)
    entry = b"\x0a\x01a\x12" + _length(attribute) + attribute
    node = b"\x22" + _length(entry) + entry  # NetworkNode.attributes
    data = node
    for tag in (b"\x12", b"\x0a", b"\x0a", b"\x0a"):  # nodes, graph, network, task
        data = tag + _length(data) + data
    failed = failure(lambda: server.channel.unary_unary("/powerplan.v1.PlannerService/Plan")(data, timeout=5))
    assert failed.code is grpc.StatusCode.INVALID_ARGUMENT


def test_message_beyond_the_limit(server: Running) -> None:
    request = plan_request("x" * (5 * 2**20))
    assert failure(lambda: server.stub.Plan(request, timeout=10)).code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_noise_on_the_port_and_many_connections_leave_nothing_open(server: Running) -> None:
    files = Path("/proc/self/fd")
    before = len(os.listdir(files))
    for i in range(50):
        with socket.create_connection(("localhost", server.server.port)) as noise:
            noise.sendall(os.urandom(100) if i % 2 else b"GET / HTTP/1.1\r\n\r\n")
    for _ in range(20):
        with server.connect() as channel:
            channel.unary_unary("/x/y").future(b"")
    assert server.health() == 1
    end = time.monotonic() + 5
    while len(os.listdir(files)) > before + 5:
        assert time.monotonic() < end
        time.sleep(0.05)
