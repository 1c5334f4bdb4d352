"""Activations, sums and products of ONNX, and the activations that exporters spell out.

gelu(x) = x (1 + erf(x/√2)) / 2,   silu(x) = x sigmoid(x),   mish(x) = x tanh(softplus(x)).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from powerplan.network.node import INPUT
from powerplan.network.onnx_import.call import Call, number
from powerplan.network.onnx_import.constants import Rule, room
from powerplan.network.onnx_import.rules import pointwise
from powerplan.network.ops import Activation, Function, Scale
from powerplan.network.torch_import.one_value import applied, are_of_one_value
from powerplan.network.torch_import.rules import elementwise as torch_rules
from powerplan.network.torch_import.value import Value, array, value

#: gates g of x·g(x), innermost function last, and the activation that the product is
_GATED = {
    ("sigmoid",): "silu",
    ("hard_sigmoid",): "hard_swish",
    ("tanh", "softplus"): "mish",
}


def _activation(kind: str, **names: tuple[str, float]) -> Rule:
    """The rule of an activation; ``names``: attribute and default of each parameter."""

    def rule(call: Call, x: Any) -> Value:
        parameters = {name: float(call.get(attribute, default)) for name, (attribute, default) in names.items()}
        return value(x).apply(Activation(kind=kind, parameters=parameters))

    return rule


def _usual(kind: str, other: Rule, **wanted: tuple[float, float]) -> Rule:
    """The rule of an activation whose attributes usually have one value; ``wanted``: default and value of each."""

    def rule(call: Call, x: Any) -> Value:
        for name, (default, only) in wanted.items():
            if not math.isclose(call.get(name, default), only, rel_tol=1e-5):
                return value(other(call, x))
        return value(x).apply(Activation(kind=kind))

    return rule


def clip(call: Call, x: Any, low: Any = None, high: Any = None) -> Value:
    bounds = [number(call.get(name) if bound is None else bound) for name, bound in (("min", low), ("max", high))]
    # exporters write the largest float where there is no bound
    low, high = (None if n is None or abs(n) > 3e38 else n for n in bounds)
    if (low is None or high is None) and (low, high) != (0.0, None):
        return value(x) if low is high is None else applied("clamp", x, low, high)
    return torch_rules.clamp(x, low, high)


def prelu(call: Call, x: Any, slope: Any) -> Value:
    a = array(slope).astype(np.float64)
    if a.size and (a == a.flat[0]).all():
        return torch_rules.leaky_relu(x, float(a.flat[0]))
    # a·x + (1 − a)·relu(x)
    positive = value(x).apply(Activation(kind="relu"), name="positive")
    return torch_rules.add(torch_rules.multiply(x, a), torch_rules.multiply(positive, 1 - a))


def gelu(call: Call, x: Any) -> Value:
    return torch_rules.gelu(x, approximate=str(call.get("approximate", "none")))


def add(call: Call, left: Any, right: Any) -> Value:
    if are_of_one_value(left, right):
        return applied("add", left, right)
    _bounded(left, right)
    return _merged(torch_rules.add(left, right))


def subtract(call: Call, left: Any, right: Any) -> Value:
    if are_of_one_value(left, right):
        return applied("sub", left, right)
    _bounded(left, right)
    return _merged(torch_rules.add(left, torch_rules.multiply(right, np.float64(-1.0)) if _is(right) else -right))


def multiply(call: Call, left: Any, right: Any) -> Value:
    if _is(left) and _is(right):
        gated = _gated(left, right) or _gated(right, left)
        if gated is not None:
            return gated
    if are_of_one_value(left, right):
        return applied("mul", left, right)
    _bounded(left, right)
    return _merged(torch_rules.multiply(left, right))


def divide(call: Call, left: Any, right: Any) -> Value:
    if _is(right):
        return applied("div", left, right)
    _bounded(left, right)
    return _merged(torch_rules.divide(left, right))


def total(call: Call, *values: Any) -> Value:
    sum_ = values[0]
    for other in values[1:]:
        sum_ = add(call, sum_, other) if _is(sum_) or _is(other) else sum_ + other
    return value(sum_)


def power(call: Call, x: Any, exponent: Any) -> Value:
    if not _is(x):  # a^y
        return applied("exp2", applied("mul", exponent, math.log2(number(x) or 0.0)))
    chosen = number(exponent)
    return torch_rules.power(x, chosen) if chosen in (1, 2) else applied("pow", x, chosen)


def is_nan(call: Call, x: Any) -> np.ndarray:
    """False everywhere: values of a network are finite. Exporters guard a softmax of masked rows with it."""
    return np.zeros((1,) * len(value(x).torch_shape), dtype=bool)


def where(call: Call, condition: Any, left: Any, right: Any) -> Value:
    """A choice by a constant condition, condition · left + (1 − condition) · right, or by one of the same value."""
    if _is(condition):
        return pointwise.where(call, condition, left, right)
    chosen = array(condition).astype(bool)
    if chosen.all() and _is(left):
        return value(left)
    if not chosen.any() and _is(right):
        return value(right)
    parts: list[Any] = []
    for branch, mask in ((left, chosen), (right, ~chosen)):
        if _is(branch):
            parts.append(multiply(call, branch, mask.astype(np.float64)))
        else:
            parts.append(np.where(mask, array(branch).astype(np.float64), 0.0))
    return add(call, *parts)


def erf(call: Call, x: Any) -> Value:
    return applied("erf", x)


def _is(x: Any) -> bool:
    return isinstance(x, Value)


def _bounded(left: Any, right: Any) -> None:
    """Refuse constants that make a value much larger than it is."""
    shapes = [x.torch_shape if isinstance(x, Value) else np.shape(x) for x in (left, right)]
    full = np.broadcast_shapes(*shapes)
    if any(shape != full for shape in shapes):
        room(full)


def _affine(x: Value) -> tuple[str, float, float]:
    """Name of a value, scale s and shift t with x = s · value + t, through scalar scales."""
    name, s, t = x.name, 1.0, 0.0
    while name != INPUT:
        node = x.builder.nodes[name]
        if not isinstance(node.op, Scale) or node.op.scale.size != 1 or node.op.scale.ndim != 1:
            break
        s, t = s * float(node.op.scale[0]), s * float(node.op.shift[0]) + t
        name = node.inputs[0]
    return name, s, t


def _merged(x: Value) -> Value:
    """A value with the scalar scales that lead to it as one, or none."""
    name, s, t = _affine(x)
    depth = 0 if name == x.name else _depth(x, name)
    if depth == 0 or (depth == 1 and (s, t) != (1.0, 0.0)):
        return x
    source = _renamed(x, name)
    if math.isclose(s, 1.0, rel_tol=1e-6) and t == 0:
        return source
    return source.apply(Scale(scale=np.array([s]), shift=np.array([t]), axis=-1))


def _depth(x: Value, name: str) -> int:
    depth, at = 0, x.name
    while at != name:
        at, depth = x.builder.nodes[at].inputs[0], depth + 1
    return depth


def _renamed(x: Value, name: str) -> Value:
    return replace(x, name=name, shape=x.builder.shapes[name])


def _gated(x: Value, gate: Value) -> Value | None:
    """x · g(x) as one activation, if it is one."""
    base, s, t = _affine(x)
    source = _renamed(x, base)
    inner, sg, tg = _affine(gate)
    if inner == INPUT or t != 0:
        return None
    node = x.builder.nodes[inner]
    if isinstance(node.op, Function):
        factor = _factor_in_erf(node.op)
        root = node.inputs[0] == base and math.isclose(factor * math.sqrt(2), 1.0, rel_tol=1e-5)
        if root and math.isclose(sg, tg, rel_tol=1e-6):
            return _times(source.apply(Activation(kind="gelu")), 2 * s * sg)
        return None
    kinds: tuple[str, ...] = ()
    name = gate.name
    while name not in (INPUT, x.name) and isinstance(op := x.builder.nodes[name].op, Activation):
        kinds, name = (*kinds, op.kind), x.builder.nodes[name].inputs[0]
    if name == x.name and kinds in _GATED:
        return x.apply(Activation(kind=_GATED[kinds]))
    return None


def _factor_in_erf(op: Function) -> float:
    """The factor c of a program erf(c x); 0 of any other."""
    factor = 1.0
    *before, last = op.steps
    for name, arguments, _ in before:
        if name == "mul" and isinstance(arguments[1], float):
            factor *= arguments[1]
        elif name != "add" or arguments[1] != 0:
            return 0.0
    return factor if last[0] == "erf" else 0.0


def _times(x: Value, factor: float) -> Value:
    if math.isclose(factor, 1.0, rel_tol=1e-6):
        return x
    return x.apply(Scale(scale=np.array([factor]), shift=np.zeros(1), axis=-1), name="factor")


RULES: dict[str, Rule] = {
    **pointwise.RULES,
    "Relu": _activation("relu"),
    "Tanh": _activation("tanh"),
    "Sigmoid": _activation("sigmoid"),
    "Softplus": _activation("softplus"),
    "Softsign": _activation("softsign"),
    "HardSwish": _activation("hard_swish"),
    "Mish": _activation("mish"),
    "LeakyRelu": _activation("leaky_relu", negative_slope=("alpha", 0.01)),
    "Elu": _activation("elu", alpha=("alpha", 1.0)),
    "Selu": _usual("selu", pointwise.selu, alpha=(1.6732632, 1.6732632), gamma=(1.0507010, 1.0507010)),
    "HardSigmoid": _usual("hard_sigmoid", pointwise.hard_sigmoid, alpha=(0.2, 1 / 6), beta=(0.5, 0.5)),
    "Swish": _usual("silu", pointwise.swish, alpha=(1.0, 1.0)),
    "Celu": _usual("elu", pointwise.celu, alpha=(1.0, 1.0)),
    "Gelu": gelu,
    "Clip": clip,
    "PRelu": prelu,
    "Erf": erf,
    "IsNaN": is_nan,
    "Where": where,
    "Add": add,
    "Sub": subtract,
    "Mul": multiply,
    "Div": divide,
    "Sum": total,
    "Pow": power,
    "Neg": lambda call, x: _merged(torch_rules.negate(x)),
}
