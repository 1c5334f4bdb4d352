"""Pooling and means of ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from powerplan.network.digital import digital
from powerplan.network.onnx_import.call import Call, wholes
from powerplan.network.onnx_import.constants import Rule
from powerplan.network.onnx_import.rules.arrays import padding, steps
from powerplan.network.ops import AdaptiveAveragePool, AdaptiveMaxPool, AveragePool, MaxPool, Pad, Scale
from powerplan.network.torch_import.rules import RULES as ATEN, pooling as torch_rules
from powerplan.network.torch_import.value import Refused, Value, value


def max_pool(call: Call, x: Any) -> Value:
    source = value(x).leading()
    kernel = tuple(call.get("kernel_shape"))
    stride, dilation = steps(call, "strides", len(kernel)), steps(call, "dilations", len(kernel))
    pads = padding(call, source.shape[1:], kernel, stride, dilation)
    return source.apply(
        MaxPool(
            kernel=kernel,
            stride=stride,
            padding=tuple(before if before == after else (before, after) for before, after in pads),
            dilation=dilation,
            ceil_mode=bool(call.get("ceil_mode", 0)),
        )
    )


def average_pool(call: Call, x: Any) -> Value:
    source = value(x).leading()
    kernel = tuple(call.get("kernel_shape"))
    stride = steps(call, "strides", len(kernel))
    if set(steps(call, "dilations", len(kernel))) != {1}:
        raise Refused("means of dilated windows are not supported")
    pads = padding(call, source.shape[1:], kernel, stride, (1,) * len(kernel))
    counted, ceil = bool(call.get("count_include_pad", 0)), bool(call.get("ceil_mode", 0))
    if any(before != after for before, after in pads):
        return _padded_mean(source, AveragePool(kernel=kernel, stride=stride, ceil_mode=ceil), pads, counted)
    sides = tuple(before for before, _ in pads)
    return source.apply(
        AveragePool(kernel=kernel, stride=stride, padding=sides, ceil_mode=ceil, count_include_pad=counted)
    )


def _padded_mean(x: Value, pool: AveragePool, pads: tuple[tuple[int, int], ...], counted: bool) -> Value:
    """Means of windows with another padding on either side of an axis."""
    if pool.ceil_mode:
        raise Refused("ceil_mode with a padding that differs on the two sides is not supported")
    pad = Pad(padding=pads)
    means = x.apply(pad, name="pad").apply(pool)
    if counted:
        return means
    inside = digital(pool, digital(pad, torch.ones((1, 1, *x.shape[1:]), dtype=torch.float64)))
    scale = 1 / inside[0].numpy()
    return means.apply(Scale(scale=scale, shift=np.zeros_like(scale)), name="count")


def _global(kind: type[AdaptiveAveragePool | AdaptiveMaxPool]) -> Rule:
    def rule(call: Call, x: Any) -> Value:
        source = value(x).leading()
        return torch_rules.adaptive_pool(kind, len(source.shape) - 1, source, 1)

    return rule


def _reduced(function: Any, before: str = "", after: str = "") -> Rule:
    """A reduction along axes; ``before``, ``after``: functions of the entries and of the result."""

    def rule(call: Call, x: Any, axes: Any = None) -> Value:
        dims = call.numbers("axes", axes)
        entries = ATEN[before](value(x)) if before else value(x)
        if not dims and call.get("noop_with_empty_axes", 0):
            return entries if not after else value(ATEN[after](entries))
        reduced = function(entries, list(dims) if dims else None, bool(call.get("keepdims", 1)))
        return value(ATEN[after](reduced) if after else reduced)

    return rule


def _product(x: Value, dims: list[int] | None, keep: bool) -> Value:
    """Along one axis after the other, the last first."""
    if not dims:
        raise Refused("over all axes it takes in the batch: name the axes")
    for axis in sorted(map(x.torch_axis, dims), reverse=True):
        x = ATEN["prod"](x, axis, keep)
    return x


def largest_place(call: Call, x: Any) -> Value:
    call.only("select_last_index", 0)
    name = {"ArgMax": "argmax", "ArgMin": "argmin"}[call.op_type]
    return value(ATEN[name](x, int(call.get("axis", 0)), bool(call.get("keepdims", 1))))


def running_sum(call: Call, x: Any, axis: Any) -> Value:
    call.only("exclusive", 0)
    call.only("reverse", 0)
    return value(ATEN["cumsum"](x, wholes(axis)[0]))


def top_k(call: Call, x: Any, k: Any = None) -> Any:
    count = wholes(call.get("k") if k is None else k)[0]
    return ATEN["topk"](x, count, int(call.get("axis", -1)), bool(call.get("largest", 1)), bool(call.get("sorted", 1)))


RULES: dict[str, Rule] = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": _global(AdaptiveAveragePool),
    "GlobalMaxPool": _global(AdaptiveMaxPool),
    "ReduceMean": _reduced(torch_rules.mean),
    "ReduceSum": _reduced(torch_rules.total),
    "ReduceMax": _reduced(torch_rules.largest),
    "ReduceMin": _reduced(torch_rules.smallest),
    "ReduceProd": _reduced(_product),
    "ReduceL1": _reduced(torch_rules.total, "abs"),
    "ReduceL2": _reduced(torch_rules.total, "square", "sqrt"),
    "ReduceSumSquare": _reduced(torch_rules.total, "square"),
    "ReduceLogSum": _reduced(torch_rules.total, "", "log"),
    "ReduceLogSumExp": _reduced(ATEN["logsumexp"]),
    "ArgMax": largest_place,
    "ArgMin": largest_place,
    "CumSum": running_sum,
    "TopK": top_k,
}
