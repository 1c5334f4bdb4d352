"""Clients that share no code with powerplan_client plan against a real server: the contract is enough."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from service_process import Service

import powerplan as pp
from powerplan.examples import Example

PROTO = Path(__file__).resolve().parents[2] / "proto"

# Builds the request from plain JSON; ``types`` finds a message class by its name, ``plan`` makes the call.
COMMON = """
import base64, json, sys
import grpc

def tensor(given):
    data = base64.b64decode(given["data"])
    return types("Tensor")(dtype=2, shape=given["shape"], data=data)

def solve(address, problem):
    graph = types("NetworkGraph")(input_shape=problem["input_shape"], output=problem["output"])
    for given in problem["nodes"]:
        node = graph.nodes.add(name=given["name"], type=given["type"], inputs=given["inputs"])
        for name, text in given["attributes"].items():
            node.attributes[name].text_value = text
        for name, array in given["tensors"].items():
            node.tensors[name].CopyFrom(tensor(array))
    task = types("PlanTask")(inputs=tensor(problem["inputs"]))
    task.network.graph.CopyFrom(graph)
    task.hardware.programming_noise_std_siemens = 1e-6
    task.target.max_nmse = 0.05
    request = types("PlanRequest")(task=task)
    with grpc.insecure_channel(address) as channel:
        answer = plan(channel, request)
    assert not any(name.startswith("powerplan_") for name in sys.modules)
    print(json.dumps([gain.scalar for gain in answer.plan.gains.conductance_siemens]))
"""

FROM_PROTO = """
import importlib
from powerplan.v1 import planner_service_pb2_grpc

NAMES = ("tensor", "network", "plan", "planner_service")
MODULES = [importlib.import_module("powerplan.v1." + name + "_pb2") for name in NAMES]

def types(name):
    return next(getattr(module, name) for module in MODULES if hasattr(module, name))

def plan(channel, request):
    return planner_service_pb2_grpc.PlannerServiceStub(channel).Plan(request, timeout=60)

solve(sys.argv[1], json.load(sys.stdin))
"""

FROM_REFLECTION = """
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

reflected = ProtoReflectionDescriptorDatabase(grpc.insecure_channel(sys.argv[1]))
assert "powerplan.v1.PlannerService" in reflected.get_services()
pool = DescriptorPool(reflected)
method = pool.FindServiceByName("powerplan.v1.PlannerService").methods_by_name["Plan"]

def types(name):
    return GetMessageClass(pool.FindMessageTypeByName("powerplan.v1." + name))

def plan(channel, request):
    call = channel.unary_unary(
        "/powerplan.v1.PlannerService/" + method.name,
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    return call(request, timeout=60)

solve(sys.argv[1], json.load(sys.stdin))
"""


def plain(example: Example, inputs: np.ndarray) -> str:
    """The planning problem as JSON with the arrays' float64 bytes in base64."""
    from base64 import b64encode

    def array(values: np.ndarray) -> dict[str, object]:
        wide = np.asarray(values, dtype="<f8")
        return {"shape": wide.shape, "data": b64encode(wide.tobytes()).decode()}

    nodes = [
        {
            "name": node.name,
            "type": node.op.type,
            "inputs": node.inputs,
            "attributes": {name: text for name, text in node.op.attributes().items() if isinstance(text, str)},
            "tensors": {name: array(values) for name, values in node.op.tensors().items()},
        }
        for node in example.network.nodes
    ]
    network = example.network
    return json.dumps(
        {"input_shape": network.input_shape, "output": network.output, "nodes": nodes, "inputs": array(inputs)}
    )


def solve(folder: Path, program: str, address: str, problem: str) -> list[float]:
    """Run a program in a folder of its own, without the repository on its path; returns the gains it prints."""
    (folder / "program.py").write_text(COMMON + program)
    command = [sys.executable, "program.py", address]
    done = subprocess.run(command, cwd=folder, input=problem, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    gains: list[float] = json.loads(done.stdout)
    return gains


@pytest.fixture
def expected(iris_example: Example) -> list[float]:
    """The gains found in this process, of a network whose weights are float64 as sent."""
    layers = [node.op.tensors() for node in iris_example.network.nodes if "weight" in node.op.tensors()]
    weights, biases = ([layer[name].astype(float) for layer in layers] for name in ("weight", "bias"))
    inputs = iris_example.inputs[:32].astype(float)
    plan = pp.plan(pp.Network.mlp(weights, biases), pp.Hardware(programming_noise_std=1e-6), inputs, pp.MaxNMSE(0.05))
    return [float(gain) for gain in plan.gains.conductance]


def test_a_client_made_from_the_proto_files(
    service: Service, tmp_path: Path, iris_example: Example, expected: list[float]
) -> None:
    sources = [str(path) for path in sorted(PROTO.glob("powerplan/v1/*.proto"))]
    well_known = str(files("grpc_tools") / "_proto")
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", f"-I{well_known}"]
    subprocess.run([*command, f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}", *sources], check=True)
    for folder in ("powerplan", "powerplan/v1"):  # regular packages, which come before the engine's on the path
        (tmp_path / folder / "__init__.py").touch()
    assert solve(tmp_path, FROM_PROTO, service.address, plain(iris_example, iris_example.inputs[:32])) == expected


def test_a_client_made_from_reflection_alone(
    service: Service, tmp_path: Path, iris_example: Example, expected: list[float]
) -> None:
    assert solve(tmp_path, FROM_REFLECTION, service.address, plain(iris_example, iris_example.inputs[:32])) == expected
