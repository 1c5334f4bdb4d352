"""Recurrent layers of ONNX: their matrices are arrays that every step reads, and they compute what onnxruntime does."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper, shape_inference
from torch import nn

import powerplan as pp
from tests.network.test_onnx_import import compare, export

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS, INPUTS, WIDTH, BATCH = 4, 3, 5, 3


class Recurrent(nn.Module):
    """A recurrent layer, and a linear one on the last state, on the last values or on all of them."""

    def __init__(self, kind: str, read: str, **options: Any) -> None:
        super().__init__()
        self.layer, self.read = getattr(nn, kind)(INPUTS, WIDTH, batch_first=True, **options), read
        self.head = nn.Linear(WIDTH * (2 if self.layer.bidirectional else 1), 2)

    def forward(self, x: torch.Tensor) -> Any:
        values, states = self.layer(x)
        if self.read == "state":
            last = states[0] if isinstance(states, tuple) else states
            return self.head(torch.cat(list(last[-2:] if self.layer.bidirectional else last[-1:]), -1))
        return self.head(values[:, -1] if self.read == "last" else values)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize(
    ("read", "options"),
    [
        ("state", {}),
        ("last", {"num_layers": 2}),
        ("all", {"bidirectional": True, "bias": False}),
        ("state", {"bidirectional": True, "num_layers": 2}),
    ],
)
def test_layers_as_torch_exports_them(kind: str, read: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = compare(export(Recurrent(kind, read, **options), (STEPS, INPUTS)), (STEPS, INPUTS))
    layers = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    assert len(network.layer_names) == 2 * layers + 1


class Unrolled(nn.Module):
    """A cell in a loop, whose first state is a constant."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.cell, self.head = getattr(nn, f"{kind}Cell")(INPUTS, WIDTH), nn.Linear(WIDTH, 2)

    def forward(self, x: torch.Tensor) -> Any:
        state = None
        for i in range(STEPS):
            state = self.cell(x[:, i], state)
        return self.head(state[0] if isinstance(state, tuple) else state)


@pytest.mark.parametrize("kind", GATES)
def test_cells_in_loops(kind: str) -> None:
    """The first step multiplies a state of zeros: a constant."""
    torch.manual_seed(0)
    network = compare(export(Unrolled(kind).eval(), (STEPS, INPUTS)), (STEPS, INPUTS), BATCH)
    assert len(network.layer_names) == 3


@pytest.mark.parametrize(
    ("kind", "name", "shape", "wanted"),
    [
        ("LSTM", "W", (1, 3 * WIDTH, INPUTS), (1, 4 * WIDTH, INPUTS)),
        ("LSTM", "R", (1, 4 * WIDTH, WIDTH + 1), (1, 4 * WIDTH, WIDTH)),
        ("LSTM", "B", (1, 4 * WIDTH), (1, 8 * WIDTH)),
        ("LSTM", "peepholes", (1, 2 * WIDTH), (1, 3 * WIDTH)),
        ("GRU", "W", (3 * WIDTH, INPUTS), (1, 3 * WIDTH, INPUTS)),
        ("RNN", "R", (2, WIDTH, WIDTH), (1, WIDTH, WIDTH)),
    ],
)
def test_weights_of_wrong_sizes_are_named(
    kind: str, name: str, shape: tuple[int, ...], wanted: tuple[int, ...]
) -> None:
    with pytest.raises(pp.InvalidInput) as refused:
        pp.from_onnx(model(kind, inputs={name: np.ones(shape)}))
    (violation,) = refused.value.violations
    assert violation.field == f"node 'layer'.{name[0].upper()}"
    assert str(shape) in str(violation.value)
    assert str(wanted) in violation.allowed


def test_a_layer_of_relus() -> None:
    module = Recurrent("RNN", "last", nonlinearity="relu")
    compare(export(module, (STEPS, INPUTS)), (STEPS, INPUTS))


def model(kind: str, output: int = 0, inputs: dict[str, np.ndarray] | None = None, **attributes: Any) -> bytes:
    """A linear layer, a recurrent one of ONNX and one of its outputs with the batch in front."""
    rng = np.random.default_rng(0)
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    rows = GATES[kind] * WIDTH
    arrays = {
        "w": rng.normal(size=(INPUTS, INPUTS)),
        "W": rng.normal(size=(directions, rows, INPUTS)),
        "R": rng.normal(size=(directions, rows, WIDTH)),
        "B": rng.normal(size=(directions, 2 * rows)),
        **(inputs or {}),
    }
    names = [name if name in arrays else "" for name in ("B", "lengths", "start", "cells", "peepholes")]
    names = names[:5] if kind == "LSTM" else names[:3]
    first, behind = attributes.get("layout", 0), [2, 0, 1, 3] if output == 0 else [1, 0, 2]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "first"),
        *([] if first else [helper.make_node("Transpose", ["h"], ["s"], perm=[1, 0, 2])]),
        helper.make_node(
            kind, ["h" if first else "s", "W", "R", *names], ["Y", "Yh", "Yc"][: 3 if kind == "LSTM" else 2], "layer",
            hidden_size=WIDTH, **attributes,
        ),
        helper.make_node("Identity", [("Y", "Yh", "Yc")[output]], ["y"]) if first else
        helper.make_node("Transpose", [("Y", "Yh", "Yc")[output]], ["y"], perm=behind),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "recurrent",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [BATCH, STEPS, INPUTS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.asarray(a, np.float32 if np.asarray(a).dtype.kind == "f" else np.int32), name)
            for name, a in arrays.items()
        ],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return bytes(shape_inference.infer_shapes(built).SerializeToString())


