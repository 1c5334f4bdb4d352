"""ONNX models that cannot be imported are refused clearly, before memory is taken for what they declare."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import powerplan as pp

W = np.random.default_rng(1).normal(size=(6, 6)).astype(np.float32)
MATMUL = helper.make_node("MatMul", ["x", "w"], ["y"], "first")


def proto(nodes=(MATMUL,), *, inputs=("x",), outputs=("y",), shape=("batch", 6), opset=21, weights=None, **extra):
    """A model of float values; every piece can be made wrong."""
    tensors = [numpy_helper.from_array(W, "w")] if weights is None else weights
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in inputs]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "n"]) for name in outputs]
    built = helper.make_graph(list(nodes), "test", values, results, tensors)
    return helper.make_model(built, opset_imports=[helper.make_opsetid("", opset)], ir_version=10, **extra)


def node(operator: str, *inputs: str, name: str = "odd", **attributes) -> list[onnx.NodeProto]:
    """The first layer and a node behind it."""
    return [
        helper.make_node("MatMul", ["x", "w"], ["h"], "first"),
        helper.make_node(operator, ["h", *inputs], ["y"], name, **attributes),
    ]


def declared(dims: list[int], raw: bytes = b"\0" * 16) -> onnx.TensorProto:
    """A weight with another size than its data."""
    return TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=raw)


def external(location: str, **entries: str) -> onnx.TensorProto:
    """A weight whose data is said to be in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[6, 6], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def test_outputs_and_inputs_need_no_declared_shape() -> None:
    """Runtimes do not need them: that of an output is found, that of an input asked for."""
    inputs = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    for part in ("output", "input"):
        model = proto()
        getattr(model.graph, part)[0].type.tensor_type.ClearField("shape")
        asked = {"input_shape": (6,)} if part == "input" else {}
        network = pp.from_onnx(model.SerializeToString(), **asked)
        np.testing.assert_allclose(network(inputs), inputs @ W, rtol=1e-5, atol=1e-5)
    with pytest.raises(pp.InvalidInput, match="give input_shape"):
        pp.from_onnx(model.SerializeToString())


