"""Reading of an ONNX file: parsed, held against limits and checked, before any tensor is made.

Every size that the file *declares* is compared with the bytes that are *there*; only then is memory taken.

Why: docs/decisions/networks.md [0176].
"""

from __future__ import annotations

import graphlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from powerplan.errors import CorruptFile, InvalidInput, MissingExtra, UnsupportedOperation, Violation, show
from powerplan.network.onnx_import.operators import CONTROL_FLOW, DYNAMIC_STEPS, STANDARD, operator_of
from powerplan.network.onnx_import.tensors import Tensors
from powerplan.network.refusals import NO_MODEL, refusal

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

#: opsets whose operators are known; the newest is that of onnx where it is older
OLDEST_OPSET, NEWEST_OPSET = 7, 26
#: an opset that every exporter writes
_USUAL_OPSET = 17
#: largest size of a model file [bytes]: protobuf itself takes no more
MOST_BYTES = 2**31 - 1
_ADVICE = "Export the model again."
#: floating-point types of TensorProto
_FLOATS = (1, 10, 11, 16)


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model that can be read safely.

    Attributes:
        nodes: those that the output depends on, in an order in which each comes after what it reads.
        tensors: the constant tensors by name.
        opset: version of the operators.
        domains: versions of operators that are not standard, by their domain.
        input, output: names of the values.
        input_type: declared type of the input's numbers, float32 for halves.
        batch: declared size of the batch; None = open.
        input_shape: declared shape behind the batch, None for open axes; None = nothing declared.
        elements: entries of all constant tensors together.
    """

    nodes: tuple[NodeProto, ...]
    tensors: dict[str, np.ndarray]
    opset: int
    domains: Mapping[str, int]
    input: str
    input_type: np.dtype
    output: str
    batch: int | None
    input_shape: tuple[int | None, ...] | None
    elements: int


def read_model(source: str | os.PathLike[str] | bytes, output: str = "") -> Model:
    """The model in a file or in bytes, checked. It takes no more memory than a few times the size of its files.

    Args:
        output: name of the value that is the network's output; "" = the only one.

    Raises:
        As :func:`powerplan.from_onnx`.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtra("onnx", "onnx", "Reading an ONNX model") from error
    content, folder = _content(source)
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except Exception as error:  # protobuf raises its own kinds
        raise CorruptFile.of(
            "model", f"{len(content)} bytes", "an ONNX model", f"It does not parse: {error}."
        ) from None
    del content
    opset = _opset(proto)
    graph = proto.graph
    name, batch, shape = _input(graph)
    output = _output(graph, output)
    nodes = _leading(_sorted(graph, name), output)
    _check_operators(nodes, name)
    if graph.sparse_initializer:
        raise UnsupportedOperation.of("model", "sparse weights", "dense weights", "Store them densely.")
    tensors = Tensors(folder)
    for tensor in graph.initializer:
        tensors.measure(tensor.name, tensor)
    for node in graph.node:
        for attribute in node.attribute:
            for tensor in (
                *([attribute.t] if attribute.type == onnx.AttributeProto.TENSOR else []),
                *attribute.tensors,
            ):
                tensors.measure(f"{node.name or node.op_type}.{attribute.name}", tensor, external=False)
    tensors.check_files()
    arrays = {tensor.name: tensors.take(tensor) for tensor in graph.initializer}
    _check_structure(proto)
    return Model(
        nodes=nodes,
        tensors=arrays,
        opset=opset,
        domains={item.domain: item.version for item in proto.opset_import if item.domain not in STANDARD},
        input=name,
        input_type=_input_type(graph, name),
        output=output,
        batch=batch,
        input_shape=shape,
        elements=tensors.elements,
    )


def _content(source: Any) -> tuple[bytes, Path | None]:
    """The bytes of the model and its folder, if it has one."""
    if isinstance(source, bytes | bytearray | memoryview):
        content, folder = bytes(source), None
    elif isinstance(source, str | os.PathLike):
        path = Path(source)
        try:
            if not path.is_file():
                raise InvalidInput.of("source", str(path), "an existing ONNX file", "Check the path.")
            if path.stat().st_size > MOST_BYTES:
                raise CorruptFile.of(
                    "source", f"{path.stat().st_size} bytes", f"at most {MOST_BYTES}", "Keep weights in external files."
                )
            content, folder = path.read_bytes(), path.parent
        except (OSError, ValueError) as error:
            if isinstance(error, InvalidInput):
                raise
            raise InvalidInput.of("source", str(path), "a readable ONNX file", f"{error}.") from error
    else:
        raise InvalidInput.of("source", source, "a path or the bytes of an ONNX model", "Give the path of the file.")
    if not content or len(content) > MOST_BYTES:
        raise CorruptFile.of("source", f"{len(content)} bytes", f"an ONNX model of 1 to {MOST_BYTES} bytes", _ADVICE)
    return content, folder


