"""An imported ONNX model computes what onnxruntime computes."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import powerplan as pp
from powerplan.examples.vision import import_torchvision
from powerplan.network import Activation
from powerplan.network.onnx_import.call import Call
from powerplan.network.onnx_import.constants import computed
from powerplan.network.torch_import.value import Refused


def export(module: nn.Module, shape: tuple[int, ...], opset: int = 17) -> bytes:
    """A torch module as an ONNX model with an open batch."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    stream = io.BytesIO()
    axes = {"x": {0: "batch"}, "y": {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(
            module.eval(),
            (torch.randn(2, *shape),),
            stream,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes=axes,
            dynamo=False,
            opset_version=opset,
        )
    return stream.getvalue()


def compare(model: bytes, shape: tuple[int, ...], batch: int = 3, inputs: np.ndarray | None = None) -> pp.Network:
    """Import a model and compare it with onnxruntime on random inputs."""
    network = pp.from_onnx(model, input_shape=shape)
    x = np.random.default_rng(0).normal(size=(batch, *shape)).astype(np.float32) if inputs is None else inputs
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    wanted = session.run(None, {session.get_inputs()[0].name: x})[0]
    found = network(x)
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=2e-6 * max(np.abs(wanted).max(), 1), rtol=1e-4)
    return network


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.norm2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x))))) + x)


class Dense(nn.Module):
    """Concatenation, with the norm in front of the convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(4), nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.conv(torch.relu(self.norm(x)))], 1)


class Patches(nn.Module):
    """A small vision transformer: patches, class token, positions, encoder, head."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 16, 4, 4)
        self.token, self.positions = nn.Parameter(torch.randn(1, 1, 16)), nn.Parameter(torch.randn(1, 10, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, activation="gelu", norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        return self.head(self.encoder(x)[:, 0])


LENET = nn.Sequential(
    nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 8, 5), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(32, 10), nn.LogSoftmax(-1),
)  # fmt: skip
RESIDUAL = nn.Sequential(nn.Conv2d(1, 4, 3), Residual(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
DEPTHWISE = nn.Sequential(
    nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.Hardswish(),
    nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 4, 1), nn.SiLU(),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(4, 3),
)  # fmt: skip
DENSE = nn.Sequential(nn.Conv2d(1, 4, 3), Dense(), nn.Conv2d(7, 2, 1), nn.Flatten(), nn.Linear(72, 3))
UPSAMPLED = nn.Sequential(
    nn.Conv2d(1, 4, 3, padding=1, padding_mode="reflect"), nn.GroupNorm(2, 4), nn.Mish(), nn.Upsample(scale_factor=2),
    nn.ConvTranspose2d(4, 2, 3, 2, 1, 1), nn.PReLU(2), nn.InstanceNorm2d(2, affine=True), nn.Upsample(
        scale_factor=2, mode="bilinear"), nn.Flatten(), nn.Linear(2048, 2),
)  # fmt: skip


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        pytest.param(LENET, (1, 16, 16), id="lenet"),
        pytest.param(RESIDUAL, (1, 8, 8), id="residual"),
        pytest.param(DEPTHWISE, (3, 10, 10), id="depthwise"),
        pytest.param(DENSE, (1, 8, 8), id="dense"),
        pytest.param(Patches(), (1, 12, 12), id="vision transformer"),
        pytest.param(UPSAMPLED, (1, 4, 4), id="upsampled"),
    ],
)
def test_exported_modules_compute_what_onnxruntime_computes(module: nn.Module, shape: tuple[int, ...]) -> None:
    compare(export(module, shape), shape)


