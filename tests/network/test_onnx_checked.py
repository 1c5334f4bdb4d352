"""Every imported ONNX model is compared with a program that runs ONNX: a wrong import is an error, not an answer."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, version_converter
from onnx.reference import ReferenceEvaluator

import powerplan as pp
from powerplan.network import Activation
from powerplan.network.onnx_import import network_of, read_model
from powerplan.network.onnx_import.evaluators import Evaluator, Reference, Runtime
from powerplan.network.onnx_import.rules import RULES
from powerplan.network.torch_import.rules.shaping import narrow

W = np.random.default_rng(1).normal(size=(6, 6)).astype(np.float32)
FIRST = helper.make_node("MatMul", ["x", "w"], ["h"], "first")


def model(
    *nodes: onnx.NodeProto, shape: tuple[int, ...] = (4, 6), batch: Any = "batch", opset: int = 21, **constants: Any
) -> bytes:
    """The bytes of a model from "x" (batch, *shape) to "y" whose first layer is x W."""
    made = helper.make_model(
        helper.make_graph(
            [FIRST, *nodes],
            "test",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *shape])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.asarray(a), name) for name, a in {"w": W, **constants}.items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=4 if opset < 9 else 9,
    )
    return onnx.shape_inference.infer_shapes(made).SerializeToString()


RELU = helper.make_node("Relu", ["h"], ["r"], "relu")
LAST = helper.make_node("MatMul", ["r", "w"], ["y"], "last")


def wrong(monkeypatch: pytest.MonkeyPatch, operator: str, rule: Any) -> None:
    """An importer with a fault in one operator."""
    monkeypatch.setitem(RULES, operator, rule)


@pytest.mark.parametrize("native", [True, False], ids=["onnxruntime", "reference"])
def test_a_wrong_import_is_refused_with_the_node(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    wrong(monkeypatch, "Relu", lambda call, x: x.apply(Activation(kind="leaky_relu")))
    name = "onnxruntime" if native else "onnx.reference"
    with pytest.raises(pp.InvalidInput, match=rf"node 'relu'.*differ by .*what {name} computes"):
        network_of(read_model(model(RELU, LAST)), native=native)


def test_a_wrong_shape_is_refused_with_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong(monkeypatch, "Relu", lambda call, x: narrow(x, 1, 0, 2))
    with pytest.raises(pp.InvalidInput, match=r"node 'relu'.*another shape"):
        pp.from_onnx(model(RELU, LAST))


def test_models_of_strangers_are_run_in_python_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*unused: Any) -> Any:
        raise AssertionError("native code")

    monkeypatch.setattr(Runtime, "run", run)
    network_of(read_model(model(RELU, LAST)), native=False)


def test_what_nothing_can_run_or_only_slowly_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*unused: Any) -> Any:
        raise RuntimeError("no kernel for this operator")

    for kind in (Runtime, Reference):
        monkeypatch.setattr(kind, "run", unknown)
    with pytest.warns(pp.UncheckedWarning, match="onnxruntime: no kernel.*; onnx.reference: no kernel"):
        network = pp.from_onnx(model(RELU, LAST))
    assert network.read_names == ("first", "last")
    monkeypatch.setattr(Evaluator, "seconds", lambda *unused: 3600.0)
    with pytest.warns(pp.UncheckedWarning, match="would take about 3600 s"):
        pp.from_onnx(model(RELU, LAST))


def test_large_models_are_estimated_before_they_run() -> None:
    """Pooling of the reference is slow, onnxruntime's is not; more inputs take longer."""
    nodes = [
        helper.make_node("Reshape", ["h", "image"], ["i"], "image"),
        helper.make_node("MaxPool", ["i"], ["y"], "pool", kernel_shape=[3, 3]),
    ]
    network = pp.from_onnx(model(*nodes, shape=(60, 6), image=np.array([0, 4, 9, 10])))
    assert Reference().seconds(network, 1) > 10 * Runtime().seconds(network, 1)
    assert Reference().seconds(network, 4) == pytest.approx(4 * Reference().seconds(network, 1))


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("grid", ["half_pixel", "pytorch_half_pixel", "align_corners"])
@pytest.mark.parametrize("size", [(1, 1), (1, 8), (2, 1)])
def test_resize_to_one_entry(mode: str, grid: str, size: tuple[int, int]) -> None:
    """pytorch_half_pixel takes the first entry where one is left, half_pixel the middle."""
    nodes = [
        helper.make_node("Unsqueeze", ["h", "one"], ["u"], "channel"),
        helper.make_node("Resize", ["u", "", "s"], ["y"], "resize", mode=mode, coordinate_transformation_mode=grid),
    ]
    scales = np.array([1, 1, size[0] / 4, size[1] / 8], np.float32)
    network = pp.from_onnx(model(*nodes, shape=(4, 6), one=np.array([1]), s=scales, w=np.resize(W, (6, 8))))
    assert network.output_shape == (1, *size)


def test_resize_by_pytorch_half_pixel_takes_the_first_entry() -> None:
    """Not the middle, as torch itself does."""
    grid = "pytorch_half_pixel"
    nodes = [
        helper.make_node("Unsqueeze", ["h", "one"], ["u"], "channel"),
        helper.make_node("Resize", ["u", "", "s"], ["y"], mode="linear", coordinate_transformation_mode=grid),
    ]
    scales = np.array([1, 1, 1, 1 / 6], np.float32)
    network = pp.from_onnx(model(*nodes, shape=(1, 6), one=np.array([1]), s=scales, w=np.eye(6, dtype=np.float32)))
    np.testing.assert_allclose(network([[[5.0, 1, 2, 3, 4, 0]]]), [[[[5.0]]]])