def _opset(proto: ModelProto) -> int:
    """The version of the operators, if it is known."""
    import onnx

    if not proto.graph.node:
        raise CorruptFile.of("model", "a graph without nodes", "an ONNX model", "Check that the file is ONNX.")
    if proto.functions or proto.training_info:
        raise UnsupportedOperation.of(
            "model", "local functions or training information", "a graph of standard operators", "Inline the functions."
        )
    versions = [item.version for item in proto.opset_import if item.domain in STANDARD]
    if len(versions) != 1:
        raise CorruptFile.of("model.opset_import", versions, "one opset of the standard operators", _ADVICE)
    version, installed = int(versions[0]), onnx.defs.onnx_opset_version()
    newest = min(NEWEST_OPSET, installed)
    if OLDEST_OPSET <= version <= newest:
        return version
    convert = "onnx.version_converter.convert_version(model, {})"
    if version < OLDEST_OPSET:
        reason = "it is too old"
        advice = f"Convert it up: {convert.format(_USUAL_OPSET)}, or export it again with opset_version={_USUAL_OPSET}."
    else:
        late = "onnx" if newest < NEWEST_OPSET else "powerplan"
        reason, advice = f"it is newer than this {late}", f"Export it again with opset_version={newest} or older, "
        # only an onnx that knows the opset can convert it
        advice += f"or upgrade {late}." if version > installed else f"or convert it down: {convert.format(newest)}."
    raise UnsupportedOperation(
        Violation(
            field="model.opset_import",
            value=show(version),
            reason=reason,
            allowed=f"an opset from {OLDEST_OPSET} to {newest}",
            advice=advice,
        )
    )


def label(node: NodeProto) -> str:
    """How an error names a node."""
    return f"node {show(str(node.name or (node.output[0] if node.output else node.op_type)), 100)}"


def _check_operators(nodes: Iterable[NodeProto], start: str) -> None:
    """Refuse what no rule can take, by name, before any tensor is looked at; on constants, any operator is computed.

    Args:
        nodes: in order.
        start: name of the model's input.
    """
    from onnx import AttributeProto, defs

    from powerplan.network.onnx_import.rules import RULES

    vary = {start}  # values that depend on the input
    for node in nodes:
        name, constant = operator_of(node), vary.isdisjoint(node.input)
        if not constant and name != "Shape":
            vary.update(node.output)
        if name in RULES or (constant and name not in CONTROL_FLOW and node.domain in STANDARD and defs.has(name)):
            continue
        if name in CONTROL_FLOW or any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute):
            reason, advice = "control flow has no fixed graph", "Export the model with it unrolled."
        elif name == DYNAMIC_STEPS:
            reason, advice = (
                "it is quantised by steps that follow the values of every input",
                "Export the floating-point model, or one that is quantised statically.",
            )
        elif node.domain not in STANDARD:
            reason, advice = "it is of another domain", "Export the model with standard ONNX operators only."
        else:
            reason, advice = NO_MODEL, "Replace it by supported operators; a newer opset may have one for it."
        raise refusal(label(node), name, reason, advice, name=node.op_type, known=RULES)


def _input(graph: GraphProto) -> tuple[str, int | None, tuple[int | None, ...] | None]:
    """Name of the one input, its declared batch and its declared shape behind the batch."""
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    if len(inputs) != 1:
        raise InvalidInput.of(
            "model.inputs", [v.name for v in inputs], "one input", "Make the others constants (initialisers)."
        )
    kind = inputs[0].type.tensor_type
    if inputs[0].type.WhichOneof("value") != "tensor_type" or not kind.HasField("shape"):
        return inputs[0].name, None, None
    sizes = [int(d.dim_value) if d.WhichOneof("value") == "dim_value" else None for d in kind.shape.dim]
    if len(sizes) < 2 or any(n is not None and n < 1 for n in sizes[1:]):
        raise InvalidInput.of(
            f"input {inputs[0].name!r}", sizes, "a batch axis and at least one more, of positive size", _ADVICE
        )
    return inputs[0].name, sizes[0] or None, tuple(sizes[1:])


