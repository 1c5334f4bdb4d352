"""Folding of digital scales (batch norms, constant factors and offsets) into neighbouring layers.

Behind a layer:       s ∘ (W x + b) + t = (diag(s) W) x + (s ∘ b + t).
In front of layers:   W (s ∘ x + t) + b = (W diag(s)) x + (W t + b).
Behind another scale: s ∘ (s' ∘ x + t') + t = (s ∘ s') ∘ x + (s ∘ t' + t).

They are exact for linear layers and convolutions, with two exceptions: an offset in front of a convolution that pads
with zeros (the padding would have to hold t) or of a transposed convolution (fewer positions overlap at the border)
stays where it is. Computed in float64, kept in the weights' own dtype.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from powerplan.network.node import Node
from powerplan.network.ops import Conv, ConvTranspose, CrossbarOp, Linear, Scale


def leading_to(output: str, nodes: Mapping[str, Node]) -> list[Node]:
    """The nodes whose values the output depends on, in order."""
    needed = {output}
    for node in reversed(list(nodes.values())):
        if node.name in needed:
            needed.update(node.inputs)
    return [node for node in nodes.values() if node.name in needed]


def fold_scales(nodes: list[Node], output: str) -> tuple[list[Node], str]:
    """The same graph with every scale folded that can be, and the name of its output.

    A scale goes into the layer or scale it reads if nothing else reads that; else into the layers that read it, if
    nothing else does and it is not the output. What is left stays a digital scale. The axis of a scale must be
    counted from the end (for a convolution, 0 will do): the graph does not know the shapes.

    Into an array that several nodes read it goes only if each of them is followed by the same scale.
    """
    graph = _Graph(nodes, output)
    folded = True
    while folded:
        folded = False
        for name in [n.name for n in graph.nodes.values() if isinstance(n.op, Scale)]:
            if name in graph.nodes and (graph.fold_behind(name) or graph.fold_in_front(name)):
                folded = True
    return list(graph.nodes.values()), graph.output


class _Graph:
    """Nodes by name, and the name of the output, while scales are folded."""

    def __init__(self, nodes: list[Node], output: str) -> None:
        self.nodes, self.output = {node.name: node for node in nodes}, output

    def fold_behind(self, name: str) -> bool:
        """Fold a scale into the layer or scale it reads; of a layer whose array others read, theirs too."""
        before = self.nodes.get(self.nodes[name].inputs[0])
        if before is None:
            return False
        new: dict[str, CrossbarOp | Scale] = {}
        scales = []
        for read in self._reads(before):
            readers = self._readers(read.name)
            scale = readers[0].op if len(readers) == 1 and read.name != self.output else None
            own = self.nodes[name].op
            assert isinstance(own, Scale)
            behind = _behind(read.op, scale) if isinstance(scale, Scale) and _equal(scale, own) else None
            if behind is None:
                return False
            new[read.name] = behind
            scales.append(readers[0])
        for read_name, op in new.items():
            self.nodes[read_name] = replace(self.nodes[read_name], op=op)
        for node in scales:
            self._remove(node)
        return True

    def fold_in_front(self, name: str) -> bool:
        """Fold a scale into the layers that read it, whose arrays no others read."""
        node, readers = self.nodes[name], self._readers(name)
        assert isinstance(node.op, Scale)
        if name == self.output or not readers:
            return False
        new = {reader.name: _in_front(reader.op, node.op) for reader in readers if len(self._reads(reader)) == 1}
        if len(new) < len(readers) or any(op is None for op in new.values()):
            return False
        self.nodes |= {reader: replace(self.nodes[reader], op=op) for reader, op in new.items() if op is not None}
        self._remove(node)
        return True

    def _reads(self, node: Node) -> list[Node]:
        """All nodes that read the same array; a node that is no layer itself."""
        if not node.op.is_crossbar:
            return [node]
        return [n for n in self.nodes.values() if n.op.is_crossbar and n.array_name == node.array_name]

    def _readers(self, name: str) -> list[Node]:
        return [n for n in self.nodes.values() if name in n.inputs]

    def _remove(self, node: Node) -> None:
        """Leave a node out: what reads it reads its input."""
        (source,) = self.nodes.pop(node.name).inputs
        for reader in self._readers(node.name):
            inputs = tuple(source if read == node.name else read for read in reader.inputs)
            self.nodes[reader.name] = replace(reader, inputs=inputs)
        self.output = source if node.name == self.output else self.output


def _equal(a: Scale, b: Scale) -> bool:
    same = a is b or (np.array_equal(a.scale, b.scale) and np.array_equal(a.shift, b.shift))
    return same and a.axis == b.axis


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
