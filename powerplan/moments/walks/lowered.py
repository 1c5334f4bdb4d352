"""A network as the steps that moments pass one by one: digital operations, and of crossbars DAC, array and ADC.

Every step has a linear form (:class:`~powerplan.moments.rules.linearized.Linearized`) and a place, by which all that
belongs to it is found. A walk passes the steps in order, adjoints are pulled back through the same in reverse.

Why: docs/decisions/moments.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.network.graph import Network
from powerplan.network.node import INPUT, Node

Part = Literal["digital", "rows", "array", "columns"]


class Place(NamedTuple):
    """The value behind one part of a node: a digital operation, converters of rows, an array, converters of columns."""

    node: str
    part: Part


START = Place(INPUT, "digital")


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """What makes the value at a place from those at others; ``noisy`` if it has errors."""

    node: Node
    place: Place
    inputs: tuple[Place, ...]
    noisy: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Lowered:
    """The steps of a network in order, and the place of the value of every node."""

    network: Network
    steps: tuple[Step, ...]
    behind: Mapping[str, Place]

    @classmethod
    def of(cls, network: Network, crossbars: Sequence[ProgrammedArray]) -> Lowered:
        """The network on these arrays."""
        arrays = {array.constants.name: array for array in crossbars}
        behind, steps = {INPUT: START}, list[Step]()
        for node in network.nodes:
            places, noisy = tuple(behind[name] for name in node.inputs), node.name in network.noisy
            parts: list[tuple[Part, bool]] = [("digital", noisy)]
            if node.op.is_crossbar:
                array = arrays[node.name]
                parts = [("array", True)]
                if array.hardware.dac_bits is not None:
                    parts.insert(0, ("rows", node.inputs[0] in network.noisy or "rows" in array.averaged))
                if array.hardware.converts_columns:
                    parts.append(("columns", True))
            for part, errs in parts:
                steps.append(Step(node=node, place=Place(node.name, part), inputs=places, noisy=errs))
                places = (steps[-1].place,)
            behind[node.name] = steps[-1].place
        return cls(network=network, steps=tuple(steps), behind=behind)

    @property
    def output(self) -> Place:
        """The place of the network's output."""
        return self.behind[self.network.output]

    @cached_property
    def noisy(self) -> frozenset[Place]:
        """Places whose values have errors."""
        return frozenset(step.place for step in self.steps if step.noisy)

    @cached_property
    def last_read(self) -> dict[Place, tuple[Place, ...]]:
        """For every step the places that none reads after it, but that of the output."""
        last = {place: step.place for step in self.steps for place in step.inputs if place != self.output}
        return {reader: tuple(place for place in last if last[place] == reader) for reader in set(last.values())}
