"""How values reach the rows of a crossbar and how its columns become values, in torch.

A crossbar operation reads an array W of G groups, (G, o, n) with o outputs and n inputs each, at P positions. With
X (G, P, n) the rows' values at every position (``patches``) and Y (G, P, o) the columns' (``columns`` of a value),

    Y_g = X_g W_gᵀ,       ∂⟨A, Y⟩/∂X_g = A_g W_g,       ∂⟨A, Y⟩/∂W_g = A_gᵀ X_g.

``apply`` computes Y in one go, for any matrix in the place of W: mean weights, squared weights, variances.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import cast

import torch
from torch import Tensor
from torch.nn import functional as F

from powerplan.network.ops import Conv, ConvTranspose, CrossbarOp, Linear, Shape

#: values behind each other up to which copying them as a run is slower than one by one
_SHORT_RUN = 8


class ArrayMap(ABC):
    """The linear maps of one crossbar operation for inputs of one shape. Differentiable in every argument.

    Attributes:
        groups: G.
        n_out, n_in: o·G outputs, n inputs of a group; ``weight`` arguments are (n_out, n_in).
        positions: P, reads of one inference.
        input_shape, output_shape: of one value, without batch.
    """

    def __init__(self, op: CrossbarOp, input_shape: Shape) -> None:
        self.groups, self.n_out, self.n_in = op.groups, op.n_out, op.n_in
        self.input_shape, self.output_shape = input_shape, op.output_shape((input_shape,))
        self.positions = op.reads(input_shape)

    @abstractmethod
    def apply(self, x: Tensor, weight: Tensor) -> Tensor:
        """(N, *output_shape) for x (N, *input_shape); no bias."""

    @abstractmethod
    def pull(self, adjoint: Tensor, weight: Tensor) -> Tensor:
        """Transpose of ``apply`` in x: (N, *input_shape) for an adjoint (N, *output_shape)."""

    @abstractmethod
    def patches(self, x: Tensor) -> Tensor:
        """(N, G, P, n) values at the rows for x (N, *input_shape)."""

    @abstractmethod
    def columns(self, adjoint: Tensor) -> Tensor:
        """Adjoints (N, G, P, o) of the columns for an adjoint (N, *output_shape) of the value."""

    @abstractmethod
    def gather(self, columns: Tensor) -> Tensor:
        """The value (N, *output_shape) made of the columns (N, G, P, o); transpose of ``columns``."""

    def apply_columns(self, x: Tensor, weight: Tensor) -> Tensor:
        """The columns' values Y in a layout of the map's own; see ``columns_view`` and ``gather_columns``."""
        return self.apply(x, weight)

    def columns_view(self, vector: Tensor) -> Tensor:
        """A quantity of every column (n_out,) in a shape that broadcasts against ``apply_columns``."""
        return vector.view(self._bias_view)

    def gather_columns(self, columns: Tensor) -> Tensor:
        """The value (N, *output_shape) made of what ``apply_columns`` gives."""
        return columns

    def spread_columns(self, value: Tensor) -> Tensor:
        """Transpose of ``gather_columns``: the columns hold what the entries of the value do that they are added to."""
        return value

    @cached_property
    def column_shape(self) -> Shape:
        """Shape of what ``apply_columns`` gives, without batch."""
        return tuple(self.spread_columns(torch.zeros(1, *self.output_shape)).shape[1:])

    def as_columns(self, columns: Tensor) -> Tensor:
        """(N, G, P, o) of what ``apply_columns`` gives."""
        return self.columns(columns)

    def of_columns(self, columns: Tensor) -> Tensor:
        """Columns (N, G, P, o) in the layout of ``apply_columns``; inverse of ``as_columns``."""
        return self.gather(columns)

    def apply_uniform(self, x: Tensor, per_column: Tensor) -> Tensor:
        """``apply_columns`` with a matrix whose row i is per_column_i everywhere, (n_out,)."""
        sums = self.patches(x).sum(-1, keepdim=True)
        return self.gather(sums * self.per_column(per_column))

    def row_sums(self, x: Tensor) -> Tensor:
        """Sum over positions of the rows' values, (N, G, n), for x (N, *input_shape)."""
        return self.patches(x).sum(2)

    def add_bias(self, value: Tensor, bias: Tensor | None) -> Tensor:
        """The value (N, *output_shape) with the bias of every output channel added."""
        return value if bias is None else value + bias.view(self._bias_view)

    @property
    def _bias_view(self) -> tuple[int, ...]:
        return (-1, *(1,) * (len(self.output_shape) - 1))

    def per_column(self, vector: Tensor) -> Tensor:
        """A quantity of every column (n_out,) as (G, 1, o): broadcasts against columns."""
        return vector.reshape(self.groups, 1, -1)

    def by_input(self, per_row: Tensor) -> Tensor:
        """A positive quantity of every row (G, n) as one of every input, broadcasting to (B, *input_shape); its
        geometric mean where an input drives several rows."""
        by_channel = per_row.reshape(self.input_shape[0], -1).log().mean(1).exp()
        return by_channel.reshape(-1, *(1,) * (len(self.input_shape) - 1))

    def matrices(self, weight: Tensor) -> Tensor:
        """(G, o, n) of a weight (n_out, n_in)."""
        return weight.reshape(self.groups, -1, self.n_in)


