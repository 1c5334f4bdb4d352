"""Folding of digital scales (batch norms, constant factors and offsets) into neighbouring layers.

Behind a layer:       s ∘ (W x + b) + t = (diag(s) W) x + (s ∘ b + t).
In front of layers:   W (s ∘ x + t) + b = (W diag(s)) x + (W t + b).
Behind another scale: s ∘ (s' ∘ x + t') + t = (s ∘ s') ∘ x + (s ∘ t' + t).

They are exact for linear layers and convolutions, with two exceptions: an offset in front of a convolution that pads
with zeros (the padding would have to hold t) or of a transposed convolution (fewer positions overlap at the border)
stays where it is. Computed in float64, kept in the weights' own dtype.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from powerplan.network.node import Node
from powerplan.network.ops import Conv, ConvTranspose, CrossbarOp, Linear, Scale


def fold_scales(nodes: list[Node], output: str) -> tuple[list[Node], str]:
    """The same graph with every scale folded that can be, and the name of its output.

    A scale goes into the layer or scale it reads if nothing else reads that; else into the layers that read it, if
    nothing else does and it is not the output. What is left stays a digital scale. The axis of a scale must be
    counted from the end (for a convolution, 0 will do): the graph does not know the shapes.
    """
    by_name = {node.name: node for node in nodes}
    folded = True
    while folded:
        folded = False
        for name in [n.name for n in by_name.values() if isinstance(n.op, Scale)]:
            node = by_name[name]  # what it reads may have been folded a moment ago
            assert isinstance(node.op, Scale)
            (source,) = node.inputs
            readers = [n for n in by_name.values() if node.name in n.inputs]
            before = by_name.get(source)
            alone = source != output and sum(source in n.inputs for n in by_name.values()) == 1
            behind = _behind(before.op, node.op) if before is not None and alone else None
            if before is not None and behind is not None:
                by_name[source] = replace(before, op=behind)
            elif node.name != output and readers:
                new = [(reader, _in_front(reader.op, node.op)) for reader in readers]
                if any(op is None for _, op in new):
                    continue
                by_name |= {reader.name: replace(reader, op=op) for reader, op in new if op is not None}
            else:
                continue
            for reader in readers:
                inputs = tuple(source if read == name else read for read in reader.inputs)
                by_name[reader.name] = replace(by_name[reader.name], inputs=inputs)
            del by_name[node.name]
            output = source if node.name == output else output
            folded = True
    return list(by_name.values()), output


def _behind(op: object, scale: Scale) -> CrossbarOp | Scale | None:
    """The layer or scale followed by the scale as one; None if that is none."""
    if isinstance(op, Scale):
        return _composed(op, scale)
    if not isinstance(op, Linear | Conv | ConvTranspose):
        return None
    weight = op.weight.astype(np.float64)
    channels = weight.shape[1] * op.groups if isinstance(op, ConvTranspose) else op.n_out
    channel_scale = _per_channel(scale, channels, _channel_axes(op))
    if channel_scale is None:
        return None
    s, t = channel_scale
    spatial = (1,) * (weight.ndim - 2)
    if isinstance(op, ConvTranspose):
        grouped = weight.reshape(op.groups, -1, *weight.shape[1:])
        scaled = (grouped * s.reshape(op.groups, 1, -1, *spatial)).reshape(weight.shape)
    else:
        scaled = weight * s.reshape(-1, 1, *spatial)
    return _like(op, scaled, s * _bias(op, channels) + t)


def _composed(first: Scale, second: Scale) -> Scale | None:
    """Both scales as one; None if they are given along different axes."""
    along = second if first.scale.size == 1 else first
    arrays = [a.astype(np.float64) for a in (first.scale, first.shift, second.scale, second.shift)]
    if 1 in (first.scale.size, second.scale.size):
        arrays = [a.reshape(()) if a.size == 1 else a for a in arrays]
    elif first.scale.ndim != second.scale.ndim or (first.scale.ndim == 1 and first.axis != second.axis):
        return None
    s, t = arrays[2] * arrays[0], arrays[2] * arrays[1] + arrays[3]
    shape = np.broadcast_shapes(along.scale.shape, s.shape)
    s, t = (np.broadcast_to(a, shape).astype(first.scale.dtype) for a in (s, t))
    return Scale(scale=s, shift=t, axis=along.axis)


def _in_front(op: object, scale: Scale) -> CrossbarOp | None:
    """The layer preceded by the scale as one layer; None if that is none."""
    match op:
        case Linear():
            channel_scale = _per_channel(scale, op.n_in, _channel_axes(op))
            if channel_scale is None:
                return None
            weight = op.weight.astype(np.float64)
            return _like(op, weight * channel_scale[0], weight @ channel_scale[1] + _bias(op, op.n_out))
        case Conv():
            channel_scale = _per_channel(scale, op.weight.shape[1] * op.groups, _channel_axes(op))
            padded = op.padding_mode == "zeros" and any(map(any, op.padding or ()))
            if channel_scale is None or (padded and channel_scale[1].any()):
                return None
            # output i of group g reads the channels of that group
            s, t = (np.repeat(v.reshape(op.groups, -1), op.n_out // op.groups, axis=0) for v in channel_scale)
            weight = op.weight.astype(np.float64)
            shift = np.einsum("oc...,oc->o...", weight, t).reshape(op.n_out, -1).sum(1)
            return _like(op, weight * s.reshape(*s.shape, *(1,) * len(op.kernel)), shift + _bias(op, op.n_out))
        case ConvTranspose():
            channel_scale = _per_channel(scale, op.weight.shape[0], _channel_axes(op))
            if channel_scale is None or channel_scale[1].any():
                return None
            outputs = op.weight.shape[1] * op.groups
            factors = channel_scale[0].reshape(-1, *(1,) * (op.weight.ndim - 1))
            return _like(op, op.weight.astype(np.float64) * factors, _bias(op, outputs))
        case _:
            return None


def _per_channel(scale: Scale, channels: int, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    """Scale and shift of every channel, (channels,) float64 each; None if they differ along another axis.

    Args:
        axes: numbers that the channel axis of the value has.
    """
    if scale.scale.ndim != 1 or (len(scale.scale) > 1 and scale.axis not in axes):
        return None
    s, t = (np.broadcast_to(array.astype(np.float64), (channels,)) for array in (scale.scale, scale.shift))
    return s, t


def _channel_axes(op: Linear | Conv | ConvTranspose) -> tuple[int, ...]:
    """Numbers of the channel axis of a layer's input and output."""
    return (-1,) if isinstance(op, Linear) else (0, 1 - op.weight.ndim)


def _bias(op: CrossbarOp, outputs: int) -> np.ndarray:
    return np.zeros(outputs) if op.bias is None else op.bias.astype(np.float64)


def _like(op: CrossbarOp, weight: np.ndarray, bias: np.ndarray) -> CrossbarOp:
    assert isinstance(op, Linear | Conv | ConvTranspose)
    dtype = op.weight.dtype
    silent = op.bias is None and not bias.any()
    return replace(op, weight=weight.astype(dtype), bias=None if silent else bias.astype(dtype))
