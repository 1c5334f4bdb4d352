"""Norms and softmax of ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np

from powerplan.network.onnx_import.call import Call
from powerplan.network.onnx_import.constants import Rule
from powerplan.network.torch_import.rules import RULES as ATEN, normalising as torch_rules, shaping
from powerplan.network.torch_import.value import Value, array, value


def batch_norm(call: Call, x: Any, scale: Any, shift: Any, mean: Any, variance: Any) -> Value:
    call.only("training_mode", 0)
    call.only("spatial", 1)
    return torch_rules.batch_norm(x, mean, variance, scale, shift, eps=_epsilon(call))


def instance_norm(call: Call, x: Any, scale: Any, shift: Any) -> Value:
    return torch_rules.instance_norm(x, None, None, scale, shift, eps=_epsilon(call))


def group_norm(call: Call, x: Any, scale: Any, shift: Any) -> Value:
    source, groups = value(x).leading(), int(call.get("num_groups"))
    weight, bias = array(scale), array(shift)
    if call.opset < 21:  # one entry per group, not per channel
        weight, bias = (np.repeat(a, source.shape[0] // groups) for a in (weight, bias))
    return torch_rules.group_norm(source, groups, weight, bias, _epsilon(call))


def layer_norm(call: Call, x: Any, scale: Any, shift: Any = None) -> Value:
    source = value(x)
    axis = source.torch_axis(call.get("axis", -1))
    shape = source.torch_shape[axis:]
    weight, bias = (None if a is None else np.broadcast_to(array(a), shape) for a in (scale, shift))
    return torch_rules.layer_norm(source, shape, weight, bias, _epsilon(call))


def rms_norm(call: Call, x: Any, scale: Any) -> Value:
    source = value(x)
    shape = source.torch_shape[source.torch_axis(call.get("axis", -1)) :]
    return torch_rules.rms_norm(source, shape, np.broadcast_to(array(scale), shape), _epsilon(call))


def lp_norm(call: Call, x: Any) -> Value:
    """x divided by its norm along an axis."""
    axis, order = int(call.get("axis", -1)), int(call.get("p", 2))
    return value(ATEN["div"](x, ATEN["linalg_vector_norm"](x, order, [axis], True)))


def _softmax(function: Any) -> Rule:
    def rule(call: Call, x: Any) -> Value:
        source = value(x)
        axis = source.torch_axis(call.get("axis", -1 if call.opset >= 13 else 1))
        if call.opset >= 13:
            return value(function(source, axis))
        # over all axes from this one on
        shape = source.torch_shape
        rows = value(function(shaping.flatten(source, axis), -1))
        return shaping.reshape(rows, list(shape)) if rows.torch_shape != shape else rows

    return rule


def _epsilon(call: Call) -> float:
    return float(call.get("epsilon", 1e-5))


RULES: dict[str, Rule] = {
    "BatchNormalization": batch_norm,
    "InstanceNormalization": instance_norm,
    "GroupNormalization": group_norm,
    "LayerNormalization": layer_norm,
    "RMSNormalization": rms_norm,
    "LpNormalization": lp_norm,
    "Softmax": _softmax(torch_rules.softmax),
    "LogSoftmax": _softmax(torch_rules.log_softmax),
}
