"""Requests made by hand to harm a real server: each is refused cleanly and in time, and harms nobody else."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator

import grpc
import numpy as np
import pytest
from google.protobuf.message import Message
from service_process import Service, largest
from service_requests import (
    Ending,
    hardware,
    inputs,
    plan_request,
    predict_request,
    profile_request,
    send,
    simulate_request,
    tensor,
    upload,
)

from benchmarks.memory import held_memory
from powerplan_client._generated import v1

ALICE, MALLORY = "token-of-alice-0123", "token-of-mallory-0123"
DEADLINE = 10.0
BIG = 2**62
MIB = 2**20


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server with default limits and two tenants."""
    tokens = f"alice:{ALICE},mallory:{MALLORY}"
    running = Service(tmp_path_factory.mktemp("hostile"), POWERPLAN_SERVE_TOKENS=tokens)
    yield running
    assert "Traceback" not in running.log()
    assert running.stop() == 0


def _call(service: Service, method: str, *parts: bytes | Message, token: str = MALLORY) -> Ending:
    data = [part if isinstance(part, bytes) else part.SerializeToString() for part in parts]
    ending = send(service.channel, method, *data, timeout=DEADLINE, token=token)
    assert ending.seconds < DEADLINE, ending
    return ending


def _plan(change: Callable[[v1.PlanRequest], object]) -> Callable[[], v1.PlanRequest]:
    def build() -> v1.PlanRequest:
        request = plan_request()
        change(request)
        return request

    return build


def _graph(change: Callable[[v1.NetworkGraph], object]) -> Callable[[], v1.PlanRequest]:
    return _plan(lambda request: change(request.task.network.graph))


def _weight(change: Callable[[v1.Tensor], object]) -> Callable[[], v1.PlanRequest]:
    return _graph(lambda network: change(network.nodes[0].tensors["weight"]))


def _reshaped(*extents: int) -> Callable[[], v1.PlanRequest]:
    def change(weight: v1.Tensor) -> None:
        del weight.shape[:]
        weight.shape.extend(extents)

    return _weight(change)


def _attribute(value: v1.AttributeValue) -> Callable[[], v1.PlanRequest]:
    return _graph(lambda network: network.nodes[1].attributes["extra"].CopyFrom(value))


def _nested(depth: int) -> v1.AttributeValue:
    value = v1.AttributeValue(number_value=1.0)
    for _ in range(depth):
        value = _list([value])
    return value


def _list(values: list[v1.AttributeValue]) -> v1.AttributeValue:
    return v1.AttributeValue(list_value=v1.AttributeList(values=values))


def _deep_bytes(depth: int) -> bytes:
    """A plan request with attributes nested deeper than a parser's stack: made by hand, as no library writes it."""
    data = b""
    for _ in range(depth):
        data = _field(6, _field(1, data))  # AttributeValue.list_value, AttributeList.values
    entry = _field(1, b"a") + _field(2, data)
    for number in (4, 2, 1, 1, 1):  # NetworkNode.attributes, NetworkGraph.nodes, Network.graph, PlanTask, PlanRequest
        entry = _field(number, entry)
    return entry


def _field(number: int, content: bytes) -> bytes:
    length, size = len(content), b""
    while length > 127:
        size += bytes([length & 127 | 128])
        length >>= 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


def _blob(sha256: str, size: int = 48) -> Callable[[], v1.PlanRequest]:
    return _weight(lambda weight: weight.blob.CopyFrom(v1.BlobRef(sha256=sha256, size_bytes=size)))


def _rename(field: str, value: str, node: int = 0) -> Callable[[], v1.PlanRequest]:
    return _graph(lambda network: setattr(network.nodes[node], field, value))


def _wire(node: int, *sources: str) -> Callable[[], v1.PlanRequest]:
    def change(network: v1.NetworkGraph) -> None:
        del network.nodes[node].inputs[:]
        network.nodes[node].inputs.extend(sources)

    return _graph(change)


def _nodes(count: int) -> Callable[[], v1.PlanRequest]:
    return _graph(lambda network: network.nodes.extend([v1.NetworkNode()] * count))


