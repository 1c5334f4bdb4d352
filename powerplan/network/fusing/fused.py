"""Every pass over a graph that finds what was written out by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from powerplan.network.fusing.graph import Graph
from powerplan.network.fusing.norms import logarithm, normalise, root, soften
from powerplan.network.fusing.pointwise import join
from powerplan.network.node import Node
from powerplan.network.ops import Shape

#: entries of arrays that are compared
_SMALL = 4096


def fused(nodes: list[Node], output: str, shapes: Mapping[str, Shape]) -> list[Node]:
    """The same graph with what was written out by hand as one operation each; node names of the results stay."""
    graph = Graph(_once({node.name: node for node in nodes}, output), dict(shapes), output)
    for name in list(graph.nodes):
        join(graph, name)
    for name in list(graph.nodes):
        normalise(graph, name)
        soften(graph, name)
    for name in list(graph.nodes):
        root(graph, name)
        logarithm(graph, name)
    return graph.leading()


def _once(nodes: Mapping[str, Node], output: str) -> dict[str, Node]:
    """The nodes with digital operations that compute the same made one."""
    same: dict[str, str] = {}
    known: dict[Any, str] = {}
    kept: dict[str, Node] = {}
    for name, node in nodes.items():
        node = replace(node, inputs=tuple(same.get(i, i) for i in node.inputs))
        key = None
        if not node.op.is_crossbar and node.op.portable and name != output:
            arrays = tuple((k, a.shape, a.tobytes()) for k, a in node.op.tensors().items() if a.size <= _SMALL)
            if len(arrays) == len(node.op.tensors()):
                key = (node.op.type, repr(node.op.attributes()), arrays, node.inputs)
        if key is not None and key in known:
            same[name] = known[key]
            continue
        if key is not None:
            known[key] = name
        kept[name] = node
    return kept
