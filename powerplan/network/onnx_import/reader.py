"""Reading of an ONNX graph: its nodes are taken in order, on a stand-in for a batch of one input.

What depends on the input is a Value, as when a torch module is read; everything else is an array and is computed.

Why: docs/decisions/networks.md [0175].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from powerplan.checks import Checker
from powerplan.errors import InvalidInput
from powerplan.network.node import INPUT, Node
from powerplan.network.onnx_import.call import Call
from powerplan.network.onnx_import.constants import MOST_COMPUTED, computed
from powerplan.network.onnx_import.model import Model, attributes_of, label
from powerplan.network.onnx_import.operators import operator_of
from powerplan.network.onnx_import.rules import RULES, elementwise
from powerplan.network.onnx_import.rules.shaping import Behind
from powerplan.network.ops import Constant, Embedding, Op, Shape
from powerplan.network.refusals import refusal
from powerplan.network.torch_import.value import Refused, Value

if TYPE_CHECKING:
    from onnx import NodeProto

#: errors of a rule whose arguments do not fit
_MISFITS = (
    *(Refused, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, AssertionError, StopIteration),
    RuntimeError,  # torch's
)
#: operators with a weight that names the layer
_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
#: operators that leave all axes in front of the last alone, or know where the batch is
_KEEP_AXES = {
    *elementwise.RULES,
    "Gemm",
    "MatMul",
    "Reshape",
    "Identity",
    "Dropout",
    "Cast",
    "LayerNormalization",
    "Shape",
    "Size",
}


class Reader:
    """Reads the nodes of a model once.

    Args:
        model: checked.
        input_shape: without the batch axis.
    """

    dtype, batch_size = torch.float32, 1

    def __init__(self, model: Model, input_shape: Shape) -> None:
        self._model = model
        self.nodes: dict[str, Node] = {}
        self.shapes: dict[str, Shape] = {INPUT: input_shape}
        self.values: dict[str, Any] = {**model.tensors, model.input: Value(INPUT, input_shape, self)}
        self._name = ""  # for the next node
        #: the tensors of the model that a crossbar node's array holds
        self.weights: dict[str, tuple[str, ...]] = {}
        self._origins: dict[str, tuple[str, ...]] = {}  # the tensors that computed constants are made of
        self._weight: tuple[str, ...] = ()
        self._computed = 0

    def read(self) -> Value:
        """The value of the model's output."""
        for node in self._model.nodes:
            self._take(node)
        output = self.values.get(self._model.output)
        if not isinstance(output, Value) or output.batch or output.merged:
            raise InvalidInput.of(
                "model.outputs",
                self._model.output,
                "a value (batch, ...) that depends on the input",
                "Export a model whose output has the batch as its first axis.",
            )
        return output

    def add(self, op: Op, sources: tuple[str, ...], name: str) -> str:
        """A new node; see :class:`powerplan.network.torch_import.value.Builder`."""
        if isinstance(op, Embedding) and sources != (INPUT,):
            raise Refused("an embedding must look up the network's input")
        if isinstance(op, Constant):
            self._count(op.value.size)
        shape = op.output_shape(tuple(self.shapes[source] for source in sources))
        wanted = ".".join(part for part in (self._name, name) if part)
        unique, count = wanted, 0
        while unique in self.nodes or unique == INPUT:
            count += 1
            unique = f"{wanted}_{count}"
        self.nodes[unique], self.shapes[unique] = Node(name=unique, op=op, inputs=sources), shape
        if op.is_crossbar and self._weight:
            self.weights[unique] = self._weight
        return unique

    def _take(self, node: NodeProto) -> None:
        """The outputs of one node."""
        field, name = label(node), operator_of(node)
        try:
            call = Call(
                op_type=name,
                attributes=dict(attributes_of(node)),
                opset=self._model.opset,
                batch=self._model.batch or 1,
                single=self._model.batch == 1,
                outputs=len(node.output),
            )
            inputs = [self._input(name) for name in node.input]
            self._name, self._weight = _name(node, inputs), self._tensors(node, inputs)
            results = self._result(call, inputs)
        except InvalidInput as error:
            check = Checker()
            check.nested(field, error)
            raise type(error)(*check.violations) from error
        except _MISFITS as error:
            reason = str(error) or type(error).__name__
            raise refusal(field, name, reason, "Replace it.", name=name, known=RULES) from error
        for output, value in zip(node.output, results, strict=False):
            self.values[output] = value.numpy() if isinstance(value, torch.Tensor) else value
            self._origins[output] = self._weight

    def _result(self, call: Call, inputs: list[Any]) -> tuple[Any, ...]:
        if not any(isinstance(x, Value) for x in inputs):
            constants = computed(call, inputs)
            self._count(sum(x.size for x in constants))
            return constants
        rule = RULES.get(call.op_type)
        if rule is None:
            raise Refused("it is supported on constants only")
        behind = [isinstance(x, Behind) for x in inputs if isinstance(x, Value)]
        if any(behind) and not (all(behind) and call.op_type in _KEEP_AXES):
            raise Refused("the batch is merged behind another axis of its input")
        results = rule(call, *inputs)
        return results if isinstance(results, tuple) else (results,)

    def _tensors(self, node: NodeProto, inputs: list[Any]) -> tuple[str, ...]:
        """The tensors of the model, of two axes or more, that the constants among a node's inputs are made of."""
        matrices = [n for n, x in zip(node.input, inputs, strict=True) if isinstance(x, np.ndarray) and x.ndim > 1]
        return tuple(sorted({origin for name in matrices for origin in self._origins.get(name, (name,))}))

    def _input(self, name: str) -> Any:
        if not name:
            return None
        if name not in self.values:
            raise Refused(f"it reads {name!r}, an output that is not supported")
        return self.values[name]

    def _count(self, entries: int) -> None:
        """Refuse constants that together are much larger than what the file holds."""
        self._computed += entries
        most = 4 * (MOST_COMPUTED + self._model.elements)
        if self._computed > most:
            raise Refused(f"more than {most} entries of computed constants")


def _name(node: NodeProto, inputs: list[Any]) -> str:
    """A name for what a node becomes: that of a layer's weight, else its own."""
    weight = next((n for n, x in zip(node.input, inputs, strict=True) if isinstance(x, np.ndarray)), "")
    if node.op_type in _LAYERS and weight.endswith(".weight"):
        name = weight.removesuffix(".weight")
    else:
        name = node.name or node.op_type.lower()
    plain = "".join(c if c.isprintable() else "_" for c in name.strip("/")[:200]).replace("/", ".")
    return plain or str(node.op_type.lower())