class Attending(nn.Module):
    """Attention as written by hand or by torch, with a mask or with its weights asked for."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.attention = kind, nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        blocked = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)
        if self.kind == "causal":
            return torch.nn.functional.scaled_dot_product_attention(x, 2 * x, x, is_causal=True)
        if self.kind == "filled":
            scores = (x @ x.transpose(1, 2)).masked_fill(blocked, float("-inf"))
            return torch.softmax(scores, -1) @ x
        if self.kind == "weights":
            return self.attention(x, x, x)[0]
        mask = blocked if self.kind == "boolean" else nn.Transformer.generate_square_subsequent_mask(5)
        return self.attention(x, x, x, attn_mask=mask, need_weights=False)[0]


@pytest.mark.parametrize("kind", ["causal", "filled", "weights", "boolean", "added"])
def test_masked_attention(kind: str) -> None:
    """Constant masks with minus infinity are exported in several ways; what is masked gets no weight."""
    module = nn.Sequential(nn.Linear(8, 8), Attending(kind))
    compare(export(module, (5, 8)), (5, 8))


@pytest.mark.parametrize("condition", [np.array([True] * 3 + [False] * 3), np.ones(6, bool), np.zeros(6, bool)])
@pytest.mark.parametrize("names", [("h", "g"), ("h", "c"), ("c", "h")])
def test_choices_by_a_constant(condition: np.ndarray, names: tuple[str, str]) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "first"),
        helper.make_node("Relu", ["h"], ["g"], "second"),
        helper.make_node("Where", ["condition", *names], ["z"], "where"),
        helper.make_node("Add", ["z", "h"], ["y"], "sum"),
    ]
    compare(graph(nodes, (4, 6), w=W, condition=condition, c=W[0]), (4, 6))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v3_small", "efficientnet_b0", "densenet121"])
def test_exported_classifiers_of_torchvision_compute_what_onnxruntime_computes(name: str) -> None:
    torch.manual_seed(0)
    module = getattr(import_torchvision("models"), name)(weights=None)
    found = compare(export(module, (3, 32, 32)), (3, 32, 32), batch=2)
    assert len(found.crossbars) == len(pp.from_torch(module, (3, 32, 32)).crossbars)


@pytest.mark.parametrize("opset", [9, 11, 13, 18, 20])
def test_opsets(opset: int) -> None:
    """Attributes that became inputs are read in both forms."""
    compare(export(DEPTHWISE, (3, 10, 10), opset), (3, 10, 10))


def test_layers_are_named_by_their_weights_and_chosen_by_them() -> None:
    model = export(RESIDUAL, (1, 8, 8))
    network = pp.from_onnx(model, digital=[-1])
    assert network.layer_names[0].startswith("0")
    assert len(network.layer_names) == len(pp.from_onnx(model).layer_names) - 1 == 3


def test_composed_activations_are_recognised() -> None:
    """x (1 + erf(x/√2))/2, x·sigmoid(x) and x·tanh(softplus(x)) are one activation each."""
    module = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 6), nn.SiLU(), nn.Linear(6, 3), nn.Mish())
    network = compare(export(module, (4,)), (4,))
    kinds = [node.op.kind for node in network.nodes if isinstance(node.op, Activation)]
    assert kinds == ["gelu", "silu", "mish"]
    assert len(network.nodes) == 6


@pytest.mark.parametrize("opset", [13, 17])
def test_a_layer_norm_is_one_operation_however_it_is_spelled(opset: int) -> None:
    """Before opset 17 exporters wrote ReduceMean, Sub, Pow, ReduceMean, Add, Sqrt, Div, Mul, Add."""
    norm = nn.LayerNorm(6)
    nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    network = compare(export(nn.Sequential(nn.Linear(4, 6), norm, nn.Linear(6, 2)), (4,), opset), (4,))
    assert [node.op.type for node in network.nodes] == ["linear", "layer_norm", "linear"]


def graph(
    nodes: list[onnx.NodeProto],
    shape: tuple,
    opset: int = 21,
    kind: int = TensorProto.FLOAT,
    batch: str | int = "batch",
    **constants,
):
    """The bytes of a model of these nodes from "x" (batch, *shape) to "y"."""
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "test",
            [helper.make_tensor_value_info("x", kind, [batch, *shape])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=10,
    )
    return onnx.shape_inference.infer_shapes(model).SerializeToString()


W = np.random.default_rng(1).normal(size=(6, 6)).astype(np.float32)


@pytest.mark.parametrize(
    ("operator", "attributes", "inputs", "constants"),
    [
        ("Relu", {}, [], {}),
        ("LeakyRelu", {"alpha": 0.2}, [], {}),
        ("Elu", {"alpha": 0.7}, [], {}),
        ("Selu", {}, [], {}),
        ("HardSigmoid", {"alpha": 1 / 6}, [], {}),
        ("HardSwish", {}, [], {}),
        ("Softsign", {}, [], {}),
        ("Softplus", {}, [], {}),
        ("Gelu", {"approximate": "tanh"}, [], {}),
        ("Clip", {}, ["a", "b"], {"a": np.float32(-0.5), "b": np.float32(0.3)}),
        ("Add", {}, ["a"], {"a": W[0]}),
        ("Sub", {}, ["a"], {"a": W[0]}),
        ("Mul", {}, ["a"], {"a": W[:4]}),
        ("Div", {}, ["a"], {"a": W[0]}),
        ("PRelu", {}, ["a"], {"a": W[0]}),
        ("Softmax", {}, [], {}),
        ("Softmax", {"axis": 1}, [], {}),
        ("LayerNormalization", {"epsilon": 1e-3}, ["a", "b"], {"a": W[0], "b": W[1]}),
        ("ReduceMean", {"keepdims": 0}, ["a"], {"a": np.array([1])}),
        ("ReduceSum", {}, ["a"], {"a": np.array([-1])}),
        ("Transpose", {"perm": [0, 2, 1]}, [], {}),
        ("Unsqueeze", {}, ["a"], {"a": np.array([1, 3])}),
        ("Flatten", {}, [], {}),
        ("Reshape", {}, ["a"], {"a": np.array([0, 2, -1])}),
        ("Reshape", {}, ["a"], {"a": np.array([-1, 24])}),
        ("Slice", {}, ["a", "b", "c", "d"], {"a": np.array([-3]), "b": np.array([2**62]), "c": np.array([2]),
                                            "d": np.array([2])}),
        ("Gather", {"axis": 1}, ["a"], {"a": np.array(-1)}),
        ("Gather", {"axis": 2}, ["a"], {"a": np.array([5, 0, 2])}),
        ("Pad", {}, ["a", "b"], {"a": np.array([0, 1, 0, 0, 0, 2]), "b": np.float32(0.5)}),
        ("MatMul", {}, ["a"], {"a": W}),
        ("Cast", {"to": TensorProto.FLOAT}, [], {}),
        ("Slice", {}, ["a", "b", "c", "d"], {"a": np.array([-1]), "b": np.array([-2**63]), "c": np.array([2]),
                                            "d": np.array([-2])}),
        ("Gather", {"axis": 1}, ["a"], {"a": np.array([[3, 0], [1, -1], [2, 2]])}),
        ("GatherElements", {"axis": 2}, ["a"], {"a": np.array([[[5, 0]] * 4])}),
        ("Tile", {}, ["a"], {"a": np.array([1, 2, 3])}),
        ("Trilu", {"upper": 0}, ["a"], {"a": np.array(1)}),
        ("ReduceL1", {"keepdims": 0}, ["a"], {"a": np.array([2])}),
        ("ReduceL2", {"keepdims": 0}, ["a"], {"a": np.array([1])}),
        ("ReduceL2", {}, ["a"], {"a": np.array([-1, 1])}),
        ("ReduceSumSquare", {}, ["a"], {"a": np.array([-1])}),
        ("ReduceLogSumExp", {"keepdims": 0}, ["a"], {"a": np.array([2])}),
        ("ReduceMax", {"keepdims": 0}, ["a"], {"a": np.array([1])}),
        ("ReduceMin", {}, ["a"], {"a": np.array([1, 2])}),
        ("ReduceProd", {}, ["a"], {"a": np.array([1, 2])}),
        ("LpNormalization", {"axis": 2}, [], {}),
        ("CumSum", {}, ["a"], {"a": np.array(2)}),
        ("TopK", {"axis": 1}, ["a"], {"a": np.array([2])}),
        ("Max", {}, ["a", "h"], {"a": W[0]}),
        ("Min", {}, ["a"], {"a": W[:1]}),
        ("Mean", {}, ["a", "h"], {"a": W[0]}),
    ],
)  # fmt: skip
def test_single_operators(operator: str, attributes: dict, inputs: list[str], constants: dict) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "first"),
        helper.make_node(operator, ["h", *inputs], ["y", *["_"] * (operator == "TopK")], "second", **attributes),
    ]
    batch = 1 if operator == "GatherElements" else 3  # its places are those for every input of the batch
    compare(graph(nodes, (4, 6), batch=1 if batch == 1 else "batch", w=W, **constants), (4, 6), batch)


@pytest.mark.parametrize(
    ("equation", "constants"),
    [
        ("bij->bji", {}),
        ("bij->bj", {}),
        ("bij,bkj->bik", {}),
        ("bij,bij->bij", {}),
        ("bij,bij->bi", {}),
        ("bij,jk->bik", {"a": W}),
        ("...j,j->...j", {"a": W[0]}),
        ("bij,k->bijk", {"a": W[0, :2]}),
        ("bij,jk,kl->bil", {"a": W, "c": W[:, :2]}),
        ("bij,bkj,bkl->bil", {}),
    ],
)
def test_einstein_sums(equation: str, constants: dict[str, np.ndarray]) -> None:
    others = [*constants, *["h"] * (equation.count(",") - len(constants))]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "first"),
        helper.make_node("Einsum", ["h", *others], ["y"], "sum", equation=equation),
    ]
    compare(graph(nodes, (4, 6), w=W, **constants), (4, 6))


@pytest.mark.parametrize(
    ("operator", "attributes", "constants"),
    [
        ("Gemm", {"transB": 1, "alpha": 0.5}, [W, W, W[0]]),
        ("Sigmoid", {}, [W]),
        ("Erf", {}, [W]),
        ("Softmax", {"axis": 0}, [W]),
        ("LayerNormalization", {}, [W, W[0], W[1]]),
        ("MatMul", {}, [W[None], W[None]]),
        ("Einsum", {"equation": "ij,kj->ik"}, [W, W]),
        ("CumSum", {}, [W, np.array(0)]),
        ("ReduceL2", {"keepdims": 1}, [W, np.array([1])]),
        ("Conv", {"kernel_shape": [3], "pads": [1, 1]}, [W[:, None], W[:1, None, :3]]),
        ("Trilu", {"upper": 1}, [W]),
        ("OneHot", {}, [np.array([2, 0, 5, 1, 3, 4]), np.array(6), np.array([0.0, 1.0], np.float32)]),
        ("Det", {}, [W]),
    ],
)
def test_any_operator_is_computed_on_constants(operator: str, attributes: dict, constants: list) -> None:
    """Its value is added to a layer's."""
    names = [f"c{i}" for i in range(len(constants))]
    nodes = [
        helper.make_node(operator, names, ["c"], "folded", **attributes),
        helper.make_node("ReduceSum", ["c"], ["sum"], keepdims=0),
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Add", ["h", "sum"], ["y"]),
    ]
    network = compare(graph(nodes, (6,), w=W, **dict(zip(names, constants, strict=True))), (6,))
    assert [node.op.type for node in network.nodes] == ["linear"]


