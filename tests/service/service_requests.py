"""Raw requests to a server, how they ended, and good requests for a tiny network to start from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
import numpy as np
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from grpc_status import rpc_status

from powerplan_client._generated import v1

STREAMING = frozenset({"Simulate", "Frontier", "WatchPlanJob"})


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a call ended."""

    code: grpc.StatusCode
    message: str = ""
    reason: str = ""
    fields: tuple[str, ...] = ()
    seconds: float
    answer: bytes = b""


def send(
    channel: grpc.Channel,
    method: str,
    *parts: bytes,
    timeout: float,
    token: str = "",
    compression: grpc.Compression | None = None,
) -> Ending:
    """Send bytes as they are; ``parts`` are the messages of a stream for UploadBlob, else the one message."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    path = method if method.startswith("/") else f"/powerplan.v1.PlannerService/{method}"
    began = time.monotonic()
    try:
        if method == "UploadBlob":
            answer = channel.stream_unary(path)(iter(parts), timeout=timeout, metadata=metadata)
        elif method in STREAMING:
            *_, answer = [b"", *channel.unary_stream(path)(parts[0], timeout=timeout, metadata=metadata)]
        else:
            call = channel.unary_unary(path)
            answer = call(parts[0], timeout=timeout, metadata=metadata, compression=compression)
    except grpc.RpcError as error:
        info, bad = ErrorInfo(), BadRequest()
        status = rpc_status.from_call(error)
        for detail in status.details if status is not None else ():
            detail.Unpack(info)
            detail.Unpack(bad)
        return Ending(
            code=error.code(),
            message=error.details() or "",
            reason=info.reason,
            fields=tuple(v.field for v in bad.field_violations),
            seconds=time.monotonic() - began,
        )
    return Ending(code=grpc.StatusCode.OK, seconds=time.monotonic() - began, answer=answer)


def tensor(values: object, dtype: int = v1.DATA_TYPE_FLOAT64) -> v1.Tensor:
    """A tensor of float64 bytes, whatever ``dtype`` it claims."""
    array = np.asarray(values, dtype="<f8")
    return v1.Tensor(dtype=dtype, shape=array.shape, data=array.tobytes())


def graph() -> v1.NetworkGraph:
    """2-3-2 with a bias and a ReLU."""
    network = v1.NetworkGraph(input_shape=[2], output="c")
    first = network.nodes.add(name="a", type="linear", inputs=["input"])
    first.tensors["weight"].CopyFrom(tensor([[1.0, 2.0], [3.0, -4.0], [0.5, 0.25]]))
    first.tensors["bias"].CopyFrom(tensor([0.1, 0.2, 0.3]))
    network.nodes.add(name="b", type="activation", inputs=["a"]).attributes["kind"].text_value = "relu"
    network.nodes.add(name="c", type="linear", inputs=["b"]).tensors["weight"].CopyFrom(
        tensor([[1.0, -1.0, 0.5], [0.2, 0.3, -0.4]])
    )
    return network


def hardware() -> v1.Hardware:
    """Programming noise of 1 % of the range."""
    return v1.Hardware(conductance_max_siemens=1e-4, programming_noise_std_siemens=1e-6)


def inputs() -> v1.Tensor:
    """Two inputs."""
    return tensor([[1.0, 0.5], [0.25, -1.0]])


def plan_request(*, salt: int = 0, validate_only: bool = False) -> v1.PlanRequest:
    """A plan of the tiny network; ``salt`` tells requests apart."""
    task = v1.PlanTask(network=v1.Network(graph=graph()), hardware=hardware(), inputs=inputs())
    task.target.max_nmse = 0.05
    task.settings.max_iterations = 5
    task.settings.seed = salt
    return v1.PlanRequest(task=task, validate_only=validate_only)


def profile_request() -> v1.PlanRequest:
    """A plan of a profile of two gains."""
    profile = v1.PlanningProfile(
        gain_names=["a", "b"],
        power_coefficients_watts=tensor([[1e-4], [2e-4]]),
        power_exponents=[1.0],
        mse_coefficients=tensor([[1e-3], [1e-4]]),
        mse_exponents=[2.0],
        lower=tensor([0.01, 0.01]),
        upper=tensor([10.0, 10.0]),
        signal_power=1.0,
    )
    return v1.PlanRequest(task=v1.PlanTask(profile=profile, target=v1.Target(max_nmse=0.01)))


def predict_request() -> v1.PredictRequest:
    """A prediction with accuracy and every detail."""
    return v1.PredictRequest(
        network=v1.Network(graph=graph()),
        hardware=hardware(),
        inputs=inputs(),
        labels=[0, 1],
        accuracy_samples=50,
        detail=v1.ResultDetail(output_moments=True, layer_moments=True, layer_covariances=True),
        gains=v1.Gains(
            conductance_siemens=[v1.Gain(scalar=2e-5), v1.Gain(vector=v1.GainVector(values=[5e-5, 6e-5]))],
            voltage_volts=[v1.Gain(scalar=0.1), v1.Gain(scalar=0.05)],
        ),
    )


def simulate_request() -> v1.SimulateRequest:
    """A simulation of 20 draws."""
    return v1.SimulateRequest(
        network=v1.Network(graph=graph()), hardware=hardware(), inputs=inputs(), draws=20, seed=1, labels=[0, 1]
    )


def frontier_request() -> v1.FrontierRequest:
    """Two points of a profile's frontier."""
    task = profile_request().task
    task.ClearField("target")
    return v1.FrontierRequest(task=task, targets=[v1.Target(max_nmse=0.01), v1.Target(max_mse=0.02)])


def submit_request() -> v1.SubmitPlanRequest:
    """A job for the profile."""
    return v1.SubmitPlanRequest(task=profile_request().task, run_limit_seconds=10.0)


def upload(content: bytes, *, sha256: str, size: int | None = None, offset: int = 0) -> Sequence[bytes]:
    """The messages of an upload in one chunk."""
    blob = v1.BlobRef(sha256=sha256, size_bytes=len(content) if size is None else size)
    start = v1.UploadBlobRequest(start=v1.UploadStart(blob=blob, offset_bytes=offset)).SerializeToString()
    return (start, v1.UploadBlobRequest(chunk=content).SerializeToString()) if content else (start,)