THEN = helper.make_graph([], "then", [], [helper.make_tensor_value_info("w", TensorProto.FLOAT, [6, 6])])
LOOP = [helper.make_node("Add", ["b", "x"], ["a"], "one"), helper.make_node("MatMul", ["a", "w"], ["b"], "two")]
LOOP.append(helper.make_node("Relu", ["b"], ["y"], "three"))
REFUSED = {
    "two inputs": (proto(inputs=("x", "z")), pp.InvalidInput, "model.inputs.*'z'"),
    "two outputs": (
        proto([MATMUL, helper.make_node("Relu", ["y"], ["z"])], outputs=("y", "z")), pp.InvalidInput, "model.outputs"
    ),
    "open shape": (proto(shape=("batch", "width")), pp.InvalidInput, "give input_shape"),
    "only a batch": (proto(shape=("batch",)), pp.InvalidInput, "batch axis"),
    "cycle": (proto(LOOP), pp.CorruptFile, "node 'one'.*without cycles"),
    "missing weight": (proto(weights=[]), pp.CorruptFile, "node 'first'.*'w'.*missing"),
    "new opset": (proto(opset=999), pp.UnsupportedOperation, "999.*opset from 7 to"),
    "old opset": (proto(opset=6), pp.UnsupportedOperation, "opset from 7 to"),
    "domain": (proto(node("Magic", domain="com.acme")), pp.UnsupportedOperation, r"com.acme.Magic.*standard"),
    "unknown": (proto(node("Det")), pp.UnsupportedOperation, r"node 'odd'.*'Det'.*no model of this operation"),
    "control flow": (
        proto(node("If", then_branch=THEN, else_branch=THEN)), pp.UnsupportedOperation, "'If'.*no fixed graph.*unrolled"
    ),
    "quantised": (proto(node("DynamicQuantizeLinear")), pp.UnsupportedOperation, "Dynamic.*quantised.*float"),
    "3 GB declared": (proto(weights=[declared([750_000_000])]), pp.CorruptFile, "tensor 'w'.*16 bytes.*750000000"),
    "absurd size": (proto(weights=[declared([2**62, 2**62])]), pp.CorruptFile, "tensor 'w'"),
    "negative size": (proto(weights=[declared([-1, 6])]), pp.CorruptFile, "sizes >= 0"),
    "strings": (
        proto(weights=[TensorProto(name="w", data_type=TensorProto.STRING, dims=[1], string_data=[b"a"])]),
        pp.UnsupportedOperation, "float32",
    ),
    "external data in bytes": (proto(weights=[external("w.bin")]), pp.CorruptFile, "has no folder"),
    "NaN": (proto(weights=[numpy_helper.from_array(W * np.nan, "w")]), pp.InvalidInput, "NaN"),
    "unknown attribute": (proto(node("Relu", colour=3)), pp.CorruptFile, "colour"),
    "wrong width": (proto(shape=("batch", 5)), pp.InvalidInput, "node 'first'.*width of its input"),
    "over the batch": (proto(node("ReduceMean", axes=[0]), opset=13), pp.UnsupportedOperation, "batch axis"),
    "random": (proto(node("Bernoulli")), pp.UnsupportedOperation, "no model of this operation"),
    "nothing": (b"", pp.CorruptFile, "1 to"),
    "noise": (b"no model at all", pp.CorruptFile, "ONNX"),
    "text": (3, pp.InvalidInput, "a path or the bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_name_what_is_wrong(case: str) -> None:
    model, kind, words = REFUSED[case]
    with pytest.raises(kind, match=f"(?s){words}"):
        pp.from_onnx(model.SerializeToString() if isinstance(model, onnx.ModelProto) else model)


def test_nothing_is_allocated_for_a_tensor_that_is_only_declared() -> None:
    """Neither for 3 GB in 1 kB, nor for a constant that is to be computed from a few bytes."""
    fill = helper.make_node("ConstantOfShape", ["size"], ["w"], "fill")
    size = numpy_helper.from_array(np.array([30_000, 30_000]), "size")
    models = [proto(weights=[declared([27_386, 27_386])]), proto([fill, MATMUL], weights=[size])]
    for model in models:
        content = model.SerializeToString()
        assert len(content) < 1024
        tracemalloc.start()
        with pytest.raises(pp.InvalidInput):
            pp.from_onnx(content)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 10e6


def test_every_truncation_is_refused_or_imported() -> None:
    content = proto().SerializeToString()
    for length in range(0, len(content), 7):
        with pytest.raises(pp.InvalidInput):
            pp.from_onnx(content[:length])


@pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd", "a/../../w.bin", "", "..\\w.bin", "C:\\w.bin", "w\0"])
def test_external_data_outside_of_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "w.bin").write_bytes(W.tobytes())
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "model.onnx"
    path.write_bytes(proto(weights=[external(location)]).SerializeToString())
    with pytest.raises(pp.CorruptFile, match="inside the folder"):
        pp.from_onnx(path)


def test_external_data_behind_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(W.tobytes())
    (tmp_path / "in").mkdir()
    os.symlink(tmp_path / "w.bin", tmp_path / "in" / "w.bin")
    path = tmp_path / "in" / "model.onnx"
    path.write_bytes(proto(weights=[external("w.bin")]).SerializeToString())
    with pytest.raises(pp.CorruptFile, match="leads out of the folder"):
        pp.from_onnx(path)


@pytest.mark.parametrize("entries", [{"offset": "8"}, {"offset": "-1"}, {"length": "9"}, {"offset": "x"}])
def test_external_data_must_be_there(tmp_path: Path, entries: dict[str, str]) -> None:
    (tmp_path / "w.bin").write_bytes(W.tobytes())
    path = tmp_path / "model.onnx"
    path.write_bytes(proto(weights=[external("w.bin", **entries)]).SerializeToString())
    with pytest.raises(pp.CorruptFile, match="'w'"):
        pp.from_onnx(path)


def test_open_shapes_are_given_and_must_agree() -> None:
    content = proto(shape=("batch", "width")).SerializeToString()
    assert pp.from_onnx(content, input_shape=(6,)).input_shape == (6,)
    with pytest.raises(pp.InvalidInput, match="declares"):
        pp.from_onnx(proto().SerializeToString(), input_shape=(7,))
    with pytest.raises(pp.InvalidInput, match="positive"):
        pp.from_onnx(content, input_shape=(0,))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(pp.InvalidInput, match="existing ONNX file"):
        pp.from_onnx(tmp_path / "none.onnx")


def test_values_that_no_memory_holds_are_refused_when_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file can declare huge activations: importing it costs nothing, using it is an error (here with 64 MB)."""
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1 << 14}[name])
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], "first"),
        helper.make_node("Resize", ["h", "", "scales"], ["y"], "huge", mode="nearest"),
    ]
    weights = [
        numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "w"),
        numpy_helper.from_array(np.array([1, 1, 1000, 1000], np.float32), "scales"),
    ]
    with pytest.warns(pp.UncheckedWarning):
        network = pp.from_onnx(proto(nodes, shape=("batch", 1, 3, 3), weights=weights).SerializeToString())
    x, hardware = np.ones((1, 1, 3, 3)), pp.Hardware()
    for use in (
        lambda: pp.plan(network, hardware, x, pp.MaxNMSE(0.1)),
        lambda: pp.Gains.full_range(network, hardware, x),
    ):
        with pytest.raises(pp.InvalidInput, match=r"network.nodes\['huge'\]: .*9,000,000 entries.*4,194,304 .*0.1 GB"):
            use()
