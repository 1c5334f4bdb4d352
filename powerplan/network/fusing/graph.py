"""A graph while operations in it are replaced."""

from __future__ import annotations

from dataclasses import dataclass, replace

from powerplan.network.node import INPUT, Node
from powerplan.network.ops import Op, Shape


@dataclass
class Graph:
    """Nodes by name in order, shapes of their values, and the name of the output."""

    nodes: dict[str, Node]
    shapes: dict[str, Shape]
    output: str

    def op(self, name: str) -> Op | None:
        """The operation of a node; None for the network's input."""
        node = self.nodes.get(name)
        return None if node is None else node.op

    def readers(self, name: str) -> list[str]:
        """Names of the nodes that read a value."""
        return [node.name for node in self.nodes.values() if name in node.inputs]

    def alone(self, name: str) -> bool:
        """True if one node reads a value, and it is not the output."""
        return name != self.output and len(self.readers(name)) == 1

    def put(self, name: str, op: Op, inputs: tuple[str, ...]) -> None:
        """Another operation in place of a node's."""
        self.nodes[name] = replace(self.nodes[name], op=op, inputs=inputs)

    def insert(self, before: str, name: str, op: Op, inputs: tuple[str, ...]) -> str:
        """A new node in front of another; its name."""
        unique, count = name, 0
        while unique in self.nodes or unique == INPUT:
            count += 1
            unique = f"{name}_{count}"
        ordered: dict[str, Node] = {}
        for key, node in self.nodes.items():
            if key == before:
                ordered[unique] = Node(name=unique, op=op, inputs=inputs)
            ordered[key] = node
        self.nodes = ordered
        self.shapes[unique] = op.output_shape(tuple(self.shapes[i] for i in inputs))
        return unique

    def leading(self) -> list[Node]:
        """The nodes that the output depends on."""
        needed = {self.output}
        for node in reversed(list(self.nodes.values())):
            if node.name in needed:
                needed.update(node.inputs)
        return [node for node in self.nodes.values() if node.name in needed]
