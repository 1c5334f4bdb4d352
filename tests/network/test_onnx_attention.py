"""Attention of ONNX, what onnxruntime's optimiser writes, and models of scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from sklearn.datasets import load_iris
from sklearn.neural_network import MLPClassifier, MLPRegressor

import powerplan as pp
from tests.network.test_onnx_import import Patches, export

node = helper.make_node
RNG = np.random.default_rng(0)
LENGTH, HEADS, WIDTH = 4, 2, 8


def model(
    nodes: Sequence[NodeProto],
    shape: Sequence[int],
    outputs: Sequence[str] = ("y",),
    kinds: Sequence[int] = (TensorProto.FLOAT,),
    opset: int = 23,
    batch: str | int = "batch",
    **constants: Any,
) -> bytes:
    """The bytes of a model from "x" (batch, *shape)."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *shape])],
        [
            helper.make_tensor_value_info(name, kind, [None] * (len(shape) + 1))
            for name, kind in zip(outputs, kinds, strict=True)
        ],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    domains = {"": opset, "com.microsoft": 1, "ai.onnx.ml": 3}
    imports = [helper.make_opsetid(domain, version) for domain, version in domains.items()]
    built: bytes = helper.make_model(graph, opset_imports=imports, ir_version=10).SerializeToString()
    return built


def like_onnxruntime(content: bytes, shape: tuple[int, ...], output: str = "y") -> pp.Network:
    network = pp.from_onnx(content, output=output)
    x = np.random.default_rng(1).normal(size=(3, *shape)).astype(np.float32)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (wanted,) = session.run([output], {"x": x})
    np.testing.assert_allclose(network(x), wanted, rtol=1e-4, atol=1e-5)
    return network


def floats(*shape: int) -> np.ndarray:
    return (RNG.normal(size=shape) / 2).astype(np.float32)


def projected(width: int, key_width: int | None = None) -> tuple[list[NodeProto], dict[str, np.ndarray]]:
    """Queries, keys and values of the input, and their matrices."""
    widths = {"q": width, "k": key_width or width, "v": key_width or width}
    nodes = [node("MatMul", ["x", f"w.{name}"], [name], name) for name in widths]
    return nodes, {f"w.{name}": floats(WIDTH, n) for name, n in widths.items()}


CAUSAL = np.tril(np.ones((LENGTH, LENGTH), bool))