START = np.repeat(np.random.default_rng(1).normal(size=(2, 1, WIDTH)), BATCH, axis=1)


@pytest.mark.parametrize(
    ("kind", "output", "inputs", "attributes"),
    [
        ("LSTM", 2, {"start": START[:1], "cells": START[1:]}, {}),
        ("LSTM", 0, {"peepholes": START[:1, 0].repeat(3, 0).reshape(1, -1)}, {"direction": "reverse"}),
        ("LSTM", 0, {}, {"activations": ["HardSigmoid", "Tanh", "Softsign"], "activation_alpha": [0.3]}),
        ("GRU", 1, {"start": START}, {"direction": "bidirectional", "linear_before_reset": 1}),
        ("GRU", 0, {"start": START}, {"direction": "bidirectional"}),
        ("GRU", 0, {"lengths": np.full(BATCH, STEPS)}, {}),
        ("RNN", 1, {}, {"activations": ["Elu"], "activation_alpha": [0.5], "direction": "reverse"}),
    ],
)
def test_options_of_the_operators(kind: str, output: int, inputs: dict[str, Any], attributes: dict[str, Any]) -> None:
    compare(model(kind, output, inputs, **attributes), (STEPS, INPUTS))


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("output", [0, 1])
def test_the_batch_in_front(kind: str, output: int) -> None:
    """onnxruntime does not know layout=1; it is the same with the axes exchanged."""
    inputs: dict[str, Any] = {"start": START[:1]}
    plain = pp.from_onnx(model(kind, output, inputs))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pp.UncheckedWarning)  # onnx.reference knows some of them
        turned = pp.from_onnx(model(kind, output, {"start": START[:1].swapaxes(0, 1)}, layout=1))
    x = np.random.default_rng(2).normal(size=(2, STEPS, INPUTS))
    np.testing.assert_allclose(turned(x), plain(x), rtol=1e-12)


def test_what_cannot_be_unrolled_is_refused_with_the_reason() -> None:
    shorter = {"lengths": np.array([STEPS, 2, STEPS])}
    for inputs, attributes, words in (
        (shorter, {}, "shorter than its input, 4 steps"),
        ({}, {"clip": 1.0}, "clip=1.0 is not supported"),
        ({}, {"activations": ["Affine", "Tanh", "Tanh"]}, "'Affine' is not supported"),
        ({"start": np.arange(15.0).reshape(1, BATCH, WIDTH)}, {}, "differs between the inputs of a batch"),
    ):
        with pytest.raises(pp.UnsupportedOperation, match=f"node 'layer'.*{words}"):
            pp.from_onnx(model("LSTM", 0, inputs, **attributes))


def test_lengths_that_depend_on_the_input_are_refused() -> None:
    weights = {"W": np.zeros((1, WIDTH, INPUTS)), "R": np.zeros((1, WIDTH, WIDTH))}
    nodes = [
        helper.make_node("Transpose", ["x"], ["s"], perm=[1, 0, 2]),
        helper.make_node("ReduceSum", ["x", "axes"], ["sums"], keepdims=0),
        helper.make_node("Cast", ["sums"], ["lengths"], to=TensorProto.INT32),
        helper.make_node("RNN", ["s", "W", "R", "", "lengths"], ["", "y"], "layer", hidden_size=WIDTH),
    ]
    tensors = [numpy_helper.from_array(a.astype(np.float32), name) for name, a in weights.items()]
    graph = helper.make_graph(
        nodes,
        "lengths",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", STEPS, INPUTS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, "batch", WIDTH])],
        [*tensors, numpy_helper.from_array(np.array([1, 2]), "axes")],
    )
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    with pytest.raises(pp.UnsupportedOperation, match=r"node 'layer'.*lengths.*depend on the network's input"):
        pp.from_onnx(built.SerializeToString())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_predictions_of_classifiers_are_those_of_simulations(kind: str) -> None:
    """MSE within 3 % of a simulation to 1 %, and the network is that of the torch module."""
    torch.manual_seed(0)
    module = Recurrent(kind, "state")
    network = pp.from_onnx(export(module, (STEPS, INPUTS)))
    x = np.random.default_rng(0).normal(size=(6, STEPS, INPUTS))
    same = pp.from_torch(module, (STEPS, INPUTS))
    np.testing.assert_allclose(network(x), same(x), rtol=1e-5, atol=1e-7)
    hardware = pp.Hardware(conductance_min=1e-6, conductance_max=1e-4, programming_noise_std=2e-6, read_noise_std=1e-8)
    gains = pp.Gains.full_range(network, hardware, x)
    simulated = pp.simulate(network, hardware, gains, x, draws=40_000, relative_standard_error=0.01)
    predicted = pp.predict(network, hardware, gains, x)
    assert simulated.mse_standard_error <= 0.01 * simulated.mse
    assert predicted.mse == pytest.approx(simulated.mse, rel=0.03)
