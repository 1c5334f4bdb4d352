"""Operations written out by hand, found in a graph and replaced by the one operation that they are.

    pointwise    a value that depends entry by entry on one other value is one function of it, and known activations
                 are recognised by their values, however they were spelled
    norms        x · g(mean x²) with 1/g² linear is an RMS norm, and one of x − mean x a layer norm
    softmax      e · 1/Σe with e = exp(x), or exp(x − c) with the same c for all entries of the sum

Why: docs/decisions/networks.md [0342].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from powerplan.network.digital import activation_function, replayed
from powerplan.network.node import INPUT, Node
from powerplan.network.ops import (
    ACTIVATIONS,
    Activation,
    Add,
    Constant,
    Function,
    LayerNorm,
    Mean,
    Multiply,
    Op,
    Permute,
    RMSNorm,
    Scale,
    Shape,
    Softmax,
)

Step = tuple[str, tuple[Any, ...], Mapping[str, Any]]

#: nodes that are made one function at most, and points where functions are compared
_MOST = 64
_GRID = torch.linspace(-12, 12, 961, dtype=torch.float64)
_MOMENTS = torch.logspace(-2, 3, 51, dtype=torch.float64)
#: constants in single precision, relative to the largest value
_CLOSE = 1e-6
#: operations that differ at single places, which a grid does not show
_AT_POINTS = ("eq", "ne", "isinf", "isnan", "heaviside")
#: entries of arrays that are compared
_SMALL = 4096


def fused(nodes: list[Node], output: str, shapes: Mapping[str, Shape]) -> list[Node]:
    """The same graph with what was written out by hand as one operation each; node names of the results stay."""
    graph = Graph(_once({node.name: node for node in nodes}, output), dict(shapes), output)
    for name in list(graph.nodes):
        _join(graph, name)
    for name in list(graph.nodes):
        _normalise(graph, name)
        _soften(graph, name)
    return graph.leading()


def _once(nodes: Mapping[str, Node], output: str) -> dict[str, Node]:
    """The nodes with digital operations that compute the same made one."""
    same: dict[str, str] = {}
    known: dict[Any, str] = {}
    kept: dict[str, Node] = {}
    for name, node in nodes.items():
        node = replace(node, inputs=tuple(same.get(i, i) for i in node.inputs))
        key = None
        if not node.op.is_crossbar and node.op.portable and name != output:
            arrays = tuple((k, a.shape, a.tobytes()) for k, a in node.op.tensors().items() if a.size <= _SMALL)
            if len(arrays) == len(node.op.tensors()):
                key = (node.op.type, repr(node.op.attributes()), arrays, node.inputs)
        if key is not None and key in known:
            same[name] = known[key]
            continue
        if key is not None:
            known[key] = name
        kept[name] = node
    return kept


@dataclass
class Graph:
    """Nodes by name in order, shapes of their values, and the name of the output."""

    nodes: dict[str, Node]
    shapes: dict[str, Shape]
    output: str

    def op(self, name: str) -> Op | None:
        """The operation of a node; None for the network's input."""
        node = self.nodes.get(name)
        return None if node is None else node.op

    def readers(self, name: str) -> list[str]:
        """Names of the nodes that read a value."""
        return [node.name for node in self.nodes.values() if name in node.inputs]

    def alone(self, name: str) -> bool:
        """True if one node reads a value, and it is not the output."""
        return name != self.output and len(self.readers(name)) == 1

    def put(self, name: str, op: Op, inputs: tuple[str, ...]) -> None:
        """Another operation in place of a node's."""
        self.nodes[name] = replace(self.nodes[name], op=op, inputs=inputs)

    def insert(self, before: str, name: str, op: Op, inputs: tuple[str, ...]) -> str:
        """A new node in front of another; its name."""
        unique, count = name, 0
        while unique in self.nodes or unique == INPUT:
            count += 1
            unique = f"{name}_{count}"
        ordered: dict[str, Node] = {}
        for key, node in self.nodes.items():
            if key == before:
                ordered[unique] = Node(name=unique, op=op, inputs=inputs)
            ordered[key] = node
        self.nodes = ordered
        self.shapes[unique] = op.output_shape(tuple(self.shapes[i] for i in inputs))
        return unique

    def leading(self) -> list[Node]:
        """The nodes that the output depends on."""
        needed = {self.output}
        for node in reversed(list(self.nodes.values())):
            if node.name in needed:
                needed.update(node.inputs)
        return [node for node in self.nodes.values() if node.name in needed]