@pytest.mark.parametrize(
    ("attributes", "constants"),
    [
        ({"q_num_heads": 2, "kv_num_heads": 2}, {}),
        ({"q_num_heads": 4, "kv_num_heads": 2, "is_causal": 1, "scale": 0.3}, {}),
        ({"q_num_heads": 2, "kv_num_heads": 2, "softcap": 0.5}, {"mask": CAUSAL}),
        ({"q_num_heads": 2, "kv_num_heads": 1}, {"mask": floats(2, LENGTH, LENGTH)}),
    ],
)
def test_attention_of_the_standard(attributes: dict[str, Any], constants: dict[str, np.ndarray]) -> None:
    nodes, matrices = projected(WIDTH, WIDTH * attributes["kv_num_heads"] // attributes["q_num_heads"])
    nodes.append(node("Attention", ["q", "k", "v", *constants], ["y"], "attention", **attributes))
    content = model(nodes, (LENGTH, WIDTH), **matrices, **constants)
    network = pp.from_onnx(content)
    x = np.random.default_rng(1).normal(size=(3, LENGTH, WIDTH)).astype(np.float32)
    (wanted,) = ReferenceEvaluator(onnx.load_from_string(content)).run(None, {"x": x})
    np.testing.assert_allclose(network(x), wanted, rtol=1e-4, atol=1e-5)
    assert network.layer_names == ("q", "k", "v")


@pytest.mark.parametrize(
    ("operator", "inputs", "attributes"),
    [
        ("Attention", ["x", "qkv", "bias"], {}),
        ("Attention", ["x", "qkv", "bias"], {"unidirectional": 1, "scale": 0.4}),
        ("Attention", ["x", "qkv", "bias", "mask"], {}),
        ("MultiHeadAttention", ["q", "k", "v", "bias"], {}),
    ],
)
def test_attention_of_onnxruntime(operator: str, inputs: list[str], attributes: dict[str, Any]) -> None:
    """Its three matrices are arrays of their own."""
    nodes, constants = projected(WIDTH) if operator[0] == "M" else ([], {"qkv": floats(WIDTH, 3 * WIDTH)})
    nodes.append(node(operator, inputs, ["y"], "a", domain="com.microsoft", num_heads=HEADS, **attributes))
    constants["bias"] = floats(3 * WIDTH)
    if "mask" in inputs:
        constants["mask"] = np.array([[1, 1, 0, 1]] * 3, np.int32)
    content = model(nodes, (LENGTH, WIDTH), opset=17, batch=3 if "mask" in inputs else "batch", **constants)
    network = like_onnxruntime(content, (LENGTH, WIDTH))
    names = ("q", "k", "v") if operator[0] == "M" else ("a.q_proj", "a.k_proj", "a.v_proj")
    assert network.layer_names == names


def test_attention_with_what_earlier_calls_left_is_refused() -> None:
    nodes, matrices = projected(WIDTH)
    heads = {"q_num_heads": HEADS, "kv_num_heads": HEADS}
    nodes.append(node("Attention", ["q", "k", "v", "", "past", "past"], ["y", "k2", "v2"], "attention", **heads))
    past = floats(1, HEADS, LENGTH, WIDTH // HEADS)
    with pytest.raises(pp.UnsupportedOperation, match=r"node 'attention'.*earlier calls"):
        pp.from_onnx(model(nodes, (LENGTH, WIDTH), past=past, **matrices))


def test_operators_that_the_optimiser_of_onnxruntime_writes() -> None:
    domain = {"domain": "com.microsoft"}
    nodes = [
        node("FusedMatMul", ["x", "w"], ["a"], "first", alpha=0.5, transB=1, **domain),
        node("BiasGelu", ["a", "b"], ["c"], **domain),
        node("SkipLayerNormalization", ["c", "x", "scale", "b"], ["d", "", "", "sum"], **domain),
        node("QuickGelu", ["d"], ["e"], **domain),
        node("FastGelu", ["sum", "b"], ["f"], **domain),
        node("Add", ["e", "f"], ["y"]),
    ]
    constants = {"w": floats(WIDTH, WIDTH), "b": floats(WIDTH), "scale": floats(WIDTH)}
    like_onnxruntime(model(nodes, (LENGTH, WIDTH), opset=17, **constants), (LENGTH, WIDTH))


@pytest.mark.slow
def test_a_vision_transformer_as_onnxruntime_optimises_it(tmp_path: Path) -> None:
    content = export(Patches(), (1, 12, 12))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "fast.onnx")
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(size=(3, 1, 12, 12))
    plain, fast = pp.from_onnx(content), pp.from_onnx(tmp_path / "fast.onnx")
    np.testing.assert_allclose(fast(x), plain(x), rtol=1e-5, atol=1e-6)
    assert len(fast.layer_names) == len(plain.layer_names)


def perceptron(estimator: MLPClassifier | MLPRegressor) -> bytes:
    """As skl2onnx writes it: a scaler, the layers, classes and their probabilities."""
    scaled = {"offset": [5.0, 3.0, 4.0, 1.0], "scale": [1.0, 2.0, 0.5, 1.0]}
    nodes, value = [node("Scaler", ["x"], ["h0"], domain="ai.onnx.ml", **scaled)], "h0"
    constants: dict[str, Any] = {}
    for i, (matrix, offset) in enumerate(zip(estimator.coefs_, estimator.intercepts_, strict=True)):
        constants |= {f"w{i}": matrix.astype(np.float32), f"b{i}": offset.astype(np.float32)}
        last = i == len(estimator.coefs_) - 1
        operator = {"softmax": "Softmax", "logistic": "Sigmoid"}.get(estimator.out_activation_, "Identity")
        operator = operator if last else "Relu"
        nodes += [
            node("MatMul", [value, f"w{i}"], [f"m{i}"]),
            node("Add", [f"m{i}", f"b{i}"], [f"a{i}"]),
            node(operator, [f"a{i}"], [f"h{i + 1}"], **({"axis": 1} if operator == "Softmax" else {})),
        ]
        value = f"h{i + 1}"
    if isinstance(estimator, MLPRegressor):
        nodes.append(node("Reshape", [value, "sizes"], ["variable"]))
        return model(nodes, (4,), ["variable"], opset=17, sizes=np.array([-1, 1]), **constants)
    if estimator.out_activation_ == "logistic":
        nodes += [node("Sub", ["one", value], ["other"]), node("Concat", ["other", value], ["both"], axis=1)]
        constants["one"], value = np.float32([1]), "both"
    nodes += [
        node("Identity", [value], ["probabilities"]),
        node("ArgMax", ["probabilities"], ["place"], axis=1, keepdims=0),
        node("ArrayFeatureExtractor", ["classes", "place"], ["label"], domain="ai.onnx.ml"),
    ]
    kinds = [TensorProto.INT64, TensorProto.FLOAT]
    classes = estimator.classes_.astype(np.int64)
    return model(nodes, (4,), ["label", "probabilities"], kinds, 17, classes=classes, **constants)


@pytest.mark.parametrize("kind", ["three classes", "two classes", "regression"])
def test_perceptrons_of_scikit_learn(kind: str) -> None:
    """Of the outputs the one of floating-point numbers is taken; nodes that it does not need are not looked at."""
    inputs, labels = load_iris(return_X_y=True)
    chosen = labels < 2 if kind == "two classes" else labels >= 0
    inputs, labels = inputs[chosen], labels[chosen]
    cells = (inputs - [5, 3, 4, 1]) * [1, 2, 0.5, 1]
    options = {"hidden_layer_sizes": (6, 5), "max_iter": 2000, "random_state": 0, "solver": "lbfgs", "alpha": 1.0}
    if kind == "regression":
        estimator: Any = MLPRegressor(**options).fit(cells, labels)
        wanted = estimator.predict(cells)[:, None]
    else:
        estimator = MLPClassifier(**options).fit(cells, labels)
        wanted = estimator.predict_proba(cells)
    network = pp.from_onnx(perceptron(estimator))
    np.testing.assert_allclose(network(inputs.astype(np.float32)), wanted, rtol=1e-4, atol=1e-5)
    assert len(network.layer_names) == 3


def test_one_of_several_outputs_is_chosen_by_name() -> None:
    nodes = [
        node("MatMul", ["x", "w"], ["h"], "first"),
        node("Relu", ["h"], ["y"], "relu"),
        node("Det", ["x"], ["z"], "odd"),
    ]
    content = model(nodes, (LENGTH, WIDTH), ["y", "z"], [TensorProto.FLOAT] * 2, 17, w=floats(WIDTH, WIDTH))
    with pytest.raises(pp.InvalidInput, match=r"model.outputs.*'y', 'z'.*output='y'"):
        pp.from_onnx(content)
    assert [each.name for each in pp.from_onnx(content, output="y").nodes] == ["first", "relu"]
    assert [each.name for each in pp.from_onnx(content, output="h").nodes] == ["first"]
    with pytest.raises(pp.UnsupportedOperation, match="'odd'"):
        pp.from_onnx(content, output="z")
    with pytest.raises(pp.InvalidInput, match=r"output: got 'logits'; allowed: one of y, z"):
        pp.from_onnx(content, output="logits")
