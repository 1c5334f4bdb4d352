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
from powerplan.network.ops import Shape
from powerplan.remembered import remembered

Part = Literal["digital", "rows", "array", "columns"]


class Place(NamedTuple):
    """The value behind one part of a node: a digital operation, converters of rows, an array, converters of columns."""

    node: str
    part: Part


START = Place(INPUT, "digital")


def by_read(crossbars: Sequence[ProgrammedArray]) -> dict[str, ProgrammedArray]:
    """Arrays as the nodes read them, by node."""
    return {name: read for array in crossbars for name, read in array.by_read.items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """What makes the value at a place from those at others; ``noisy`` if it has errors."""

    node: Node
    place: Place
    inputs: tuple[Place, ...]
    noisy: bool


class Converters(NamedTuple):
    """Which converters an array has, and whether the rounding of its rows is averaged over gains."""

    rows: bool
    columns: bool
    averages_rows: bool

    @classmethod
    def of(cls, array: ProgrammedArray) -> Converters:
        """Those of an array."""
        hardware = array.hardware
        return cls(hardware.dac_bits is not None, hardware.converts_columns, "rows" in array.averaged)


@dataclass(frozen=True, kw_only=True, eq=False)
class Lowered:
    """The steps of a network in order, the place of the value of every node, and that and the shape of the output."""

    steps: tuple[Step, ...]
    behind: Mapping[str, Place]
    output: Place
    output_shape: Shape

    @classmethod
    def of(cls, network: Network, crossbars: Sequence[ProgrammedArray]) -> Lowered:
        """The network on these arrays; kept as long as the network, which never changes."""
        return _lowered(network, tuple(Converters.of(array) for array in crossbars))

    @cached_property
    def noisy(self) -> frozenset[Place]:
        """Places whose values have errors."""
        return frozenset(step.place for step in self.steps if step.noisy)

    @cached_property
    def converts_rows(self) -> bool:
        """Whether values meet converters of rows."""
        return any(step.place.part == "rows" for step in self.steps)

    @cached_property
    def last_read(self) -> dict[Place, tuple[Place, ...]]:
        """For every step the places that none reads after it, but that of the output."""
        last = {place: step.place for step in self.steps for place in step.inputs if place != self.output}
        return {reader: tuple(place for place in last if last[place] == reader) for reader in set(last.values())}


@remembered
def _lowered(network: Network, converters: tuple[Converters, ...]) -> Lowered:
    by_array = dict(zip(network.layer_names, converters, strict=True))
    behind, steps = {INPUT: START}, list[Step]()
    for node in network.nodes:
        places, noisy = tuple(behind[name] for name in node.inputs), node.name in network.noisy
        parts: list[tuple[Part, bool]] = [("digital", noisy)]
        if node.op.is_crossbar:
            own = by_array[node.array_name]
            parts = [("array", True)]
            if own.rows:
                parts.insert(0, ("rows", node.inputs[0] in network.noisy or own.averages_rows))
            if own.columns:
                parts.append(("columns", True))
        for part, errs in parts:
            steps.append(Step(node=node, place=Place(node.name, part), inputs=places, noisy=errs))
            places = (steps[-1].place,)
        behind[node.name] = steps[-1].place
    output = behind[network.output]
    return Lowered(steps=tuple(steps), behind=behind, output=output, output_shape=network.output_shape)
