"""ONNX models on the wire and on the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

import powerplan as pp
from powerplan.cli import main
from powerplan_client._generated import v1 as pb
from powerplan_server.calls import describe_engine
from powerplan_server.wire import networks
from powerplan_server.wire.errors import FeatureUnavailable, TooLarge
from powerplan_server.wire.limits import WireLimits
from powerplan_server.wire.reading import Reader

W = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)


@pytest.fixture
def content() -> bytes:
    """A linear layer and a relu."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"], "fc"), helper.make_node("Relu", ["h"], ["y"], "relu")]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", k]) for n, k in (("x", 4), ("y", 3))]
    graph = helper.make_graph(nodes, "test", values[:1], values[1:], [numpy_helper.from_array(W, "w")])
    opset = [helper.make_opsetid("", 20)]
    model: bytes = helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()
    return model


def message(content: bytes) -> pb.Network:
    return pb.Network(onnx=pb.FileContent(data=content))


def test_the_network_of_a_message_is_that_of_the_model(content: bytes) -> None:
    reader = Reader.start()
    network = networks.network_from_proto(reader, message(content))
    reader.done()
    assert network is not None
    assert network.digest == pp.from_onnx(content).digest
    assert "onnx" in describe_engine().features


@pytest.mark.parametrize("limit", ["max_nodes", "max_network_elements", "max_file_bytes"])
def test_limits_hold(content: bytes, limit: str) -> None:
    reader = Reader.start(replace(WireLimits(), **{limit: 1}))
    assert networks.network_from_proto(reader, message(content)) is None
    with pytest.raises(TooLarge):
        reader.done()


def test_without_the_package_the_feature_is_refused_and_not_announced(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(networks, "onnx_available", lambda: False)
    monkeypatch.setattr("powerplan_server.calls.onnx_available", lambda: False)
    reader = Reader.start()
    assert networks.network_from_proto(reader, message(content)) is None
    with pytest.raises(FeatureUnavailable):
        reader.done()
    assert "onnx" not in describe_engine().features


def test_commands_read_onnx_files(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    assert onnx.load(path).graph.node[0].name == "fc"
    result = CliRunner().invoke(main, ["show", str(path)])
    assert result.exit_code == 0, result.output
    assert "fc" in result.output