# Functions of one value


def _join(graph: Graph, name: str) -> None:
    """Make a node one function of a single value, if it is."""
    node = graph.nodes[name]
    if not isinstance(node.op, Function | Activation | Add | Multiply) or not _is_pointwise(node.op):
        return
    source, inner = _source(graph, name)
    if source is None or not (inner or isinstance(node.op, Function)):
        return
    start, known = source, _recognised(graph, name, source)
    while known is None and graph.alone(start) and _is_number(graph.op(start)):
        start = graph.nodes[start].inputs[0]  # a constant factor or offset belongs to the spelling
        known = _recognised(graph, name, start)
    if known is not None:
        op, factor, offset = known
        if factor != 1 or offset:
            scaled = Scale(scale=np.array([factor]), shift=np.array([offset]), axis=-1)
            start = start if op is None else graph.insert(name, f"{name}.unscaled", op, (start,))
            op = scaled
        if op is not None:
            graph.put(name, op, (start,))
    elif inner:
        steps, shape = _program(graph, name, source), graph.shapes[source]
        label = " ".join(step[0] for step in steps[:6])
        graph.put(name, Function(steps=steps, inputs=(shape,), shape=shape, label=label), (source,))


def _source(graph: Graph, name: str) -> tuple[str | None, bool]:
    """The one value that a node is a function of, entry by entry, and whether others lie between; None if none is."""
    order = {key: i for i, key in enumerate(graph.nodes)}
    shape, frontier, count = graph.shapes[name], set(graph.nodes[name].inputs), 0
    single = len(frontier) == 1
    while len(frontier) > 1:
        last = max(frontier, key=lambda key: order.get(key, -1))
        op, count = graph.op(last), count + 1
        if op is None or not _is_pointwise(op) or graph.shapes[last] != shape or count > _MOST:
            return None, False
        frontier = (frontier - {last}) | set(graph.nodes[last].inputs)
    (source,) = frontier
    at = source
    while single and graph.alone(at) and (isinstance(graph.op(at), Function) or _is_number(graph.op(at))):
        if not _is_pointwise(graph.nodes[at].op) or len(graph.nodes[at].inputs) != 1:
            break
        function = isinstance(graph.op(at), Function)
        at, count = graph.nodes[at].inputs[0], count + 1
        source = at if function else source
    inner = source not in graph.nodes[name].inputs or not single
    good = graph.shapes[source] == shape and not isinstance(graph.op(source), Constant)
    return (source if good else None), inner


def _is_number(op: Op | None) -> bool:
    """True for one factor and one offset for all entries."""
    return isinstance(op, Scale) and op.scale.size == 1


def _is_pointwise(op: Op) -> bool:
    if isinstance(op, Function):
        return op.pointwise
    return isinstance(op, Activation | Add | Multiply) or _is_number(op)


def _program(graph: Graph, name: str, source: str) -> tuple[Step, ...]:
    """The steps that make a value of its source."""
    steps: list[Step] = []
    made: dict[str, dict[str, int]] = {source: {"value": 0}}

    def emit(operation: str, *arguments: Any, **keywords: Any) -> dict[str, int]:
        steps.append((operation, arguments, keywords))
        return {"step": len(steps) - 1}

    def reach(key: str) -> dict[str, int]:
        if key not in made:
            node = graph.nodes[key]
            made[key] = _emitted(node.op, [reach(i) for i in node.inputs], emit)
        return made[key]

    if reach(name) == {"value": 0}:
        emit("add", {"value": 0}, 0)
    return tuple(steps)


def _emitted(op: Op, inputs: list[dict[str, int]], emit: Callable[..., dict[str, int]]) -> dict[str, int]:
    """The steps of one operation, appended to others; a reference to its result."""
    match op:
        case Function():
            return _emitted_program(op, inputs, emit)
        case Scale():
            scaled = emit("mul", inputs[0], float(op.scale.flat[0]))
            return emit("add", scaled, float(op.shift.flat[0]))
        case Add():
            total = inputs[0]
            for other in inputs[1:]:
                total = emit("add", total, other)
            return total
        case Multiply():
            return emit("mul", *inputs)
        case Activation():
            return _emitted_activation(op, inputs[0], emit)
        case _:
            raise AssertionError(op)


