"""A plan from Python by plain gRPC: with stubs made from the proto files, without any package of powerplan.

    pip install grpcio-tools grpcio-status
    mkdir -p stubs/powerplan && touch stubs/powerplan/__init__.py
    python -m grpc_tools.protoc -I proto --python_out=stubs --grpc_python_out=stubs proto/powerplan/v1/*.proto
    PYTHONPATH=stubs POWERPLAN_TOKEN=... POWERPLAN_CA=ca.pem python plan_with_stubs.py localhost:50051 0.05

The empty __init__.py lets the stubs come before a package powerplan that is installed, too: without it, that one hides
them (No module named 'powerplan.v1'). POWERPLAN_CA names the authority of the server's certificate, where the system
does not know it. Other languages do the same with their own stubs.
"""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_status import rpc_status
from powerplan.v1 import hardware_pb2, network_pb2, plan_pb2, planner_service_pb2, planner_service_pb2_grpc, tensor_pb2

TRIES = 5


def tensor(shape: Sequence[int], values: Sequence[float]) -> tensor_pb2.Tensor:
    """An array as the wire has it: row-major, little-endian."""
    data = struct.pack(f"<{len(values)}d", *values)
    return tensor_pb2.Tensor(dtype=tensor_pb2.DATA_TYPE_FLOAT64, shape=shape, data=data)


def request(max_nmse: float) -> planner_service_pb2.PlanRequest:
    """The plan to make."""
    graph = network_pb2.NetworkGraph(input_shape=[2], output="out")
    hidden = graph.nodes.add(name="hidden", type="linear", inputs=["input"])
    hidden.tensors["weight"].CopyFrom(tensor([3, 2], [0.5, -0.25, 0.75, 1, -0.5, 0.25]))
    graph.nodes.add(name="relu", type="activation", inputs=["hidden"]).attributes["kind"].text_value = "relu"
    out = graph.nodes.add(name="out", type="linear", inputs=["relu"])
    out.tensors["weight"].CopyFrom(tensor([1, 3], [1, -0.5, 0.25]))
    task = plan_pb2.PlanTask(
        network=network_pb2.Network(graph=graph),
        hardware=hardware_pb2.Hardware(programming_noise_std_siemens=1e-6),
        inputs=tensor([4, 2], [0.5, 1, -1, 0.25, 0.75, -0.5, 1, 1]),
        target=plan_pb2.Target(max_nmse=max_nmse),
    )
    return planner_service_pb2.PlanRequest(task=task)


def details(error: grpc.RpcError) -> tuple[ErrorInfo, BadRequest, RetryInfo]:
    """What the service tells of a failure: a stable reason, the fields at fault, when to try again."""
    parts = ErrorInfo(), BadRequest(), RetryInfo()
    status = rpc_status.from_call(error)
    for detail in status.details if status is not None else ():
        for part in parts:
            detail.Unpack(part)
    return parts


def main(address: str, max_nmse: str) -> int:
    """Plan; prints how it ended, and the gains."""
    authority = os.environ.get("POWERPLAN_CA")
    credentials = grpc.ssl_channel_credentials(Path(authority).read_bytes() if authority else None)
    token = os.environ.get("POWERPLAN_TOKEN")
    metadata = [("authorization", f"Bearer {token}")] if token else []
    with grpc.secure_channel(address, credentials) as channel:
        service = planner_service_pb2_grpc.PlannerServiceStub(channel)
        for attempt in range(TRIES):
            try:
                plan = service.Plan(request(float(max_nmse)), timeout=60, metadata=metadata).plan
                break
            except grpc.RpcError as error:
                info, bad, retry = details(error)
                if retry.HasField("retry_delay") and attempt + 1 < TRIES:
                    time.sleep(retry.retry_delay.ToTimedelta().total_seconds())
                    continue
                print(f"{info.reason}: {error.details()} (request {info.metadata['request_id']})", file=sys.stderr)
                for violation in bad.field_violations:
                    print(f"  {violation.field}: {violation.description}", file=sys.stderr)
                return 1
    print(plan_pb2.Outcome.Name(plan.termination.outcome))
    print(*(gain.scalar for gain in plan.gains.conductance_siemens))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
