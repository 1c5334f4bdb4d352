"""Functions of ONNX on every entry by itself that have no operation of their own: programs of one value."""

from __future__ import annotations

from typing import Any

import numpy as np

from powerplan.network.onnx_import.call import Call, number
from powerplan.network.onnx_import.constants import Rule
from powerplan.network.torch_import.one_value import applied
from powerplan.network.torch_import.value import Refused, Value

#: operators that are one operation of ATen on the same inputs
_LOWER = "Abs Acos Acosh Asin Asinh Atan Atanh Ceil Cos Cosh Exp Floor Log Reciprocal Round Sign Sin Sinh Sqrt Tan"
_SAME = {
    **{name: name.lower() for name in _LOWER.split()},
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


def _same(name: str) -> Rule:
    return lambda call, *inputs: applied(name, *inputs)


def thresholded_relu(call: Call, x: Any) -> Value:
    return applied("threshold", x, float(call.get("alpha", 1.0)), 0.0)


def shrink(call: Call, x: Any) -> Value:
    """x moved towards zero by ``bias`` where it is beyond ``lambd``, else zero."""
    bias, bound = float(call.get("bias", 0.0)), float(call.get("lambd", 0.5))
    moved = applied("sub", x, applied("mul", applied("sign", x), bias))
    return applied("where", applied("gt", applied("abs", x), bound), moved, 0.0)


def modulo(call: Call, x: Any, divisor: Any) -> Value:
    return applied("fmod" if call.get("fmod", 0) else "remainder", x, divisor)


def quantize(call: Call, x: Any, scale: Any, zero: Any = None) -> Value:
    """Whole steps of a scale, as floating-point numbers; rounded and limited to what the type of ``zero`` holds."""
    kind = np.asarray(np.uint8(0) if zero is None else zero).dtype
    if kind.kind not in "iu":
        raise Refused(f"steps of type {kind} are not supported")
    limits = np.iinfo(kind)
    steps = applied("round", applied("div", x, _one(scale)))
    return applied("clamp", applied("add", steps, _one(zero)), float(limits.min), float(limits.max))


def dequantize(call: Call, x: Any, scale: Any, zero: Any = None) -> Value:
    return applied("mul", applied("sub", x, _one(zero)), _one(scale))


def _one(constant: Any) -> float:
    """A scale or zero point of a value as a whole; none is zero."""
    if constant is not None and np.unique(np.asarray(constant)).size != 1:
        raise Refused("values of the network are quantised by one scale, weights by any number")
    return 0.0 if constant is None else float(np.asarray(constant).reshape(-1)[0])


def celu(call: Call, x: Any) -> Value:
    return applied("celu", x, float(call.get("alpha", 1.0)))


def selu(call: Call, x: Any) -> Value:
    alpha, gamma = float(call.get("alpha", 1.6732632)), float(call.get("gamma", 1.0507010))
    return applied("mul", applied("elu", x, alpha), gamma)


def hard_sigmoid(call: Call, x: Any) -> Value:
    alpha, beta = float(call.get("alpha", 0.2)), float(call.get("beta", 0.5))
    return applied("clamp", applied("add", applied("mul", x, alpha), beta), 0.0, 1.0)


def swish(call: Call, x: Any) -> Value:
    return applied("mul", x, applied("sigmoid", applied("mul", x, float(call.get("alpha", 1.0)))))


def _extreme(name: str, bound: str) -> Rule:
    def rule(call: Call, *inputs: Any) -> Value:
        values = [x for x in inputs if isinstance(x, Value)]
        result = values[0]
        for other in values[1:]:
            result = applied(name, result, other)
        for constant in (x for x in inputs if not isinstance(x, Value)):
            limit = number(constant)
            result = applied("clamp", result, *((limit, None) if bound == "min" else (None, limit)))
        return result

    return rule


def where(call: Call, condition: Any, left: Any, right: Any) -> Value:
    """A choice by a condition that depends on the input."""
    if not isinstance(condition, Value):
        raise Refused("the condition is constant")
    return applied("where", condition, left, right)


RULES: dict[str, Rule] = {
    **{operator: _same(name) for operator, name in _SAME.items()},
    "ThresholdedRelu": thresholded_relu,
    "Shrink": shrink,
    "Mod": modulo,
    "QuantizeLinear": quantize,
    "DequantizeLinear": dequantize,
    "Max": _extreme("maximum", "min"),
    "Min": _extreme("minimum", "max"),
}
