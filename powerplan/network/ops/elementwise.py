"""Digital operations on every entry by itself: activations, scales, sums and products of values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from powerplan.checks import Checker, nearest, real_array, unknown_keys
from powerplan.errors import InvalidInput, UnsupportedOperation
from powerplan.network.ops.base import Op, Shape, check_axis, fail_shape, register, resolve_axis

#: Parameters of each elementwise activation with their defaults.
ACTIVATIONS: dict[str, dict[str, float]] = {
    "identity": {},
    "relu": {},
    "leaky_relu": {"negative_slope": 0.01},
    "tanh": {},
    "sigmoid": {},
    "softplus": {},
    "gelu": {},
    "gelu_tanh": {},
    "silu": {},
    "hard_tanh": {"low": -1.0, "high": 1.0},
    "hard_sigmoid": {},
    "hard_swish": {},
    "elu": {"alpha": 1.0},
    "selu": {},
    "mish": {},
    "softsign": {},
}


@register
@dataclass(frozen=True, kw_only=True)
class Activation(Op):
    """An elementwise function, computed digitally.

    Attributes:
        kind: which function.
        parameters: of the kind, by name; missing ones take their default. hard_tanh has low < high.
    """

    type: ClassVar[str] = "activation"

    kind: str
    parameters: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in ACTIVATIONS:
            raise UnsupportedOperation.of(
                "activation.kind", self.kind, "one of " + ", ".join(ACTIVATIONS), nearest(str(self.kind), ACTIVATIONS)
            )
        defaults = ACTIVATIONS[self.kind]
        if not isinstance(self.parameters, Mapping | None):
            raise InvalidInput.of(
                "activation.parameters", self.parameters, "a mapping of names to numbers", "Give a dict, or None."
            )
        check = Checker("activation.parameters.")
        parameters = dict(self.parameters or {})
        unknown_keys(check, parameters, defaults)
        for name, value in parameters.items():
            check.number(name, value)
        check.done()
        full = {**defaults, **{k: float(v) for k, v in parameters.items()}}
        if self.kind == "hard_tanh" and not full["low"] < full["high"]:
            check.fail("low", full["low"], f"less than high = {full['high']:g}", "Swap the two bounds.")
            check.done()
        object.__setattr__(self, "parameters", MappingProxyType(full))

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return inputs[0]

    def __hash__(self) -> int:
        return hash((self.kind, *sorted((self.parameters or {}).items())))

    def attributes(self) -> dict[str, Any]:
        return {"kind": self.kind, "parameters": dict(self.parameters or {})}


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class Scale(Op):
    """y = scale · x + shift elementwise, computed digitally (a batch norm that cannot be folded, a constant).

    Attributes:
        scale: shape (n,), along ``axis``; or an array that broadcasts to the shape of the value (no batch axis).
        shift: likewise, of the same shape.
        axis: of the value without its batch axis; only for one-dimensional scales.
    """

    type: ClassVar[str] = "scale"

    scale: np.ndarray
    shift: np.ndarray
    axis: int = 0

    def __post_init__(self) -> None:
        check = Checker("scale.")
        scale = real_array(check, "scale", self.scale)
        shift = real_array(check, "shift", self.shift)
        axis = check_axis(check, "axis", self.axis)
        for field, array in (("scale", scale), ("shift", shift)):
            if array is not None and array.ndim == 0:
                check.fail(field, array, "an array with at least one axis", "Give shape (1,) for a single number.")
        if scale is not None and shift is not None and scale.shape != shift.shape:
            check.fail("shift", shift, f"the shape of scale, {scale.shape}", "Give one shift per scale.")
        check.done()
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "shift", shift)
        object.__setattr__(self, "axis", axis)

    def view(self, shape: Shape) -> Shape:
        """Shape of ``scale`` that broadcasts against a value of this shape."""
        if self.scale.ndim != 1:
            return tuple(self.scale.shape)
        if len(self.scale) == 1:  # of a single number too, which has no axis
            return (1,) * len(shape)
        axis = resolve_axis("scale.axis", self.axis, shape)
        return tuple(len(self.scale) if i == axis else 1 for i in range(len(shape)))

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        (shape,) = inputs
        try:
            good = np.broadcast_shapes(self.view(shape), shape) == shape
        except ValueError:
            good = False
        if not good:
            raise InvalidInput.of(
                "scale.scale", self.scale, f"one entry per channel of its input {shape}", "Fix the number of channels."
            )
        return shape

    def attributes(self) -> dict[str, Any]:
        return {"axis": self.axis}

    def tensors(self) -> dict[str, np.ndarray]:
        return {"scale": self.scale, "shift": self.shift}


class _Broadcast(Op):
    """Two or more values combined entry by entry; shapes broadcast from the right, without the batch axis."""

    arity: ClassVar[int | None] = None

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        try:
            return tuple(np.broadcast_shapes(*inputs))
        except ValueError as error:
            raise fail_shape(self.type, inputs, "shapes that broadcast together") from error


@register
@dataclass(frozen=True, kw_only=True)
class Add(_Broadcast):
    """Sum of two or more values (a residual connection), computed digitally."""

    type: ClassVar[str] = "add"


@register
@dataclass(frozen=True, kw_only=True)
class SliceSum(Add):
    """Sum of what the slices of a layer's weights make, computed digitally.

    Attributes:
        shared_converters: the slices are converted one after the other, by the converters of one.
    """

    type: ClassVar[str] = "slice_sum"

    shared_converters: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.shared_converters, bool):
            allowed = "True or False"
            raise InvalidInput.of(
                "slice_sum.shared_converters", self.shared_converters, allowed, "Give one of the two."
            )

    def attributes(self) -> dict[str, Any]:
        return {"shared_converters": self.shared_converters}


@register
@dataclass(frozen=True, kw_only=True)
class Multiply(_Broadcast):
    """Elementwise product of two values (a gate), computed digitally."""

    type: ClassVar[str] = "multiply"
    arity: ClassVar[int | None] = 2


@register
@dataclass(frozen=True, kw_only=True)
class MatMul(Op):
    """Matrix product of two values over their last two axes (attention scores), computed digitally."""

    type: ClassVar[str] = "matmul"
    arity: ClassVar[int | None] = 2

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        left, right = inputs
        good = len(left) >= 2 and len(right) >= 2 and left[-1] == right[-2]
        try:
            lead = np.broadcast_shapes(left[:-2], right[:-2]) if good else ()
        except ValueError:
            good = False
        if not good:
            raise fail_shape("matmul", inputs, "shapes (..., n, k) and (..., k, m)")
        return (*lead, left[-2], right[-1])
