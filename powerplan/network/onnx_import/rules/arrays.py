"""What ONNX computes with weights: on crossbars where the weights are constant."""

from __future__ import annotations

from typing import Any

import numpy as np

from powerplan.network.onnx_import.call import Call
from powerplan.network.onnx_import.rules.elementwise import aten
from powerplan.network.ops import Conv, ConvTranspose, Shape
from powerplan.network.torch_import.rules import RULES as ATEN, arrays as torch_rules
from powerplan.network.torch_import.value import Refused, Value, array, value


def gemm(call: Call, a: Any, b: Any, c: Any = None) -> Value:
    """alpha · A B + beta · C, with A or B transposed if asked for."""
    alpha, beta = float(call.get("alpha", 1.0)), float(call.get("beta", 1.0))
    call.only("transA", 0)
    if isinstance(b, Value) or isinstance(c, Value) or not isinstance(a, Value):
        right = torch_rules.swapped(b) if isinstance(b, Value) and call.get("transB", 0) else b
        if not isinstance(b, Value) and call.get("transB", 0):
            right = array(b).T
        product = torch_rules.matmul(a, right)
        product = product if alpha == 1 else aten("mul", product, alpha)
        scaled = c if c is None or beta == 1 else aten("mul", c, beta) if isinstance(c, Value) else beta * c
        return product if scaled is None else aten("add", product, scaled)
    weight = array(b) if call.get("transB", 0) else array(b).T
    weight = weight if alpha == 1 else (alpha * weight.astype(np.float64)).astype(weight.dtype)
    if c is None:
        return torch_rules.linear(a, weight)
    offset = beta * array(c)
    if offset.ndim == 2 and offset.shape[0] != 1:
        raise Refused("an offset C that differs along the batch axis")
    return torch_rules.linear(a, weight, np.broadcast_to(offset.reshape(-1), weight.shape[:1]))


def convolution(call: Call, x: Any, weight: Any, bias: Any = None) -> Value:
    source, kernel = value(x).leading(), array(weight)
    axes = kernel.ndim - 2
    stride, dilation = steps(call, "strides", axes), steps(call, "dilations", axes)
    pads = padding(call, source.shape[1:], kernel.shape[2:], stride, dilation)
    if not any(map(any, pads)):  # a padding of another mode may be in front
        return torch_rules.convolution(source, kernel, bias, stride, 0, dilation, call.get("group", 1))
    return source.apply(
        Conv(
            weight=kernel,
            bias=None if bias is None else array(bias),
            stride=stride,
            padding=pads,
            dilation=dilation,
            groups=call.get("group", 1),
        )
    )


def convolution_transposed(call: Call, x: Any, weight: Any, bias: Any = None) -> Value:
    source, kernel = value(x).leading(), array(weight)
    axes = kernel.ndim - 2
    call.only("auto_pad", "NOTSET", "VALID")
    if call.get("output_shape") is not None:
        raise Refused("output_shape is not supported; give pads and output_padding")
    pads = call.get("pads") or [0] * 2 * axes
    extra = call.get("output_padding") or [0] * axes
    return source.apply(
        ConvTranspose(
            weight=kernel,
            bias=None if bias is None else array(bias),
            stride=steps(call, "strides", axes),
            padding=tuple((pads[i], pads[axes + i] - extra[i]) for i in range(axes)),
            dilation=steps(call, "dilations", axes),
            groups=call.get("group", 1),
        )
    )


def steps(call: Call, name: str, axes: int) -> tuple[int, ...]:
    """Strides or dilations, one per spatial axis."""
    sizes = tuple(call.get(name) or (1,) * axes)
    if len(sizes) != axes:
        raise Refused(f"{name}={sizes} does not have one entry per spatial axis")
    return sizes


def padding(
    call: Call, size: Shape, kernel: Shape, stride: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    """(before, after) along each spatial axis, given or so that the output has size ⌈n / stride⌉."""
    mode = call.get("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = call.get("pads") or [0] * 2 * len(kernel)
        if len(pads) != 2 * len(kernel) or min(pads) < 0:
            raise Refused(f"pads={pads}: two widths >= 0 per spatial axis are supported")
        return tuple(zip(pads[: len(kernel)], pads[len(kernel) :], strict=True))
    if mode == "VALID":
        return ((0, 0),) * len(kernel)
    totals = [
        max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
        for n, k, s, d in zip(size, kernel, stride, dilation, strict=True)
    ]
    return tuple((t // 2, t - t // 2) if mode == "SAME_UPPER" else (t - t // 2, t // 2) for t in totals)


def einsum(call: Call, *operands: Any) -> Value:
    return value(ATEN["einsum"](str(call.get("equation")), *operands))


RULES = {
    "Einsum": einsum,
    "Gemm": gemm,
    "MatMul": lambda call, a, b: torch_rules.matmul(a, b),
    "Conv": convolution,
    "ConvTranspose": convolution_transposed,
}