@pytest.mark.parametrize(
    ("node", "why"),
    [
        (helper.make_node("RandomNormal", [], ["c"], shape=[6]), "it is random"),
        (helper.make_node("Attention", ["batch_of_rows"] * 3, ["c"]), "not computed on constants"),
        (helper.make_node("NonZero", ["w"], ["c"]), "the shape of its result depends on values"),
        (helper.make_node("LpPool", ["large"], ["c"], kernel_shape=[1]), "at most 65536 entries"),
        (helper.make_node("MatMul", ["tall", "wide"], ["c"]), "at most 16777216 entries"),
    ],
)
def test_constants_that_are_not_computed(node: onnx.NodeProto, why: str) -> None:
    nodes = [
        node,
        helper.make_node("ReduceSum", ["c"], ["sum"], keepdims=0),
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Add", ["h", "sum"], ["y"]),
    ]
    tall = np.zeros((5000, 1), np.float32)
    large, rows = np.zeros((1, 1, 1 << 16), np.float32), W[None, None]
    model = graph(nodes, (6,), opset=23, w=W, large=large, tall=tall, wide=tall.T, batch_of_rows=rows)
    with pytest.raises(pp.UnsupportedOperation, match=why):
        pp.from_onnx(model)


def test_slices_without_entries_are_left_out() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Slice", ["h", "six", "six", "one"], ["none"]),
        helper.make_node("Slice", ["none", "zero", "six", "one"], ["still"]),
        helper.make_node("Concat", ["still", "h"], ["y"], axis=1),
    ]
    constants = {"zero": np.array([0]), "six": np.array([6]), "one": np.array([1])}
    assert [n.op.type for n in compare(graph(nodes, (6,), w=W, **constants), (6,)).nodes] == ["linear"]