def _input_type(graph: GraphProto, name: str) -> np.dtype:
    from onnx import helper

    declared = next(value.type.tensor_type.elem_type for value in graph.input if value.name == name)
    try:
        kind = np.dtype(helper.tensor_dtype_to_np_dtype(declared))
    except KeyError:
        kind = np.dtype(np.float32)
    return np.dtype(np.float32) if kind.itemsize < 4 and kind.kind not in "iu" else kind


def _output(graph: GraphProto, chosen: str) -> str:
    """Name of the output: the chosen value, the only output or the only one of floating-point numbers."""
    names = [str(value.name) for value in graph.output]
    if chosen:
        if chosen not in names and not any(chosen in node.output for node in graph.node):
            raise InvalidInput.of("output", chosen, f"one of {', '.join(names)}", "Name an output of the model.")
        return chosen
    floats = [value.name for value in graph.output if value.type.tensor_type.elem_type in _FLOATS]
    if 1 not in (len(names), len(floats)):
        raise InvalidInput.of("model.outputs", names, "one output", f"Choose one: output={(names or [''])[0]!r}.")
    return str(floats[0]) if len(floats) == 1 else names[0]


def _leading(nodes: Sequence[NodeProto], output: str) -> tuple[NodeProto, ...]:
    """The nodes that a value depends on, in their order."""
    needed = {output}
    leading: list[NodeProto] = []
    for node in reversed(nodes):
        if needed.intersection(node.output):
            needed.update(node.input)
            leading.append(node)
    if not leading:
        raise CorruptFile.of("model.outputs", output, "a value that a node makes", _ADVICE)
    return tuple(leading[::-1])


def _sorted(graph: GraphProto, start: str) -> tuple[NodeProto, ...]:
    """The nodes in order; every name that is read must be made somewhere, and nothing from itself."""
    makers: dict[str, int] = {}
    for i, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if name in makers or name == start:
                raise CorruptFile.of(label(node), name, "values that are made once", _ADVICE)
            makers[name] = i
    known = {start, *(tensor.name for tensor in graph.initializer)}
    edges: dict[int, set[int]] = {}
    for i, node in enumerate(graph.node):
        for name in filter(None, node.input):
            if name not in known and name not in makers:
                raise CorruptFile.of(
                    label(node), name, "values that the graph makes or holds", f"{_ADVICE} This weight is missing."
                )
        edges[i] = {makers[name] for name in node.input if name in makers}
    try:
        order = list(graphlib.TopologicalSorter(edges).static_order())
    except graphlib.CycleError as error:
        names = " -> ".join(label(graph.node[i]) for i in error.args[1][:8])
        raise CorruptFile.of("model.nodes", names, "a graph without cycles", "Unroll the recurrence.") from None
    in_order = all(d < i for i, before in edges.items() for d in before)
    return tuple(graph.node) if in_order else tuple(graph.node[i] for i in order)


def _check_structure(proto: ModelProto) -> None:
    """What onnx itself checks: attributes, numbers of inputs and outputs, types.

    It insists on shapes of inputs and outputs, which runtimes do not need: those that are missing are a number's to it.
    """
    import onnx

    shapeless = [value for value in (*proto.graph.input, *proto.graph.output) if _has_no_shape(value)]
    declared = [(value, onnx.TypeProto()) for value in shapeless]
    for value, before in declared:
        before.CopyFrom(value.type)
        value.type.tensor_type.elem_type = value.type.tensor_type.elem_type or onnx.TensorProto.FLOAT
        value.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(proto)
    except Exception as error:  # onnx raises several kinds, all about the model
        reason = show(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__, 300)
        raise CorruptFile.of("model", "a malformed model", "what onnx.checker accepts", f"It says {reason}.") from None
    finally:
        for value, before in declared:
            value.type.CopyFrom(before)


def _has_no_shape(value: ValueInfoProto) -> bool:
    """True for a tensor, or a value without a type, of no declared shape."""
    kind = value.type.WhichOneof("value")
    return kind is None or (kind == "tensor_type" and not value.type.tensor_type.HasField("shape"))


def attributes_of(node: NodeProto) -> Iterator[tuple[str, Any]]:
    """The attributes of a node as plain values and arrays."""
    import onnx

    for attribute in node.attribute:
        content = onnx.helper.get_attribute_value(attribute)
        if isinstance(content, onnx.TensorProto):
            content = onnx.numpy_helper.to_array(content)
        yield attribute.name, _decoded(content)


def _decoded(content: Any) -> Any:
    """Strings as such, in lists too."""
    if isinstance(content, bytes):
        return content.decode("utf-8", "replace")
    return [_decoded(item) for item in content] if isinstance(content, list) else content
