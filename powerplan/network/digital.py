"""What every digital operation computes, in torch: noise-free values (B, *shape)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import singledispatch
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from powerplan.errors import InvalidInput
from powerplan.network import ops
from powerplan.network.array_maps import array_map
from powerplan.network.ops import Activation, Op

#: elementwise functions by kind; parameters are passed by name
FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "identity": lambda z: z,
    "relu": F.relu,
    "leaky_relu": lambda z, negative_slope: F.leaky_relu(z, negative_slope),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": lambda z: F.softplus(z, threshold=40.0),  # beyond, it is z to rounding
    "gelu": F.gelu,
    "gelu_tanh": lambda z: F.gelu(z, approximate="tanh"),
    "silu": F.silu,
    "hard_tanh": lambda z, low, high: F.hardtanh(z, low, high),
    "hard_sigmoid": F.hardsigmoid,
    "hard_swish": F.hardswish,
    "elu": lambda z, alpha: F.elu(z, alpha),
    "selu": F.selu,
    "mish": F.mish,
    "softsign": F.softsign,
}


def activation_function(op: Activation) -> Callable[[Tensor], Tensor]:
    """The elementwise function of an activation, with its parameters bound."""
    function, parameters = FUNCTIONS[op.kind], dict(op.parameters or {})
    return (lambda z: function(z, **parameters)) if parameters else function


def constant(array: np.ndarray, like: Tensor) -> Tensor:
    """An operation's array in the precision and on the device of a value."""
    return torch.tensor(array, dtype=like.dtype, device=like.device)


@singledispatch
def digital(op: Op, *values: Tensor) -> Tensor:
    """A digital (noise-free) operation applied to values (B, *shape)."""
    raise NotImplementedError(f"{op.type} is not a digital operation")


@digital.register
def _(op: ops.Activation, x: Tensor) -> Tensor:
    return activation_function(op)(x)


@digital.register
def _(op: ops.Scale, x: Tensor) -> Tensor:
    view = op.view(tuple(x.shape[1:]))
    return x * constant(op.scale, x).view(view) + constant(op.shift, x).view(view)


@digital.register
def _(op: ops.Add, *values: Tensor) -> Tensor:
    first, *rest = aligned(*values)
    for value in rest:
        first = first + value
    return first


@digital.register
def _(op: ops.Multiply, left: Tensor, right: Tensor) -> Tensor:
    left, right = aligned(left, right)
    return left * right


def aligned(*values: Tensor) -> tuple[Tensor, ...]:
    """Values (B, *shape) with axes of size 1 put behind the batch, so that all have as many axes."""
    axes = max(value.dim() for value in values)
    return tuple(v.reshape(v.shape[0], *(1,) * (axes - v.dim()), *v.shape[1:]) for v in values)


@digital.register
def _(op: ops.MatMul, left: Tensor, right: Tensor) -> Tensor:
    left, right = aligned(left, right)
    return left @ right


@digital.register
def _(op: ops.Flatten, x: Tensor) -> Tensor:
    return x.reshape(x.shape[0], -1)


@digital.register
def _(op: ops.Reshape, x: Tensor) -> Tensor:
    return x.reshape(x.shape[0], *op.output_shape((tuple(x.shape[1:]),)))


@digital.register
def _(op: ops.Permute, x: Tensor) -> Tensor:
    return x.permute(0, *(axis + 1 for axis in op.axes))


@digital.register
def _(op: ops.Concat, *values: Tensor) -> Tensor:
    batch = max(value.shape[0] for value in values)
    axis = op.axis % (values[0].dim() - 1) + 1
    return torch.cat([v.expand(batch, *v.shape[1:]) for v in values], axis)


@digital.register
def _(op: ops.Slice, x: Tensor) -> Tensor:
    axis = op.axis % (x.dim() - 1) + 1
    if not op.keep_axis:
        return x.select(axis, op.start)
    index = [slice(None)] * x.dim()
    index[axis] = slice(op.start, op.stop, op.step)
    return x[tuple(index)]


@digital.register
def _(op: ops.Take, x: Tensor) -> Tensor:
    places = torch.as_tensor(op.indices.astype(np.int64), device=x.device)
    return x.reshape(x.shape[0], -1).index_select(1, places).reshape(x.shape[0], *op.shape)


@digital.register
def _(op: ops.Pad, x: Tensor) -> Tensor:
    widths = [width for pair in reversed(op.padding) for width in pair]
    if op.mode == "zeros":
        return F.pad(x, widths, value=op.value)
    return F.pad(x, widths, mode=op.mode)


@digital.register
def _(op: ops.Upsample, x: Tensor) -> Tensor:
    corners = op.align_corners if op.mode != "nearest" else None
    return F.interpolate(x, size=op.size, mode=op.mode, align_corners=corners)


@digital.register
def _(op: ops.Constant) -> Tensor:
    return torch.tensor(op.value, dtype=torch.float64)[None]


@digital.register
def _(op: ops.Embedding, x: Tensor) -> Tensor:
    indices = x.detach().cpu().numpy()
    op.check_indices(indices)
    return constant(op.weight[indices.astype(np.int64)], x)


@digital.register
def _(op: ops.MaxPool, x: Tensor) -> Tensor:
    if not (x.requires_grad and torch.is_grad_enabled()):
        return _largest(op, x)
    pool = cast(Callable[..., Tensor], (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(op.kernel) - 1])
    if all(before == after for before, after in op.pads):
        return pool(x, op.kernel, op.stride, [before for before, _ in op.pads], op.dilation, op.ceil_mode)
    widths = [side for pair in reversed(op.pads) for side in pair]
    return pool(F.pad(x, widths, value=-torch.inf), op.kernel, op.stride, 0, op.dilation, op.ceil_mode)