def _saved(content: bytes) -> Callable[[], v1.PlanRequest]:
    return _plan(lambda request: request.task.network.saved_network.CopyFrom(v1.FileContent(data=content)))


def _archive(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def _bomb() -> bytes:
    """Half a gigabyte of zeros in half a megabyte."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (2**26,)})
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as file:
        file.write(head.getvalue())
        for _ in range(32):
            file.write(bytes(16 * MIB))
    return out.getvalue()


def _pickled() -> bytes:
    out = io.BytesIO()
    np.savez(out, a=np.array([{"a": 1}], dtype=object))
    return out.getvalue()


def _hardware(**values: float) -> Callable[[], v1.PlanRequest]:
    return _plan(lambda request: request.task.hardware.MergeFrom(v1.Hardware(**values)))


def _settings(**values: object) -> Callable[[], v1.PlanRequest]:
    return _plan(lambda request: request.task.settings.MergeFrom(v1.PlanSettings(**values)))


def _profile(change: Callable[[v1.PlanningProfile], object]) -> Callable[[], v1.PlanRequest]:
    def build() -> v1.PlanRequest:
        request = profile_request()
        change(request.task.profile)
        return request

    return build


WRONG, LARGE, MISSING = "INVALID_REQUEST", "REQUEST_TOO_LARGE", "BLOB_NOT_FOUND"

#: hostile plan requests, and the reason that each is refused with
PLANS: dict[str, tuple[Callable[[], v1.PlanRequest | bytes], str]] = {
    "shape product beyond 64 bits": (_reshaped(BIG, BIG, BIG), LARGE),
    "shape product that wraps to zero": (_reshaped(2**32, 2**32), LARGE),
    "shape product that wraps to the bytes given": (_reshaped(2**61 + 6, 2**3), LARGE),
    "negative extents": (_reshaped(-3, -2), WRONG),
    "smallest extent": (_reshaped(-(2**63), 2), WRONG),
    "hundred thousand extents": (_reshaped(*[BIG] * 100_000), LARGE),
    "large extents behind many small ones": (_reshaped(*[1] * 40, *[BIG] * 1000), WRONG),
    "fewer bytes than the shape": (_weight(lambda w: setattr(w, "data", w.data[:-1])), WRONG),
    "more bytes than the shape": (_weight(lambda w: setattr(w, "data", w.data + b"\0")), WRONG),
    "no bytes": (_weight(lambda w: w.ClearField("data")), WRONG),
    "NaN weight": (_weight(lambda w: w.CopyFrom(tensor([[np.nan, 1.0]] * 3))), WRONG),
    "infinite input": (_plan(lambda r: r.task.inputs.CopyFrom(tensor([[np.inf, 1.0]]))), WRONG),
    "NaN target": (_plan(lambda r: setattr(r.task.target, "max_nmse", np.nan)), WRONG),
    "NaN conductance": (_hardware(conductance_max_siemens=np.nan), WRONG),
    "unspecified dtype": (_weight(lambda w: setattr(w, "dtype", 0)), WRONG),
    "integer weights": (_weight(lambda w: setattr(w, "dtype", v1.DATA_TYPE_INT64)), WRONG),
    "unknown dtype": (_weight(lambda w: setattr(w, "dtype", 99)), WRONG),
    "narrower dtype than the bytes": (_weight(lambda w: setattr(w, "dtype", v1.DATA_TYPE_FLOAT32)), WRONG),
    "cycle": (_wire(0, "c"), WRONG),
    "node that reads itself": (_wire(1, "b"), WRONG),
    "dangling edge": (_wire(1, "nobody"), WRONG),
    "output that is not there": (_graph(lambda n: setattr(n, "output", "nobody")), WRONG),
    "too many inputs of a node": (_wire(1, *["a"] * 100_000), LARGE),
    "duplicate name": (_rename("name", "a", node=1), WRONG),
    "node called input": (_rename("name", "input"), WRONG),
    "empty name": (_rename("name", ""), WRONG),
    "NUL in a name": (_rename("name", "a\0b"), WRONG),
    "line break in a name": (_rename("name", "a\nb"), WRONG),
    "path as a name that nobody reads": (_rename("name", "../../../etc/passwd"), WRONG),
    "path as a type": (_rename("type", "../linear"), "UNSUPPORTED_OPERATION"),
    "million layers": (_nodes(1_000_000), LARGE),
    "name of three megabytes": (_rename("name", "x" * 3 * MIB), LARGE),
    "output of three megabytes": (_graph(lambda n: setattr(n, "output", "x" * 3 * MIB)), LARGE),
    "attribute name of three megabytes": (_graph(lambda n: n.nodes[1].attributes["k" * 3 * MIB].SetInParent()), WRONG),
    "attribute text of three megabytes": (_attribute(v1.AttributeValue(text_value="x" * 3 * MIB)), LARGE),
    "tensor name of three megabytes": (_graph(lambda n: n.nodes[0].tensors["k" * 3 * MIB].SetInParent()), WRONG),
    "attribute nested 30 deep": (_attribute(_nested(30)), WRONG),
    "attribute nested deeper than the parser goes": (lambda: _deep_bytes(20_000), WRONG),
    "half a million values in an attribute": (
        _attribute(_list([v1.AttributeValue(integer_value=1)] * 500_000)),
        LARGE,
    ),
    "text that is not UTF-8": (lambda: _field(1, _field(1, _field(1, _field(3, b"\xff\xfe")))), WRONG),
    "blob of nobody": (_blob("ab" * 32), MISSING),
    "path as a blob": (_blob("../../../../etc/passwd"), WRONG),
    "absolute path as a blob": (_blob("/etc/passwd"), WRONG),
    "blob with a line break": (_blob("ab" * 32 + "\n"), WRONG),
    "blob in capitals": (_blob("AB" * 32), WRONG),
    "unfinished upload as a blob": (_blob("ab" * 32 + ".part"), WRONG),
    "blob of negative size": (_blob("ab" * 32, -1), MISSING),
    "no network": (_plan(lambda r: r.task.ClearField("network")), WRONG),
    "empty request": (v1.PlanRequest, WRONG),
    "unknown granularity": (_settings(granularity=99), WRONG),
    "negative method": (_settings(method=-1), WRONG),
    "unknown kind of gain": (_settings(optimize=[77]), WRONG),
    "kind of gain twice": (_settings(optimize=[1, 1]), WRONG),
    "draws without end": (_settings(verify_draws=2**63 - 1), LARGE),
    "negative seed": (_settings(seed=-1), WRONG),
    "iterations without end": (_settings(max_iterations=2**31 - 1), LARGE),
    "voltages for a million layers": (_settings(held_voltage_volts=[v1.Gain(scalar=0.1)] * 300_000), LARGE),
    "request id of a megabyte": (_plan(lambda r: setattr(r, "request_id", "x" * MIB)), WRONG),
    "request id with a line break": (_plan(lambda r: setattr(r, "request_id", "a\nb")), WRONG),
    "saved network that is no archive": (_saved(b"PK\x03\x04" + b"\0" * 100), "CORRUPT_FILE"),
    "saved network with a path that leads out": (_saved(_archive({"../../x.npy": b"x"})), "CORRUPT_FILE"),
    "saved network with a pickle": (_saved(_pickled()), "CORRUPT_FILE"),
    "saved network that unpacks to half a gigabyte": (lambda: _saved(_bomb())(), "CORRUPT_FILE"),
    "ONNX that is none": (_plan(lambda r: setattr(r.task.network.onnx, "data", b"x")), "CORRUPT_FILE"),
    "profile with a lower limit above the upper": (_profile(lambda p: p.lower.CopyFrom(tensor([99.0, 99.0]))), WRONG),
    "profile with negative error": (_profile(lambda p: p.mse_coefficients.CopyFrom(tensor([[-1.0]] * 2))), WRONG),
    "profile with no gains": (_profile(lambda p: p.ClearField("mse_coefficients")), WRONG),
    "profile with an exponent of 1e308": (_profile(lambda p: p.power_exponents.extend([1e308])), WRONG),
    "profile with an unknown solver": (_profile(lambda p: setattr(p, "solver", 99)), WRONG),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANS)
def test_hostile_plan_is_refused(target: Service, name: str) -> None:
    build, reason = PLANS[name]
    ending = _call(target, "Plan", build())
    assert ending.reason == reason, ending
    codes = {MISSING: grpc.StatusCode.NOT_FOUND, "FEATURE_UNAVAILABLE": grpc.StatusCode.UNIMPLEMENTED}
    assert ending.code is codes.get(reason, grpc.StatusCode.INVALID_ARGUMENT), ending
    assert len(ending.message) <= 1000
    assert "Traceback" not in ending.message


def _long_chain(count: int) -> v1.NetworkGraph:
    network = v1.NetworkGraph(input_shape=[2])
    for i in range(count):
        node = network.nodes.add(name=f"n{i}", type="activation", inputs=[f"n{i - 1}" if i else "input"])
        node.attributes["kind"].text_value = "relu"
    network.nodes.add(name="last", type="linear", inputs=[f"n{count - 1}"]).tensors["weight"].CopyFrom(
        tensor([[1.0, 2.0]])
    )
    return network  # fmt: skip


def _doubling(count: int) -> v1.NetworkGraph:
    """2^count paths from input to output."""
    network = v1.NetworkGraph(input_shape=[2])
    for i in range(count):
        network.nodes.add(name=f"n{i}", type="add", inputs=[f"n{i - 1}" if i else "input"] * 2)
    network.nodes.add(name="last", type="linear", inputs=[f"n{count - 1}"]).tensors["weight"].CopyFrom(
        tensor([[1.0, 2.0]])
    )
    return network  # fmt: skip


@pytest.mark.parametrize("network", [_long_chain(1500), _doubling(40)], ids=["long chain", "2^40 paths"])
def test_odd_but_valid_graph_is_answered_or_refused(target: Service, network: v1.NetworkGraph) -> None:
    """Neither a long chain nor a graph with very many paths ends in a crash or a hang."""
    request = v1.PredictRequest(network=v1.Network(graph=network), hardware=hardware(), inputs=inputs())
    ending = _call(target, "Predict", request)
    assert ending.code in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT), ending


def test_odd_but_harmless_names_are_kept(target: Service) -> None:
    """A name that looks like a path is a name, and never touches a file."""
    request = plan_request()
    request.task.network.graph.nodes[0].name = "../../../etc/passwd"
    del request.task.network.graph.nodes[1].inputs[:]
    request.task.network.graph.nodes[1].inputs.append("../../../etc/passwd")
    ending = _call(target, "Plan", request)
    assert v1.PlanResponse.FromString(ending.answer).plan.prediction.layer_names[0] == "../../../etc/passwd"


@pytest.mark.slow
def test_extreme_but_finite_numbers(target: Service) -> None:
    """Numbers at the ends of the range are answered or refused, never an internal error."""
    for value in (5e-324, 1e-300, 1e-160, 1e150, 1e308):
        for field, described in v1.Hardware.DESCRIPTOR.fields_by_name.items():
            request = plan_request()
            if described.type != described.TYPE_DOUBLE:
                continue
            if field == "programming_noise_polynomial_siemens":
                request.task.hardware.programming_noise_polynomial_siemens.append(value)
            else:
                setattr(request.task.hardware, field, value)
            ending = _call(target, "Plan", request)
            assert ending.code in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT), (field, value, ending)
        for scale in ("weight", "input"):
            request = plan_request()
            if scale == "weight":
                request.task.network.graph.nodes[0].tensors["weight"].CopyFrom(tensor([[value, -value]] * 3))
            else:
                request.task.inputs.CopyFrom(tensor([[value, value]]))
            ending = _call(target, "Plan", request)
            assert ending.code in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT), (scale, value, ending)


def test_every_violation_is_named_with_its_path(target: Service) -> None:
    request = plan_request()
    request.task.hardware.conductance_max_siemens = -1.0
    request.task.target.max_nmse = float("nan")
    request.task.network.graph.nodes[0].tensors["weight"].dtype = v1.DATA_TYPE_INT32
    ending = _call(target, "Plan", request)
    assert {
        "task.hardware.conductance_max_siemens",
        "task.target.max_nmse",
        'task.network.graph.nodes[0].tensors["weight"].dtype',
    } <= set(ending.fields)


def test_blob_of_another_tenant_is_as_absent_as_one_of_nobody(target: Service) -> None:
    """A tenant cannot use, see, or learn of another's upload."""
    content = tensor([[1.0, 2.0], [3.0, -4.0], [0.5, 0.25]]).data
    sha256 = hashlib.sha256(content).hexdigest()
    assert _call(target, "UploadBlob", *upload(content, sha256=sha256), token=ALICE).code is grpc.StatusCode.OK
    assert _call(target, "Plan", _blob(sha256)(), token=ALICE).code is grpc.StatusCode.OK
    stolen, absent = (_call(target, "Plan", _blob(digest)()) for digest in (sha256, "cd" * 32))
    assert (stolen.code, stolen.reason, stolen.message) == (absent.code, absent.reason, absent.message)
    assert stolen.code is grpc.StatusCode.NOT_FOUND
    asked = v1.GetBlobStatusRequest(blobs=[v1.BlobRef(sha256=sha256, size_bytes=len(content))])
    status = v1.GetBlobStatusResponse.FromString(_call(target, "GetBlobStatus", asked).answer).statuses[0]
    assert (status.committed_bytes, status.complete) == (0, False)
    saved = plan_request()
    saved.task.network.saved_network.blob.CopyFrom(v1.BlobRef(sha256=sha256, size_bytes=len(content)))
    assert _call(target, "Plan", saved).code is grpc.StatusCode.NOT_FOUND


def test_job_of_another_tenant_is_as_absent_as_one_of_nobody(target: Service) -> None:
    submitted = v1.SubmitPlanRequest(task=profile_request().task)
    ending = _call(target, "SubmitPlan", submitted, token=ALICE)
    job = v1.SubmitPlanResponse.FromString(ending.answer).job.job_id
    for method, kind in (("GetPlanJob", v1.GetPlanJobRequest), ("CancelPlanJob", v1.CancelPlanJobRequest)):
        ending = _call(target, method, kind(job_id=job))
        assert (ending.code, ending.reason) == (grpc.StatusCode.NOT_FOUND, "JOB_NOT_FOUND")
    assert _call(target, "WatchPlanJob", v1.WatchPlanJobRequest(job_id=job)).code is grpc.StatusCode.NOT_FOUND
    listed = v1.ListPlanJobsResponse.FromString(_call(target, "ListPlanJobs", v1.ListPlanJobsRequest()).answer)
    assert job not in [entry.job_id for entry in listed.jobs]


UPLOADS: dict[str, tuple[tuple[bytes, ...], str]] = {
    "four exabytes": (tuple(upload(b"x", sha256="1" * 64, size=BIG)), LARGE),
    "negative size": (tuple(upload(b"x", sha256="1" * 64, size=-1)), WRONG),
    "negative offset": (tuple(upload(b"x", sha256="1" * 64, offset=-1)), WRONG),
    "offset beyond what is there": (tuple(upload(b"x", sha256="1" * 64, offset=BIG)), "UPLOAD_OFFSET_MISMATCH"),
    "more bytes than announced": (tuple(upload(b"xy", sha256="1" * 64, size=1)), "BLOB_MISMATCH"),
    "other content than announced": (tuple(upload(b"xy", sha256="1" * 64)), "BLOB_MISMATCH"),
    "path": (tuple(upload(b"x", sha256="../../../tmp/x")), WRONG),
    "no start": (tuple(upload(b"x", sha256="1" * 64)[1:]), WRONG),
    "two starts": ((upload(b"x", sha256="1" * 64)[0],) * 2, WRONG),
    "nothing": ((b"",), WRONG),
    "noise": ((b"\xff\xff\xff",), WRONG),
}


@pytest.mark.parametrize("name", UPLOADS)
def test_hostile_upload_is_refused_and_keeps_nothing(target: Service, name: str) -> None:
    parts, reason = UPLOADS[name]
    ending = _call(target, "UploadBlob", *parts)
    assert ending.reason == reason, ending
    asked = v1.GetBlobStatusRequest(blobs=[v1.BlobRef(sha256="1" * 64, size_bytes=1)])
    status = v1.GetBlobStatusResponse.FromString(_call(target, "GetBlobStatus", asked).answer).statuses[0]
    assert status.committed_bytes == 0


OTHERS: dict[str, tuple[str, Message, str]] = {
    "path as a job": ("GetPlanJob", v1.GetPlanJobRequest(job_id="../../etc/passwd"), "JOB_NOT_FOUND"),
    "SQL as a job": ("GetPlanJob", v1.GetPlanJobRequest(job_id="' OR 1=1 --"), "JOB_NOT_FOUND"),
    "job of three megabytes": ("CancelPlanJob", v1.CancelPlanJobRequest(job_id="x" * 3 * MIB), "JOB_NOT_FOUND"),
    "sequence below zero": ("WatchPlanJob", v1.WatchPlanJobRequest(job_id="x", after_sequence=-1), WRONG),
    "negative page": ("ListPlanJobs", v1.ListPlanJobsRequest(page_size=-1), WRONG),
    "largest page": ("ListPlanJobs", v1.ListPlanJobsRequest(page_size=2**31 - 1), WRONG),
    "unknown state": ("ListPlanJobs", v1.ListPlanJobsRequest(states=[99]), WRONG),
    "page token": ("ListPlanJobs", v1.ListPlanJobsRequest(page_token="9" * 100), WRONG),
    "too many blobs": ("GetBlobStatus", v1.GetBlobStatusRequest(blobs=[v1.BlobRef(sha256="1" * 64)] * 2000), WRONG),
    "run limit": ("SubmitPlan", v1.SubmitPlanRequest(task=profile_request().task, run_limit_seconds=1e9), WRONG),
    "run limit NaN": (
        "SubmitPlan",
        v1.SubmitPlanRequest(task=profile_request().task, run_limit_seconds=float("nan")),
        WRONG,
    ),
    "frontier of nothing": ("Frontier", v1.FrontierRequest(task=profile_request().task), WRONG),
    "too many points": (
        "Frontier",
        v1.FrontierRequest(task={"profile": profile_request().task.profile}, targets=[v1.Target(max_mse=1)] * 5000),
        LARGE,
    ),
    "class that there is not": ("Predict", _changed := predict_request(), WRONG),
    "draws without end": ("Simulate", _draws := simulate_request(), LARGE),
}  # fmt: skip
_changed.labels[0] = 2**62
_draws.draws = 2**62


@pytest.mark.parametrize("name", OTHERS)
def test_hostile_request_of_another_method_is_refused(target: Service, name: str) -> None:
    method, message, reason = OTHERS[name]
    ending = _call(target, method, message)
    assert ending.reason == reason, ending
    assert ending.code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND)


