"""The client example of the README, run as it stands against a real server, gives the plans of this process."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from service_process import Service

import powerplan as pp
from powerplan.examples import Example

README = Path(__file__).resolve().parents[2] / "README.md"
INPUTS = 32


def example_code() -> str:
    """The one block of Python in the README that uses the client."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (code,) = (block for block in blocks if "PlannerClient" in block)
    return str(code)


def run(code: str, address: str, **given: Any) -> Any:
    """Run the example with the address of a server that listens elsewhere; returns its plan."""
    assert code.count("localhost:50051") == 1
    names: dict[str, Any] = dict(given)
    exec(code.replace("localhost:50051", address), names)
    return names["plan"]


def test_the_example_has_five_lines() -> None:
    lines = [line for line in example_code().splitlines() if line.strip()]
    assert len(lines) == 5
    assert "`powerplan serve`" in README.read_text()


@pytest.mark.parametrize("name", ["iris", "digits", pytest.param("mnist", marks=pytest.mark.slow)])
def test_remote_gains_are_the_local_gains(service: Service, name: str, request: pytest.FixtureRequest) -> None:
    """Bit for bit, with every number of the prediction."""
    example: Example = request.getfixturevalue(f"{name}_example")
    layers = [node.op.tensors() for node in example.network.nodes if "weight" in node.op.tensors()]
    weights, biases = ([layer.get(name) for layer in layers] for name in ("weight", "bias"))
    inputs = example.inputs[: 4 if name == "mnist" else INPUTS]
    there = run(example_code(), service.address, weights=weights, biases=biases, inputs=inputs)
    hardware = pp.Hardware(programming_noise_std=1e-6, conductance_max=100e-6)
    here = pp.plan(pp.Network.mlp(weights, biases, activation="relu"), hardware, inputs, pp.MaxNMSE(0.01))
    for kind in ("conductance", "voltage"):
        for ours, theirs in zip(getattr(here.gains, kind), getattr(there.gains, kind), strict=True):
            assert np.array_equal(ours, theirs)
    assert (here.power, here.mse, here.saving) == (there.power, there.mse, there.saving)
    assert here.termination.outcome.value == there.termination.outcome.value