def _largest(op: ops.MaxPool, x: Tensor) -> Tensor:
    """Max-pooling along one axis after the other. Torch's keeps where the largest are, and takes five times as long."""
    assert op.stride is not None
    assert op.dilation is not None
    steps = op.output_shape((tuple(x.shape[1:]),))[1:]
    for axis, (count, kernel, stride, dilation, (low, _)) in enumerate(
        zip(steps, op.kernel, op.stride, op.dilation, op.pads, strict=True), start=2
    ):
        span = stride * (count - 1) + 1
        beyond = max(0, span + dilation * (kernel - 1) - low - x.shape[axis])
        if low or beyond:
            behind = (0, 0) * (x.dim() - axis - 1)
            x = F.pad(x, (*behind, low, beyond), value=-torch.inf)
        every = (slice(None),) * axis + (slice(None, None, stride),)
        largest, *others = (x.narrow(axis, dilation * j, span)[every] for j in range(kernel))
        for other in others:
            largest = torch.maximum(largest, other)
        x = largest
    return x


@digital.register
def _(op: ops.AveragePool, x: Tensor) -> Tensor:
    pool = cast(Callable[..., Tensor], (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(op.kernel) - 1])
    return pool(x, op.kernel, op.stride, op.padding, op.ceil_mode, op.count_include_pad)


@digital.register
def _(op: ops.AdaptiveAveragePool, x: Tensor) -> Tensor:
    pool = cast(
        Callable[..., Tensor], (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[len(op.size) - 1]
    )
    return pool(x, op.size)


@digital.register
def _(op: ops.AdaptiveMaxPool, x: Tensor) -> Tensor:
    pool = cast(
        Callable[..., Tensor], (F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d)[len(op.size) - 1]
    )
    return pool(x, op.size)


@digital.register
def _(op: ops.Mean, x: Tensor) -> Tensor:
    axes = tuple(axis + 1 for axis in op.resolved(tuple(x.shape[1:])))
    return x.mean(axes, keepdim=op.keep_axes)


@digital.register
def _(op: ops.LayerNorm, x: Tensor) -> Tensor:
    weight, bias = (None if a is None else constant(a, x) for a in (op.weight, op.bias))
    return F.layer_norm(x, x.shape[-op.axes :], weight, bias, op.epsilon)


@digital.register
def _(op: ops.RMSNorm, x: Tensor) -> Tensor:
    weight, bias = (None if a is None else constant(a, x) for a in (op.weight, op.bias))
    normalised = F.rms_norm(x, x.shape[-op.axes :], weight, op.epsilon)
    return normalised if bias is None else normalised + bias


@digital.register
def _(op: ops.GroupNorm, x: Tensor) -> Tensor:
    weight, bias = (None if a is None else constant(a, x) for a in (op.weight, op.bias))
    return F.group_norm(x, op.groups, weight, bias, op.epsilon)


@digital.register
def _(op: ops.Softmax, x: Tensor) -> Tensor:
    axis = op.axis % (x.dim() - 1) + 1
    return F.log_softmax(x, axis) if op.logarithm else F.softmax(x, axis)


@digital.register
def _(op: ops.DigitalLayer, x: Tensor) -> Tensor:
    maps, bias = array_map(op.layer, tuple(x.shape[1:])), op.layer.bias
    value = maps.apply(x, constant(op.layer.matrix, x))
    return maps.add_bias(value, None if bias is None else constant(bias, x))


@digital.register
def _(op: ops.Function, *values: Tensor) -> Tensor:
    batch, like = max(value.shape[0] for value in values), values[0]
    inputs = aligned(*values) if op.pointwise else tuple(v.expand(batch, *v.shape[1:]) for v in values)
    result = replayed(op.steps, inputs)
    if not isinstance(result, Tensor) or tuple(result.shape[1:]) != op.shape:
        raise InvalidInput.of("function.shape", op.shape, "the shape of what its steps compute", "Import it again.")
    return result.to(like.dtype)


#: operations whose derivative torch cannot differentiate, by others that are the same
_MADE_OF = {
    "_cdist_forward": lambda x, y, p, mode=None: torch.linalg.vector_norm(x.unsqueeze(-2) - y.unsqueeze(-3), p, -1)
}


def replayed(steps: Sequence[tuple[str, Any, Mapping[str, Any]]], values: tuple[Tensor, ...]) -> Any:
    """What the last of the steps of a :class:`Function` returns for values with a batch axis."""
    results: list[Any] = []
    for name, arguments, keywords in steps:
        call = _MADE_OF.get(name) or getattr(torch.ops.aten, name)
        results.append(call(*_filled(list(arguments), values, results), **_filled(keywords, values, results)))
    return results[-1]


def _filled(x: Any, values: tuple[Tensor, ...], results: list[Any]) -> Any:
    """Nested arguments of a step with tensors in place of the references."""
    if isinstance(x, Mapping):
        if "value" in x:
            value = values[x["value"]]
            return {"": value, "index": value.long(), "truth": value != 0}[x.get("as", "")]
        if "step" in x:
            result = results[x["step"]]
            return result[x["part"]] if "part" in x else result
        return {key: _filled(item, values, results) for key, item in x.items()}
    return [_filled(item, values, results) for item in x] if isinstance(x, list) else x
