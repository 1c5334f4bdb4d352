"""Norms and softmax: what is computed of a mean or a sum and multiplied again; roots of sums of squares."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from powerplan.network.digital import replayed
from powerplan.network.fusing.graph import Graph
from powerplan.network.fusing.pointwise import (
    CLOSE,
    GRID,
    MOST,
    Step,
    equal,
    is_number,
    is_pointwise,
    moved_on,
    program_of,
    rounded,
)
from powerplan.network.node import Node
from powerplan.network.ops import (
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

#: means of squares where functions of them are compared
_MOMENTS = torch.logspace(-2, 3, 51, dtype=torch.float64)


def normalise(graph: Graph, name: str) -> None:
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
        if weighted != x or abs(alpha - 1) > CLOSE:
            own = scale.reshape(scale.shape[-len(axes) :])
            weight = np.broadcast_to(own * alpha**-0.5, normalised)
        options: dict[str, Any] = {"axes": len(axes), "weight": weight, "epsilon": max(beta / alpha, 1e-24)}
        centred = _centred(graph, x, axes)
        norm: Op = RMSNorm(**options) if centred is None else LayerNorm(**options)
        _put_norm(graph, name, norm, x if centred is None else centred, axes)
        return


def soften(graph: Graph, name: str) -> None:
    """Make e · 1/Σe a softmax."""
    node = graph.nodes[name]
    if not isinstance(node.op, Multiply) or len(set(node.inputs)) != 2:
        return
    for e, factor in (node.inputs, node.inputs[::-1]):
        up = graph.nodes.get(e)
        if up is None or not isinstance(up.op, Function) or not up.op.of_one_value:
            continue
        chain = _of_mean(graph, factor)
        exponential = replayed(program_of(graph, e, up.inputs[0]), (GRID[:, None],))[:, 0]
        if chain is None or not equal(exponential / GRID.exp(), torch.ones_like(GRID)):
            continue
        mean, g = chain[0], _at(_MOMENTS, chain[1])
        assert isinstance(mean.op, Mean)
        axes = mean.op.resolved(graph.shapes[e])
        if mean.inputs != (e,) or len(axes) != 1:
            continue
        if equal(g * _MOMENTS * graph.shapes[e][axes[0]], torch.ones_like(_MOMENTS)):
            graph.put(name, Softmax(axis=axes[0]), (_unshifted(graph, up.inputs[0], axes[0]),))
            return


def logarithm(graph: Graph, name: str) -> None:
    """Make the logarithm of a softmax one operation."""
    node = graph.nodes[name]
    if not isinstance(node.op, Function) or [step[:2] for step in node.op.steps] != [("log", ({"value": 0},))]:
        return
    inner = graph.nodes.get(node.inputs[0])
    if inner is not None and isinstance(inner.op, Softmax) and not inner.op.logarithm:
        graph.put(name, replace(inner.op, logarithm=True), inner.inputs)


def root(graph: Graph, name: str) -> None:
    """Make g(mean x²) one function of x where g is not defined everywhere: no noise makes a sum of squares negative."""
    chain = _of_mean(graph, name) if isinstance(graph.op(name), Function) else None
    if chain is None or graph.shapes[name] != graph.shapes[chain[0].name]:
        return
    mean, behind = chain
    x, factor = _squared(graph, mean)
    if not x or bool(_at(-_MOMENTS, behind).isfinite().all()):
        return
    assert isinstance(mean.op, Mean)
    shape, axes = graph.shapes[x], mean.op.resolved(graph.shapes[x])
    dims, g = [axis + 1 for axis in axes], _at(factor * _MOMENTS, behind)
    if bool((g > 0).all()) and equal(g * g, alpha * _MOMENTS if (alpha := float(g[-1] ** 2 / _MOMENTS[-1])) else g):
        # with a derivative at zero
        scale = rounded(math.sqrt(alpha / math.prod(shape[axis] for axis in axes)))
        steps: tuple[Step, ...] = (
            ("linalg_vector_norm", ({"value": 0}, 2, dims, mean.op.keep_axes), {}),
            ("mul", ({"step": 0}, scale), {}),
        )
    else:
        steps = (
            ("mul", ({"value": 0}, {"value": 0}), {}),
            ("mean", ({"step": 0}, dims, mean.op.keep_axes), {}),
            ("mul", ({"step": 1}, factor), {}),
            *moved_on(behind, 3),
        )
    label = "root of a mean of squares"
    graph.put(name, Function(steps=steps, inputs=(shape,), shape=graph.shapes[name], label=label), (x,))


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
    mean = chain[0]
    squared, times = _squared(graph, mean)
    if squared != x:
        return None
    g = _at(times * _MOMENTS, chain[1])
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
    return (axes, rounded(alpha), beta if beta > 1e-9 * alpha else 0.0) if good else None


def _squared(graph: Graph, mean: Node) -> tuple[str, float]:
    """The value x and the number c of a mean of c x²; "" if it is of something else."""
    at, times = mean.inputs[0], 1.0
    op = graph.op(at)
    if isinstance(op, Scale) and is_number(op) and not op.shift.any() and op.scale.flat[0] > 0:
        at, times = graph.nodes[at].inputs[0], float(op.scale.flat[0])
    square = graph.nodes.get(at)
    if square is None or not isinstance(square.op, Multiply) or len(set(square.inputs)) != 1:
        return "", times
    return square.inputs[0], times


def _of_mean(graph: Graph, name: str) -> tuple[Node, tuple[Step, ...]] | None:
    """The mean that a value is a function of, and the function's steps; None if it is of none."""
    at, path = name, [name]
    while not isinstance(graph.op(at), Mean):
        op = graph.op(at)
        inputs = [i for i in graph.nodes[at].inputs if not _is_zero(graph.op(i))] if op is not None else []
        if op is None or not is_pointwise(op) or len(inputs) != 1 or len(path) > MOST:
            return None
        at = inputs[0]
        path.append(at)
    if at == name:
        return None
    chain = Graph({key: _without_zeros(graph, key) for key in reversed(path[:-1])}, graph.shapes, name)
    return graph.nodes[at], program_of(chain, name, at)


def _at(points: Tensor, steps: tuple[Step, ...]) -> Tensor:
    """What steps make of one value at points (n,)."""
    result: Tensor = replayed(steps, (points[:, None],)).double()[:, 0]
    return result


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
        if negative is None or not is_number(negative.op):
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
