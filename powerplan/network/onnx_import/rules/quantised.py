"""Operators of ONNX on whole numbers: what they hold of floating-point numbers, through the rules for these."""

from __future__ import annotations

from typing import Any

import numpy as np

from powerplan.network.onnx_import.call import Call
from powerplan.network.onnx_import.constants import Rule
from powerplan.network.onnx_import.rules.arrays import RULES as ARRAYS
from powerplan.network.onnx_import.rules.elementwise import dequantize, quantize
from powerplan.network.torch_import.value import Value, array


def _of_whole(name: str) -> Rule:
    """Products of whole numbers less their zero points."""

    def rule(call: Call, x: Any, weight: Any, zero: Any = None, weight_zero: Any = None) -> Any:
        held = _held(call, name, weight, np.float32(1), weight_zero)
        return ARRAYS[name](call, _held(call, name, x, np.float32(1), zero), held)

    return rule


def _of_steps(name: str) -> Rule:
    """Products of what steps hold, in steps again; a bias is in steps of both scales multiplied."""

    def rule(
        call: Call,
        x: Any,
        scale: Any,
        zero: Any,
        weight: Any,
        weight_scale: Any,
        weight_zero: Any,
        result_scale: Any,
        result_zero: Any,
        bias: Any = None,
    ) -> Any:
        inputs = [_held(call, name, x, scale, zero), _held(call, name, weight, weight_scale, weight_zero)]
        if bias is not None:
            inputs.append(array(bias) * (array(scale).astype(np.float64) * array(weight_scale)))
        return quantize(call, ARRAYS[name](call, *inputs), result_scale, result_zero)

    return rule


def _held(call: Call, name: str, steps: Any, scale: Any, zero: Any) -> Any:
    """What steps of a value, or of weights with one scale or one for every output, hold."""
    if isinstance(steps, Value):
        return dequantize(call, steps, scale, zero)
    whole = array(steps).astype(np.float64)
    by_output = (-1,) + (1,) * (whole.ndim - 1) if name == "Conv" else (-1,)
    scale, offset = (
        each.reshape(by_output) if each.ndim == 1 else each
        for each in (array(scale).astype(np.float64), array(np.uint8(0) if zero is None else zero).astype(np.float64))
    )
    return ((whole - offset) * scale).astype(np.float32)


RULES: dict[str, Rule] = {
    "MatMulInteger": _of_whole("MatMul"),
    "ConvInteger": _of_whole("Conv"),
    "QLinearMatMul": _of_steps("MatMul"),
    "QLinearConv": _of_steps("Conv"),
}
