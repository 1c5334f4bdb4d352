"""The network graph refuses what does not fit together, and does not change once built."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
import torch

from powerplan import InvalidInput, Network, UnsupportedOperation
from powerplan.network import Activation, Flatten, Linear, Node, Scale, build_op
from powerplan.network.digital import digital


def linear(name: str, n_out: int, n_in: int, source: str) -> Node:
    return Node(name=name, op=Linear(weight=np.ones((n_out, n_in))), inputs=(source,))


def refuse(**fields: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        Network(**{"input_shape": (2,), "nodes": (linear("a", 3, 2, "input"),), **fields})
    return str(caught.value)


def test_mlp_computes_its_formula() -> None:
    """W2 relu(W1 x + b1) + b2."""
    rng = np.random.default_rng(0)
    w1, b1, w2, b2 = rng.normal(size=(5, 3)), rng.normal(size=5), rng.normal(size=(2, 5)), rng.normal(size=2)
    x = rng.normal(size=(7, 3))
    network = Network.mlp([w1, w2], [b1, b2])
    np.testing.assert_allclose(network(x), np.maximum(x @ w1.T + b1, 0) @ w2.T + b2, rtol=1e-12)
    assert repr(network) == "Network(3-5-2, 2 crossbar layers)"
    assert network.output_shape == (2,)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_and_inputs_must_be_finite(bad: float) -> None:
    weight = np.ones((2, 2))
    weight[0, 1] = bad
    with pytest.raises(InvalidInput, match="1 of its 4 entries are NaN or infinite"):
        Network.mlp([weight])
    with pytest.raises(InvalidInput, match="NaN or infinite"):
        Network.mlp([np.eye(2)], [np.array([0.0, bad])])
    with pytest.raises(InvalidInput, match="inputs"):
        Network.mlp([np.eye(2)])(weight)


def test_mlp_refuses_what_does_not_fit() -> None:
    for weights, biases, activation, message in (
        ([], None, "relu", "at least one"),
        ([np.ones((0, 3))], None, "relu", "empty layer"),
        ([np.ones(3)], None, "relu", "2 axes"),
        ([np.eye(2), np.ones((3, 4))], None, "relu", "width of its input"),
        ([np.eye(2)], [np.ones(3)], "relu", r"shape \(2,\)"),
        ([np.eye(2)], [None, None], "relu", "one entry per layer"),
        ([np.eye(2), np.eye(2)], None, ["relu", "relu"], "one per hidden layer"),
        ([np.eye(2)], None, "rleu", "Did you mean 'relu'"),
        ([np.array([["a", "b"]])], None, "relu", "finite real array"),
        ([np.array([[1j]])], None, "relu", "finite real array"),
        ([[[1.0, 2.0], [3.0]]], None, "relu", "finite real array"),
    ):
        with pytest.raises(InvalidInput, match=message):
            Network.mlp(weights, biases, activation)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedOperation):
        Network.mlp([np.eye(2)], activation="softmax")


def test_wrong_input_width() -> None:
    network = Network.mlp([np.eye(2)])
    for inputs in (np.ones((4, 3)), np.ones(2), np.ones((0, 2)), np.ones((1, 1, 2)), "x", None):
        with pytest.raises(InvalidInput, match="inputs"):
            network(inputs)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(), (0,), (2.5,), "2", None, (True,), 2])
def test_input_shape_is_positive_integers(shape: Any) -> None:
    assert "network.input_shape" in refuse(input_shape=shape)


def test_nodes_are_checked() -> None:
    a = linear("a", 3, 2, "input")
    assert "at least one crossbar layer" in refuse(nodes=())
    assert "at least one crossbar layer" in refuse(nodes=(Node(name="f", op=Flatten(), inputs=("input",)),))
    assert "a tuple of nodes" in refuse(nodes=(a, 3))
    assert "used once" in refuse(nodes=(a, linear("a", 3, 3, "a")))
    assert "other than 'input'" in refuse(nodes=(linear("input", 3, 2, "input"),))
    assert "non-empty string" in refuse(nodes=(linear(["x"], 3, 2, "input"),))  # type: ignore[arg-type]
    assert "dangling" in refuse(nodes=(linear("b", 3, 2, "nowhere"),))
    assert "1 names for linear" in refuse(nodes=(Node(name="a", op=a.op, inputs=("input", "input")),))
    assert "1 names for linear" in refuse(nodes=(Node(name="a", op=a.op, inputs="input"),))  # type: ignore[arg-type]
    assert "an operation" in refuse(nodes=(Node(name="a", op="relu", inputs=("input",)),))  # type: ignore[arg-type]
    assert "without cycles" in refuse(nodes=(linear("a", 2, 2, "b"), linear("b", 2, 2, "a")))
    assert "lead to the output" in refuse(nodes=(a, linear("b", 3, 2, "input")), output="a")
    assert "name of a node" in refuse(output="b")
    assert "name of a node" in refuse(output=3)
    assert "network.nodes['b'].linear.weight" in refuse(nodes=(a, linear("b", 2, 4, "a")))


def test_nodes_are_sorted() -> None:
    network = Network(input_shape=(2,), nodes=(linear("b", 1, 3, "a"), linear("a", 3, 2, "input")), output="b")
    assert network.layer_names == ("a", "b")


def test_networks_do_not_change() -> None:
    """Fields, arrays and parameters are read-only, and the caller's array is copied."""
    weight = np.eye(2)
    network = Network.mlp([weight])
    weight[0, 0] = 7
    op = network.nodes[0].op
    assert isinstance(op, Linear)
    assert op.weight[0, 0] == 1
    with pytest.raises(ValueError, match="read-only"):
        op.weight[0, 0] = 2
    with pytest.raises(FrozenInstanceError):
        network.output = "x"  # type: ignore[misc]
    clamp = Activation(kind="hard_tanh")
    with pytest.raises(TypeError):
        clamp.parameters["low"] = -3  # type: ignore[index]