def _emitted_program(op: Function, inputs: list[dict[str, int]], emit: Callable[..., dict[str, int]]) -> dict[str, int]:
    results: list[dict[str, int]] = []

    def filled(x: Any) -> Any:
        if isinstance(x, Mapping):
            if "step" in x:
                return {**x, **results[x["step"]]}
            if x.get("as") == "truth":
                return emit("ne", inputs[x["value"]], 0)
            return inputs[x["value"]]
        return [filled(item) for item in x] if isinstance(x, list | tuple) else x

    for operation, arguments, keywords in op.steps:
        results.append(emit(operation, *filled(arguments), **{k: filled(v) for k, v in keywords.items()}))
    return results[-1]


#: the name in ATen of each activation, and its parameters in the order of the schema
_ATEN: dict[str, tuple[str, tuple[str, ...]]] = {
    "relu": ("relu", ()),
    "leaky_relu": ("leaky_relu", ("negative_slope",)),
    "tanh": ("tanh", ()),
    "sigmoid": ("sigmoid", ()),
    "softplus": ("softplus", ()),
    "gelu": ("gelu", ()),
    "silu": ("silu", ()),
    "hard_tanh": ("hardtanh", ("low", "high")),
    "hard_sigmoid": ("hardsigmoid", ()),
    "hard_swish": ("hardswish", ()),
    "elu": ("elu", ("alpha",)),
    "selu": ("selu", ()),
    "mish": ("mish", ()),
}


def _emitted_activation(op: Activation, x: dict[str, int], emit: Callable[..., dict[str, int]]) -> dict[str, int]:
    if op.kind == "identity":
        return emit("add", x, 0)
    if op.kind == "gelu_tanh":
        return emit("gelu", x, approximate="tanh")
    if op.kind == "softsign":
        return emit("div", x, emit("add", emit("abs", x), 1))
    name, parameters = _ATEN[op.kind]
    return emit(name, x, *((op.parameters or {})[key] for key in parameters))


