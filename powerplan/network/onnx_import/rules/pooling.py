"""Pooling and means of ONNX."""

from __future__ import annotations

from typing import Any

from powerplan.network.onnx_import.call import Call
from powerplan.network.onnx_import.constants import Rule
from powerplan.network.onnx_import.rules.arrays import padding, steps
from powerplan.network.ops import AdaptiveAveragePool, AdaptiveMaxPool, AveragePool, MaxPool, Pad
from powerplan.network.torch_import.rules import pooling as torch_rules
from powerplan.network.torch_import.value import Refused, Value, value


def max_pool(call: Call, x: Any) -> Value:
    source = value(x).leading()
    kernel = tuple(call.get("kernel_shape"))
    stride, dilation = steps(call, "strides", len(kernel)), steps(call, "dilations", len(kernel))
    pads = padding(call, source.shape[1:], kernel, stride, dilation)
    if any(before != after for before, after in pads):
        raise Refused("a maximum with a padding that differs on the two sides is not supported")
    return source.apply(
        MaxPool(
            kernel=kernel,
            stride=stride,
            padding=tuple(before for before, _ in pads),
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
        if not counted or ceil:
            raise Refused("a mean with a padding that differs on the two sides is supported where padding counts")
        source, pads = source.apply(Pad(padding=pads), name="pad"), ((0, 0),) * len(kernel)
    sides = tuple(before for before, _ in pads)
    return source.apply(
        AveragePool(kernel=kernel, stride=stride, padding=sides, ceil_mode=ceil, count_include_pad=counted)
    )


def _global(kind: type[AdaptiveAveragePool | AdaptiveMaxPool]) -> Rule:
    def rule(call: Call, x: Any) -> Value:
        source = value(x).leading()
        return torch_rules.adaptive_pool(kind, len(source.shape) - 1, source, 1)

    return rule


def _reduced(function: Any) -> Rule:
    def rule(call: Call, x: Any, axes: Any = None) -> Value:
        dims = call.numbers("axes", axes)
        if not dims and call.get("noop_with_empty_axes", 0):
            return value(x)
        reduced: Value = function(value(x), dims, bool(call.get("keepdims", 1)))
        return reduced

    return rule


RULES: dict[str, Rule] = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": _global(AdaptiveAveragePool),
    "GlobalMaxPool": _global(AdaptiveMaxPool),
    "ReduceMean": _reduced(torch_rules.mean),
    "ReduceSum": _reduced(torch_rules.total),
}
