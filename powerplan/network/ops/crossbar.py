"""Operations computed on crossbars: linear layers and convolutions.

Each holds a matrix W of G groups, stored as (n_out, n_in): output i belongs to group i // (n_out/G), and n_in is the
number of inputs (rows) of one group. The array is read once per *position*: a linear layer once per entry of the
leading axes of its input, a convolution once per output pixel, a transposed convolution once per input pixel.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from powerplan.checks import Checker, choice, frozen_array, real_array
from powerplan.errors import InvalidInput
from powerplan.network.ops.base import Op, Shape, check_whole, check_wholes, fail_shape, register

#: how a convolution extends its input at the edges
PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class CrossbarOp(Op):
    """An operation whose products and sums a crossbar computes."""

    is_crossbar: ClassVar[bool] = True

    weight: np.ndarray
    bias: np.ndarray | None

    @property
    @abstractmethod
    def matrix(self) -> np.ndarray:
        """W, (n_out, n_in): the weights that devices hold, row i those of column (output) i of the crossbar."""

    @property
    def kind(self) -> str:
        """What torch calls such a layer: "Linear", "Conv2d"."""
        return type(self).__name__ + (f"{self.weight.ndim - 2}d" if self.weight.ndim > 2 else "")

    @property
    def groups(self) -> int:
        """Number of groups G, each with arrays of its own."""
        return 1

    @abstractmethod
    def reads(self, input_shape: Shape) -> int:
        """Positions at which the array is read in one inference."""

    @property
    def n_out(self) -> int:
        """Number of outputs (columns of the crossbar, of all groups together)."""
        return int(self.matrix.shape[0])

    @property
    def n_in(self) -> int:
        """Number of inputs (rows of the crossbar) of one group."""
        return int(self.matrix.shape[1])

    @property
    def n_rows(self) -> int:
        """Number of rows of all groups together."""
        return self.groups * self.n_in

    def tensors(self) -> dict[str, np.ndarray]:
        return {"weight": self.weight} if self.bias is None else {"weight": self.weight, "bias": self.bias}

    def _take_tensors(self, check: Checker, ndim: int | None, biases: int | None) -> None:
        """Check and freeze weight (``ndim`` axes; None = 3 to 5) and bias (length at axis ``biases`` of weight)."""
        weight = real_array(check, "weight", self.weight, ndim=ndim)
        if weight is not None and ndim is None and not 3 <= weight.ndim <= 5:
            check.fail("weight", weight, "one to three axes behind (n_out, n_in/groups)", "Give the kernel's axes.")
        elif weight is not None and 0 in weight.shape:
            check.fail("weight", weight, "at least one row and one column", "Remove the empty layer.")
        bias = None if self.bias is None else real_array(check, "bias", self.bias, ndim=1)
        if weight is not None and bias is not None and biases is not None and bias.shape != weight.shape[biases:][:1]:
            check.fail(
                "bias", bias, f"shape ({weight.shape[biases]},), one entry per output", "Give one bias per output."
            )
        check.done()
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", bias)


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class Linear(CrossbarOp):
    """z = W x + b along the last axis, on a crossbar.

    Attributes:
        weight: W, shape (n_out, n_in), float32 or float64.
        bias: b, shape (n_out,), added digitally; None = zero.
    """

    type: ClassVar[str] = "linear"

    weight: np.ndarray
    bias: np.ndarray | None = None

    def __post_init__(self) -> None:
        self._take_tensors(Checker("linear."), 2, 0)

    @property
    def matrix(self) -> np.ndarray:
        return self.weight

    def reads(self, input_shape: Shape) -> int:
        return math.prod(input_shape[:-1])

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        (shape,) = inputs
        if not shape or shape[-1] != self.n_in:
            raise InvalidInput.of(
                "linear.weight",
                self.weight,
                f"n_in equal to the width of its input, which has shape {shape}",
                "Insert a flatten, or transpose the weight: it is (n_out, n_in).",
            )
        return (*shape[:-1], self.n_out)


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class Conv(CrossbarOp):
    """A convolution over one to three axes of values (C, *spatial); its crossbar is read once per output position.

    Attributes:
        weight: kernel, shape (n_out, C_in / groups, *kernel), float32 or float64.
        bias: shape (n_out,), added digitally; None = zero.
        stride: per axis, >= 1; None = 1.
        padding: (before, after) per axis, >= 0; None = 0.
        dilation: per axis, >= 1; None = 1.
        groups: of channels, each with its own kernel; C_in = depthwise.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
    """

    type: ClassVar[str] = "conv"

    weight: np.ndarray
    bias: np.ndarray | None = None
    stride: tuple[int, ...] | None = None
    padding: tuple[tuple[int, int], ...] | None = None
    dilation: tuple[int, ...] | None = None
    groups: int = 1
    padding_mode: str = "zeros"

    def __post_init__(self) -> None:
        check = Checker("conv.")
        self._take_tensors(check, None, 0)
        axes = self.weight.ndim - 2
        _take_steps(self, check, axes)
        _take_pads(self, check, "padding", axes)
        groups = check_whole(check, "groups", self.groups, at_least=1)
        if groups and self.weight.shape[0] % groups:
            check.fail("groups", groups, f"a divisor of the {self.weight.shape[0]} outputs", "Fix the groups.")
        check.done()
        object.__setattr__(self, "groups", groups)
        choice("conv.padding_mode", self.padding_mode, PADDING_MODES)

    @cached_property
    def matrix(self) -> np.ndarray:
        return self.weight.reshape(len(self.weight), -1)

    @property
    def kernel(self) -> Shape:
        """Size of the kernel along each axis."""
        return tuple(self.weight.shape[2:])

    def positions(self, input_shape: Shape) -> Shape:
        """Output positions along each axis."""
        assert self.stride is not None
        assert self.padding is not None
        assert self.dilation is not None
        sizes = zip(input_shape[1:], self.kernel, self.stride, self.padding, self.dilation, strict=True)
        return tuple((n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes)

    def reads(self, input_shape: Shape) -> int:
        return math.prod(self.positions(input_shape))

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        (shape,) = inputs
        channels = self.weight.shape[1] * self.groups
        if len(shape) != self.weight.ndim - 1 or shape[0] != channels:
            raise fail_shape(
                "conv.weight", shape, f"an input ({channels}, {len(self.kernel)} spatial axes)", "Put channels first."
            )
        assert self.padding is not None
        if self.padding_mode in ("reflect", "circular"):
            most = [n - (self.padding_mode == "reflect") for n in shape[1:]]
            if any(max(p) > n for p, n in zip(self.padding, most, strict=True)):
                raise fail_shape("conv.padding", self.padding, f"at most {most} with {self.padding_mode!r} padding")
        positions = self.positions(shape)
        if min(positions) < 1:
            raise fail_shape("conv.weight", self.kernel, f"a kernel that fits its padded input {shape}")
        return (self.n_out, *positions)

    def attributes(self) -> dict[str, Any]:
        assert self.stride is not None
        assert self.padding is not None
        assert self.dilation is not None
        return {
            "stride": list(self.stride),
            "padding": [list(pair) for pair in self.padding],
            "dilation": list(self.dilation),
            "groups": self.groups,
            "padding_mode": self.padding_mode,
        }


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class ConvTranspose(CrossbarOp):
    """A transposed convolution of values (C, *spatial): a crossbar is read once per *input* position.

    Overlapping outputs are added digitally. The array holds, for every group, a column per output channel and kernel
    entry.

    Attributes:
        weight: kernel, shape (C_in, C_out / groups, *kernel), float32 or float64.
        bias: shape (C_out,), added digitally; None = zero.
        stride: per axis, >= 1; None = 1.
        padding: entries cut from (begin, end) of each output axis, >= 0; None = 0. An output padding of torch is
            a smaller cut at the end, which may be negative.
        dilation: per axis, >= 1; None = 1.
        groups: of channels.
    """

    type: ClassVar[str] = "conv_transpose"

    weight: np.ndarray
    bias: np.ndarray | None = None
    stride: tuple[int, ...] | None = None
    padding: tuple[tuple[int, int], ...] | None = None
    dilation: tuple[int, ...] | None = None
    groups: int = 1

    def __post_init__(self) -> None:
        check = Checker("conv_transpose.")
        self._take_tensors(check, None, None)
        axes = self.weight.ndim - 2
        _take_steps(self, check, axes)
        _take_pads(self, check, "padding", axes, at_least=-MOST_OUTPUT_PADDING)
        groups = check_whole(check, "groups", self.groups, at_least=1)
        if groups and self.weight.shape[0] % groups:
            check.fail("groups", groups, f"a divisor of the {self.weight.shape[0]} inputs", "Fix the groups.")
        if self.bias is not None and self.bias.shape != (self.weight.shape[1] * groups,):
            check.fail("bias", self.bias, f"shape ({self.weight.shape[1] * groups},)", "Give one bias per output.")
        check.done()
        object.__setattr__(self, "groups", groups)

    @cached_property
    def matrix(self) -> np.ndarray:
        grouped = self.weight.reshape(self.groups, -1, math.prod(self.weight.shape[1:]))
        return frozen_array(grouped.transpose(0, 2, 1).reshape(-1, grouped.shape[1]))

    @property
    def kernel(self) -> Shape:
        """Size of the kernel along each axis."""
        return tuple(self.weight.shape[2:])

    def reads(self, input_shape: Shape) -> int:
        return math.prod(input_shape[1:])

    def full_size(self, input_shape: Shape) -> Shape:
        """Output size along each axis before the padding is cut."""
        assert self.stride is not None
        assert self.dilation is not None
        sizes = zip(input_shape[1:], self.kernel, self.stride, self.dilation, strict=True)
        return tuple((n - 1) * s + d * (k - 1) + 1 for n, k, s, d in sizes)

    def output_shape(self, inputs: tuple[Shape, ...]) -> Shape:
        (shape,) = inputs
        if len(shape) != self.weight.ndim - 1 or shape[0] != self.weight.shape[0]:
            raise fail_shape(
                "conv_transpose.weight",
                shape,
                f"an input ({self.weight.shape[0]}, {len(self.kernel)} spatial axes)",
                "Put channels first.",
            )
        assert self.padding is not None
        size = tuple(n - sum(p) for n, p in zip(self.full_size(shape), self.padding, strict=True))
        if min(size) < 1:
            raise fail_shape("conv_transpose.padding", self.padding, "padding that leaves an output")
        return (self.weight.shape[1] * self.groups, *size)

    def attributes(self) -> dict[str, Any]:
        assert self.stride is not None
        assert self.padding is not None
        assert self.dilation is not None
        return {
            "stride": list(self.stride),
            "padding": [list(pair) for pair in self.padding],
            "dilation": list(self.dilation),
            "groups": self.groups,
        }


#: the largest output padding of a transposed convolution
MOST_OUTPUT_PADDING = 64


def _take_steps(op: Conv | ConvTranspose, check: Checker, axes: int) -> None:
    for field in ("stride", "dilation"):
        sizes = getattr(op, field)
        taken = (1,) * axes if sizes is None else check_wholes(check, field, sizes, length=axes, at_least=1)
        object.__setattr__(op, field, taken)


def _take_pads(op: Conv | ConvTranspose, check: Checker, field: str, axes: int, at_least: int = 0) -> None:
    pads = getattr(op, field)
    pairs: list[tuple[int, ...] | None] = []
    if pads is None:
        pairs = [(0, 0)] * axes
    elif not isinstance(pads, tuple | list | np.ndarray) or len(pads) != axes:
        check.fail(field, pads, f"{axes} pairs (before, after)", "Give one pair per spatial axis.")
    else:
        pairs = [check_wholes(check, f"{field}[{i}]", p, length=2, at_least=at_least) for i, p in enumerate(pads)]
    object.__setattr__(op, field, tuple(pairs))
