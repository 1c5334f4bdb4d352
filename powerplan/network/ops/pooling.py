"""Digital operations that gather neighbours or whole axes: pooling and means."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from powerplan.checks import Checker
from powerplan.network.ops.base import Op, Shape, check_wholes, fail_shape, register, resolve_axis


class _Windowed(Op):
    """Windows of a kernel moved over the spatial axes of values (C, *spatial)."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...] | None
    padding: tuple[int | tuple[int, int], ...] | None
    dilation: tuple[int, ...] | None
    ceil_mode: bool

    @property
    def pads(self) -> tuple[tuple[int, int], ...]:
        """Padding (before, after) along each spatial axis."""
        assert self.padding is not None
        return tuple(p if isinstance(p, tuple) else (p, p) for p in self.padding)

    def _take(self, check: Checker) -> None:
        kernel = check_wholes(check, "kernel", self.kernel, at_least=1)
        axes = 0 if kernel is None else len(kernel)
        if kernel is not None and not 1 <= axes <= 3:
            check.fail("kernel", kernel, "one to three sizes", "Give one per spatial axis.")
        object.__setattr__(self, "kernel", kernel)
        for field, default in (("stride", kernel), ("dilation", (1,) * axes)):
            sizes = getattr(self, field, None)
            taken = default if sizes is None else check_wholes(check, field, sizes, length=axes, at_least=1)
            if field in self.__dataclass_fields__:  # type: ignore[attr-defined]
                object.__setattr__(self, field, taken)
        object.__setattr__(self, "padding", self._padding(check, axes))
        if self.padding and kernel and any(sum(p) > k for p, k in zip(self.pads, kernel, strict=True)):
            check.fail("padding", self.padding, "at most half of the kernel", "Reduce it.")
        for field in ("ceil_mode", "count_include_pad"):
            check.flag(field, getattr(self, field, False))
        check.done()

    def _padding(self, check: Checker, axes: int) -> tuple[int | tuple[int, int], ...] | None:
        """Widths, the same on both sides of an axis."""
        if self.padding is None:
            return (0,) * axes
        return check_wholes(check, "padding", self.padding, length=axes, at_least=0)

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        (shape,) = inputs
        if len(shape) != len(self.kernel) + 1:
            raise fail_shape(f"{self.type}.kernel", self.kernel, f"one size per spatial axis of its input {shape}")
        assert self.stride is not None
        dilation = getattr(self, "dilation", None) or (1,) * len(self.kernel)
        size = []
        for n, k, s, (before, after), d in zip(shape[1:], self.kernel, self.stride, self.pads, dilation, strict=True):
            room = n + before + after - d * (k - 1) - 1
            steps = -(-room // s) if self.ceil_mode else room // s
            if self.ceil_mode and steps * s >= n + before:  # a window must start inside the input
                steps -= 1
            size.append(steps + 1)
        if min(size) < 1:
            raise fail_shape(f"{self.type}.kernel", self.kernel, f"windows that fit its padded input {shape}")
        return (shape[0], *size)

    def attributes(self) -> dict[str, Any]:
        return {
            field: _listed(getattr(self, field))
            for field in self.__dataclass_fields__  # type: ignore[attr-defined]
            if field != "type"
        }


def _listed(x: Any) -> Any:
    return [_listed(item) for item in x] if isinstance(x, tuple) else x


@register
@dataclass(frozen=True, kw_only=True)
class MaxPool(_Windowed):
    """Largest entry of every window of values (C, *spatial).

    Attributes:
        kernel: size of a window along each of one to three spatial axes, >= 1.
        stride: step of the windows, >= 1; None = kernel.
        padding: added on both sides (below every entry), at most half of the kernel, or (before, after) at most the
            kernel together; None = 0.
        dilation: step inside a window, >= 1; None = 1.
        ceil_mode: windows may stick out at the end, as long as they start inside; padding is then the same on both
            sides.
    """

    type: ClassVar[str] = "max_pool"

    kernel: tuple[int, ...]
    stride: tuple[int, ...] | None = None
    padding: tuple[int | tuple[int, int], ...] | None = None
    dilation: tuple[int, ...] | None = None
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        self._take(Checker("max_pool."))

    def _padding(self, check: Checker, axes: int) -> tuple[int | tuple[int, int], ...] | None:
        if not isinstance(self.padding, tuple | list) or not any(isinstance(p, tuple | list) for p in self.padding):
            return super()._padding(check, axes)
        pairs = [p if isinstance(p, tuple | list) else (p, p) for p in self.padding]
        widths = [check_wholes(check, f"padding[{i}]", p, length=2, at_least=0) for i, p in enumerate(pairs)]
        if len(widths) != axes:
            check.fail("padding", self.padding, f"{axes} widths or pairs (before, after)", "Give one per spatial axis.")
        if self.ceil_mode and any(w is not None and w[0] != w[1] for w in widths):
            check.fail("padding", self.padding, "the same on both sides with ceil_mode", "Switch ceil_mode off.")
        good = [(w[0], w[1]) for w in widths if w is not None]
        return tuple(good) if len(good) == axes else None


@register
@dataclass(frozen=True, kw_only=True)
class AveragePool(_Windowed):
    """Mean of every window of values (C, *spatial).

    Attributes:
        kernel: size of a window along each of one to three spatial axes, >= 1.
        stride: step of the windows, >= 1; None = kernel.
        padding: zeros added on both sides of each axis, at most half of the kernel; None = 0.
        ceil_mode: windows may stick out at the end, as long as they start inside.
        count_include_pad: padding counts as zeros in the mean.
    """

    type: ClassVar[str] = "average_pool"

    kernel: tuple[int, ...]
    stride: tuple[int, ...] | None = None
    padding: tuple[int, ...] | None = None
    ceil_mode: bool = False
    count_include_pad: bool = True

    def __post_init__(self) -> None:
        self._take(Checker("average_pool."))


class _Adaptive(Op):
    size: tuple[int, ...]

    def __post_init__(self) -> None:
        check = Checker(f"{self.type}.")
        size = check_wholes(check, "size", self.size, at_least=1)
        if size is not None and not 1 <= len(size) <= 3:
            check.fail("size", size, "one to three sizes", "Give one per spatial axis.")
        check.done()
        object.__setattr__(self, "size", size)

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        (shape,) = inputs
        if len(shape) != len(self.size) + 1:
            raise fail_shape(f"{self.type}.size", self.size, f"one size per spatial axis of its input {shape}")
        return (shape[0], *self.size)

    def attributes(self) -> dict[str, Any]:
        return {"size": list(self.size)}


@register
@dataclass(frozen=True, kw_only=True)
class AdaptiveAveragePool(_Adaptive):
    """Means of values (C, *spatial) over as many windows as the output size says; size 1 = global average.

    Attributes:
        size: output size along each of one to three spatial axes, >= 1.
    """

    type: ClassVar[str] = "adaptive_average_pool"

    size: tuple[int, ...]


@register
@dataclass(frozen=True, kw_only=True)
class AdaptiveMaxPool(_Adaptive):
    """Largest entries of values (C, *spatial) in as many windows as the output size says.

    Attributes:
        size: output size along each of one to three spatial axes, >= 1.
    """

    type: ClassVar[str] = "adaptive_max_pool"

    size: tuple[int, ...]


@register
@dataclass(frozen=True, kw_only=True)
class Mean(Op):
    """Mean over whole axes.

    Attributes:
        axes: at least one, without the batch axis; negative ones count from the end.
        keep_axes: they stay with size 1.
    """

    type: ClassVar[str] = "mean"

    axes: tuple[int, ...]
    keep_axes: bool = False

    def __post_init__(self) -> None:
        check = Checker("mean.")
        axes = check_wholes(check, "axes", self.axes, at_least=-64)
        if axes is not None and not axes:
            check.fail("axes", self.axes, "at least one axis", "Name the axes.")
        check.flag("keep_axes", self.keep_axes)
        check.done()
        object.__setattr__(self, "axes", axes)

    def resolved(self, shape: Shape) -> tuple[int, ...]:
        """The axes counted from the front, sorted."""
        return tuple(sorted({resolve_axis("mean.axes", axis, shape) for axis in self.axes}))

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        (shape,) = inputs
        axes = self.resolved(shape)
        if self.keep_axes:
            return tuple(1 if i in axes else n for i, n in enumerate(shape))
        return tuple(n for i, n in enumerate(shape) if i not in axes)

    def count(self, shape: Shape) -> int:
        """Entries that one mean takes in."""
        return math.prod(shape[i] for i in self.resolved(shape))

    def attributes(self) -> dict[str, Any]:
        return {"axes": list(self.axes), "keep_axes": self.keep_axes}