@pytest.mark.parametrize("pads", ["SAME_UPPER", "SAME_LOWER", [0, 1, 1, 0]])
@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
def test_pooling_with_another_padding_on_either_side(operator: str, pads: str | list[int]) -> None:
    """TensorFlow pads by one at the end where a window does not fit."""
    padding = {"auto_pad": pads} if isinstance(pads, str) else {"pads": pads}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], "first"),
        helper.make_node(operator, ["h"], ["y"], "pool", kernel_shape=[2, 2], strides=[2, 2], **padding),
    ]
    network = compare(graph(nodes, (2, 5, 5), w=W[:4].reshape(-1)[:12].reshape(3, 2, 2, 1)), (2, 5, 5))
    stream = io.BytesIO()
    network.save(stream)
    again = pp.Network.load(io.BytesIO(stream.getvalue()))
    inputs = np.random.default_rng(0).normal(size=(2, 2, 5, 5))
    np.testing.assert_array_equal(again(inputs), network(inputs))


@pytest.mark.parametrize("operator", ["SpaceToDepth", "DepthToSpace"])
@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_channels_and_squares_are_exchanged(operator: str, mode: str) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["h"], "first"),
        helper.make_node(operator, ["h"], ["y"], blocksize=2, **({"mode": mode} if operator[0] == "D" else {})),
    ]
    compare(graph(nodes, (2, 4, 6), w=np.resize(W, (8, 2, 1, 1))), (2, 4, 6))