def test_copies_are_equal_and_read_only() -> None:
    """A network goes to another process unchanged."""
    leaky = Activation(kind="leaky_relu", parameters={"negative_slope": 0.3})
    network = Network(input_shape=(2,), nodes=(linear("a", 3, 2, "input"), Node(name="b", op=leaky, inputs=("a",))))
    for copied in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network)):
        assert copied.digest == network.digest
        assert copied.nodes[1].op == leaky
        assert hash(copied.nodes[1].op) == hash(leaky)
        assert not copied.nodes[0].op.tensors()["weight"].flags.writeable


def test_digest_sees_everything() -> None:
    """Name, structure, attributes, values and types all change the digest; equal content does not."""
    base = Network.mlp([np.eye(2), np.eye(2)])
    assert base.digest == Network.mlp([np.eye(2), np.eye(2)]).digest
    others = [
        Network.mlp([np.eye(2), 2 * np.eye(2)]),
        Network.mlp([np.eye(2).astype(np.float32), np.eye(2)]),
        Network.mlp([np.eye(2), np.eye(2)], [np.zeros(2), None]),
        Network.mlp([np.eye(2), np.eye(2)], activation="tanh"),
        Network.mlp([np.eye(2), np.eye(2)], activation="leaky_relu"),
    ]
    assert len({n.digest for n in [base, *others]}) == len(others) + 1


def test_activation_parameters() -> None:
    with pytest.raises(InvalidInput, match="less than high"):
        Activation(kind="hard_tanh", parameters={"low": 2.0})
    with pytest.raises(InvalidInput, match="negative_slope"):
        Activation(kind="leaky_relu", parameters={"negative_slope": float("nan")})
    with pytest.raises(InvalidInput, match="Did you mean 'negative_slope'"):
        Activation(kind="leaky_relu", parameters={"negativ_slope": 0.1})


def test_build_op() -> None:
    with pytest.raises(UnsupportedOperation, match="Did you mean 'linear'"):
        build_op("linaer", {}, {})
    with pytest.raises(InvalidInput, match=r"linear.weight: got .nothing.; allowed: a value"):
        build_op("linear", {}, {})


def test_digital_operations_leave_the_batch_axis() -> None:
    """Scale acts along the first axis of the value and Flatten on the value's axes, behind the batch axis."""
    scale = Scale(scale=np.array([1.0, 2.0]), shift=np.array([0.0, 1.0]))
    x = torch.ones(3, 2, 5)
    y = digital(scale, x)
    assert torch.equal(y[:, 0], x[:, 0])
    assert torch.equal(y[:, 1], 2 * x[:, 1] + 1)
    assert torch.equal(digital(scale, torch.ones(3, 2))[0], torch.tensor([1.0, 3.0]))
    assert digital(Flatten(), x).shape == (3, 10)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((None,), "weights"),
        ((5,), "weights"),
        (([np.ones((2, 3))], 5), "biases"),
        (([np.ones((2, 3))], None, 5), "activation"),
    ],
)
def test_layers_must_come_as_lists(arguments: tuple[object, ...], field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        Network.mlp(*arguments)  # type: ignore[arg-type]


def reads(*arrays: str | None, second: Linear | None = None) -> tuple[Node, ...]:
    """Two layers of the same weights behind each other."""
    op = Linear(weight=np.ones((2, 2)))
    ops, inputs = (op, second or Linear(weight=np.ones((2, 2)))), ("input", "a")
    return tuple(
        Node(name=name, op=op, inputs=(source,), array=array)
        for name, op, source, array in zip("ab", ops, inputs, arrays, strict=True)
    )


def test_nodes_that_name_one_array_are_its_reads() -> None:
    network = Network(input_shape=(2,), nodes=reads("array", "array"))
    assert network.layer_names == ("array",)
    assert network.read_names == ("a", "b")
    assert [node.name for node in network.reads["array"]] == ["a", "b"]
    assert network.nodes[0].op is network.nodes[1].op
    assert network.size["weights"] == 4
    apart = Network(input_shape=(2,), nodes=reads(None, None))
    assert apart.layer_names == ("a", "b")
    assert apart.digest != network.digest
    own = Network(input_shape=(2,), nodes=reads("a", None))
    assert own.digest == apart.digest, "its own name is no other"
    assert Network(input_shape=(2,), nodes=reads(None, "a")).layer_names == ("a",)


def test_reads_of_one_array_must_have_its_weights() -> None:
    for second in (
        Linear(weight=np.full((2, 2), 2.0)),
        Linear(weight=np.ones((2, 2)), bias=np.ones(2)),
        Linear(weight=np.ones((3, 2))),
    ):
        assert "weights, bias, groups and kind of 'a'" in refuse(nodes=reads("array", "array", second=second))
    assert "but one that reads it" in refuse(nodes=reads("b", "c"))
    assert "non-empty string" in refuse(nodes=reads("", None))
    relu = Node(name="relu", op=Activation(kind="relu"), inputs=("a",), array="a")
    assert "it has no weights" in refuse(nodes=(linear("a", 3, 2, "input"), relu))


def test_an_array_is_placed_with_all_its_reads() -> None:
    nodes = (*reads("array", "array"), linear("c", 2, 2, "b"))
    digital = Network(input_shape=(2,), nodes=nodes).with_analog(digital="array")
    assert digital.layer_names == ("c",)
    assert digital.with_analog(["array"]).reads.keys() == {"array"}
    half = (digital.nodes[0], nodes[1], nodes[2])
    assert "kind of 'a'" in refuse(nodes=half)
