"""A client made from the .proto files alone, in a process that knows nothing of powerplan_client, plans."""

from __future__ import annotations

import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

import powerplan as pp

PROTO = Path(__file__).resolve().parents[2] / "proto"

PROGRAM = """
import struct, sys
import grpc
from powerplan.v1 import network_pb2, plan_pb2, planner_service_pb2 as service, planner_service_pb2_grpc, tensor_pb2

def tensor(shape, values):
    data = struct.pack(f"<{len(values)}d", *values)
    return tensor_pb2.Tensor(dtype=tensor_pb2.DATA_TYPE_FLOAT64, shape=shape, data=data)

graph = network_pb2.NetworkGraph(input_shape=[2])
graph.nodes.add(name="a", type="linear", inputs=["input"], tensors={"weight": tensor([2, 2], [1, 2, 3, 4])})
relu = graph.nodes.add(name="b", type="activation", inputs=["a"])
relu.attributes["kind"].text_value = "relu"
graph.nodes.add(name="c", type="linear", inputs=["b"], tensors={"weight": tensor([1, 2], [1, -1])})
task = plan_pb2.PlanTask(
    network=network_pb2.Network(graph=graph), inputs=tensor([1, 2], [1, 1]), target=plan_pb2.Target(max_nmse=0.01)
)
stub = planner_service_pb2_grpc.PlannerServiceStub(grpc.insecure_channel(sys.argv[1]))
response = stub.Plan(service.PlanRequest(task=task), timeout=30)
assert not any(name.startswith("powerplan_client") for name in sys.modules)
print(*(repr(gain.scalar) for gain in response.plan.gains.conductance_siemens))
"""


@pytest.mark.slow
def test_a_client_made_from_the_proto_files_plans(address: str, tmp_path: Path) -> None:
    sources = [str(path) for path in sorted(PROTO.glob("powerplan/v1/*.proto"))]
    well_known = str(files("grpc_tools") / "_proto")
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", f"-I{well_known}"]
    subprocess.run([*command, f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}", *sources], check=True)
    for folder in ("powerplan", "powerplan/v1"):  # regular packages, which come before the engine's on the path
        (tmp_path / folder / "__init__.py").touch()
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "program.py", address], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    network = pp.Network.mlp([np.array([[1.0, 2], [3, 4]]), np.array([[1.0, -1]])])
    plan = pp.plan(network, pp.Hardware(), np.ones((1, 2)), pp.MaxNMSE(0.01))
    assert [float(word) for word in done.stdout.split()] == list(plan.gains.conductance)
