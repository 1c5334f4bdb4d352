"""Operators on constants: the arithmetic of shapes, positions and masks, computed while a graph is read.

Each function takes the call and its inputs, as arrays. Sizes are known before a result is made: ``room`` refuses
what is absurd, since a few bytes of a file can ask for any size here. What has no function is computed by the
reference implementation of ONNX, once the shapes of its results are inferred.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from powerplan.network.onnx_import.call import Call, wholes
from powerplan.network.onnx_import.operators import CONTROL_FLOW
from powerplan.network.onnx_import.tensors import plain
from powerplan.network.torch_import.value import Refused

if TYPE_CHECKING:
    from onnx import ModelProto

#: largest number of entries of a constant that is computed
MOST_COMPUTED = 1 << 24
#: of the inputs and results of operators that the reference implementation computes in Python, one window or step at
#: a time, by how their names begin
_MOST_SLOW = 1 << 16
_SLOW = (
    *(
        "Conv",
        "Deform",
        "Average",
        "Max",
        "Global",
        "Lp",
        "LRN",
        "Resize",
        "Upsample",
        "Grid",
        "Roi",
        "Affine",
        "Col2Im",
    ),
    *("LSTM", "GRU", "RNN", "STFT", "DFT", "Scatter", "NonMax", "TopK", "Unique"),
)
_RANDOM = ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial")
#: entries of inputs that may be sizes or axes
_FEW = 64

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
    if sum(sizes) != length or min(sizes) < 0:
        raise Refused(f"parts of sizes {sizes} of an axis of size {length}")
    return sizes


def _shape(call: Call, x: np.ndarray) -> Any:
    return shape_of(call, x.shape)


def shape_of(call: Call, shape: tuple[int, ...]) -> np.ndarray:
    """A shape, or a part of it, as a constant."""
    return np.array(shape[call.get("start", 0) : call.get("end", None)], dtype=np.int64)


def _reference(call: Call, *inputs: np.ndarray | None) -> Any:
    """What the reference implementation of ONNX computes, if its results are known to be of a size that may be made."""
    if "." in call.op_type or call.op_type in (*CONTROL_FLOW, "Attention"):  # with products much larger than its result
        raise Refused("it is not computed on constants alone")
    if call.op_type in _RANDOM:
        raise Refused("it is random")
    if call.op_type in ("Div", "Mod") and inputs[1] is not None and inputs[1].dtype.kind != "f" and not inputs[1].all():
        raise Refused("a division of whole numbers by zero")
    from onnx.reference import ReferenceEvaluator

    model, feeds = _model_of(call, inputs)
    made = sum(math.prod(room(shape)) for shape in _result_shapes(model))
    if call.op_type.startswith(_SLOW) and made + sum(x.size for x in feeds.values()) > _MOST_SLOW:
        raise Refused(f"it is computed on constants of at most {_MOST_SLOW} entries")
    try:
        results = ReferenceEvaluator(model).run(None, feeds)
    except Exception as error:  # every operator has its own kinds
        raise Refused(f"on constants the reference implementation fails: {' '.join(str(error).split())}") from error
    if not all(isinstance(x, np.ndarray | np.generic) for x in results):
        raise Refused("its results are no tensors")
    return tuple(results)


def _model_of(call: Call, inputs: Sequence[np.ndarray | None]) -> tuple[ModelProto, dict[str, np.ndarray]]:
    """A model of one node and its inputs; sizes and axes are in it too, for the shapes of the results."""
    from onnx import helper, numpy_helper

    feeds = {f"x{i}": np.asarray(x, order="C") for i, x in enumerate(inputs) if x is not None}
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
        [numpy_helper.from_array(x, name) for name, x in feeds.items() if x.size <= _FEW],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", call.opset)]), feeds


def _result_shapes(model: ModelProto) -> list[tuple[int, ...]]:
    """Shapes of the results of a model of one node."""
    from onnx import shape_inference

    try:
        inferred = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph.output
    except Exception as error:  # of its own kinds
        raise Refused(" ".join(str(error).split())[:200] or type(error).__name__) from error
    shapes = [y.type.tensor_type.shape.dim if y.type.tensor_type.HasField("shape") else None for y in inferred]
    if any(dims is None or not all(d.HasField("dim_value") for d in dims) for dims in shapes):
        raise Refused("the shape of its result depends on values")
    return [tuple(d.dim_value for d in dims) for dims in shapes if dims is not None]


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


#: what a graph of shapes, masks and positions is full of, and what needs other limits; the rest is the reference's
CONSTANTS: dict[str, Rule] = {
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
    "Shape": _shape,
    "QuantizeLinear": _quantized,
    "DequantizeLinear": _dequantized,
    "Dropout": lambda call, x, *unused: x,
}


def computed(call: Call, inputs: Sequence[np.ndarray | None]) -> tuple[np.ndarray, ...]:
    """The outputs of an operator on constants."""
    rule: Rule = CONSTANTS.get(call.op_type, _reference)
    results = rule(call, *inputs)
    return tuple(plain(np.asarray(x)) for x in (results if isinstance(results, tuple) else (results,)))