def _recognised(graph: Graph, name: str, source: str) -> tuple[Op | None, float, float] | None:
    """An activation a, factor c and offset d with f = c·a + d; a = None: f is linear. None: f is no known function."""
    program = _program(graph, name, source)
    f = replayed(program, (_GRID[:, None],)).double()[:, 0]
    if any(step[0] in _AT_POINTS for step in program) or not bool(f.isfinite().all()):
        return None
    if _equal(f, f[0] + (f[-1] - f[0]) / (_GRID[-1] - _GRID[0]) * (_GRID - _GRID[0])):
        slope = float((f[-1] - f[0]) / (_GRID[-1] - _GRID[0]))
        return None, _rounded(slope), _rounded(float(f[len(f) // 2]), float(f.abs().max()))
    for op in _candidates(f):
        a = activation_function(op)(_GRID)
        factor = float((f @ a) / (a @ a))
        if _equal(f, factor * a):
            return op, _rounded(factor), 0.0
    return None


def _candidates(f: Tensor) -> list[Activation]:
    low, high = float(f[0]), float(f[-1])
    slope = float((f[1] - f[0]) / (f[-1] - f[-2])) if f[-1] != f[-2] else 0.0
    kinds = [
        Activation(kind=kind) for kind in ACTIVATIONS if kind not in ("identity", "leaky_relu", "hard_tanh", "elu")
    ]
    if 0 < slope < 1:
        kinds.append(Activation(kind="leaky_relu", parameters={"negative_slope": slope}))
    if low < high:
        kinds.append(Activation(kind="hard_tanh", parameters={"low": low, "high": high}))
    if low < 0:
        kinds.append(Activation(kind="elu", parameters={"alpha": -low / -math.expm1(float(_GRID[0]))}))
    return kinds


def _equal(f: Tensor, g: Tensor) -> bool:
    return bool((f - g).abs().max() <= _CLOSE * f.abs().max())


def _rounded(number: float, scale: float = 1.0) -> float:
    """A number that is whole but for the rounding of single precision as such."""
    return float(round(number)) if abs(number - round(number)) <= _CLOSE * max(scale, 1.0) else number


# Norms


def _normalise(graph: Graph, name: str) -> None:
    """Make x · g(mean x²) an RMS norm, or a layer norm."""
    node = graph.nodes[name]
    if not isinstance(node.op, Multiply) or len(set(node.inputs)) != 2:
        return
    for x, factor in (node.inputs, node.inputs[::-1]):
        weighted, scale = x, np.ones(1)
        squares = _squares(graph, x, factor)
        if squares is None and isinstance(op := graph.op(x), Scale) and not op.shift.any():  # a weight comes first
            x = graph.nodes[x].inputs[0]
            squares = _squares(graph, x, factor)
            scale = op.scale.reshape(op.view(graph.shapes[x]))
        if squares is None:
            continue
        axes, alpha, beta = squares
        normalised = [graph.shapes[x][i] for i in axes]
        if weighted != x and (axes[0] != len(graph.shapes[x]) - len(axes) or math.prod(normalised) % np.size(scale)):
            continue
        weight = None
        if weighted != x or abs(alpha - 1) > _CLOSE:
            own = scale.reshape(scale.shape[-len(axes) :])
            weight = np.broadcast_to(own * alpha**-0.5, normalised)
        options: dict[str, Any] = {"axes": len(axes), "weight": weight, "epsilon": max(beta / alpha, 1e-24)}
        centred = _centred(graph, x, axes)
        norm: Op = RMSNorm(**options) if centred is None else LayerNorm(**options)
        _put_norm(graph, name, norm, x if centred is None else centred, axes)
        return


def _soften(graph: Graph, name: str) -> None:
    """Make e · 1/Σe a softmax."""
    node = graph.nodes[name]
    if not isinstance(node.op, Multiply) or len(set(node.inputs)) != 2:
        return
    for e, factor in (node.inputs, node.inputs[::-1]):
        up = graph.nodes.get(e)
        if up is None or not isinstance(up.op, Function) or len(up.inputs) != 1:
            continue
        chain = _of_mean(graph, factor)
        exponential = replayed(_program(graph, e, up.inputs[0]), (_GRID[:, None],))[:, 0]
        if chain is None or not _equal(exponential / _GRID.exp(), torch.ones_like(_GRID)):
            continue
        mean, g = chain
        assert isinstance(mean.op, Mean)
        axes = mean.op.resolved(graph.shapes[e])
        if mean.inputs != (e,) or len(axes) != 1:
            continue
        if _equal(g * _MOMENTS * graph.shapes[e][axes[0]], torch.ones_like(_MOMENTS)):
            graph.put(name, Softmax(axis=axes[0]), (_unshifted(graph, up.inputs[0], axes[0]),))
            return


def _unshifted(graph: Graph, x: str, axis: int) -> str:
    """The value that x is but for what is the same along an axis."""
    node = graph.nodes.get(x)
    if node is not None and isinstance(node.op, Add) and len(node.inputs) == 2:
        shape = graph.shapes[x]
        for source, other in (node.inputs, node.inputs[::-1]):
            place = axis - len(shape) + len(graph.shapes[other])
            if graph.shapes[source] == shape and (place < 0 or graph.shapes[other][place] == 1) and shape[axis] > 1:
                return source
    return x


def _squares(graph: Graph, x: str, factor: str) -> tuple[tuple[int, ...], float, float] | None:
    """Axes, α and β with factor = 1 / √(α mean x² + β), the mean of the squares of x over axes; None if it is not."""
    chain = _of_mean(graph, factor)
    if chain is None:
        return None
    mean, g = chain
    square = graph.nodes.get(mean.inputs[0])
    if square is None or not isinstance(square.op, Multiply) or square.inputs != (x, x):
        return None
    axes = mean.op.resolved(graph.shapes[x]) if isinstance(mean.op, Mean) else ()
    expected = tuple(1 if i in axes else n for i, n in enumerate(graph.shapes[x]))
    if graph.shapes[mean.name] != expected:
        return None
    if not bool((g > 0).all()) or not bool(g.isfinite().all()):
        return None
    inverse = g**-2
    alpha = float((inverse[-1] - inverse[0]) / (_MOMENTS[-1] - _MOMENTS[0]))
    beta = float(inverse[0]) - alpha * float(_MOMENTS[0])
    good = alpha > 0 and bool(((alpha * _MOMENTS + beta) / inverse - 1).abs().max() <= 1e-5)
    return (axes, _rounded(alpha), beta if beta > 1e-9 * alpha else 0.0) if good else None


def _of_mean(graph: Graph, name: str) -> tuple[Node, Tensor] | None:
    """The mean that a value is a function of, and the function at :data:`_MOMENTS`; None if it is of none."""
    at, path = name, [name]
    while not isinstance(graph.op(at), Mean):
        op = graph.op(at)
        inputs = [i for i in graph.nodes[at].inputs if not _is_zero(graph.op(i))] if op is not None else []
        if op is None or not _is_pointwise(op) or len(inputs) != 1 or len(path) > _MOST:
            return None
        at = inputs[0]
        path.append(at)
    if at == name:
        return None
    chain = Graph({key: _without_zeros(graph, key) for key in reversed(path[:-1])}, graph.shapes, name)
    return graph.nodes[at], replayed(_program(chain, name, at), (_MOMENTS[:, None],)).double()[:, 0]


def _is_zero(op: Op | None) -> bool:
    return isinstance(op, Constant) and not op.value.any()


def _without_zeros(graph: Graph, name: str) -> Node:
    """A node without the zeros by which a value is made larger."""
    node = graph.nodes[name]
    return replace(node, inputs=tuple(i for i in node.inputs if not _is_zero(graph.op(i))))


def _centred(graph: Graph, x: str, axes: tuple[int, ...]) -> str | None:
    """The value that x is, less its mean over axes; None if it is not."""
    node = graph.nodes.get(x)
    if node is None or not isinstance(node.op, Add) or len(node.inputs) != 2:
        return None
    for source, other in (node.inputs, node.inputs[::-1]):
        negative = graph.nodes.get(other)
        if negative is None or not _is_number(negative.op):
            continue
        assert isinstance(negative.op, Scale)
        mean = graph.nodes.get(negative.inputs[0])
        if mean is None or not isinstance(mean.op, Mean) or mean.inputs != (source,):
            continue
        plain = float(negative.op.scale.flat[0]) == -1 and not negative.op.shift.any() and mean.op.keep_axes
        if plain and mean.op.resolved(graph.shapes[source]) == axes:
            return source
    return None


def _put_norm(graph: Graph, name: str, op: Op, x: str, axes: tuple[int, ...]) -> None:
    """A norm over any axes in place of a node, with the weight and offset behind it."""
    shape = graph.shapes[x]
    rest = tuple(i for i in range(len(shape)) if i not in axes)
    order = (*rest, *axes)
    if order != tuple(range(len(shape))):
        turned = graph.insert(name, f"{name}.turned", Permute(axes=order), (x,))
        normed = graph.insert(name, f"{name}.norm", op, (turned,))
        graph.put(name, Permute(axes=tuple(order.index(i) for i in range(len(shape)))), (normed,))
        return
    graph.put(name, op, (x,))
    at, normalised = name, [graph.shapes[x][i] for i in axes]
    while graph.alone(at):
        (reader,) = graph.readers(at)
        node = graph.nodes[reader]
        if not isinstance(node.op, Scale) or not (node.op.scale.size > 1 and _fits(node.op, shape, len(axes))):
            break
        scale, shift = (
            np.broadcast_to(a.reshape(a.shape[-len(axes) :]), normalised) for a in (node.op.scale, node.op.shift)
        )
        weight = scale if getattr(op, "weight", None) is None else op.weight * scale  # type: ignore[attr-defined]
        bias = shift if getattr(op, "bias", None) is None else op.bias * scale + shift  # type: ignore[attr-defined]
        op = replace(op, weight=weight, bias=bias if bias.any() else None)  # type: ignore[type-var]
        graph.put(reader, op, (x,))
        at = reader


def _fits(op: Scale, shape: Shape, axes: int) -> bool:
    """Whether a scale differs along the last axes only."""
    view = op.view(shape)
    return len(view) >= axes and all(n == 1 for n in view[:-axes]) and op.scale.ndim >= axes
