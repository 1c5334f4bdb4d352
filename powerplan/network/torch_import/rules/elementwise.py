"""Elementwise functions of torch: activations, sums and products with constants and with each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from powerplan.network.ops import Activation, Add, Multiply, Scale, Slice
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
        raise Refused(f"softplus is supported with beta=1 and threshold >= 20, not beta={beta}, threshold={threshold}")
    return value(input).apply(Activation(kind="softplus"))


def gelu(input: Any, *, approximate: str = "none") -> Value:
    return value(input).apply(Activation(kind="gelu_tanh" if approximate == "tanh" else "gelu"))


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Value:
    return value(input).apply(Activation(kind="elu", parameters={"alpha": alpha}))


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Value:
    if alpha != 1:
        raise Refused("celu is supported with alpha=1")
    return elu(input)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Value:
    return value(input).apply(Activation(kind="hard_tanh", parameters={"low": min_val, "high": max_val}))


def relu6(input: Any, inplace: bool = False) -> Value:
    return hardtanh(input, 0.0, 6.0)


def clamp(input: Any, min: Any = None, max: Any = None) -> Value:
    if isinstance(min, int | float) and isinstance(max, int | float):
        return hardtanh(input, min, max)
    if isinstance(min, int | float) and min == 0 and max is None:
        return value(input).apply(Activation(kind="relu"))
    raise Refused("clamp is supported with two numbers as bounds, or with min=0 alone")


def glu(input: Any, dim: int = -1) -> Value:
    x = value(input)
    axis = x.axis(dim)
    half, odd = divmod(x.shape[axis], 2)
    if odd:
        raise Refused(f"it halves an axis of odd size {x.shape[axis]}")
    first_half = x.apply(Slice(axis=axis, start=0, stop=half))
    gate = x.apply(Slice(axis=axis, start=half, stop=2 * half)).apply(Activation(kind="sigmoid"))
    return joined(Multiply(), first_half, gate)


def same(input: Any, *args: Any, **kwargs: Any) -> Value:
    """What changes the autograd graph or the memory format, but no value."""
    return value(input)


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Value:
    if training and p > 0:
        raise Refused("dropout is switched on in evaluation mode too; pass training=self.training")
    return value(input)


def affine(x: Value, scale: Any, shift: Any) -> Value:
    """scale · x + shift for constants that torch broadcasts against x; minus infinity in a shift masks a softmax."""
    factors, offsets = (x.place(array(c)).astype(np.float64) for c in (scale, shift))
    offsets = np.where(np.isneginf(offsets), MASKED, offsets)
    try:
        shape = tuple(np.broadcast_shapes(factors.shape, offsets.shape, x.shape))
    except ValueError as error:
        raise Refused(f"constants of shape {factors.shape} and {offsets.shape} do not fit {x.shape}") from error
    if shape == x.shape:
        return x.apply(_scale(factors, offsets))
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
        return affine(value(input), 1.0, alpha * array(other))
    scaled = other if alpha == 1 else multiply(other, alpha)
    return joined(Add(), input, scaled) if isinstance(input, Value) else affine(scaled, 1.0, input)


def subtract(input: Any, other: Any, *, alpha: float = 1) -> Value:
    return add(input, other, alpha=-alpha)


def subtract_from(input: Any, other: Any) -> Value:
    """other − input, the reflected operator."""
    return add(other, input, alpha=-1)


def multiply(input: Any, other: Any) -> Value:
    if isinstance(input, Value) and isinstance(other, Value):
        return joined(Multiply(), input, other)
    x, factor = (input, other) if isinstance(input, Value) else (value(other), input)
    return affine(x, factor, 0.0)


def divide(input: Any, other: Any, *, rounding_mode: Any = None) -> Value:
    if rounding_mode is not None:
        raise Refused("rounding is not supported")
    return affine(value(input), 1.0 / array(other).astype(np.float64), 0.0)


def divide_into(input: Any, other: Any) -> Value:
    """other / input, the reflected operator."""
    raise Refused("division by a value that depends on the network's input is not supported")


def negate(input: Any) -> Value:
    return affine(value(input), -1.0, 0.0)


def power(input: Any, exponent: Any) -> Value:
    if isinstance(exponent, Value) or exponent not in (1, 2):
        raise Refused("powers are supported with exponent 1 or 2")
    return multiply(input, input) if exponent == 2 else value(input)


RULES: dict[str, Any] = {
    **{name: activation(name) for name in ("relu", "tanh", "sigmoid", "silu", "mish", "selu", "softsign")},
    "special_expit": activation("sigmoid"),
    "hardswish": activation("hard_swish"),
    "hardsigmoid": activation("hard_sigmoid"),
    "leaky_relu": leaky_relu,
    "prelu": prelu,
    "elu": elu,
    "celu": celu,
    "softplus": softplus,
    "gelu": gelu,
    "glu": glu,
    "hardtanh": hardtanh,
    "relu6": relu6,
    "clamp": clamp,
    "clip": clamp,
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout"), dropout),
    "feature_dropout": dropout,
    "feature_alpha_dropout": dropout,
    "add": add,
    "__radd__": add,
    "sub": subtract,
    "subtract": subtract,
    "__rsub__": subtract_from,
    "rsub": subtract_from,
    "mul": multiply,
    "multiply": multiply,
    "__rmul__": multiply,
    "div": divide,
    "divide": divide,
    "true_divide": divide,
    "__rdiv__": divide_into,
    "neg": negate,
    "negative": negate,
    "pow": power,
    "square": lambda input: power(input, 2),
    **dict.fromkeys(("contiguous", "clone", "detach", "cpu", "positive", "data", "requires_grad_"), same),
}
