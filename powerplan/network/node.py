"""A node: one operation of a network and what it reads."""

from __future__ import annotations

import operator
from dataclasses import dataclass

from powerplan.network.ops import Op, Shape

#: name of the network's input among the inputs of a node
INPUT = "input"


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """One operation in a network.

    Attributes:
        name: unique.
        op: the operation.
        inputs: names of the nodes whose values it takes.
        array: of a layer, the name of the array that it reads; nodes that name the same one read the same devices.
            None = one of its own, with the node's name.
    """

    name: str
    op: Op
    inputs: tuple[str, ...]
    array: str | None = None

    @property
    def array_name(self) -> str:
        """Name of the array that it reads, if it is a layer."""
        return self.name if self.array is None else self.array

    def __post_init__(self) -> None:
        # A plain string is left for the network to refuse, not taken apart into letters.
        if isinstance(self.inputs, list):
            object.__setattr__(self, "inputs", tuple(self.inputs))


def as_shape(value: object) -> Shape | None:
    """A shape as a tuple of positive ints, or None if it is not one (fractions and booleans are not integers)."""
    if not isinstance(value, tuple | list) or not value or any(isinstance(n, bool) for n in value):
        return None
    try:
        shape = tuple(operator.index(n) for n in value)
    except TypeError:
        return None
    return shape if min(shape) >= 1 else None
