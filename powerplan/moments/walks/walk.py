"""The one forward walk through a network; carried from node to node are marginal moments, covariances or samples.

Why: docs/decisions/moments.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from powerplan.moments.conversion.lattice import Lattice
from powerplan.network.graph import Network
from powerplan.network.node import Node


class Carried(ABC):
    """What a walk knows of the values that are still to be read."""

    @abstractmethod
    def crossbar(self, node: Node, lattice: Lattice | None) -> Lattice | None:
        """Pass a crossbar; the lattices of its input and of its output, where the values lie on one."""

    @abstractmethod
    def digital(self, node: Node) -> None:
        """Pass a digital operation."""

    @abstractmethod
    def drop(self, name: str) -> None:
        """Forget a value that nothing reads any more."""


def walk(network: Network, carried: Carried) -> None:
    """Pass every node in order."""
    lattices: dict[str, Lattice | None] = {}
    for node in network.nodes:
        lattice = lattices.get(node.inputs[0]) if len(node.inputs) == 1 else None
        if node.op.is_crossbar:
            lattices[node.name] = carried.crossbar(node, lattice)
        else:
            carried.digital(node)
            lattices[node.name] = lattice and lattice.after(node.op)
        for name in network.last_readers.get(node.name, ()):
            if name != network.output:
                carried.drop(name)
                lattices.pop(name, None)
