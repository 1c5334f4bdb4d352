"""Pooling and means of torch."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from powerplan.network.ops import AdaptiveAveragePool, AdaptiveMaxPool, AveragePool, MaxPool, Mean, Scale
from powerplan.network.torch_import.rules.arrays import each
from powerplan.network.torch_import.value import Refused, Value, value


def max_pool(
    axes: int,
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Value:
    if return_indices:
        raise Refused("indices of maxima are not supported")
    kernel = each(kernel_size, axes)
    return (
        value(input)
        .leading()
        .apply(
            MaxPool(
                kernel=kernel,
                stride=each(stride, axes) if stride not in (None, [], ()) else None,
                padding=each(padding, axes),
                dilation=each(dilation, axes),
                ceil_mode=bool(ceil_mode),
            )
        )
    )


def average_pool(
    axes: int,
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Any = None,
) -> Value:
    if divisor_override is not None:
        raise Refused("divisor_override is not supported")
    return (
        value(input)
        .leading()
        .apply(
            AveragePool(
                kernel=each(kernel_size, axes),
                stride=each(stride, axes) if stride not in (None, [], ()) else None,
                padding=each(padding, axes),
                ceil_mode=bool(ceil_mode),
                count_include_pad=bool(count_include_pad),
            )
        )
    )


def adaptive_pool(
    kind: type[AdaptiveAveragePool | AdaptiveMaxPool],
    axes: int,
    input: Any,
    output_size: Any,
    return_indices: bool = False,
) -> Value:
    if return_indices:
        raise Refused("indices of maxima are not supported")
    x = value(input).leading()
    wanted = list(output_size) if isinstance(output_size, tuple | list) else [output_size] * axes
    if len(wanted) != axes or len(x.shape) != axes + 1:
        raise Refused(f"output size {output_size!r} does not fit a tensor of shape {x.torch_shape}")
    size = tuple(n if w is None else w for n, w in zip(x.shape[1:], wanted, strict=True))
    return x.apply(kind(size=size))


def mean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
    x = value(input)
    dims = [dim] if isinstance(dim, int) else list(dim or ())
    if not dims:
        raise Refused("over all axes it takes in the batch: name the axes (control flow on values cannot be read)")
    axes = tuple(sorted({x.axis(d) for d in dims}))
    dropped = 0 if keepdim else sum(x.torch_axis(d) < x.batch for d in dims)
    return x.apply(Mean(axes=axes, keep_axes=bool(keepdim)), batch=x.batch - dropped)


def total(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Value:
    x = value(input)
    averaged = mean(x, dim, keepdim)
    count = np.prod(x.shape) / np.prod(averaged.shape)
    return averaged.apply(Scale(scale=np.array([count]), shift=np.zeros(1)))


RULES: dict[str, Any] = {
    **{f"max_pool{n}d": partial(max_pool, n) for n in (1, 2, 3)},
    **{f"avg_pool{n}d": partial(average_pool, n) for n in (1, 2, 3)},
    **{f"adaptive_avg_pool{n}d": partial(adaptive_pool, AdaptiveAveragePool, n) for n in (1, 2, 3)},
    **{f"adaptive_max_pool{n}d": partial(adaptive_pool, AdaptiveMaxPool, n) for n in (1, 2, 3)},
    "mean": mean,
    "sum": total,
}
