"""Elementwise functions of torch: activations, sums and products with constants and with each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from powerplan.network.ops import Activation, Add, Multiply, Scale, Slice
from powerplan.network.torch_import.rules.functions import pointwise
from powerplan.network.torch_import.standing import Rule, Standing, declared
from powerplan.network.torch_import.value import MASKED, Refused, Value, array, joined, value


def activation(kind: str, **parameters: float) -> Any:
    """The rule for an activation without arguments."""

    def rule(input: Any, inplace: bool = False) -> Value:
        return value(input).apply(Activation(kind=kind, parameters=parameters))

    return rule


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Value:
    return value(input).apply(Activation(kind="leaky_relu", parameters={"negative_slope": negative_slope}))


def prelu(input: Any, weight: Any) -> Value:
    x, slope = value(input), array(weight).astype(np.float64)
    if (slope == slope.flat[0]).all():
        return leaky_relu(x, float(slope.flat[0]))
    # a·x + (1 − a)·relu(x), with one slope a per channel
    a = slope.reshape((-1,) + (1,) * (len(x.torch_shape) - 2))
    return add(multiply(x, a), multiply(x.apply(Activation(kind="relu")), 1 - a))


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Value:
    if beta != 1 or threshold < 20:
        return pointwise("softplus", input, beta, threshold)
    return value(input).apply(Activation(kind="softplus"))


def gelu(input: Any, *, approximate: str = "none") -> Value:
    return value(input).apply(Activation(kind="gelu_tanh" if approximate == "tanh" else "gelu"))


def elu(input: Any, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Value:
    x = value(input)
    if input_scale != 1:
        return pointwise("elu", x, alpha, scale, input_scale)
    bent = x.apply(Activation(kind="elu", parameters={"alpha": alpha}))
    return bent if scale == 1 else affine(bent, scale, 0.0)


def celu(input: Any, alpha: float = 1.0) -> Value:
    return elu(input, alpha, 1.0, 1 / alpha)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Value:
    return value(input).apply(Activation(kind="hard_tanh", parameters={"low": min_val, "high": max_val}))


def relu6(input: Any, inplace: bool = False) -> Value:
    return hardtanh(input, 0.0, 6.0)


def clamp(input: Any, min: Any = None, max: Any = None) -> Value:
    if isinstance(min, int | float) and isinstance(max, int | float) and min < max:
        return hardtanh(input, min, max)
    if isinstance(min, int | float) and min == 0 and max is None:
        return value(input).apply(Activation(kind="relu"))
    return pointwise("clamp", input, min, max)


def glu(input: Any, dim: int = -1) -> Value:
    x = value(input)
    axis = x.axis(dim)
    half, odd = divmod(x.shape[axis], 2)
    if odd:
        raise Refused(f"it halves an axis of odd size {x.shape[axis]}")
    first_half = x.apply(Slice(axis=axis, start=0, stop=half))
    gate = x.apply(Slice(axis=axis, start=half, stop=2 * half)).apply(Activation(kind="sigmoid"))
    return joined(Multiply(), first_half, gate)


def dropout(input: Any, p: float = 0.5, training: bool = True) -> Value:
    if training and p > 0:
        raise Refused("dropout is switched on in evaluation mode too; pass training=self.training")
    return value(input)


def affine(x: Value, scale: Any, shift: Any) -> Value:
    """scale · x + shift for constants that torch broadcasts against x; minus infinity in a shift masks a softmax."""
    factors, offsets = (x.place(array(c)).astype(np.float64) for c in (scale, shift))
    offsets = np.maximum(offsets, MASKED)
    try:
        shape = tuple(np.broadcast_shapes(factors.shape, offsets.shape, x.shape))
    except ValueError as error:
        raise Refused(f"constants of shape {factors.shape} and {offsets.shape} do not fit {x.shape}") from error
    if shape == x.shape:
        return x.apply(_scale(factors, offsets)) if (factors != 1).any() or offsets.any() else x
    if not (factors == 1).all():
        x = joined(Multiply(), x, x.constant(np.broadcast_to(factors, shape), "factor"))
    if offsets.any() or shape != x.shape:
        x = joined(Add(), x, x.constant(np.broadcast_to(offsets, shape), "offset"))
    return x


def _scale(factors: np.ndarray, offsets: np.ndarray) -> Scale:
    """The scale, with one entry per channel where they differ along one axis at most."""
    factors, offsets = np.broadcast_arrays(factors, offsets)
    long = [axis for axis, n in enumerate(factors.shape) if n != 1]
    if len(long) > 1:
        return Scale(scale=factors, shift=offsets)
    axis = long[0] - factors.ndim if long else -1
    return Scale(scale=factors.reshape(-1), shift=offsets.reshape(-1), axis=axis)


def add(input: Any, other: Any, *, alpha: float = 1) -> Value:
    if not isinstance(other, Value):
        return affine(value(input), 1.0, alpha * array(other).astype(np.float64))
    scaled = other if alpha == 1 else multiply(other, alpha)
    return joined(Add(), input, scaled) if isinstance(input, Value) else affine(scaled, 1.0, input)


def subtract(input: Any, other: Any, *, alpha: float = 1) -> Value:
    return add(input, other, alpha=-alpha)


def multiply(input: Any, other: Any) -> Value:
    if isinstance(input, Value) and isinstance(other, Value):
        return joined(Multiply(), input, other)
    x, factor = (input, other) if isinstance(input, Value) else (value(other), input)
    return affine(x, factor, 0.0)


def divide(input: Any, other: Any, *, rounding_mode: Any = None) -> Value:
    if rounding_mode is not None:
        return pointwise("div", input, other, rounding_mode=rounding_mode)
    if isinstance(other, Value):
        return multiply(input, pointwise("reciprocal", other))
    return affine(value(input), 1.0 / array(other).astype(np.float64), 0.0)


def negate(input: Any) -> Value:
    return affine(value(input), -1.0, 0.0)


def power(input: Any, exponent: Any) -> Value:
    if isinstance(exponent, Value) or np.ndim(exponent):
        return pointwise("pow", input, exponent)
    number = float(exponent)
    if not isinstance(input, Value) or number not in (1, 2):
        return pointwise("pow", input, exponent)
    return multiply(input, input) if number == 2 else value(input)


def where(condition: Any, input: Any, other: Any) -> Value:
    """A choice; by a constant condition it is condition · input + (1 − condition) · other."""
    if isinstance(condition, Value):
        return pointwise("where", condition, input, other)
    chosen = array(condition).astype(bool)
    shapes = [x.torch_shape if isinstance(x, Value) else np.shape(x) for x in (condition, input, other)]
    if chosen.all() or not chosen.any():
        taken = input if chosen.any() else other
        if isinstance(taken, Value) and taken.torch_shape == np.broadcast_shapes(*shapes):
            return taken
    parts: list[Any] = []
    for branch, mask in ((input, chosen), (other, ~chosen)):
        if isinstance(branch, Value):
            parts.append(multiply(branch, mask.astype(np.float64)))
        else:
            parts.append(np.where(mask, np.maximum(array(branch).astype(np.float64), MASKED), 0.0))
    return add(*parts)


def masked_fill(input: Any, mask: Any, other: Any) -> Value:
    return where(mask, other, input)


RULES: dict[str, Rule] = {
    **declared(
        Standing.EXACT,
        {
            **{name: activation(name) for name in ("relu", "tanh", "sigmoid", "silu", "mish", "selu", "softsign")},
            "hardswish": activation("hard_swish"),
            "hardsigmoid": activation("hard_sigmoid"),
            "leaky_relu": leaky_relu,
            "prelu": prelu,
            "_prelu_kernel": prelu,
            "elu": elu,
            "celu": celu,
            "softplus": softplus,
            "gelu": gelu,
            "glu": glu,
            "hardtanh": hardtanh,
            "relu6": relu6,
            "clamp": clamp,
            "clip": clamp,
            "clamp_min": lambda input, low: clamp(input, low),
            "clamp_max": lambda input, high: clamp(input, None, high),
            **dict.fromkeys(("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout"), dropout),
            "add": add,
            "sub": subtract,
            "rsub": lambda input, other, alpha=1: subtract(other, input, alpha=alpha),
            "mul": multiply,
            "div": divide,
            "neg": negate,
            "square": lambda input: power(input, 2),
        },
    ),
    **declared(Standing.EXACT, {"pow": power}, "to the power of a noisy value first order"),
    **declared(
        Standing.EXACT,
        {"where": where, "masked_fill": masked_fill},
        "by a constant, or all of one noisy value; else simulated only: it jumps",
    ),
}
