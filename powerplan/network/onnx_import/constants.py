"""Operators on constants: the arithmetic of shapes, positions and masks, computed while a graph is read.

Each function takes the call and its inputs, as arrays. Sizes are known before a result is made: ``room`` refuses
what is absurd, since a few bytes of a file can ask for any size here. The reference implementation of ONNX computes
the operators that do not need more than that.
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


def _reshape(call: Call, x: np.ndarray, shape: Any) -> Any:
    return x.reshape(target_shape(call, x.shape, shape))


def target_shape(call: Call, shape: tuple[int, ...], entries: Any) -> tuple[int, ...]:
    """The shape a reshape asks for, with 0 = as it is (-1 = whatever is left)."""
    wanted = wholes(entries)
    if call.get("allowzero", 0):
        return wanted
    if any(n == 0 and i >= len(shape) for i, n in enumerate(wanted)):
        raise Refused(f"0 keeps an axis that a value of shape {shape} does not have")
    return tuple(shape[i] if n == 0 else n for i, n in enumerate(wanted))


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


def split_sizes(call: Call, length: int, parts: Any) -> tuple[int, ...]:
    """Sizes of the parts of an axis: as given, or equal with a smaller last one."""
    sizes = call.numbers("split", parts)
    if sizes is None:
        each = -(-length // call.outputs)
        sizes = tuple(min(each, length - start) for start in range(0, length, each))
    if sum(sizes) != length or min(sizes) < 1:
        raise Refused(f"parts of sizes {sizes} of an axis of size {length}")
    return sizes


def _matmul(call: Call, x: np.ndarray, y: np.ndarray) -> Any:
    if x.ndim == y.ndim == 2:
        room((x.shape[0], y.shape[1]))
        return x @ y
    raise Refused("products of constants are supported for matrices")


def _shape(call: Call, x: np.ndarray) -> Any:
    return shape_of(call, x.shape)


def shape_of(call: Call, shape: tuple[int, ...]) -> np.ndarray:
    """A shape, or a part of it, as a constant."""
    return np.array(shape[call.get("start", 0) : call.get("end", None)], dtype=np.int64)


def _reference(call: Call, *inputs: np.ndarray | None) -> Any:
    """What the reference implementation of ONNX computes."""
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    feeds = {f"x{i}": x for i, x in enumerate(inputs) if x is not None}
    names = [f"x{i}" if x is not None else "" for i, x in enumerate(inputs)]
    outputs = [f"y{i}" for i in range(call.outputs)]
    graph = helper.make_graph(
        [helper.make_node(call.op_type, names, outputs, **call.attributes)],
        "constant",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
            for name, x in feeds.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", call.opset)])
    return tuple(ReferenceEvaluator(model).run(None, feeds))


def _quantized(call: Call, x: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None) -> Any:
    scale, zero = _along_axis(call, x, scale), _along_axis(call, x, np.zeros(1, np.uint8) if zero is None else zero)
    limits = np.iinfo(zero.dtype)
    return np.clip(np.rint(x / scale) + zero, limits.min, limits.max).astype(zero.dtype)


def _dequantized(call: Call, x: np.ndarray, scale: np.ndarray, zero: np.ndarray | None = None) -> Any:
    offset = 0.0 if zero is None else _along_axis(call, x, zero).astype(np.float64)
    return ((x - offset) * _along_axis(call, x, scale)).astype(np.float32)


def _along_axis(call: Call, x: np.ndarray, constant: np.ndarray) -> np.ndarray:
    """A scale or zero point: one, or one for every place or block along an axis."""
    if constant.size == 1:
        return constant.reshape(())
    axis = call.get("axis", 1) % x.ndim
    if call.get("block_size", 0):
        return constant.repeat(call.get("block_size"), axis).take(range(x.shape[axis]), axis)
    return constant.reshape([-1 if i == axis else 1 for i in range(x.ndim)])


def _elementwise(call: Call, *inputs: np.ndarray) -> Any:
    room(np.broadcast_shapes(*(x.shape for x in inputs)))
    if call.op_type in ("Div", "Mod") and inputs[1].dtype.kind != "f" and (inputs[1] == 0).any():
        raise Refused("a division of whole numbers by zero")
    return _reference(call, *inputs)


_ELEMENTWISE = (
    "Add Sub Mul Div Mod Pow Min Max Equal Less LessOrEqual Greater GreaterOrEqual And Or Not Where Neg Abs Sqrt "
    "Reciprocal Exp Log Sin Cos Floor Ceil Identity"
)
#: operators whose results are no larger than their inputs
_NO_LARGER = "CastLike Slice Unsqueeze Squeeze Transpose ReduceProd ReduceSum ReduceMax ReduceMin Trilu Flatten Size"

CONSTANTS: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE.split(), _elementwise),
    **dict.fromkeys(_NO_LARGER.split(), _reference),
    "Cast": _cast,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
    "Gather": _gather,
    "Concat": _concat,
    "Reshape": _reshape,
    "Expand": _expand,
    "Tile": _tile,
    "Split": _split,
    "MatMul": _matmul,
    "Shape": _shape,
    "QuantizeLinear": _quantized,
    "DequantizeLinear": _dequantized,
    "Dropout": lambda call, x, *unused: x,
}


def computed(call: Call, inputs: Sequence[np.ndarray | None]) -> tuple[np.ndarray, ...]:
    """The outputs of an operator on constants."""
    rule = CONSTANTS.get(call.op_type)
    if rule is None:
        raise Refused("it is not computed on constants alone")
    results = rule(call, *inputs)
    return tuple(plain(np.asarray(x)) for x in (results if isinstance(results, tuple) else (results,)))
