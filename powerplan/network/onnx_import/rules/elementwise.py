"""Elementwise operators of ONNX, as the operations of ATen that they are or are made of.

What an exporter has spelled out, a GELU or a norm, is found in the graph afterwards, as for torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from powerplan.network.node import INPUT
from powerplan.network.onnx_import.call import Call, number
from powerplan.network.onnx_import.constants import Rule, room
from powerplan.network.ops import Function
from powerplan.network.torch_import.rules import RULES as ATEN
from powerplan.network.torch_import.value import Refused, Value, array, value

#: operators that are one operation of ATen on the same inputs
_LOWER = (
    "Abs Acos Acosh Add Asin Asinh Atan Atanh Ceil Cos Cosh Div Erf Exp Floor Log Mish Mul Neg Pow Reciprocal Relu "
    "Round Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Tan Tanh"
)
_TRUTHS = {
    "Greater": "gt",
    "GreaterOrEqual": "ge",
    "Less": "lt",
    "LessOrEqual": "le",
    "Equal": "eq",
    "And": "logical_and",
    "Or": "logical_or",
    "Xor": "logical_xor",
    "Not": "logical_not",
}


def aten(name: str, *inputs: Any) -> Value:
    """An operation of ATen on values and constants that broadcast; a constant of one number is that number.

    Constants may not make a value much larger than it is.
    """
    full = _broadcast(inputs)
    own = np.broadcast_shapes(*(x.torch_shape for x in inputs if isinstance(x, Value)))
    result: Value = ATEN[name](*(_number(x) if full == own else x for x in inputs))
    return result


def _broadcast(inputs: Iterable[Any]) -> tuple[int, ...]:
    """The shape that inputs broadcast to, if that is not much larger than they are."""
    shapes = [x.torch_shape if isinstance(x, Value) else np.shape(x) for x in inputs if x is not None]
    full = np.broadcast_shapes(*shapes)
    return full if all(shape == full for shape in shapes) else room(full)


def _number(x: Any) -> Any:
    if x is None or isinstance(x, Value):
        return x
    entries = np.asarray(x)
    return entries.flat[0].item() if entries.size and (entries == entries.flat[0]).all() else x


def _same(name: str, *attributes: tuple[str, float]) -> Rule:
    """An operation of ATen on the inputs, with attributes (name, default) behind them."""
    return lambda call, *inputs: aten(name, *inputs, *(float(call.get(*attribute)) for attribute in attributes))


def _truth(name: str) -> Rule:
    return lambda call, *inputs: replace(aten(name, *inputs), kind="b")


def _all(name: str) -> Rule:
    """An operation of two inputs on any number of them, values first."""

    def rule(call: Call, *inputs: Any) -> Value:
        ordered = sorted(inputs, key=lambda x: not isinstance(x, Value))
        return value(reduce(lambda x, y: aten(name, x, y), ordered))

    return rule


def _average(call: Call, *inputs: Any) -> Value:
    return aten("div", _all("add")(call, *inputs), len(inputs))


def clip(call: Call, x: Any, low: Any = None, high: Any = None) -> Value:
    bounds = [number(call.get(name) if bound is None else bound) for name, bound in (("min", low), ("max", high))]
    # exporters write the largest float where there is no bound
    low, high = (None if n is None or abs(n) > 3e38 else n for n in bounds)
    return value(x) if low is high is None else aten("clamp", x, low, high)


def prelu(call: Call, x: Any, slope: Any) -> Value:
    a = _number(array(slope).astype(np.float64))
    if isinstance(a, float):
        return aten("leaky_relu", x, a)
    return aten("add", aten("mul", x, a), aten("mul", aten("relu", x), 1 - a))  # a·x + (1 − a)·relu(x)


def gelu(call: Call, x: Any) -> Value:
    result: Value = ATEN["gelu"](value(x), approximate=str(call.get("approximate", "none")))
    return result


def selu(call: Call, x: Any) -> Value:
    alpha, gamma = float(call.get("alpha", 1.6732632)), float(call.get("gamma", 1.0507010))
    usual = math.isclose(alpha, 1.6732632, rel_tol=1e-5) and math.isclose(gamma, 1.0507010, rel_tol=1e-5)
    return aten("selu", x) if usual else aten("elu", x, alpha, gamma)


def hard_sigmoid(call: Call, x: Any) -> Value:
    alpha, beta = float(call.get("alpha", 0.2)), float(call.get("beta", 0.5))
    if math.isclose(alpha, 1 / 6, rel_tol=1e-5) and beta == 0.5:
        return aten("hardsigmoid", x)
    return aten("clamp", aten("add", aten("mul", x, alpha), beta), 0.0, 1.0)


def swish(call: Call, x: Any) -> Value:
    return aten("mul", x, aten("sigmoid", aten("mul", x, float(call.get("alpha", 1.0)))))


def shrink(call: Call, x: Any) -> Value:
    """x moved towards zero by ``bias`` where it is beyond ``lambd``, else zero."""
    bias, bound = float(call.get("bias", 0.0)), float(call.get("lambd", 0.5))
    moved = aten("sub", x, aten("mul", aten("sign", x), bias))
    return aten("where", aten("gt", aten("abs", x), bound), moved, 0.0)


def modulo(call: Call, x: Any, divisor: Any) -> Value:
    return aten("fmod" if call.get("fmod", 0) else "remainder", x, divisor)


def never(call: Call, x: Any) -> np.ndarray:
    """False everywhere: values of a network are finite. Exporters guard a softmax of masked rows with it."""
    return np.zeros((1,) * len(value(x).torch_shape), dtype=bool)


def where(call: Call, condition: Any, left: Any, right: Any) -> Value:
    if isinstance(condition, Value):
        return aten("where", condition, left, right)
    _broadcast((condition, left, right))
    result: Value = ATEN["where"](condition, left, right)
    return result


def quantize(call: Call, x: Any, scale: Any, zero: Any = None) -> Value:
    """Whole steps of a scale, as floating-point numbers; rounded and limited to what the type of ``zero`` holds."""
    kind = np.asarray(np.uint8(0) if zero is None else zero).dtype
    if kind.kind not in "iu":
        raise Refused(f"steps of type {kind} are not supported")
    limits, source = np.iinfo(kind), value(x)
    # one function: a division folded into the layer before would round other numbers
    steps: Any = (
        ("div", ({"value": 0}, _one(scale)), {}),
        ("round", ({"step": 0},), {}),
        ("add", ({"step": 1}, _one(zero)), {}),
        ("clamp", ({"step": 2}, limits.min, limits.max), {}),
    )
    return source.apply(Function(steps=steps, inputs=(source.shape,), shape=source.shape, label="quantize"))


def dequantize(call: Call, x: Any, scale: Any, zero: Any = None) -> Value:
    return aten("mul", aten("sub", x, _one(zero)), _one(scale))


def _one(constant: Any) -> float:
    """A scale or zero point of a value as a whole; none is zero."""
    chosen = 0.0 if constant is None else _number(array(constant))
    if not isinstance(chosen, int | float):
        raise Refused("values of the network are quantised by one scale, weights by any number")
    return float(chosen)


def cast(call: Call, x: Any, like: Any = None) -> Value:
    """Another type: whole numbers are cut off, truth values are 0 and 1."""
    source, to = value(x), int(call.get("to", 1))
    if call.op_type == "CastLike" or to in _FLOATS or source.kind == "b" or source.name == INPUT:
        return source
    return replace(aten("ne", source, 0), kind="b") if to == _BOOL else aten("trunc", source)


#: types of TensorProto
_FLOATS, _BOOL = (1, 10, 11, 16), 9

RULES: dict[str, Rule] = {
    **{name: _same(name.lower()) for name in _LOWER.split()},
    **{operator: _truth(name) for operator, name in _TRUTHS.items()},
    "HardSwish": _same("hardswish"),
    "LeakyRelu": _same("leaky_relu", ("alpha", 0.01)),
    "Elu": _same("elu", ("alpha", 1.0)),
    "Celu": _same("celu", ("alpha", 1.0)),
    "ThresholdedRelu": lambda call, x: aten("threshold", x, float(call.get("alpha", 1.0)), 0.0),
    "Selu": selu,
    "HardSigmoid": hard_sigmoid,
    "Swish": swish,
    "Gelu": gelu,
    "Clip": clip,
    "PRelu": prelu,
    "Shrink": shrink,
    "Mod": modulo,
    "IsNaN": never,
    "IsInf": never,
    "Where": where,
    "Max": _all("maximum"),
    "Min": _all("minimum"),
    "Sum": _all("add"),
    "Mean": _average,
    "QuantizeLinear": quantize,
    "DequantizeLinear": dequantize,
    **dict.fromkeys(("Cast", "CastLike"), cast),
}