class LinearMap(ArrayMap):
    """Along the last axis; every entry of the leading axes is a position."""

    def apply(self, x: Tensor, weight: Tensor) -> Tensor:
        return x @ weight.T

    def pull(self, adjoint: Tensor, weight: Tensor) -> Tensor:
        return adjoint @ weight

    def patches(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], 1, self.positions, self.n_in)

    def columns(self, adjoint: Tensor) -> Tensor:
        return adjoint.reshape(adjoint.shape[0], 1, self.positions, self.n_out)

    def gather(self, columns: Tensor) -> Tensor:
        return columns.reshape(columns.shape[0], *self.output_shape)

    def apply_uniform(self, x: Tensor, per_column: Tensor) -> Tensor:
        return x.sum(-1, keepdim=True) * per_column

    def by_input(self, per_row: Tensor) -> Tensor:
        return per_row[0]

    @property
    def _bias_view(self) -> tuple[int, ...]:
        return (-1,)


class RowsMap(ArrayMap):
    """Values at the rows of an array as they are, (N, G, n), to those of its columns, (N, G, o): one position."""

    def __init__(self, like: ArrayMap) -> None:
        self.groups, self.n_out, self.n_in, self.positions = like.groups, like.n_out, like.n_in, 1
        self.input_shape, self.output_shape = (like.groups, like.n_in), (like.groups, like.n_out // like.groups)

    def apply(self, x: Tensor, weight: Tensor) -> Tensor:
        return (x.transpose(0, 1) @ self.matrices(weight).mT).transpose(0, 1)

    def pull(self, adjoint: Tensor, weight: Tensor) -> Tensor:
        return (adjoint.transpose(0, 1) @ self.matrices(weight)).transpose(0, 1)

    def patches(self, x: Tensor) -> Tensor:
        return x.unsqueeze(2)

    def columns(self, adjoint: Tensor) -> Tensor:
        return adjoint.unsqueeze(2)

    def gather(self, columns: Tensor) -> Tensor:
        return columns.squeeze(2)

    @property
    def _bias_view(self) -> tuple[int, ...]:
        return self.output_shape


class _ConvolutionMap(ArrayMap):
    """What a convolution over ``grid`` (the padded input) does: one patch per position."""

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    kernel: Shape

    def unfold(self, x: Tensor, steps: Shape) -> Tensor:
        """(N, C, *kernel, *steps) view of every patch of x (N, C, *grid)."""
        sizes, strides = [], []
        for axis, (kernel, step) in enumerate(zip(self.kernel, steps, strict=True)):
            sizes.append((kernel, step))
            jump = x.stride(axis + 2)
            strides.append((jump * self.dilation[axis], jump * self.stride[axis]))
        return x.as_strided(
            (*x.shape[:2], *(k for k, _ in sizes), *(s for _, s in sizes)),
            (*x.stride()[:2], *(k for k, _ in strides), *(s for _, s in strides)),
        )


class ConvMap(_ConvolutionMap):
    """A convolution: every output position reads the patch of its (padded) input."""

    def __init__(self, op: Conv, input_shape: Shape) -> None:
        super().__init__(op, input_shape)
        assert op.stride is not None
        assert op.padding is not None
        assert op.dilation is not None
        self.stride, self.dilation, self.kernel = op.stride, op.dilation, op.kernel
        self._channels = op.weight.shape[1]
        self._mode = op.padding_mode
        self._pad = [width for pair in reversed(op.padding) for width in pair]
        self._axes = len(self.kernel)
        self._seeing, widths = self._seen(op.padding, input_shape)
        #: what torch's convolution can add itself
        plain = self._mode == "zeros" and all(low == high for low, high in widths)
        self._built_in = tuple(low for low, _ in widths) if plain else None
        #: the only position reads every entry of the input once
        self._is_whole = self.positions == 1 and plain and not any(self._built_in or ())
        self._is_whole &= self._seen_shape == input_shape[1:]

    def _seen(
        self, padding: tuple[tuple[int, int], ...], input_shape: Shape
    ) -> tuple[tuple[slice, ...], tuple[tuple[int, int], ...]]:
        """The entries of the kernel that anywhere read more than zeros, and the padding without the others.

        All of them where to leave some out means to copy many weights in short runs, or to pad unevenly.
        """
        whole = (slice(None),) * self._axes
        if self._mode != "zeros" or max(self.dilation) > 1:
            return whole, padding
        axes = zip(self.kernel, self.stride, padding, input_shape[1:], strict=True)
        seeing, widths = zip(*(_seen_along(*axis) for axis in axes), strict=True)
        left = math.prod(part.stop - part.start for part in seeing)
        if (left > 1 and self._channels > 1) or any(low != high for low, high in widths):
            return whole, padding
        return seeing, widths

    @property
    def _seen_shape(self) -> Shape:
        """Shape of what is left of the kernel."""
        return tuple(len(range(n)[part]) for n, part in zip(self.kernel, self._seeing, strict=True))

    def _padded(self, x: Tensor) -> Tensor:
        if not any(self._pad):
            return x
        return F.pad(x, self._pad, mode="constant" if self._mode == "zeros" else self._mode)

    def _kernel(self, weight: Tensor) -> Tensor:
        """What is left of the kernel, (n_out, channels, ...)."""
        return weight.reshape(-1, self._channels, *self.kernel)[(slice(None), slice(None), *self._seeing)].contiguous()

    def apply(self, x: Tensor, weight: Tensor) -> Tensor:
        convolve = cast(Callable[..., Tensor], (F.conv1d, F.conv2d, F.conv3d)[self._axes - 1])
        kernel = self._kernel(weight)
        if self._is_whole:
            return self._of_whole(x, kernel.reshape(self.groups, len(kernel) // self.groups, -1).mT)
        padding = self._built_in
        if padding is None:
            x, padding = self._padded(x), (0,) * self._axes
        return convolve(x, kernel, stride=self.stride, padding=padding, dilation=self.dilation, groups=self.groups)

    def apply_uniform(self, x: Tensor, per_column: Tensor) -> Tensor:
        sums = self.apply(x, x.new_ones(self.groups, self.n_in)).unsqueeze(2)
        grouped = per_column.view(self.groups, -1, *(1,) * self._axes)
        return (sums * grouped).flatten(1, 2)

    def _of_whole(self, value: Tensor, matrices: Tensor) -> Tensor:
        """Values (N, G·n, ...) through matrices (G, n, o), (N, G·o, 1, ...)."""
        rows = value.reshape(len(value), self.groups, -1)
        if self.groups == 1:
            columns = rows[:, 0] @ matrices[0]
        elif matrices.shape[1] == 1:
            columns = rows * matrices[:, 0]
        else:
            columns = (rows.transpose(0, 1) @ matrices).transpose(0, 1)
        return columns.reshape(len(value), -1, *(1,) * self._axes)

    def pull(self, adjoint: Tensor, weight: Tensor) -> Tensor:
        if self._is_whole:
            kernel = self._kernel(weight)
            pulled = self._of_whole(adjoint, kernel.reshape(self.groups, len(kernel) // self.groups, -1))
            return pulled.reshape(len(adjoint), *self.input_shape)
        if self._built_in is None:
            return self._pull_through_padding(adjoint, weight)
        return self._transposed(adjoint, weight, self.input_shape[1:], self._built_in)

    def _transposed(self, adjoint: Tensor, weight: Tensor, size: Shape, padding: tuple[int, ...]) -> Tensor:
        transpose = cast(
            Callable[..., Tensor], (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[self._axes - 1]
        )
        kernel = self._kernel(weight)
        reached = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1
            for n, s, p, d, k in zip(
                self.output_shape[1:], self.stride, padding, self.dilation, self._seen_shape, strict=True
            )
        ]
        extra = tuple(n - r for n, r in zip(size, reached, strict=True))
        return transpose(
            adjoint,
            kernel,
            stride=self.stride,
            padding=padding,
            output_padding=extra,
            groups=self.groups,
            dilation=self.dilation,
        )

    def _pull_through_padding(self, adjoint: Tensor, weight: Tensor) -> Tensor:
        still = adjoint.new_zeros(adjoint.shape[0], *self.input_shape)
        padded, back = torch.func.vjp(self._padded, still)[:2]
        inner = self._transposed(adjoint, weight, tuple(padded.shape[2:]), (0,) * self._axes)
        return cast(Tensor, back(inner)[0])

    def patches(self, x: Tensor) -> Tensor:
        padded, steps = self._padded(x), self.output_shape[1:]
        if padded.shape[2:] == steps and math.prod(self.kernel) == 1:
            windows = padded
        elif self._axes == 2 and steps[1] < _SHORT_RUN:
            windows = F.unfold(padded, self.kernel, stride=self.stride, dilation=self.dilation)
        else:
            windows = self.unfold(padded, steps)
        rows = windows.reshape(x.shape[0], self.groups, self.n_in, self.positions)
        return rows.transpose(2, 3)

    def columns(self, adjoint: Tensor) -> Tensor:
        return adjoint.reshape(adjoint.shape[0], self.groups, -1, self.positions).transpose(2, 3)

    def gather(self, columns: Tensor) -> Tensor:
        return columns.transpose(2, 3).reshape(columns.shape[0], *self.output_shape)


def _seen_along(kernel: int, stride: int, padding: tuple[int, int], size: int) -> tuple[slice, tuple[int, int]]:
    """The entries of a kernel that read more than padding anywhere along an axis, and the padding without the rest."""
    low, high = padding
    steps = range(0, low + size + high - kernel + 1, stride)
    seeing = [k for k in range(kernel) if any(0 <= step + k - low < size for step in steps)]
    if not seeing or len(seeing) == kernel:
        return slice(0, kernel), padding
    first, last = seeing[0], seeing[-1]
    return slice(first, last + 1), (low - first, steps[-1] + last + 1 - low - size)


class ConvTransposeMap(_ConvolutionMap):
    """A transposed convolution: every input position is read once; overlapping outputs are added digitally."""

    def __init__(self, op: ConvTranspose, input_shape: Shape) -> None:
        super().__init__(op, input_shape)
        assert op.stride is not None
        assert op.padding is not None
        assert op.dilation is not None
        self.stride, self.dilation, self.kernel = op.stride, op.dilation, op.kernel
        self._padding, self._full = op.padding, op.full_size(input_shape)
        self._grid = input_shape[1:]

    def apply(self, x: Tensor, weight: Tensor) -> Tensor:
        return self.gather(self.patches(x) @ self.matrices(weight).mT)

    def pull(self, adjoint: Tensor, weight: Tensor) -> Tensor:
        rows = self.columns(adjoint) @ self.matrices(weight)
        return rows.transpose(2, 3).reshape(adjoint.shape[0], *self.input_shape)

    def patches(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], self.groups, self.n_in, self.positions).transpose(2, 3)

    def columns(self, adjoint: Tensor) -> Tensor:
        full = F.pad(adjoint, self._cut(-1))
        windows = self.unfold(full, self._grid)
        return windows.reshape(adjoint.shape[0], self.groups, -1, self.positions).transpose(2, 3)

    def gather(self, columns: Tensor) -> Tensor:
        # the transpose of cutting windows out of the full output is adding them up in it
        batch = columns.shape[0]
        channels = self.output_shape[0]
        windows = columns.transpose(2, 3).reshape(batch, channels, math.prod(self.kernel), self.positions)
        flat = self._window_index(columns.device).reshape(1, 1, -1).expand(batch, channels, -1)
        full = columns.new_zeros(batch, channels, math.prod(self._full))
        full = full.scatter_add(2, flat, windows.reshape(batch, channels, -1))
        return F.pad(full.reshape(batch, channels, *self._full), self._cut(1))

    def apply_columns(self, x: Tensor, weight: Tensor) -> Tensor:
        return self.patches(x) @ self.matrices(weight).mT

    def apply_uniform(self, x: Tensor, per_column: Tensor) -> Tensor:
        return self.patches(x).sum(-1, keepdim=True) * self.per_column(per_column)

    def columns_view(self, vector: Tensor) -> Tensor:
        return self.per_column(vector)

    def gather_columns(self, columns: Tensor) -> Tensor:
        return self.gather(columns)

    def spread_columns(self, value: Tensor) -> Tensor:
        return self.columns(value)

    def as_columns(self, columns: Tensor) -> Tensor:
        return columns

    def of_columns(self, columns: Tensor) -> Tensor:
        return columns

    def _cut(self, sign: int) -> list[int]:
        """Widths for F.pad that cut the padding off (1) or put it back (-1)."""
        return [-sign * width for pair in reversed(self._padding) for width in pair]

    def _window_index(self, device: torch.device) -> Tensor:
        """Place in the full output of every (kernel entry, position)."""
        if str(device) not in self._indices:
            places = torch.arange(math.prod(self._full), device=device).reshape(1, 1, *self._full)
            self._indices[str(device)] = self.unfold(places, self._grid).reshape(-1)
        return self._indices[str(device)]

    @cached_property
    def _indices(self) -> dict[str, Tensor]:
        return {}


class ConstantRowMap(ArrayMap):
    """Another map with one more row in the arrays of every group, driven by a constant k at every position:

        Y_g = [X_g, k] [W_g, w_g]ᵀ.

    k = 1 gives the outputs, k = 0 their differences and variances. For maps whose columns are the outputs.
    """

    def __init__(self, inner: ArrayMap, constant: float) -> None:
        self._inner, self._constant = inner, constant
        self.groups, self.n_out, self.n_in = inner.groups, inner.n_out, inner.n_in + 1
        self.input_shape, self.output_shape, self.positions = inner.input_shape, inner.output_shape, inner.positions

    def apply(self, x: Tensor, weight: Tensor) -> Tensor:
        return self._with_constant(self._inner.apply(x, weight[:, :-1]), weight[:, -1])

    def pull(self, adjoint: Tensor, weight: Tensor) -> Tensor:
        return self._inner.pull(adjoint, weight[:, :-1])

    def patches(self, x: Tensor) -> Tensor:
        return F.pad(self._inner.patches(x), (0, 1), value=self._constant)

    def columns(self, adjoint: Tensor) -> Tensor:
        return self._inner.columns(adjoint)

    def gather(self, columns: Tensor) -> Tensor:
        return self._inner.gather(columns)

    def apply_uniform(self, x: Tensor, per_column: Tensor) -> Tensor:
        return self._with_constant(self._inner.apply_uniform(x, per_column), per_column)

    def row_sums(self, x: Tensor) -> Tensor:
        return F.pad(self._inner.row_sums(x), (0, 1), value=self._constant * self.positions)

    def by_input(self, per_row: Tensor) -> Tensor:
        return self._inner.by_input(per_row[:, :-1])

    def _with_constant(self, value: Tensor, last: Tensor) -> Tensor:
        return self._inner.add_bias(value, self._constant * last) if self._constant else value

    @property
    def _bias_view(self) -> tuple[int, ...]:
        return self._inner._bias_view


def array_map(op: CrossbarOp, input_shape: Shape) -> ArrayMap:
    """The linear maps of a crossbar operation for inputs of this shape."""
    match op:
        case Linear():
            return LinearMap(op, input_shape)
        case Conv():
            return ConvMap(op, input_shape)
        case ConvTranspose():
            return ConvTransposeMap(op, input_shape)
        case _:
            raise NotImplementedError(op.type)
