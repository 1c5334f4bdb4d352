"""Digital operations that normalise over several entries: layer, RMS and group norms, softmax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from powerplan.checks import Checker, real_array
from powerplan.network.ops.base import Op, Shape, check_axis, check_whole, fail_shape, register, resolve_axis


class _Norm(Op):
    weight: np.ndarray | None
    bias: np.ndarray | None
    epsilon: float

    def _take(self, check: Checker, ndim: int | None) -> None:
        for field in ("weight", "bias"):
            array = getattr(self, field)
            object.__setattr__(self, field, None if array is None else real_array(check, field, array, ndim=ndim))
        if check.number("epsilon", self.epsilon, at_least=0):
            object.__setattr__(self, "epsilon", float(self.epsilon))
        check.done()

    def tensors(self) -> dict[str, np.ndarray]:
        return {k: a for k, a in (("weight", self.weight), ("bias", self.bias)) if a is not None}


@dataclass(frozen=True, kw_only=True, eq=False)
class _LastAxesNorm(_Norm):
    axes: int = 1
    weight: np.ndarray | None = None
    bias: np.ndarray | None = None
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        check = Checker(f"{self.type}.")
        object.__setattr__(self, "axes", check_whole(check, "axes", self.axes, at_least=1, at_most=16))
        self._take(check, None)

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        (shape,) = inputs
        if self.axes > len(shape):
            raise fail_shape(f"{self.type}.axes", self.axes, f"at most the axes of its input {shape}")
        for field, array in (("weight", self.weight), ("bias", self.bias)):
            if array is not None and tuple(array.shape) != shape[-self.axes :]:
                raise fail_shape(f"{self.type}.{field}", array.shape, f"shape {shape[-self.axes :]}")
        return shape

    def attributes(self) -> dict[str, Any]:
        return {"axes": self.axes, "epsilon": self.epsilon}


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class LayerNorm(_LastAxesNorm):
    """(x − mean) / √(variance + ε) over the last axes, times weight plus bias.

    Attributes:
        axes: number of last axes it normalises over, >= 1.
        weight, bias: of the shape of these axes; None = 1 and 0.
        epsilon: ε >= 0.
    """

    type: ClassVar[str] = "layer_norm"


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class RMSNorm(_LastAxesNorm):
    """x / √(mean x² + ε) over the last axes, times weight plus bias.

    Attributes:
        axes: number of last axes it normalises over, >= 1.
        weight, bias: of the shape of these axes; None = 1 and 0.
        epsilon: ε >= 0.
    """

    type: ClassVar[str] = "rms_norm"


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class GroupNorm(_Norm):
    """(x − mean) / √(variance + ε) over groups of channels and all positions; weight and bias per channel.

    Attributes:
        groups: number of groups of channels, >= 1; as many as channels = instance norm.
        weight, bias: (C,); None = 1 and 0.
        epsilon: ε >= 0.
    """

    type: ClassVar[str] = "group_norm"

    groups: int
    weight: np.ndarray | None = None
    bias: np.ndarray | None = None
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        check = Checker("group_norm.")
        object.__setattr__(self, "groups", check_whole(check, "groups", self.groups, at_least=1))
        self._take(check, 1)

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        (shape,) = inputs
        if not shape or shape[0] % self.groups:
            raise fail_shape("group_norm.groups", self.groups, f"a divisor of the channels of its input {shape}")
        for field, array in (("weight", self.weight), ("bias", self.bias)):
            if array is not None and array.shape != shape[:1]:
                raise fail_shape(f"group_norm.{field}", array.shape, f"shape {shape[:1]}")
        return shape

    def attributes(self) -> dict[str, Any]:
        return {"groups": self.groups, "epsilon": self.epsilon}


@register
@dataclass(frozen=True, kw_only=True)
class Softmax(Op):
    """exp(x) / Σ exp(x) along an axis, or its logarithm.

    Attributes:
        axis: without the batch axis; negative ones count from the end.
        logarithm: log-softmax.
    """

    type: ClassVar[str] = "softmax"

    axis: int = -1
    logarithm: bool = False

    def __post_init__(self) -> None:
        check = Checker("softmax.")
        object.__setattr__(self, "axis", check_axis(check, "axis", self.axis))
        check.flag("logarithm", self.logarithm)
        check.done()

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        resolve_axis("softmax.axis", self.axis, inputs[0])
        return inputs[0]

    def attributes(self) -> dict[str, Any]:
        return {"axis": self.axis, "logarithm": self.logarithm}
