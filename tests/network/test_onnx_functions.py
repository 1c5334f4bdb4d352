"""Functions of one value from ONNX: they become one operation, and compute what onnx's reference computes."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import powerplan as pp

node = helper.make_node
CONSTANTS = {"tenth": 0.1, "half": 0.5, "one": 1.0, "root": 2**0.5, "three": 3.0, "thirty": 30.0}


def alone(operator: str, **attributes: float) -> list[NodeProto]:
    return [node(operator, ["h"], ["f"], **attributes)]


MASK = node("Greater", ["h", "tenth"], ["mask"])
SIMPLE = (
    "Abs Asinh Atan Ceil Cos Cosh Erf Exp Floor Reciprocal Round Sign Sin Sinh Tan ThresholdedRelu Shrink HardSigmoid"
)
CASES: dict[str, list[NodeProto]] = {
    **{operator: alone(operator) for operator in SIMPLE.split()},
    "threshold": alone("ThresholdedRelu", alpha=0.3),
    "soft shrink": alone("Shrink", bias=0.2, lambd=0.3),
    "Celu": alone("Celu", alpha=2.0),
    "Selu": alone("Selu", alpha=2.0, gamma=0.5),
    "comparison": [MASK, node("Cast", ["mask"], ["f"], to=TensorProto.FLOAT)],
    "choice": [MASK, node("Where", ["mask", "h", "half"], ["f"])],
    "both": [
        MASK,
        node("Less", ["h", "one"], ["below"]),
        node("And", ["mask", "below"], ["inside"]),
        node("Where", ["inside", "h", "half"], ["f"]),
    ],
    "clip from below": [node("Clip", ["h", "tenth"], ["f"])],
    "clip from above": [node("Clip", ["h", "", "half"], ["f"])],
    "maximum": [node("Max", ["h", "tenth"], ["f"])],
    "whole numbers": [
        node("Mul", ["h", "three"], ["a"]),
        node("Cast", ["a"], ["b"], to=TensorProto.INT64),
        node("Cast", ["b"], ["f"], to=TensorProto.FLOAT),
    ],
    "truth": [node("Cast", ["h"], ["a"], to=TensorProto.BOOL), node("Cast", ["a"], ["f"], to=TensorProto.FLOAT)],
    "cube": [node("Pow", ["h", "three"], ["f"])],
    "exponential": [node("Pow", ["three", "h"], ["f"])],
    "remainder": [node("Mod", ["h", "one"], ["f"], fmod=1)],
    "root of magnitude": [node("Abs", ["h"], ["a"]), node("Sqrt", ["a"], ["f"])],
    "softsign": [node("Abs", ["h"], ["a"]), node("Add", ["a", "one"], ["b"]), node("Div", ["h", "b"], ["f"])],
    "tanh shrink": [node("Tanh", ["h"], ["a"]), node("Sub", ["h", "a"], ["f"])],
    "steep swish": [node("Mul", ["h", "three"], ["a"]), node("Sigmoid", ["a"], ["b"]), node("Mul", ["h", "b"], ["f"])],
}
#: what is an activation, with constant factors and offsets that go into the layers
ACTIVATIONS = ("HardSigmoid", "Selu", "softsign")


def model(nodes: Sequence[NodeProto]) -> ModelProto:
    """A layer, the function, a layer."""
    rng = np.random.default_rng(0)
    used = {name for each in nodes for name in each.input if name in CONSTANTS}
    weights = {
        "first.weight": rng.normal(size=(6, 4)),
        "last.weight": rng.normal(size=(3, 6)),
        **{name: np.array(CONSTANTS[name]) for name in sorted(used)},
    }
    graph = helper.make_graph(
        [
            node("Gemm", ["x", "first.weight"], ["h"], transB=1),
            *nodes,
            node("Gemm", ["f", "last.weight"], ["y"], transB=1),
        ],
        "function",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


@pytest.mark.parametrize("name", CASES)
def test_one_function_between_two_layers(name: str) -> None:
    """However it is spelled: one node, predicted without first order, the same after a file."""
    content = model(CASES[name])
    network = pp.from_onnx(content.SerializeToString())
    middle = "activation" if name in ACTIVATIONS else "function"
    assert [each.op.type for each in network.nodes] == ["linear", middle, "linear"]
    inputs = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    (wanted,) = ReferenceEvaluator(content).run(None, {"x": inputs})
    np.testing.assert_allclose(network(inputs), wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())
    stream = io.BytesIO()
    network.save(stream)
    again = pp.Network.load(io.BytesIO(stream.getvalue()))
    np.testing.assert_array_equal(again(inputs), network(inputs))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["choice", "softsign"])
def test_it_is_predicted_as_simulated(name: str) -> None:
    network, hardware = pp.from_onnx(model(CASES[name]).SerializeToString()), pp.Hardware(programming_noise_std=1e-6)
    inputs = np.random.default_rng(1).normal(size=(5, 4))
    gains = pp.Gains.full_range(network, hardware, inputs)
    predicted = pp.predict(network, hardware, gains, inputs)
    simulated = pp.simulate(network, hardware, gains, inputs, draws=4000, seed=0)
    assert predicted.first_order == ()
    assert predicted.mse == pytest.approx(simulated.mse, abs=0.03 * simulated.mse + 3 * simulated.mse_standard_error)


def test_bounds_far_from_zero_are_kept() -> None:
    """A function is compared with activations where its values are not, too: a bound of 30 is neither none nor 12."""
    for name in ("Clip", "Max", "Min"):
        content = model([node(name, ["h", "thirty"], ["f"])])
        network = pp.from_onnx(content.SerializeToString())
        inputs = 60 * np.random.default_rng(1).normal(size=(20, 4)).astype(np.float32)
        (wanted,) = ReferenceEvaluator(content).run(None, {"x": inputs})
        np.testing.assert_allclose(network(inputs), wanted, rtol=1e-4, atol=1e-3)


def test_a_quotient_of_two_layers_is_not_one_function() -> None:
    nodes = [
        node("Gemm", ["x", "first.weight"], ["g"], "other", transB=1),
        node("Exp", ["g"], ["e"]),
        node("Div", ["h", "e"], ["f"], "quotient"),
    ]
    content = model(nodes)
    network = pp.from_onnx(content.SerializeToString())
    assert [each.op.type for each in network.nodes] == ["linear", "linear", "function", "multiply", "linear"]
    inputs = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    (wanted,) = ReferenceEvaluator(content).run(None, {"x": inputs})
    np.testing.assert_allclose(network(inputs), wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


def test_quantised_models() -> None:
    """Weights as int8 with a scale per column and a bias as int32; values in and between layers rounded to uint8."""
    rng = np.random.default_rng(0)
    arrays = {
        "w": rng.integers(-127, 128, (6, 4)).astype(np.int8),
        "w.scale": rng.uniform(0.005, 0.02, 6).astype(np.float32),
        "w.zero": np.zeros(6, np.int8),
        "b": rng.integers(-5000, 5000, 6).astype(np.int32),
        "b.scale": np.float32(1e-4),
        "x.scale": np.float32(0.03),
        "h.scale": np.float32(0.02),
        "zero": np.uint8(120),
        "last.weight": rng.normal(size=(3, 6)).astype(np.float32),
    }
    nodes = [
        node("QuantizeLinear", ["x", "x.scale", "zero"], ["xq"]),
        node("DequantizeLinear", ["xq", "x.scale", "zero"], ["xd"]),
        node("DequantizeLinear", ["w", "w.scale", "w.zero"], ["wd"], axis=0),
        node("DequantizeLinear", ["b", "b.scale"], ["bd"]),
        node("Gemm", ["xd", "wd", "bd"], ["h"], transB=1),
        node("QuantizeLinear", ["h", "h.scale", "zero"], ["hq"]),
        node("DequantizeLinear", ["hq", "h.scale", "zero"], ["f"]),
        node("Gemm", ["f", "last.weight"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "quantised",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    network = pp.from_onnx(content.SerializeToString())
    assert [each.op.type for each in network.nodes] == ["function", "linear", "function", "linear"]
    inputs = rng.normal(size=(5, 4)).astype(np.float32)
    (wanted,) = ReferenceEvaluator(content).run(None, {"x": inputs})
    np.testing.assert_allclose(network(inputs), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("blocks", [False, True])
def test_operators_on_whole_numbers(blocks: bool) -> None:
    """A convolution and products on int8 weights with scales by output or by block, and products of whole numbers."""
    rng = np.random.default_rng(0)
    small = {"size": 3} if not blocks else {"size": (2, 3)}
    arrays = {
        "k": rng.integers(-127, 128, (4, 2, 3, 3)).astype(np.int8),
        "k.scale": rng.uniform(0.005, 0.02, 4).astype(np.float32),
        "k.zero": np.zeros(4, np.int8),
        "k.bias": rng.integers(-3000, 3000, 4).astype(np.int32),
        "w": rng.integers(-127, 128, (4, 5)).astype(np.int8),
        "w.scale": rng.uniform(0.005, 0.02, 5).astype(np.float32),
        "w.zero": rng.integers(-3, 4, 5).astype(np.int8),
        "v": rng.integers(0, 255, (5, 4)).astype(np.uint8),
        "v.zero": np.uint8(120),
        "u": rng.integers(-127, 128, (4, 3)).astype(np.int8),
        "u.scale": rng.uniform(1e-5, 3e-5, **small).astype(np.float32),
        "x.scale": np.float32(0.03),
        "h.scale": np.float32(0.1),
        "g.scale": np.float32(0.2),
        "zero": np.uint8(120),
    }
    layout = {"axis": 0, "block_size": 2} if blocks else {"axis": 1}
    nodes = [
        node("QuantizeLinear", ["x", "x.scale", "zero"], ["xq"]),
        node(
            "QLinearConv",
            ["xq", "x.scale", "zero", "k", "k.scale", "k.zero", "h.scale", "zero", "k.bias"],
            ["hq"],
            pads=[1, 1, 1, 1],
        ),
        node("Transpose", ["hq"], ["t"], perm=[0, 2, 3, 1]),
        node("QLinearMatMul", ["t", "h.scale", "zero", "w", "w.scale", "w.zero", "g.scale", "zero"], ["gq"]),
        node("MatMulInteger", ["gq", "v", "zero", "v.zero"], ["i"]),
        node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        node("DequantizeLinear", ["u", "u.scale"], ["ud"], **layout),
        node("MatMul", ["f", "ud"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "whole numbers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4, 4, 3])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    network = pp.from_onnx(content.SerializeToString())
    assert [each.op.type for each in network.nodes if each.op.is_crossbar] == ["conv", *["linear"] * 3]
    inputs = rng.normal(size=(5, 2, 4, 4)).astype(np.float32)
    (wanted,) = ReferenceEvaluator(content).run(None, {"x": inputs})
    np.testing.assert_allclose(network(inputs), wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