@pytest.mark.parametrize(("order", "shape"), [(["v", "h"], (6,)), (["h", "u"], (4,))])
def test_products_with_a_vector_drop_its_axis(order: list[str], shape: tuple[int, ...]) -> None:
    vectors = {"v": np.arange(4, dtype=np.float32), "u": np.arange(6, dtype=np.float32)}
    used = {name: vectors[name] for name in order if name in vectors}
    network = pp.from_onnx(model(helper.make_node("MatMul", order, ["y"], "product"), **used))
    assert network.output_shape == shape


@pytest.mark.parametrize("axis", [0, -3])
def test_a_flatten_of_the_batch_is_refused_but_for_one_input(axis: int) -> None:
    flatten = helper.make_node("Flatten", ["h"], ["y"], "flat", axis=axis)
    with pytest.raises(pp.UnsupportedOperation, match=r"node 'flat'.*Flatten' \(axis=0 puts the inputs of a batch"):
        pp.from_onnx(model(flatten))
    assert pp.from_onnx(model(flatten, batch=1)).output_shape == (24,)


def test_a_model_that_mixes_the_inputs_of_a_batch_is_refused() -> None:
    """Read with a batch of one it looks like a flatten; onnx puts two inputs into one row."""
    nodes = helper.make_node("Reshape", ["h", "row"], ["y"], "row")
    with pytest.raises(pp.InvalidInput, match=r"2 inputs together.*one by one"):
        pp.from_onnx(model(nodes, row=np.array([1, -1])))
    assert pp.from_onnx(model(nodes, batch=1, row=np.array([1, -1]))).output_shape == (24,)


def test_a_model_written_for_a_batch_is_compared_with_that_batch() -> None:
    nodes = helper.make_node("Reshape", ["h", "rows"], ["y"], "rows")
    assert pp.from_onnx(model(nodes, batch=3, rows=np.array([3, 24]))).output_shape == (24,)


def test_inputs_of_indices_and_models_in_double_precision() -> None:
    made = onnx.load_from_string(model(helper.make_node("Relu", ["h"], ["y"], "relu")))
    made.graph.initializer[0].CopyFrom(numpy_helper.from_array(W.astype(np.float64), "w"))
    for value in (*made.graph.input, *made.graph.output, *made.graph.value_info):
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    network = pp.from_onnx(made.SerializeToString())
    assert network.crossbars[0].op.tensors()["weight"].dtype == np.float64


def test_deep_models_are_not_refused_for_rounding() -> None:
    """Single precision leaves the outputs of 60 layers that amplify differences open; double precision does not."""
    rng = np.random.default_rng(0)
    nodes, weights, name = [], {}, "h"
    for i in range(60):
        weights[f"w{i}"] = (rng.normal(size=(24, 24)) * 3 / 24**0.5).astype(np.float32)
        nodes.append(helper.make_node("MatMul", [name, f"w{i}"], [f"a{i}"], f"layer{i}"))
        nodes.append(helper.make_node("Tanh", [f"a{i}"], ["y" if i == 59 else f"b{i}"], f"tanh{i}"))
        name = f"b{i}"
    content = model(*nodes, shape=(24,), **(weights | {"w": np.eye(24, dtype=np.float32)}))
    assert len(pp.from_onnx(content).crossbars) == 61


def test_old_and_new_opsets_are_converted_in_the_right_direction() -> None:
    relu = helper.make_node("Relu", ["h"], ["y"], "relu")
    old = model(relu, opset=6)
    with pytest.raises(pp.UnsupportedOperation, match=r"got 6 \(it is too old\).*Convert it up.*\(model, 17\)"):
        pp.from_onnx(old)
    converted = version_converter.convert_version(onnx.load_from_string(old), 17).SerializeToString()
    x = np.ones((1, 4, 6), np.float32)
    wanted = ReferenceEvaluator(onnx.load_from_string(converted)).run(None, {"x": x})[0]
    np.testing.assert_allclose(pp.from_onnx(converted)(x), wanted, rtol=1e-5, atol=1e-6)
    new = onnx.load_from_string(model(relu))
    new.opset_import[0].version = 999
    with pytest.raises(pp.UnsupportedOperation, match=r"newer than this .*opset_version=.* or older, or upgrade"):
        pp.from_onnx(new.SerializeToString())


def test_refusals_are_short_and_say_why_first() -> None:
    for node, said in (
        (helper.make_node("Det", ["h"], ["y"], "odd"), "'Det' (there is no model of this operation)"),
        (helper.make_node("Hardmax", ["h"], ["y"], "odd"), "'Hardmax' (there is no model of this operation)"),
    ):
        with pytest.raises(pp.UnsupportedOperation) as caught:
            pp.from_onnx(model(node, shape=(6, 6)))
        assert str(caught.value).startswith(f"node 'odd': got {said}")
        assert len(str(caught.value)) < 300


def test_a_small_model_is_compared_in_no_time() -> None:
    """A comparison adds no warning, and no file is written."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pp.from_onnx(model(RELU, LAST))
