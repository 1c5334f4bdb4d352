"""Digital operations that are a small program of torch's Core ATen: what has no operation of its own.

A program is a list of steps. Each calls one ATen operation with arguments that are plain values, or refer to

    {"value": i}       the operation's input i; {"value": i, "as": "index"} as whole numbers, "truth" as not zero,
    {"step": j}        the result of step j; {"step": j, "part": k} for one of several results.

The last step's result is the operation's. Only operations that compute are allowed: a program from a file can neither
reach the machine nor ask for results much larger than its inputs.

Why: docs/decisions/networks.md [0340].
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from powerplan.checks import Checker, nearest
from powerplan.errors import UnsupportedOperation
from powerplan.network.ops.base import Op, Shape, check_wholes, fail_shape, register, whole

#: operations on every entry by itself
POINTWISE = frozenset(
    """
    abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_not bitwise_or bitwise_xor ceil celu clamp cos
    cosh digamma div elu eq erf erfc erfinv exp exp2 expm1 floor fmod frac ge gelu gt hardshrink hardsigmoid hardswish
    hardtanh heaviside isinf isnan le leaky_relu lgamma log log10 log1p log2 log_sigmoid logaddexp logical_and
    logical_not logical_or logical_xor logit lt maximum minimum mish mul ne neg pow reciprocal relu remainder round
    rsqrt selu sgn sigmoid sign silu sin sinc sinh softplus softshrink special_i0 sqrt sub tan tanh threshold trunc
    where fake_quantize_per_tensor_affine nan_to_num hypot xlogy
    """.split()  # noqa: SIM905
)
#: operations on several entries of an input
WHOLE = frozenset(
    """
    _softmax _log_softmax amax amin any all argmax argmin cumsum cumprod cummax cummin diagonal flip gather
    grid_sampler_2d index_select linalg_vector_norm logcumsumexp logsumexp max median min one_hot prod roll scatter
    scatter_add sort std sum tril triu topk upsample_bicubic2d upsample_bilinear2d upsample_nearest2d
    _upsample_nearest_exact1d _upsample_nearest_exact2d var matmul mean einsum col2im im2col _cdist_forward masked_fill
    _adaptive_avg_pool2d index scatter_reduce index_put index_add
    """.split()  # noqa: SIM905
)
_AS = ("index", "truth")
_MOST_STEPS, _DEEPEST = 256, 6


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class Function(Op):
    """A program of ATen operations on one or more values (B, *shape), computed digitally.

    Attributes:
        steps: up to 256 of (name of an ATen operation, arguments, keyword arguments). An argument is a plain value,
            {"value": i} for input i ("as": "index" or "truth" for whole numbers or truth values), or {"step": j} for
            the result of an earlier step ("part": k for one of several). The last result is the operation's.
        inputs: shapes of the values, without batch.
        shape: of the result, without batch.
        label: what it is, for people.
    """

    type: ClassVar[str] = "function"

    steps: tuple[tuple[str, tuple[Any, ...], Mapping[str, Any]], ...]
    inputs: tuple[Shape, ...]
    shape: Shape
    label: str = ""

    def __post_init__(self) -> None:
        check = Checker("function.")
        shapes = [
            check_wholes(check, f"inputs[{i}]", shape, at_least=0) or () for i, shape in enumerate(_items(self.inputs))
        ]
        if not shapes:
            check.fail("inputs", self.inputs, "at least one shape", "Give the shape of every value it reads.")
        shape = check_wholes(check, "shape", self.shape, at_least=0)
        steps = _items(self.steps)
        if not 1 <= len(steps) <= _MOST_STEPS:
            check.fail("steps", len(steps), f"1 to {_MOST_STEPS} steps", "Give the operations.")
        plain = [_step(check, i, step, len(shapes)) for i, step in enumerate(steps)]
        if not isinstance(self.label, str):
            check.fail("label", self.label, "a string", "Name what it computes.")
        check.done()
        object.__setattr__(self, "inputs", tuple(shapes))
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "steps", tuple(plain))

    @property
    def arity(self) -> int:  # type: ignore[override]
        return len(self.inputs)

    @cached_property
    def pointwise(self) -> bool:
        """True if every entry of the result depends on one entry of each (broadcast) input."""
        return all(name in POINTWISE for name, _, _ in self.steps)

    @cached_property
    def of_one_value(self) -> bool:
        """True if every entry of the result depends on the same entry of one input: its moments need no derivative."""
        return self.pointwise and self.inputs == (self.shape,)

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        if inputs != self.inputs:
            raise fail_shape("function.inputs", inputs, f"inputs of shape {self.inputs}", "Import the network again.")
        if self.pointwise and tuple(np.broadcast_shapes(*inputs)) != self.shape:
            raise fail_shape("function.shape", self.shape, f"the shape of its inputs {inputs}")
        return self.shape

    def attributes(self) -> dict[str, Any]:
        return {
            "steps": [[name, _plain(arguments), _plain(keywords)] for name, arguments, keywords in self.steps],
            "inputs": [list(shape) for shape in self.inputs],
            "shape": list(self.shape),
            "label": self.label,
        }


def _items(value: object) -> list[Any]:
    return list(value) if isinstance(value, tuple | list) else []


def _step(check: Checker, number: int, step: object, values: int) -> tuple[str, tuple[Any, ...], Mapping[str, Any]]:
    """A step as it is kept, or a noted violation."""
    field = f"steps[{number}]"
    entries = _items(step)
    if len(entries) != 3 or not isinstance(entries[0], str) or not isinstance(entries[2], Mapping):
        check.fail(field, step, "a name, a list of arguments and a mapping of keyword arguments", "Give all three.")
        return "", (), {}
    name, known = entries[0], POINTWISE | WHOLE
    if name not in known:
        raise UnsupportedOperation.of(
            f"function.{field}", name, "an ATen operation that computes", nearest(name, sorted(known))
        )
    arguments, keywords = _normal(_items(entries[1])), _normal(entries[2])
    for reference in _references(check, field, [arguments, keywords], 0):
        limit, key = (values, "value") if "value" in reference else (number, "step")
        place = whole(reference[key])
        extra = {"value": ("as", _AS), "step": ("part", range(16))}[key]
        good = set(reference) <= {key, extra[0]} and reference.get(extra[0], extra[1][0]) in extra[1]
        if place is None or not 0 <= place < limit or not good:
            check.fail(field, reference, f"a {key} from 0 to {limit - 1}", "Refer to inputs and to earlier steps.")
    return name, tuple(arguments), keywords


def _references(check: Checker, field: str, x: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    """The references in nested arguments; violations are noted."""
    if depth > _DEEPEST:
        check.fail(field, "arguments inside arguments", f"at most {_DEEPEST} levels", "Flatten them.")
    elif isinstance(x, Mapping) and ("value" in x or "step" in x):
        yield x
    elif isinstance(x, list | Mapping):
        for item in x.values() if isinstance(x, Mapping) else x:
            yield from _references(check, field, item, depth + 1)
    elif not isinstance(x, bool | int | float | str | None) or (isinstance(x, float) and not math.isfinite(x)):
        check.fail(field, x, "finite numbers, strings, lists and references", "Give constants as values.")


def _normal(x: Any) -> Any:
    """Nested arguments with whole numbers as such: JSON and the wire know one kind of number."""
    if isinstance(x, Mapping):
        return {str(key): _normal(item) for key, item in x.items()}
    if isinstance(x, tuple | list):
        return [_normal(item) for item in x]
    number = whole(x) if isinstance(x, float) else None
    return x if number is None else number


def _plain(x: Any) -> Any:
    if isinstance(x, Mapping):
        return {key: _plain(item) for key, item in x.items()}
    return [_plain(item) for item in x] if isinstance(x, tuple | list) else x
