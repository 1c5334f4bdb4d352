"""Norms and softmax of torch. A norm with running statistics is a constant scale."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from powerplan.network.ops import Embedding, GroupNorm, LayerNorm, RMSNorm, Scale, Softmax
from powerplan.network.torch_import.standing import Rule, Standing, declared
from powerplan.network.torch_import.value import Refused, Value, array, value, weights


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
) -> Value:
    if training or running_mean is None or running_var is None:
        raise Refused("a batch norm without running statistics depends on the whole batch")
    x = value(input)
    middle, variance = array(running_mean).astype(np.float64), array(running_var).astype(np.float64)
    scale = (1.0 if weight is None else array(weight).astype(np.float64)) / np.sqrt(variance + eps)
    shift = (0.0 if bias is None else array(bias).astype(np.float64)) - middle * scale
    return x.apply(Scale(scale=scale, shift=shift, axis=x.axis(1) - len(x.shape)))


def instance_norm(
    input: Any,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Value:
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, eps=eps)
    x = value(input).leading()
    return group_norm(x, x.shape[0], weight, bias, eps)


def layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5, *unused: Any
) -> Value:
    x, axes = _last_axes(input, normalized_shape)
    return x.apply(LayerNorm(axes=axes, weight=_optional(weight), bias=_optional(bias), epsilon=eps))


def rms_norm(input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None) -> Value:
    x, axes = _last_axes(input, normalized_shape)
    epsilon = torch.finfo(x.builder.dtype).eps if eps is None else eps
    return x.apply(RMSNorm(axes=axes, weight=_optional(weight), epsilon=epsilon))


def _last_axes(input: Any, normalized_shape: Any) -> tuple[Value, int]:
    x, axes = value(input), len(tuple(normalized_shape))
    if x.batch >= len(x.torch_shape) - axes:
        raise Refused("it works along the batch axis")
    if math.prod(x.torch_shape[-axes:]) != math.prod(normalized_shape):
        raise Refused(f"normalized_shape={tuple(normalized_shape)} does not fit a tensor of shape {x.torch_shape}")
    return x, axes


def group_norm(
    input: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *unused: Any
) -> Value:
    x = value(input).leading()
    return x.apply(GroupNorm(groups=num_groups, weight=_optional(weight), bias=_optional(bias), epsilon=eps))


def softmax(input: Any, dim: Any = None, *unused: Any, **ignored: Any) -> Value:
    return _softmax(input, dim, logarithm=False)


def log_softmax(input: Any, dim: Any = None, *unused: Any, **ignored: Any) -> Value:
    return _softmax(input, dim, logarithm=True)


def _softmax(input: Any, dim: Any, *, logarithm: bool) -> Value:
    if dim is None:
        raise Refused("name the axis of the softmax")
    x = value(input)
    return x.apply(Softmax(axis=x.axis(dim), logarithm=logarithm))


def embedding(
    input: Any,
    weight: Any,
    padding_idx: Any = None,
    max_norm: Any = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Value:
    if max_norm is not None:
        raise Refused("max_norm is not supported")
    return value(input).apply(Embedding(weight=weights(weight)))


def _optional(x: Any) -> np.ndarray | None:
    return None if x is None else array(x)


_SPREAD = "the noise's variance counts in the denominator"

RULES: dict[str, Rule] = {
    **declared(
        Standing.EXACT,
        {
            "batch_norm": lambda input, weight, bias, mean, var, training, momentum, eps, *unused: batch_norm(
                input, mean, var, weight, bias, training, momentum, eps
            ),
            "_native_batch_norm_legit_no_training": lambda input, weight, bias, mean, var, momentum, eps: (
                batch_norm(input, mean, var, weight, bias, False, momentum, eps),
            ),
        },
    ),
    **declared(
        Standing.FIRST_ORDER,
        {
            "instance_norm": lambda input, weight, bias, mean, var, use_stats, momentum, eps, *unused: instance_norm(
                input, mean, var, weight, bias, use_stats, momentum, eps
            ),
            "layer_norm": layer_norm,
            "native_layer_norm": lambda *arguments: (layer_norm(*arguments),),
            "group_norm": group_norm,
            "native_group_norm": lambda input, weight, bias, batch, channels, positions, groups, eps: (
                group_norm(input, groups, weight, bias, eps),
            ),
            "rms_norm": rms_norm,
        },
        _SPREAD,
    ),
    **declared(
        Standing.FIRST_ORDER,
        {"softmax": softmax, "_softmax": softmax, "log_softmax": log_softmax, "_log_softmax": log_softmax},
    ),
    **declared(
        Standing.EXACT,
        {"embedding": lambda weight, indices, *unused: embedding(indices, weight)},
        "of the network's input, which has no noise",
    ),
}
