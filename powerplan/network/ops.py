"""The operations a network is made of: frozen values, numpy only.

An operation knows its attributes (plain values), its tensors (read-only arrays) and the shape it makes
of its input shapes. What it *computes* (ideal forward pass, Gaussian moments, adjoint) is torch code and
lives in :mod:`powerplan.moments` and :mod:`powerplan.montecarlo`, keyed by the class.

To add one: subclass :class:`Op`, decorate it with :func:`register`, and give it rules there.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

import numpy as np

from powerplan.checks import Checker, frozen_array, nearest, real_array, unknown_keys
from powerplan.errors import InvalidInput, UnsupportedOperation

Shape = tuple[int, ...]

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
}


class Op(ABC):
    """One operation of a network."""

    type: ClassVar[str]
    #: number of inputs the operation takes
    arity: ClassVar[int] = 1
    #: True if the operation is computed on a crossbar
    is_crossbar: ClassVar[bool] = False

    @abstractmethod
    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        """Shape (without batch) made of the input shapes; raises InvalidInput if they do not fit."""

    def attributes(self) -> dict[str, Any]:
        """Plain values that describe the operation, for files and the wire."""
        return {}

    def tensors(self) -> dict[str, np.ndarray]:
        """Arrays that describe the operation, for files and the wire."""
        return {}

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy (between processes, say) is built anew: checked, and with read-only arrays, which plain copies lose.
        return build_op, (self.type, self.attributes(), self.tensors())


_OPS: dict[str, type[Op]] = {}
_OpType = TypeVar("_OpType", bound=type[Op])


def register(cls: _OpType) -> _OpType:
    """Make an operation known by its ``type`` name, so that files and the wire can rebuild it."""
    _OPS[cls.type] = cls
    return cls


def operation_types() -> tuple[str, ...]:
    """Names of all known operations, sorted."""
    return tuple(sorted(_OPS))


def build_op(type: str, attributes: Mapping[str, Any], tensors: Mapping[str, Any]) -> Op:
    """Rebuild an operation from its type name, attributes and tensors.

    Raises:
        UnsupportedOperation: unknown type, with the list of supported ones.
        InvalidInput: attributes or tensors that do not fit.
    """
    cls = _OPS.get(type) if isinstance(type, str) else None
    if cls is None:
        raise UnsupportedOperation.of(
            "type", type, "one of " + ", ".join(operation_types()), nearest(str(type), operation_types())
        )
    arguments = {**attributes, **tensors}
    check = Checker(f"{type}.")
    unknown_keys(check, arguments, cls.__dataclass_fields__)  # type: ignore[attr-defined]
    check.done()
    try:
        return cls(**arguments)
    except TypeError as error:
        raise InvalidInput.of(type, sorted(arguments), "all required attributes and tensors", str(error)) from error


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class Linear(Op):
    """z = W x + b on a crossbar.

    Attributes:
        weight: W, shape (n_out, n_in), float32 or float64.
        bias: b, shape (n_out,), added digitally; None = zero.
    """

    type: ClassVar[str] = "linear"
    is_crossbar: ClassVar[bool] = True

    weight: np.ndarray
    bias: np.ndarray | None = None

    def __post_init__(self) -> None:
        check = Checker("linear.")
        weight = real_array(check, "weight", self.weight, ndim=2)
        if weight is not None and 0 in weight.shape:
            check.fail("weight", weight, "at least one row and one column", "Remove the empty layer.")
        bias = None if self.bias is None else real_array(check, "bias", self.bias, ndim=1)
        if weight is not None and bias is not None and bias.shape != weight.shape[:1]:
            check.fail(
                "bias", bias, f"shape ({weight.shape[0]},), one entry per row of weight", "Give one bias per output."
            )
        check.done()
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", bias)

    @property
    def n_out(self) -> int:
        """Number of outputs (columns of the crossbar)."""
        return int(self.weight.shape[0])

    @property
    def n_in(self) -> int:
        """Number of inputs (rows of the crossbar)."""
        return int(self.weight.shape[1])

    @cached_property
    def column_peaks(self) -> np.ndarray:
        """Largest |weight| of every column (output), (n_out,) float64."""
        return frozen_array(np.abs(self.weight).max(axis=1), np.float64)

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        (shape,) = inputs
        if shape != (self.n_in,):
            raise InvalidInput.of(
                "linear.weight",
                self.weight,
                f"n_in equal to the width of its input, which has shape {shape}",
                "Insert a flatten, or transpose the weight: it is (n_out, n_in).",
            )
        return (self.n_out,)

    def tensors(self) -> dict[str, np.ndarray]:
        return {"weight": self.weight} if self.bias is None else {"weight": self.weight, "bias": self.bias}


@register
@dataclass(frozen=True, kw_only=True)
class Activation(Op):
    """An elementwise function, computed digitally.

    Attributes:
        kind: a key of :data:`ACTIVATIONS`.
        parameters: its parameters; missing ones take their default.
    """

    type: ClassVar[str] = "activation"

    kind: str
    parameters: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in ACTIVATIONS:
            raise UnsupportedOperation.of(
                "activation", self.kind, "one of " + ", ".join(ACTIVATIONS), nearest(str(self.kind), ACTIVATIONS)
            )
        defaults = ACTIVATIONS[self.kind]
        check = Checker(f"activation.{self.kind}.")
        if not isinstance(self.parameters, Mapping | None):
            check.fail("parameters", self.parameters, "a mapping of names to numbers", "Give a dict, or None.")
            check.done()
        given = dict(self.parameters or {})
        unknown_keys(check, given, defaults)
        for name, value in given.items():
            check.number(name, value)
        check.done()
        full = {**defaults, **{k: float(v) for k, v in given.items()}}
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
@dataclass(frozen=True, kw_only=True)
class Flatten(Op):
    """All axes but the batch made one."""

    type: ClassVar[str] = "flatten"

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return (math.prod(inputs[0]),)


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class Scale(Op):
    """y = scale · x + shift elementwise along the first axis, computed digitally (a BatchNorm that cannot be folded).

    Attributes:
        scale: shape (n,).
        shift: shape (n,).
    """

    type: ClassVar[str] = "scale"

    scale: np.ndarray
    shift: np.ndarray

    def __post_init__(self) -> None:
        check = Checker("scale.")
        scale = real_array(check, "scale", self.scale, ndim=1)
        shift = real_array(check, "shift", self.shift, ndim=1)
        if scale is not None and shift is not None and scale.shape != shift.shape:
            check.fail("shift", shift, f"the shape of scale, {scale.shape}", "Give one shift per scale.")
        check.done()
        object.__setattr__(self, "scale", scale)
        object.__setattr__(self, "shift", shift)

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        (shape,) = inputs
        if not shape or shape[0] != self.scale.shape[0]:
            raise InvalidInput.of(
                "scale.scale", self.scale, f"one entry per channel of its input {shape}", "Fix the number of channels."
            )
        return shape

    def tensors(self) -> dict[str, np.ndarray]:
        return {"scale": self.scale, "shift": self.shift}