def test_message_that_unpacks_beyond_the_limit_is_refused(target: Service) -> None:
    """64 MB of zeros travel as 64 kB; gRPC counts what they unpack to."""
    before = held_memory(target.pid)
    ending = send(
        target.channel, "Plan", bytes(64 * MIB), timeout=DEADLINE, token=MALLORY, compression=grpc.Compression.Gzip
    )
    assert ending.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert held_memory(target.pid) < before + 32 * MIB
    assert send(target.channel, "Plan", bytes(8 * MIB), timeout=DEADLINE, token=MALLORY).code is ending.code


def test_afterwards_the_server_plans_as_before_and_is_no_larger(target: Service) -> None:
    """The largest requests, over and over, take no more memory than a few times; handles stay as they are."""
    heavy = [PLANS[name][0]() for name in ("million layers", "name of three megabytes", "hundred thousand extents")]
    for request in 3 * heavy:
        _call(target, "Plan", request)
    before = held_memory(target.pid), target.handles()
    for request in 8 * heavy:  # about 80 MB
        _call(target, "Plan", request)
    answer = v1.PlanResponse.FromString(_call(target, "Plan", plan_request()).answer)
    assert answer.plan.termination.outcome == v1.Outcome.OUTCOME_OPTIMAL
    assert list(answer.plan.prediction.layer_names) == ["a", "c"]
    assert held_memory(target.pid) < min(before[0] + 48 * MIB, 384 * MIB)
    assert target.handles() < before[1] + 10
    assert largest(target.workers()) < 1024 * MIB