def test_a_softmax_of_an_old_opset_is_over_all_axes_from_one_on() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "first"),
        helper.make_node("Softmax", ["h"], ["y"], "softmax", axis=1),
    ]
    compare(graph(nodes, (4, 6), opset=11, w=W), (4, 6))


def test_split_parts_and_products_of_values() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w", "c"], ["h"], "first", alpha=0.5, beta=2.0, transB=1),
        helper.make_node("Split", ["h"], ["a", "b"], "split", axis=1, num_outputs=2),
        helper.make_node("Mul", ["a", "b"], ["y"], "gate"),
    ]
    network = compare(graph(nodes, (6,), w=W, c=W[0]), (6,))
    assert network.layer_names == ("first",)


def test_a_view_by_strides() -> None:
    """torch's exporter writes one as a gather of all entries of the flat value, in their order (ConvNeXt)."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "first"),
        helper.make_node("Reshape", ["h", "flat"], ["r"], "flatten"),
        helper.make_node("Gather", ["r", "places"], ["y"], "view", axis=0),
    ]
    constants = {"w": W, "flat": np.array([-1]), "places": np.arange(12).reshape(1, 6, 2)}
    assert compare(graph(nodes, (2, 6), batch=1, **constants), (2, 6), batch=1).output_shape == (6, 2)
    constants["places"] = constants["places"][:, ::-1]
    with pytest.raises(pp.UnsupportedOperation, match="batch"):
        pp.from_onnx(graph(nodes, (2, 6), **constants), input_shape=(2, 6))


def test_embedding_of_indices() -> None:
    nodes = [
        helper.make_node("Gather", ["table", "x"], ["e"], "embed"),
        helper.make_node("MatMul", ["e", "w"], ["y"], "first"),
    ]
    model = graph(nodes, (3,), kind=TensorProto.INT64, table=W, w=W)
    compare(model, (3,), inputs=np.array([[0, 5, 2], [1, 1, 3]]))


def test_shape_arithmetic_is_computed() -> None:
    """A reshape to a shape that the graph computes from the shape of a value."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "first"),
        helper.make_node("Shape", ["h"], ["s"], "shape"),
        helper.make_node("Gather", ["s", "zero"], ["n"], "batch"),
        helper.make_node("Unsqueeze", ["n", "front"], ["n1"], "list"),
        helper.make_node("Concat", ["n1", "rest"], ["t"], "target", axis=0),
        helper.make_node("Reshape", ["h", "t"], ["y"], "reshape"),
    ]
    constants = {"w": W, "zero": np.array(0), "front": np.array([0]), "rest": np.array([-1])}
    assert compare(graph(nodes, (4, 6), **constants), (4, 6)).output_shape == (24,)


