"""What torch computes with weights: linear layers, convolutions and products with constant matrices, on crossbars."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from powerplan.network.ops import Conv, ConvTranspose, Linear, MatMul, Pad, Permute
from powerplan.network.torch_import.rules.shaping import squeeze
from powerplan.network.torch_import.standing import Rule, Standing, declared
from powerplan.network.torch_import.value import Refused, Value, array, value, weights

#: spatial axes of a convolution at most
_MOST_AXES = 3


def linear(input: Any, weight: Any, bias: Any = None, name: str = "") -> Value:
    x = value(input)
    if x.torch_axis(-1) == x.batch:
        raise Refused("it works along the batch axis")
    matrix = weights(weight)
    if matrix.ndim == 1:
        raise Refused("a weight with one axis drops an axis; give it two")
    offset = None if bias is None else np.atleast_1d(array(bias))
    return x.apply(Linear(weight=matrix, bias=offset), name=name)


def matmul(input: Any, other: Any) -> Value:
    """A product of values is digital; one with a constant matrix is a linear layer."""
    if isinstance(input, Value) and isinstance(other, Value):
        return product(input, other)
    if isinstance(input, Value):
        matrix = array(other)
        if matrix.ndim == 1:  # a product with a vector drops the axis
            return squeeze(linear(input, matrix[None]), -1)
        return linear(input, matrix.T) if matrix.ndim == 2 else product(input, _placed(input, matrix))
    x, matrix = value(other), array(input)
    if matrix.ndim == 1:
        return squeeze(linear(swapped(x), matrix[None]), -1)
    return swapped(linear(swapped(x), matrix)) if matrix.ndim == 2 else product(_placed(x, matrix), x)


def product(left: Value, right: Value, name: str = "") -> Value:
    """The matrix product of two values over their last two axes."""
    axes = max(len(v.torch_shape) for v in (left, right))
    places = {(axes - len(v.torch_shape) + v.batch, v.merged) for v in (left, right)}
    place = axes - len(left.torch_shape) + left.batch
    if len(places) > 1 or place >= axes - 2:
        raise Refused("the batch axes of its inputs do not meet in front of the matrices")
    return left.apply(MatMul(), right, batch=place, name=name)


def _placed(like: Value, matrix: np.ndarray) -> Value:
    return like.constant(like.place(matrix))


def swapped(x: Value, name: str = "") -> Value:
    """The last two axes exchanged."""
    axes = len(x.torch_shape)
    if axes < 2 or x.batch >= axes - 2:
        raise Refused("it works along the batch axis")
    order = list(range(len(x.shape)))
    order[-2:] = order[:-3:-1]
    return x.apply(Permute(axes=tuple(order)), name=name)


def addmm(input: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Value:
    if isinstance(mat2, Value) or isinstance(input, Value):
        raise Refused("the matrix and the offset must not depend on the network's input")
    weight = array(mat2).T if alpha == 1 else alpha * array(mat2).T
    return linear(mat1, weight, np.broadcast_to(beta * array(input), weight.shape[:1]))


def convolution(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Value:
    x, kernel = value(input), array(weight)
    axes = kernel.ndim - 2
    if x.merged and not x.batch and axes < _MOST_AXES:
        return _of_merged(x, kernel, bias, stride, padding, dilation, groups)
    x, steps = x.leading(), each(dilation, axes)
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(steps, kernel.shape[2:], strict=True)]
        pads = tuple((n // 2, n - n // 2) for n in total)
    elif padding == "valid":
        pads = ((0, 0),) * axes
    else:
        pads = tuple((p, p) for p in each(padding, axes))
    mode = "zeros"
    padded = padding_of(x)
    if padded is not None and not any(map(any, pads)) and len(padded[0].padding) == axes:
        # torch pads in front of a convolution with another mode than zeros, or by "same"
        pad, x = padded
        pads, mode = pad.padding, pad.mode
    return x.apply(
        Conv(
            weight=kernel,
            bias=None if bias is None else array(bias),
            stride=each(stride, axes),
            padding=pads,
            dilation=steps,
            groups=groups,
            padding_mode=mode,
        )
    )


def _of_merged(x: Value, kernel: np.ndarray, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Value:
    """A convolution of values (n, C, *spatial) merged with the batch: one kernel for all n, which are one more axis."""
    axes = kernel.ndim - 2
    swapped = (1, 0, *range(2, axes + 2))
    own = padding if isinstance(padding, str) else (0, *each(padding, axes))
    channels = replace(x.apply(Permute(axes=swapped), name="channels"), merged=False)
    moved = convolution(
        channels, np.expand_dims(kernel, 2), bias, (1, *each(stride, axes)), own, (1, *each(dilation, axes)), groups
    )
    return moved.apply(Permute(axes=swapped), merged=True, name="merged")


def padding_of(x: Value) -> tuple[Pad, Value] | None:
    """The padding a value comes from and the value before it, if it is a plain one."""
    node = x.builder.nodes.get(x.name)
    if node is None or not isinstance(node.op, Pad) or node.op.value != 0:
        return None
    (source,) = node.inputs
    return node.op, replace(x, name=source, shape=x.builder.shapes[source])


def convolution_transposed(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Value:
    x, kernel = value(input).leading(), array(weight)
    axes = kernel.ndim - 2
    cuts = zip(each(padding, axes), each(output_padding, axes), strict=True)
    return x.apply(
        ConvTranspose(
            weight=kernel,
            bias=None if bias is None else array(bias),
            stride=each(stride, axes),
            padding=tuple((cut, cut - extra) for cut, extra in cuts),
            dilation=each(dilation, axes),
            groups=groups,
        )
    )


def each(sizes: Any, axes: int) -> tuple[int, ...]:
    """A number, or one per spatial axis, as one per axis."""
    if isinstance(sizes, int):
        return (sizes,) * axes
    numbers = tuple(int(n) for n in sizes)
    if len(numbers) == 1:
        return numbers * axes
    if len(numbers) != axes:
        raise Refused(f"{sizes!r} does not have one entry per spatial axis")
    return numbers


def general_convolution(
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Value:
    if transposed:
        return convolution_transposed(input, weight, bias, stride, padding, output_padding, groups, dilation)
    return convolution(input, weight, bias, stride, padding, dilation, groups)


RULES: dict[str, Rule] = declared(
    Standing.EXACT,
    {
        "linear": linear,
        "matmul": matmul,
        "mm": matmul,
        "bmm": matmul,
        "addmm": addmm,
        "convolution": general_convolution,
        **dict.fromkeys(("conv1d", "conv2d", "conv3d"), convolution),
        **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), convolution_transposed),
    },
)
