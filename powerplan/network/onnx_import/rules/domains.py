"""Operators of other domains: those that onnxruntime's optimiser writes, and the scaler of scikit-learn's exporter."""

from __future__ import annotations

from typing import Any

import numpy as np

from powerplan.network.onnx_import.call import Call
from powerplan.network.onnx_import.constants import Rule
from powerplan.network.onnx_import.rules.elementwise import aten
from powerplan.network.onnx_import.rules.normalising import layer_norm, rms_norm
from powerplan.network.torch_import.rules import RULES as ATEN, arrays
from powerplan.network.torch_import.value import Value, array, value


def _gelu(approximate: str) -> Rule:
    """A GELU of the input and a bias."""

    def rule(call: Call, x: Any, bias: Any = None) -> Value:
        shifted = x if bias is None else aten("add", x, bias)
        return value(ATEN["gelu"](value(shifted), approximate=approximate))

    return rule


def quick_gelu(call: Call, x: Any) -> Value:
    return aten("mul", x, aten("sigmoid", aten("mul", x, float(call.get("alpha", 1.702)))))


def skip_layer_norm(
    call: Call, x: Any, skip: Any, scale: Any, shift: Any = None, bias: Any = None
) -> tuple[Value | None, ...]:
    """The layer norm of a sum, and the sum."""
    total = aten("add", x, skip)
    total = total if bias is None else aten("add", total, bias)
    return layer_norm(call, total, scale, shift), None, None, total


def skip_rms_norm(call: Call, x: Any, skip: Any, scale: Any, bias: Any = None) -> tuple[Value | None, ...]:
    """Likewise of an RMS norm."""
    total = aten("add", x, skip)
    total = total if bias is None else aten("add", total, bias)
    return rms_norm(call, total, scale), None, None, total


def fused_matmul(call: Call, left: Any, right: Any) -> Value:
    """alpha · A B, with A or B transposed if asked for."""
    call.only("transBatchA", 0)
    call.only("transBatchB", 0)
    a, b = (_transposed(x) if call.get(name, 0) else x for x, name in ((left, "transA"), (right, "transB")))
    return aten("mul", arrays.matmul(a, b), float(call.get("alpha", 1.0)))


def _transposed(x: Any) -> Any:
    return arrays.swapped(x) if isinstance(x, Value) else array(x).swapaxes(-1, -2)


def scaler(call: Call, x: Any) -> Value:
    """(x − offset) · scale."""
    offset, scale = (np.asarray(call.get(name, default)) for name, default in (("offset", 0.0), ("scale", 1.0)))
    return aten("mul", aten("sub", x, offset), scale)


RULES: dict[str, Rule] = {
    "com.microsoft.Gelu": _gelu("none"),
    "com.microsoft.BiasGelu": _gelu("none"),
    "com.microsoft.FastGelu": _gelu("tanh"),
    "com.microsoft.QuickGelu": quick_gelu,
    "com.microsoft.SkipLayerNormalization": skip_layer_norm,
    "com.microsoft.SkipSimplifiedLayerNormalization": skip_rms_norm,
    "com.microsoft.FusedMatMul": fused_matmul,
    "ai.onnx.ml.Scaler": scaler,
}
