"""Calls that have no operation of their own: they are kept as programs of ATen, see :class:`Function`.

A call of several axes is told which of them are the node's: torch's axes count the batch, wherever it lies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from powerplan.network.digital import replayed
from powerplan.network.ops import Function
from powerplan.network.torch_import.rules.moves import moved
from powerplan.network.torch_import.standing import Rule, Standing, declared
from powerplan.network.torch_import.value import MASKED, Refused, Value, array, joined, value

#: what compares whole numbers or decides takes them as truth values
_TRUTH = {
    "where": (0,),
    "logical_and": (0, 1),
    "logical_or": (0, 1),
    "logical_xor": (0, 1),
    "logical_not": (0,),
    "scatter": (),
}
_OF_TRUTHS = {
    "bitwise_and": "logical_and",
    "bitwise_or": "logical_or",
    "bitwise_xor": "logical_xor",
    "bitwise_not": "logical_not",
}
#: arguments that are places
_PLACES = {"gather": (2,), "index_select": (2,), "scatter": (2,), "scatter_add": (2,), "one_hot": (0,)}
#: the axis of calls that have one if none is named
_LAST = {"sort": -1, "topk": -1}
#: keywords that say how a result is stored
_STORAGE = ("dtype", "device", "layout", "pin_memory", "memory_format")


def pointwise(name: str, *arguments: Any, **keywords: Any) -> Value:
    """A function of every entry of one or more values; constants are placed beside them."""
    operands = [x for x in arguments if isinstance(x, Value)]
    if name in _OF_TRUTHS and all(x.kind == "b" for x in operands):
        name = _OF_TRUTHS[name]
    like = max(operands, key=lambda x: len(x.torch_shape))
    placed: list[Any] = []
    for x in arguments:
        many = isinstance(x, torch.Tensor | np.ndarray) and np.ndim(x) > 0
        placed.append(like.constant(like.place(np.maximum(array(x).astype(np.float64), MASKED))) if many else x)
    inputs = [x for x in placed if isinstance(x, Value)]
    step = _step(name, placed, keywords, inputs)
    shapes = tuple(x.shape for x in inputs)
    try:
        shape = tuple(np.broadcast_shapes(*shapes))
    except ValueError as error:
        raise Refused(f"its inputs have shapes {shapes}") from error
    return joined(Function(steps=(step,), inputs=shapes, shape=shape, label=name), *inputs)


def _extreme(name: str, bound: str) -> Callable[..., Value]:
    """The larger or smaller of two values, or of a value and a number."""

    def rule(x: Any, y: Any) -> Value:
        if isinstance(x, Value) and not isinstance(y, Value) and np.ndim(y) == 0:
            return pointwise("clamp", x, **{bound: y})
        return pointwise(name, x, y)

    return rule


def heaviside(x: Any, at_zero: Any) -> Value:
    return pointwise("where", pointwise("eq", x, 0), at_zero, pointwise("gt", x, 0))


def rrelu(
    x: Any, noise: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, generator: Any = None
) -> tuple[Value]:
    """In evaluation mode the slope is the mean of the random ones."""
    if training:
        raise Refused("its slopes are random; put the module into evaluation mode")
    return (pointwise("leaky_relu", x, (lower + upper) / 2),)


def along(name: str, *arguments: Any, at: int = 1, keep: int | None = None, **keywords: Any) -> Any:
    """A call along axes of its first argument.

    Args:
        at: number of the argument that names the axis or axes.
        keep: number of the argument that says whether the axes stay; None = they do.
    """
    given = list(arguments)
    if not isinstance(given[0], Value):  # constants picked by places that depend on the input
        like = next(item for item in given if isinstance(item, Value))
        given[0] = like.constant(like.place(array(given[0]).astype(np.float64)))
    x = value(given[0])
    dims = keywords.pop("dim", given[at] if len(given) > at else _LAST.get(name))
    if dims is None or dims == []:
        raise Refused("over all axes it takes in the batch: name the axes (control flow on values cannot be read)")
    axes = [x.axis(d) + 1 for d in (dims if isinstance(dims, list | tuple) else [dims])]
    given[at:] = [axes if isinstance(dims, list | tuple) else axes[0], *given[at + 1 :]]
    kept = keep is None or bool(keywords.get("keepdim", given[keep] if len(given) > keep else False))
    before = 0 if kept else sum(axis - 1 < x.batch for axis in axes)
    inputs = [item for item in given if isinstance(item, Value)]
    if any((other.batch, other.merged) != (x.batch, x.merged) for other in inputs):
        raise Refused("the batch axes of its inputs do not meet")
    return _applied(name, given, keywords, inputs, x.batch - before)


def gather(input: Any, dim: int, index: Any, **keywords: Any) -> Any:
    """Entries at places along an axis; exact where the places are constant."""
    if isinstance(index, Value):
        return along("gather", input, dim, index)
    return moved(torch.ops.aten.gather, input, dim, torch.as_tensor(index))


def scatter(input: Any, dim: int, index: Any, source: Any, **keywords: Any) -> Any:
    """Entries put in places along an axis; exact where the places are constant."""
    if isinstance(index, Value) or keywords:
        return along("scatter", input, dim, index, source, **keywords)
    places = torch.as_tensor(index)
    if not isinstance(source, Value) and np.ndim(source) == 0:
        source = torch.full(places.shape, float(source))
    return moved(torch.ops.aten.scatter, input, dim, places, source, data=(0, 3))


def whole(name: str, *arguments: Any, **keywords: Any) -> Any:
    """A call on values whose batch is their first axis."""
    inputs = [item.leading() for item in _flat(arguments) if isinstance(item, Value)]
    return _applied(name, list(arguments), keywords, inputs, 0)


def _applied(name: str, arguments: list[Any], keywords: Mapping[str, Any], inputs: list[Value], batch: int) -> Any:
    first = inputs[0]
    placed = []
    for x in arguments:
        many = isinstance(x, torch.Tensor | np.ndarray) and np.ndim(x) > 0
        placed.append(first.constant(first.place(array(x).astype(np.float64))) if many else x)
    inputs = [*inputs, *(x for x, was in zip(placed, arguments, strict=True) if x is not was)]
    step = _step(name, placed, keywords, inputs)
    shapes = tuple(x.shape for x in inputs)

    def output(part: int | None) -> Value:
        steps = (step,) if part is None else (step, ("add", ({"step": 0, "part": part}, 0), {}))
        shape = result_shape(steps, shapes)
        op = Function(steps=steps, inputs=shapes, shape=shape, label=name)
        return first.apply(op, *inputs[1:], batch=batch)

    return (
        (output(0), output(1)) if name in ("sort", "topk", "max", "min", "median", "cummax", "cummin") else output(None)
    )


def result_shape(steps: Any, shapes: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    """Shape, without batch, of what steps make of values of these shapes."""
    values = tuple(torch.empty((2, *shape), device="meta") for shape in shapes)
    result = replayed(steps, values)
    if not isinstance(result, torch.Tensor) or not result.dim() or len(result) != 2:
        raise Refused("its result has no batch axis")
    return tuple(result.shape[1:])


def _step(
    name: str, arguments: list[Any], keywords: Mapping[str, Any], inputs: list[Value]
) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    ids = [id(x) for x in inputs]

    def plain(x: Any, kind: str) -> Any:
        if isinstance(x, Value):
            return {"value": ids.index(id(x)), **({"as": kind} if kind else {})}
        if isinstance(x, list | tuple):
            return [plain(item, kind) for item in x]
        return _number(x)

    def kind(place: int) -> str:
        return "truth" if place in _TRUTH.get(name, ()) else "index" if place in _PLACES.get(name, ()) else ""

    return (
        name,
        tuple(plain(x, kind(i)) for i, x in enumerate(arguments)),
        {key: plain(x, "") for key, x in keywords.items() if key not in _STORAGE and x is not None},
    )


def _number(x: Any) -> Any:
    if isinstance(x, torch.Tensor | np.ndarray | np.generic):
        x = x.item()
    if isinstance(x, float) and not math.isfinite(x):
        if math.isnan(x):
            raise Refused("a constant is no number")
        return math.copysign(-MASKED, x)
    if isinstance(x, torch.dtype | torch.device | torch.layout | complex):
        raise Refused(f"{x} is not supported here")
    return x


def _flat(x: Any) -> list[Any]:
    return [y for item in x for y in _flat(item)] if isinstance(x, list | tuple) else [x]


def _each(rule: Callable[..., Any], names: str) -> dict[str, Any]:
    return {name: partial(rule, name) for name in names.split()}


_TWO = "of two noisy values simulated only: it jumps"
_FIRST = "of two noisy values first order"
_PLACED = "at places that depend on values simulated only"

RULES: dict[str, Rule] = {
    **declared(
        Standing.EXACT,
        {
            **_each(
                pointwise,
                "abs acos acosh asin asinh atan atanh ceil cos cosh digamma erf erfc erfinv exp exp2 expm1 "
                "fake_quantize_per_tensor_affine floor frac hardshrink isinf isnan lgamma log log10 log1p log2 "
                "log_sigmoid logical_not bitwise_not logit nan_to_num reciprocal round rsqrt sgn sign sin sinc sinh "
                "softshrink special_i0 sqrt tan threshold trunc",
            ),
            "rrelu_with_noise_functional": rrelu,
        },
    ),
    **declared(
        Standing.EXACT,
        {
            **_each(
                pointwise,
                "bitwise_and bitwise_or bitwise_xor eq ge gt le logical_and logical_or logical_xor lt ne",
            ),
            "heaviside": heaviside,
        },
        _TWO,
    ),
    **declared(
        Standing.EXACT,
        {
            **_each(pointwise, "fmod remainder"),
            "maximum": _extreme("maximum", "min"),
            "minimum": _extreme("minimum", "max"),
        },
        _FIRST,
    ),
    **declared(
        Standing.FIRST_ORDER, _each(pointwise, "hypot logaddexp xlogy"), "of one noisy value and a number exact"
    ),
    **declared(
        Standing.FIRST_ORDER,
        {
            **_each(along, "cumsum cumprod logcumsumexp sort cummax cummin"),
            "topk": partial(along, "topk", at=2),
            **_each(partial(along, keep=2), "prod median logsumexp"),
            **_each(whole, "grid_sampler_2d upsample_bicubic2d"),
        },
    ),
    **declared(Standing.SIMULATED, _each(partial(along, keep=2), "argmax argmin"), "it jumps"),
    **declared(Standing.SIMULATED, {"atan2": partial(pointwise, "atan2")}, "it jumps by a turn behind the origin"),
    **declared(Standing.SIMULATED, {"scatter_add": partial(along, "scatter_add")}, "its places count as values"),
    **declared(Standing.EXACT, {"gather": gather, "scatter": scatter}, _PLACED),
}
