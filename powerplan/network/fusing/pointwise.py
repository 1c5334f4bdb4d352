"""Functions of one value: gathered to one operation, and recognised by their values at many points."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from powerplan.network.digital import activation_function, replayed
from powerplan.network.fusing.graph import Graph
from powerplan.network.ops import ACTIVATIONS, Activation, Add, Constant, Function, Multiply, Op, Scale

Step = tuple[str, tuple[Any, ...], Mapping[str, Any]]

#: nodes that are made one function at most, and points where functions are compared
MOST = 64
GRID = torch.linspace(-12, 12, 961, dtype=torch.float64)
#: points where bounds and thresholds show that lie outside of the others
_FAR = torch.logspace(1.1, 6, 99, dtype=torch.float64)
_FAR = torch.cat([-_FAR, _FAR])
#: constants in single precision, relative to the largest value
CLOSE = 1e-6
#: operations that differ at single places, which a grid does not show
_AT_POINTS = ("eq", "ne", "isinf", "isnan", "heaviside")


def join(graph: Graph, name: str) -> None:
    """Make a node one function of a single value, if it is."""
    node = graph.nodes[name]
    if not isinstance(node.op, Function | Activation | Add | Multiply) or not is_pointwise(node.op):
        return
    source, inner = _source(graph, name)
    if source is None or not (inner or isinstance(node.op, Function)):
        return
    start, known = source, _recognised(graph, name, source)
    while known is None and graph.alone(start) and is_number(graph.op(start)):
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
        steps, shape = program_of(graph, name, source), graph.shapes[source]
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
        if op is None or not is_pointwise(op) or graph.shapes[last] != shape or count > MOST:
            return None, False
        frontier = (frontier - {last}) | set(graph.nodes[last].inputs)
    (source,) = frontier
    at = source
    while single and graph.alone(at) and (isinstance(graph.op(at), Function) or is_number(graph.op(at))):
        if not is_pointwise(graph.nodes[at].op) or len(graph.nodes[at].inputs) != 1:
            break
        function = isinstance(graph.op(at), Function)
        at, count = graph.nodes[at].inputs[0], count + 1
        source = at if function else source
    inner = source not in graph.nodes[name].inputs or not single
    good = graph.shapes[source] == shape and not isinstance(graph.op(source), Constant)
    return (source if good else None), inner


def is_number(op: Op | None) -> bool:
    """True for one factor and one offset for all entries."""
    return isinstance(op, Scale) and op.scale.size == 1


def is_pointwise(op: Op) -> bool:
    if isinstance(op, Function):
        return op.pointwise
    return isinstance(op, Activation | Add | Multiply) or is_number(op)


def program_of(graph: Graph, name: str, source: str) -> tuple[Step, ...]:
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


def moved_on(steps: tuple[Step, ...], count: int) -> tuple[Step, ...]:
    """The steps behind ``count`` others, the last of which makes their value."""

    def filled(x: Any) -> Any:
        if isinstance(x, Mapping) and "step" in x:
            return {**x, "step": x["step"] + count}
        if isinstance(x, Mapping) and "value" in x:
            return {"step": count - 1}
        return [filled(item) for item in x] if isinstance(x, list | tuple) else x

    return tuple((name, tuple(map(filled, a)), {k: filled(v) for k, v in kw.items()}) for name, a, kw in steps)


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
    program = program_of(graph, name, source)
    f, far = (replayed(program, (points[:, None],)).double()[:, 0] for points in (GRID, _FAR))
    if any(step[0] in _AT_POINTS for step in program) or not bool(f.isfinite().all()):
        return None

    def is_far(g: Tensor) -> bool:
        bound = CLOSE * torch.maximum(far.abs(), f.abs().max())
        return bool(((far - g).abs() <= bound)[far.isfinite()].all())

    slope = float((f[-1] - f[0]) / (GRID[-1] - GRID[0]))
    start = float(f[0] - slope * GRID[0])
    if equal(f, start + slope * GRID) and is_far(start + slope * _FAR):
        return None, rounded(slope), rounded(float(f[len(f) // 2]), float(f.abs().max()))
    for op in _candidates(f):
        function = activation_function(op)
        a = function(GRID)
        factor = float((f @ a) / (a @ a))
        if equal(f, factor * a) and is_far(factor * function(_FAR)):
            return op, rounded(factor), 0.0
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
        kinds.append(Activation(kind="elu", parameters={"alpha": -low / -math.expm1(float(GRID[0]))}))
    return kinds


def equal(f: Tensor, g: Tensor) -> bool:
    return bool((f - g).abs().max() <= CLOSE * f.abs().max())


def rounded(number: float, scale: float = 1.0) -> float:
    """A number that is whole but for the rounding of single precision as such."""
    return float(round(number)) if abs(number - round(number)) <= CLOSE * max(scale, 1.0) else number
