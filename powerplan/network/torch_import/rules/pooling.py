"""Pooling and means of torch."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

from powerplan.network.ops import (
    AdaptiveAveragePool,
    AdaptiveMaxPool,
    AveragePool,
    MaxPool,
    Mean,
    Permute,
    Reshape,
    Scale,
)
from powerplan.network.torch_import.rules.arrays import each
from powerplan.network.torch_import.rules.elementwise import add, affine, multiply, negate, subtract
from powerplan.network.torch_import.rules.functions import along, pointwise, whole
from powerplan.network.torch_import.rules.shaping import expand, unsqueeze
from powerplan.network.torch_import.standing import Rule, Standing, declared
from powerplan.network.torch_import.value import Refused, Value, array, value


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
    scale = Scale(scale=np.array([np.prod(x.shape) / np.prod(averaged.shape)]), shift=np.zeros(1))
    # one number has no axis to be scaled along
    return averaged.apply(scale) if averaged.shape else mean(x.apply(scale), dim, keepdim)


def largest(input: Any, dim: Any = None, keepdim: bool = False) -> Value:
    """The largest entries along axes, as pooling over all of them."""
    x = value(input)
    dims = [dim] if isinstance(dim, int) else list(dim or ())
    if not dims:
        raise Refused("over all axes it takes in the batch: name the axes (control flow on values cannot be read)")
    axes = sorted({x.axis(d) for d in dims})
    kept = [i for i in range(len(x.shape)) if i not in axes]
    order = (*kept, *axes)
    ordered = x if order == tuple(range(len(order))) else x.apply(Permute(axes=order))
    count = math.prod(x.shape[i] for i in axes)
    rows = ordered.apply(Reshape(shape=(math.prod(x.shape[i] for i in kept), count)))
    pooled = rows.apply(AdaptiveMaxPool(size=(1,)))
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape) if keepdim or i not in axes)
    dropped = 0 if keepdim else sum(x.torch_axis(d) < x.batch for d in dims)
    return pooled.apply(Reshape(shape=shape), batch=x.batch - dropped)


def smallest(input: Any, dim: Any = None, keepdim: bool = False) -> Value:
    return negate(largest(negate(input), dim, keepdim))


def _of_truths(values: Any, input: Any, dim: Any = None, keepdim: bool = False) -> Value:
    """The largest (any) or smallest (all) of truth values."""
    x = value(input)
    result: Value = values(x if x.kind == "b" else pointwise("ne", x, 0), dim, keepdim)
    return result


def variance(
    input: Any, dim: Any = None, unbiased: Any = True, keepdim: bool = False, *, correction: Any = None
) -> Value:
    x = value(input)
    centred = add(x, mean(x, dim, True), alpha=-1)
    squares = mean(multiply(centred, centred), dim, keepdim)
    count = math.prod(x.shape) / math.prod(squares.shape)
    lost = float(unbiased) if correction is None else float(correction)
    if count <= lost:
        raise Refused("the variance of a single entry is no number")
    return squares if not lost else affine(squares, count / (count - lost), 0.0)


def norm(input: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False) -> Value:
    if ord not in (1, 2):
        result: Value = along("linalg_vector_norm", input, ord, dim, keepdim, at=2, keep=3)
        return result
    if ord == 1:
        return total(pointwise("abs", input), dim, keepdim)
    return pointwise("sqrt", total(multiply(input, input), dim, keepdim))


def distances(x1: Any, x2: Any, p: float = 2.0, mode: Any = None) -> Value:
    """Of all rows from all rows; those of a constant are the same for all inputs."""
    if isinstance(x1, Value) and isinstance(x2, Value):
        result: Value = whole("_cdist_forward", x1, x2, p, mode)
        return result
    x, c = (x1, array(x2)) if isinstance(x1, Value) else (value(x2), array(x1))
    place = -2 if x is x1 else -3
    apart = unsqueeze(x, place)
    shape = list(apart.torch_shape)
    shape[place] = c.shape[-2]
    return norm(subtract(expand(apart, shape), np.expand_dims(c, -3 if x is x1 else -2)), p, [-1])


def _with_places(values: Any, name: str, input: Any, dim: Any = None, keepdim: bool = False) -> Any:
    """Largest or smallest entries of one axis and, where something reads them, their places."""
    if isinstance(dim, Value):  # of two values
        return pointwise({"max": "maximum", "min": "minimum"}[name], input, dim)
    return values(input, dim, keepdim), along({"max": "argmax", "min": "argmin"}[name], input, dim, keepdim, keep=2)


_PAIRS = "maxima by pairs, each taken as Gaussian; of two entries exact"

RULES: dict[str, Rule] = {
    **declared(
        Standing.PARTS,
        {
            **{f"max_pool{n}d": partial(max_pool, n) for n in (1, 2, 3)},
            **{
                f"max_pool{n}d_with_indices": lambda *arguments, axes=n: (max_pool(axes, *arguments), None)
                for n in (1, 2, 3)
            },
            **{
                f"adaptive_max_pool{n}d": lambda *arguments, axes=n: (
                    adaptive_pool(AdaptiveMaxPool, axes, *arguments),
                    None,
                )
                for n in (1, 2, 3)
            },
            "amax": largest,
            "amin": smallest,
            "max": partial(_with_places, largest, "max"),
            "min": partial(_with_places, smallest, "min"),
            "any": partial(_of_truths, largest),
            "all": partial(_of_truths, smallest),
        },
        _PAIRS,
    ),
    **declared(
        Standing.EXACT,
        {
            **{f"avg_pool{n}d": partial(average_pool, n) for n in (1, 2, 3)},
            **{f"adaptive_avg_pool{n}d": partial(adaptive_pool, AdaptiveAveragePool, n) for n in (1, 2, 3)},
            **{f"_adaptive_avg_pool{n}d": partial(adaptive_pool, AdaptiveAveragePool, n) for n in (2, 3)},
            "mean": mean,
            "sum": total,
        },
    ),
    **declared(Standing.FIRST_ORDER, {"_cdist_forward": distances}),
    **declared(Standing.PARTS, {"var": variance}, "squares and their mean, each taken as Gaussian"),
    **declared(
        Standing.FIRST_ORDER,
        {
            "std": lambda *arguments, **keywords: pointwise("sqrt", variance(*arguments, **keywords)),
            "linalg_vector_norm": norm,
            "norm": norm,
        },
        "sums of absolute values exact",
    ),
}
