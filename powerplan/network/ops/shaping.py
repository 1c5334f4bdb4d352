"""Digital operations that move entries about: flatten, reshape, permute, concatenate, slice, pad, upsample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from powerplan.checks import Checker, choice, real_array
from powerplan.errors import InvalidInput
from powerplan.network.ops.base import (
    Op,
    Shape,
    check_axis,
    check_whole,
    check_wholes,
    fail_shape,
    register,
    resolve_axis,
)


@register
@dataclass(frozen=True, kw_only=True)
class Flatten(Op):
    """All axes but the batch made one."""

    type: ClassVar[str] = "flatten"

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return (math.prod(inputs[0]),)


@register
@dataclass(frozen=True, kw_only=True)
class Reshape(Op):
    """The same entries in another shape.

    Attributes:
        shape: new shape without the batch axis, >= 1; at most one entry -1 = whatever is left; () = one number.
    """

    type: ClassVar[str] = "reshape"

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        check = Checker("reshape.")
        shape = check_wholes(check, "shape", self.shape, at_least=-1)
        if shape is not None and (0 in shape or shape.count(-1) > 1):
            check.fail("shape", self.shape, "positive sizes, at most one -1", "Name the new shape.")
        check.done()
        object.__setattr__(self, "shape", shape)

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        total = math.prod(inputs[0])
        known = math.prod(n for n in self.shape if n != -1)
        shape = tuple(total // known if n == -1 else n for n in self.shape)
        if math.prod(shape) != total:
            raise fail_shape("reshape.shape", self.shape, f"the {total} entries of its input {inputs[0]}")
        return shape

    def attributes(self) -> dict[str, Any]:
        return {"shape": list(self.shape)}


@register
@dataclass(frozen=True, kw_only=True)
class Permute(Op):
    """Axes in another order.

    Attributes:
        axes: the old number of every new axis, without the batch axis.
    """

    type: ClassVar[str] = "permute"

    axes: tuple[int, ...]

    def __post_init__(self) -> None:
        check = Checker("permute.")
        axes = check_wholes(check, "axes", self.axes, at_least=0)
        if axes is not None and sorted(axes) != list(range(len(axes))):
            check.fail("axes", self.axes, "every axis once", "Count from 0 without the batch axis.")
        check.done()
        object.__setattr__(self, "axes", axes)

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        if len(inputs[0]) != len(self.axes):
            raise fail_shape("permute.axes", self.axes, f"{len(inputs[0])} axes for its input {inputs[0]}")
        return tuple(inputs[0][axis] for axis in self.axes)

    def attributes(self) -> dict[str, Any]:
        return {"axes": list(self.axes)}


@register
@dataclass(frozen=True, kw_only=True)
class Concat(Op):
    """Values one behind the other along an axis.

    Attributes:
        axis: without the batch axis; negative ones count from the end.
    """

    type: ClassVar[str] = "concat"
    arity: ClassVar[int | None] = None

    axis: int = 0

    def __post_init__(self) -> None:
        check = Checker("concat.")
        object.__setattr__(self, "axis", check_axis(check, "axis", self.axis))
        check.done()

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        first = inputs[0]
        axis = resolve_axis("concat.axis", self.axis, first)
        rest = [(*s[:axis], *s[axis + 1 :]) for s in inputs]
        if any(len(s) != len(first) for s in inputs) or any(r != rest[0] for r in rest):
            raise fail_shape("concat", inputs, "shapes that agree in all axes but the joined one")
        return (*first[:axis], sum(s[axis] for s in inputs), *first[axis + 1 :])

    def attributes(self) -> dict[str, Any]:
        return {"axis": self.axis}


@register
@dataclass(frozen=True, kw_only=True)
class Slice(Op):
    """Entries start, start + step, ... before stop along an axis (chunks, class tokens, crops).

    Attributes:
        axis: without the batch axis.
        start, stop: first entry and the one behind the last, 0 <= start < stop <= size.
        step: >= 1.
        keep_axis: False drops the axis of a slice with one entry.
    """

    type: ClassVar[str] = "slice"

    axis: int
    start: int
    stop: int
    step: int = 1
    keep_axis: bool = True

    def __post_init__(self) -> None:
        check = Checker("slice.")
        object.__setattr__(self, "axis", check_axis(check, "axis", self.axis))
        for field, least in (("start", 0), ("stop", 1), ("step", 1)):
            object.__setattr__(self, field, check_whole(check, field, getattr(self, field), at_least=least))
        if not check.violations and self.stop <= self.start:
            check.fail("stop", self.stop, f"more than start = {self.start}", "Take at least one entry.")
        check.flag("keep_axis", self.keep_axis)
        check.done()

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        (shape,) = inputs
        axis = resolve_axis("slice.axis", self.axis, shape)
        if self.stop > shape[axis]:
            raise fail_shape("slice.stop", self.stop, f"at most {shape[axis]} along axis {axis} of {shape}")
        taken = len(range(self.start, self.stop, self.step))
        if self.keep_axis:
            return (*shape[:axis], taken, *shape[axis + 1 :])
        if taken != 1:
            raise fail_shape("slice.keep_axis", self.keep_axis, "True unless one entry is taken")
        return (*shape[:axis], *shape[axis + 1 :])

    def attributes(self) -> dict[str, Any]:
        return {
            "axis": self.axis,
            "start": self.start,
            "stop": self.stop,
            "step": self.step,
            "keep_axis": self.keep_axis,
        }


@register
@dataclass(frozen=True, kw_only=True)
class Pad(Op):
    """Entries added at the edges of the last axes.

    Attributes:
        padding: (before, after) of each of the last axes, in order, >= 0.
        mode: "zeros", "reflect", "replicate" or "circular" (the last three along one to three axes behind a
            channel axis).
        value: what "zeros" puts there.
    """

    type: ClassVar[str] = "pad"

    padding: tuple[tuple[int, int], ...]
    mode: str = "zeros"
    value: float = 0.0

    def __post_init__(self) -> None:
        check = Checker("pad.")
        pairs: list[tuple[int, ...] | None] = []
        if not isinstance(self.padding, tuple | list) or not self.padding:
            check.fail("padding", self.padding, "pairs (before, after)", "Give one pair per padded axis.")
        else:
            pairs = [check_wholes(check, f"padding[{i}]", p, length=2, at_least=0) for i, p in enumerate(self.padding)]
        if check.number("value", self.value):
            object.__setattr__(self, "value", float(self.value))
        check.done()
        object.__setattr__(self, "padding", tuple(pairs))
        choice("pad.mode", self.mode, ("zeros", "reflect", "replicate", "circular"))

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        (shape,) = inputs
        padded = len(self.padding)
        channel = 0 if self.mode == "zeros" else 1
        if padded + channel > len(shape) or (channel and len(shape) != padded + 1):
            raise fail_shape("pad.padding", self.padding, f"pairs for the axes of its input {shape}")
        most = {"reflect": -1, "circular": 0}.get(self.mode)
        if most is not None and any(
            max(p) > n + most for p, n in zip(self.padding, shape[len(shape) - padded :], strict=True)
        ):
            raise fail_shape("pad.padding", self.padding, f"less than the axes of its input {shape}")
        tail = (n + sum(p) for n, p in zip(shape[len(shape) - padded :], self.padding, strict=True))
        return (*shape[: len(shape) - padded], *tail)

    def attributes(self) -> dict[str, Any]:
        return {"padding": [list(p) for p in self.padding], "mode": self.mode, "value": self.value}


@register
@dataclass(frozen=True, kw_only=True)
class Upsample(Op):
    """Values (C, *spatial) on a finer (or coarser) grid.

    Attributes:
        size: new spatial size.
        mode: "nearest", "linear", "bilinear", "bicubic" or "trilinear".
        align_corners: as in torch.
    """

    type: ClassVar[str] = "upsample"

    size: tuple[int, ...]
    mode: str = "nearest"
    align_corners: bool = False

    def __post_init__(self) -> None:
        check = Checker("upsample.")
        size = check_wholes(check, "size", self.size, at_least=1)
        check.flag("align_corners", self.align_corners)
        check.done()
        choice("upsample.mode", self.mode, UPSAMPLE_AXES)
        object.__setattr__(self, "size", size)

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        (shape,) = inputs
        axes = UPSAMPLE_AXES[self.mode]
        if len(shape) != len(self.size) + 1 or (axes and len(self.size) != axes) or len(self.size) > 3:
            raise fail_shape("upsample.size", self.size, f"a size for mode {self.mode!r} and its input {shape}")
        return (shape[0], *self.size)

    def attributes(self) -> dict[str, Any]:
        return {"size": list(self.size), "mode": self.mode, "align_corners": self.align_corners}


UPSAMPLE_AXES = {"nearest": 0, "linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class Constant(Op):
    """A value that does not depend on the input (a class token), the same for every input of a batch.

    Attributes:
        value: array of at least one axis.
    """

    type: ClassVar[str] = "constant"
    arity: ClassVar[int | None] = 0

    value: np.ndarray

    def __post_init__(self) -> None:
        check = Checker("constant.")
        value = real_array(check, "value", self.value)
        if value is not None and (value.ndim == 0 or value.size == 0):
            check.fail("value", value, "an array with at least one entry", "Give it an axis.")
        check.done()
        object.__setattr__(self, "value", value)

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return tuple(self.value.shape)

    def tensors(self) -> dict[str, np.ndarray]:
        return {"value": self.value}


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class Embedding(Op):
    """Rows of a table looked up by the network's input, which holds whole numbers; digital and exact.

    Attributes:
        weight: table (n, d).
    """

    type: ClassVar[str] = "embedding"

    weight: np.ndarray

    def __post_init__(self) -> None:
        check = Checker("embedding.")
        weight = real_array(check, "weight", self.weight, ndim=2)
        check.done()
        object.__setattr__(self, "weight", weight)

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        return (*inputs[0], int(self.weight.shape[1]))

    def check_indices(self, indices: np.ndarray) -> None:
        """Refuse inputs that are not rows of the table."""
        rows = len(self.weight)
        wrong = (indices != np.floor(indices)) | (indices < 0) | (indices >= rows)
        if wrong.any():
            place = tuple(int(i) for i in np.argwhere(wrong)[0])
            what = f"{indices[place]:g} at {list(place)}"
            raise InvalidInput.of("inputs", what, f"whole numbers from 0 to {rows - 1}", "Give token indices.")

    def tensors(self) -> dict[str, np.ndarray]:
        return {"weight": self.weight}


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class Take(Op):
    """Entries of a value in any order, any number of times (gathers, indexing by arrays, unfolding).

    Attributes:
        indices: (m,) whole numbers, of entries in row-major order without the batch axis.
        shape: of the result, with m entries.
    """

    type: ClassVar[str] = "take"

    indices: np.ndarray
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        check = Checker("take.")
        indices = real_array(check, "indices", self.indices, ndim=1)
        shape = check_wholes(check, "shape", self.shape, at_least=0)
        if indices is not None and (indices.size == 0 or (indices != np.floor(indices)).any() or indices.min() < 0):
            check.fail("indices", indices, "at least one whole number >= 0", "Count entries in row-major order.")
        elif indices is not None and shape is not None and math.prod(shape) != indices.size:
            check.fail("shape", shape, f"a shape of {indices.size} entries", "Give one index per entry.")
        check.done()
        object.__setattr__(self, "indices", indices)
        object.__setattr__(self, "shape", shape)

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        if self.indices.max() >= math.prod(inputs[0]):
            raise fail_shape("take.indices", int(self.indices.max()), f"entries of its input {inputs[0]}")
        return self.shape

    def attributes(self) -> dict[str, Any]:
        return {"shape": list(self.shape)}

    def tensors(self) -> dict[str, np.ndarray]:
        return {"indices": self.indices}
