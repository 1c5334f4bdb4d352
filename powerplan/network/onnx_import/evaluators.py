"""Programs that run ONNX models: onnxruntime where it is installed, and the reference implementation of onnx.

Both get the nodes that were read, with the constant tensors as inputs: nothing of a file reaches them unchecked, no
other file is opened, and tensors are not copied.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from powerplan.network.graph import Network
from powerplan.network.onnx_import.model import Model
from powerplan.network.ops import CrossbarOp, DigitalLayer, MatMul, Op
from powerplan.network.ops.pooling import AveragePool, MaxPool

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

#: seconds that one run of a model may be estimated to take; others are not started
MOST_SECONDS = 2.0


class Evaluator:
    """Runs models on one core.

    Attributes:
        name: of the package.
        products: multiplications and additions per second.
        windows: entries of poolings and transposed convolutions per second, which some compute in Python.
    """

    name: ClassVar[str]
    products: ClassVar[float]
    windows: ClassVar[float]

    def run(self, model: Model, x: np.ndarray, wanted: Sequence[str]) -> list[np.ndarray]:
        """The values of these names for inputs of the model; raises what the package raises."""
        raise NotImplementedError

    def seconds(self, network: Network, batch: int) -> float:
        """About how long a run of the model takes that a network was read from, whose scales are not folded."""
        total = 0.0
        for node in network.nodes:
            size = math.prod(network.shapes[node.name])
            shapes = [network.shapes[name] for name in node.inputs]
            slow = isinstance(node.op, MaxPool | AveragePool) or node.op.type == "conv_transpose"
            rate = self.windows if slow else _ENTRIES / 10 if node.op.type == "upsample" else _ENTRIES
            total += _products(node.op, size, shapes) / self.products + size / rate
        return batch * total


#: entries of other values per second, of every evaluator; all of them may be held at a time, so it limits memory too
_ENTRIES = 3e7


class Runtime(Evaluator):
    """onnxruntime, as the model is written: without its optimisations."""

    name = "onnxruntime"
    products, windows = 2e10, 1e8

    def run(self, model: Model, x: np.ndarray, wanted: Sequence[str]) -> list[np.ndarray]:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 4
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        proto, feeds = _proto(model, x, wanted)
        session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        values: list[np.ndarray] = session.run(list(wanted), feeds)
        return values


class Reference(Evaluator):
    """onnx.reference, in Python and numpy: slow, and nothing native sees the model."""

    name = "onnx.reference"
    products, windows = 3e8, 2.5e4

    def run(self, model: Model, x: np.ndarray, wanted: Sequence[str]) -> list[np.ndarray]:
        from onnx.reference import ReferenceEvaluator

        proto, feeds = _proto(model, x, wanted)
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's, about what its code does
            values: Any = ReferenceEvaluator(proto).run(None, feeds)
        return list(values)


def _products(op: Op, size: int, inputs: Sequence[tuple[int, ...]]) -> float:
    """Products that an operation computes, with ``size`` entries in its value."""
    layer = op.layer if isinstance(op, DigitalLayer) else op
    if isinstance(layer, CrossbarOp):
        weight = layer.tensors()["weight"]
        return float(size * weight.size / weight.shape[layer.type == "conv_transpose"])
    return float(size * inputs[0][-1]) if isinstance(op, MatMul) else 0.0


def _leading_to(model: Model, wanted: Iterable[str]) -> list[NodeProto]:
    """The nodes that these values depend on, in order."""
    names, nodes = set(wanted), []
    for node in reversed(model.nodes):
        if names.intersection(node.output):
            names.update(node.input)
            nodes.append(node)
    return nodes[::-1]


def _proto(model: Model, x: np.ndarray, wanted: Sequence[str]) -> tuple[ModelProto, dict[str, np.ndarray]]:
    """A model that computes the wanted values, and its inputs."""
    from onnx import helper

    nodes = _leading_to(model, wanted)
    feeds = _feeds(model, x, nodes)
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in feeds.items()
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in wanted]
    graph = helper.make_graph(nodes, "graph", inputs, outputs)
    standard = helper.make_opsetid("", model.opset)
    others = [helper.make_opsetid(domain, version) for domain, version in model.domains.items()]
    version = helper.find_min_ir_version_for([standard])
    proto = helper.make_model(graph, opset_imports=[standard, *others], ir_version=version)
    return proto, feeds


def _feeds(model: Model, x: np.ndarray, nodes: Sequence[NodeProto]) -> dict[str, np.ndarray]:
    """The input and the constant tensors that the nodes read."""
    read = {name for node in nodes for name in node.input}
    tensors = {name: np.asarray(array, order="C") for name, array in model.tensors.items() if name in read}
    return {model.input: x, **tensors}
