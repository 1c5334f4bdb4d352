"""Arrays and their reads: crossbar nodes that name the same array read the same devices.

An array has weights, devices and gains; a node reads it at the positions of its input. Most arrays have one read.
Layers of a recurrence, tied layers and the branches of a Siamese network are arrays with several.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from powerplan.checks import Checker
from powerplan.network.node import Node
from powerplan.network.ops import CrossbarOp, DigitalLayer


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
        if not _same_weights(layer, other) or node.op.is_crossbar != one.op.is_crossbar:
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


def _same_weights(a: CrossbarOp, b: CrossbarOp) -> bool:
    if a is b:
        return True
    biases = (a.bias is None) == (b.bias is None) and (a.bias is None or np.array_equal(a.bias, np.asarray(b.bias)))
    return a.groups == b.groups and biases and np.array_equal(a.matrix, b.matrix)
