"""Operators on constants: the arithmetic of shapes, positions and masks, computed with numpy while a graph is read.

Each function takes the call and its inputs, as arrays. Sizes are known before a result is made: ``room`` refuses
what is absurd, since a few bytes of a file can ask for any size here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from powerplan.network.onnx_import.call import Call, wholes
from powerplan.network.onnx_import.tensors import plain
from powerplan.network.torch_import.value import Refused

#: largest number of entries of a constant that is computed
MOST_COMPUTED = 1 << 24

Rule = Callable[..., Any]


def room(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape, if a constant of that shape may be made."""
    if math.prod(shape) > MOST_COMPUTED or min(shape, default=0) < 0:
        raise Refused(f"a computed constant of shape {tuple(shape)}; at most {MOST_COMPUTED} entries are")
    return tuple(shape)


def _elementwise(function: Callable[..., Any]) -> Rule:
    def rule(call: Call, *inputs: np.ndarray) -> Any:
        room(np.broadcast_shapes(*(x.shape for x in inputs)))
        found = function(*inputs)
        kinds = {x.dtype for x in inputs if x.dtype != bool}
        return found.astype(kinds.pop()) if len(kinds) == 1 and found.dtype.kind == "f" else found

    return rule


def _divide(x: np.ndarray, y: np.ndarray) -> Any:
    if x.dtype.kind == "f":
        return x / y
    if (y == 0).any():
        raise Refused("a division of whole numbers by zero")
    return np.trunc(x / y).astype(x.dtype)


def _cast(call: Call, x: np.ndarray, *unused: Any) -> Any:
    from onnx import helper

    kind = np.dtype(helper.tensor_dtype_to_np_dtype(int(call.get("to", 1))))
    if kind.kind not in "fiub" and kind.name != "bfloat16":
        raise Refused(f"a cast to {kind}")
    return x.astype(kind)


def _constant(call: Call) -> Any:
    for name in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if name in call.attributes:
            kind = np.float32 if "float" in name else np.int64 if "int" in name else None
            return np.asarray(call.attributes[name], dtype=kind)
    raise Refused("only numbers are supported as constants")


def _constant_of_shape(call: Call, shape: np.ndarray) -> Any:
    value = np.asarray(call.get("value", np.zeros(1, np.float32))).reshape(-1)[:1]
    return np.full(room(wholes(shape)), value[0], dtype=value.dtype)


def _range(call: Call, start: np.ndarray, limit: np.ndarray, step: np.ndarray) -> Any:
    first, last, by = (x.reshape(-1)[0] for x in (start, limit, step))
    if not by or not np.isfinite([first, last, by]).all():
        raise Refused("a range without a finite step")
    room((max(math.ceil((float(last) - float(first)) / float(by)), 0),))
    return np.arange(first, last, by, dtype=start.dtype)


def _gather(call: Call, x: np.ndarray, index: np.ndarray) -> Any:
    axis = call.get("axis", 0) % max(x.ndim, 1)
    room((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))
    return np.take(x, index.astype(np.int64), axis=axis)


def _concat(call: Call, *parts: np.ndarray) -> Any:
    room((sum(part.size for part in parts),))
    return np.concatenate(parts, axis=call.get("axis", 0))


def _slice(call: Call, x: np.ndarray, starts: Any = None, ends: Any = None, axes: Any = None, steps: Any = None) -> Any:
    for axis, taken in slices(call, starts, ends, axes, steps):
        x = x[(slice(None),) * (axis % x.ndim) + (taken,)]
    return x


def slices(call: Call, starts: Any, ends: Any, axes: Any, steps: Any) -> list[tuple[int, slice]]:
    """Axes and what is taken of them."""
    first, last = call.numbers("starts", starts) or (), call.numbers("ends", ends) or ()
    along = call.numbers("axes", axes) or tuple(range(len(first)))
    by = wholes(steps) if steps is not None else (1,) * len(first)
    # an end of below -(2**31) means "to the very beginning", which Python writes None
    return [
        (axis, slice(a, None if s < 0 and b < -(2**31) else b, s))
        for axis, a, b, s in zip(along, first, last, by, strict=True)
    ]


def _unsqueeze(call: Call, x: np.ndarray, axes: Any = None) -> Any:
    return np.expand_dims(x, call.numbers("axes", axes) or ())


def _squeeze(call: Call, x: np.ndarray, axes: Any = None) -> Any:
    return np.squeeze(x, call.numbers("axes", axes))


def _reshape(call: Call, x: np.ndarray, shape: Any) -> Any:
    return x.reshape(target_shape(call, x.shape, shape))