def test_half_precision_weights_become_float32() -> None:
    weight = W.astype(np.float16)
    nodes = [
        helper.make_node("Cast", ["half"], ["w"], "cast", to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "w"], ["y"], "first"),
    ]
    network = compare(graph(nodes, (6,), half=weight), (6,))
    assert network.crossbars[0].op.tensors()["weight"].dtype == np.float32


def test_weights_in_a_file_of_their_own_are_read_from_the_folder_of_the_model(tmp_path: Path) -> None:
    model = onnx.load_from_string(graph([helper.make_node("MatMul", ["x", "w"], ["y"], "first")], (6,), w=W))
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    network = pp.from_onnx(path)
    np.testing.assert_array_equal(network.crossbars[0].op.tensors()["weight"], W.T)


def test_remainders_of_constants_have_the_sign_that_the_standard_says() -> None:
    """With fmod = 1 that of the dividend, else that of the divisor; of whole numbers by zero there is none."""
    x, y = np.array([-7, 7]), np.array([3, -3])
    for fmod, function in ((0, np.mod), (1, np.fmod)):
        (found,) = computed(Call(op_type="Mod", attributes={"fmod": fmod}, opset=17), [x, y])
        assert found.tolist() == function(x, y).tolist()
    for operator in ("Mod", "Div"):
        with pytest.raises(Refused, match="by zero"):
            computed(Call(op_type=operator, attributes={}, opset=17), [x, 0 * y])


class SharedWeights(nn.Module):
    """A convolution and a linear layer, each called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv1d(2, 2, 3, padding=1), nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv(torch.relu(self.conv(x)))).flatten(1)
        y: torch.Tensor = self.fc(torch.tanh(self.fc(x)))
        return y


def test_nodes_of_one_weight_tensor_read_one_array() -> None:
    model = export(SharedWeights(), (2, 3))
    network = compare(model, (2, 3))
    assert network.layer_names == ("conv", "fc")
    assert network.read_names == ("conv", "conv_1", "fc", "fc_1")
    separate = pp.from_onnx(model, input_shape=(2, 3), reads="separate")
    assert separate.layer_names == network.read_names
    with pytest.raises(pp.InvalidInput, match="reads"):
        pp.from_onnx(model, input_shape=(2, 3), reads="both")
