"""Arrays and their reads: crossbar nodes that name the same array read the same devices.

An array has weights, devices and gains; a node reads it at the positions of its input. Most arrays have one read.
Layers of a recurrence, tied layers and the branches of a Siamese network are arrays with several.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace
from hashlib import sha256

import numpy as np

from powerplan.checks import Checker
from powerplan.network.node import Node
from powerplan.network.ops import Conv, ConvTranspose, CrossbarOp, DigitalLayer, Linear, Scale

#: what an importer makes of a layer that is called several times: one array or several
READS = ("shared", "separate")


def layer_of(node: Node) -> CrossbarOp | None:
    """The linear layer or convolution of a node, on a crossbar or not; None if it is neither."""
    if isinstance(node.op, DigitalLayer):
        return node.op.layer
    return node.op if isinstance(node.op, CrossbarOp) else None


def joined(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """The same nodes, those that read one array with one operation where they compute the same.

    Raises:
        InvalidInput: an array that a node names which is no layer, or reads of one array with other weights, biases or
            groups, or of which some are digital; the name of an array that is that of a node with another one.
    """
    check = Checker("network.")
    arrays = {node.name: node.array_name if layer_of(node) is not None else None for node in nodes}
    first: dict[str, Node] = {}
    same: list[Node] = []
    for node in nodes:
        field, layer = f"nodes[{node.name!r}].array", layer_of(node)
        if layer is None:
            if node.array is not None:
                check.fail(field, node.array, "None: it has no weights", "Name arrays of layers only.")
            same.append(node)
            continue
        if arrays.get(node.array_name, node.array_name) != node.array_name:
            check.fail(field, node.array, "a name that no node has but one that reads it", "Rename the array.")
        one = first.setdefault(node.array_name, node)
        other = layer_of(one)
        assert other is not None
        if not same_weights(layer, other) or node.op.is_crossbar != one.op.is_crossbar:
            allowed = f"an array whose reads all have the weights, bias, groups and kind of {one.name!r}"
            check.fail(field, node.array_name, allowed, "Give it an array of its own: another name, or None.")
        elif node.op is not one.op and node.op.type == one.op.type and node.op.attributes() == one.op.attributes():
            node = replace(node, op=one.op)
        same.append(replace(node, array=None) if node.array == node.name else node)
    check.done()
    return tuple(same)


def reads_of(nodes: Iterable[Node]) -> dict[str, tuple[Node, ...]]:
    """The nodes that read every array on a crossbar, by its name, in order."""
    reads: dict[str, tuple[Node, ...]] = {}
    for node in nodes:
        if node.op.is_crossbar:
            reads[node.array_name] = (*reads.get(node.array_name, ()), node)
    return reads


def same_weights(a: CrossbarOp, b: CrossbarOp) -> bool:
    """Whether two layers can be reads of one array."""
    if a is b:
        return True
    biases = (a.bias is None) == (b.bias is None) and (a.bias is None or np.array_equal(a.bias, np.asarray(b.bias)))
    return a.groups == b.groups and biases and np.array_equal(a.matrix, b.matrix)


def shared_arrays(nodes: Iterable[Node], weights: Mapping[str, Hashable]) -> list[Node]:
    """The same nodes, layers of one weight tensor as reads of one array, which has the name of the first.

    Where their biases differ the array has none, and they are added behind the reads.

    Args:
        weights: by node what its weights are, of layers that may share them: a parameter, say. Layers whose matrices
            differ all the same (parts of one tensor) are kept apart.
    """
    nodes = list(nodes)
    tensors = Counter(weights[node.name] for node in nodes if node.name in weights)
    groups: dict[Hashable, list[Node]] = {}
    for node in nodes:
        if isinstance(node.op, CrossbarOp) and node.name in weights and tensors[weights[node.name]] > 1:
            matrix = np.ascontiguousarray(node.op.matrix)
            key = (weights[node.name], node.op.groups, matrix.shape, sha256(matrix.data).digest())
            groups.setdefault(key, []).append(node)
    changed: dict[str, list[Node]] = {}
    for group in groups.values():
        if len(group) > 1:
            layers = [node.op for node in group if isinstance(node.op, CrossbarOp)]
            apart = not all(same_weights(layer, layers[0]) for layer in layers)
            name = f"{group[0].name}.weight" if apart else group[0].name
            for node in group:
                read = replace(node, array=name)
                changed[node.name] = _with_bias_behind(read) if apart else [read]
    return [new for node in nodes for new in changed.get(node.name, [node])]


def _with_bias_behind(node: Node) -> list[Node]:
    """A layer without its bias, and a scale of its name that adds it."""
    op = node.op
    assert isinstance(op, Linear | Conv | ConvTranspose)
    if op.bias is None:
        return [node]
    shift = Scale(scale=np.ones_like(op.bias), shift=op.bias, axis=-1 if isinstance(op, Linear) else 0)
    bare = replace(node, name=f"{node.name}.weight", op=replace(op, bias=None))
    return [bare, Node(name=node.name, op=shift, inputs=(bare.name,))]