def target_shape(call: Call, shape: tuple[int, ...], given: Any) -> tuple[int, ...]:
    """The shape a reshape asks for, with 0 = as it is (-1 = whatever is left)."""
    wanted = wholes(given)
    if call.get("allowzero", 0):
        return wanted
    if any(n == 0 and i >= len(shape) for i, n in enumerate(wanted)):
        raise Refused(f"0 keeps an axis that a value of shape {shape} does not have")
    return tuple(shape[i] if n == 0 else n for i, n in enumerate(wanted))


def _transpose(call: Call, x: np.ndarray) -> Any:
    return x.transpose(call.get("perm"))


def _expand(call: Call, x: np.ndarray, shape: Any) -> Any:
    full = np.broadcast_shapes(x.shape, wholes(shape))
    return np.broadcast_to(x, room(full))


def _tile(call: Call, x: np.ndarray, repeats: Any) -> Any:
    counts = wholes(repeats)
    room([n * c for n, c in zip(x.shape, counts, strict=True)])
    return np.tile(x, counts)


def _split(call: Call, x: np.ndarray, sizes: Any = None) -> Any:
    axis = call.get("axis", 0)
    return tuple(np.split(x, np.cumsum(split_sizes(call, x.shape[axis], sizes))[:-1], axis=axis))


def split_sizes(call: Call, length: int, given: Any) -> tuple[int, ...]:
    """Sizes of the parts of an axis: as given, or equal with a smaller last one."""
    sizes = call.numbers("split", given)
    if sizes is None:
        each = -(-length // call.outputs)
        sizes = tuple(min(each, length - start) for start in range(0, length, each))
    if sum(sizes) != length or min(sizes) < 1:
        raise Refused(f"parts of sizes {sizes} of an axis of size {length}")
    return sizes


def _reduce(function: Callable[..., Any]) -> Rule:
    def rule(call: Call, x: np.ndarray, axes: Any = None) -> Any:
        found = call.numbers("axes", axes)
        return function(x, axis=found or None, keepdims=bool(call.get("keepdims", 1)))

    return rule


def _trilu(call: Call, x: np.ndarray, k: Any = None) -> Any:
    shift = 0 if k is None else wholes(k)[0]
    return np.triu(x, shift) if call.get("upper", 1) else np.tril(x, shift)


def _matmul(call: Call, x: np.ndarray, y: np.ndarray) -> Any:
    if x.ndim == y.ndim == 2:
        room((x.shape[0], y.shape[1]))
        return x @ y
    raise Refused("products of constants are supported for matrices")


def _flatten(call: Call, x: np.ndarray) -> Any:
    axis = call.get("axis", 1) % (x.ndim + 1)
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _shape(call: Call, x: np.ndarray) -> Any:
    return shape_of(call, x.shape)


def shape_of(call: Call, shape: tuple[int, ...]) -> np.ndarray:
    """A shape, or a part of it, as a constant."""
    return np.array(shape[call.get("start", 0) : call.get("end", None)], dtype=np.int64)


_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": _divide,
    "Mod": np.mod,
    "Pow": lambda x, y: np.power(x.astype(np.float64), y).astype(x.dtype),
    "Min": lambda *xs: _fold(np.minimum, xs),
    "Max": lambda *xs: _fold(np.maximum, xs),
    "Equal": np.equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Not": np.logical_not,
    "Where": np.where,
    "Neg": np.negative,
    "Abs": np.abs,
    "Sqrt": np.sqrt,
    "Reciprocal": lambda x: 1 / x,
    "Exp": np.exp,
    "Log": np.log,
    "Sin": np.sin,
    "Cos": np.cos,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Identity": lambda x: x,
}

CONSTANTS: dict[str, Rule] = {
    **{name: _elementwise(function) for name, function in _ELEMENTWISE.items()},
    "Cast": _cast,
    "CastLike": lambda call, x, like: x.astype(like.dtype),
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "Gather": _gather,
    "Concat": _concat,
    "Slice": _slice,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Reshape": _reshape,
    "Transpose": _transpose,
    "Expand": _expand,
    "Tile": _tile,
    "Split": _split,
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "ReduceMax": _reduce(np.max),
    "ReduceMin": _reduce(np.min),
    "Trilu": _trilu,
    "MatMul": _matmul,
    "Flatten": _flatten,
    "Shape": _shape,
    "Size": lambda call, x: np.array(x.size, dtype=np.int64),
    "Dropout": lambda call, x, *unused: x,
}


def _fold(function: Any, items: tuple[np.ndarray, ...]) -> Any:
    found = items[0]
    for item in items[1:]:
        found = function(found, item)
    return found


def computed(call: Call, inputs: Sequence[np.ndarray | None]) -> tuple[np.ndarray, ...]:
    """The outputs of an operator on constants."""
    rule = CONSTANTS.get(call.op_type)
    if rule is None:
        raise Refused("it is not computed on constants alone")
    found = rule(call, *inputs)
    return tuple(plain(np.asarray(x)) for x in (found if isinstance(found, tuple) else (found,)))
