"""The one forward walk through a network; carried from step to step are marginal moments, covariances or samples.

Why: docs/decisions/moments.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.array.reading import Reading
from powerplan.moments.conversion.channels import convert_columns, convert_rows
from powerplan.moments.conversion.lattice import Lattice, lattice_of
from powerplan.moments.conversion.slices import slice_readings
from powerplan.moments.conversion.staircase import Converted
from powerplan.moments.rules.linearized import Linearized
from powerplan.moments.walks.array_step import ArrayStep
from powerplan.moments.walks.lowered import START, Lowered, Place, Step, by_read
from powerplan.network.graph import Network


class Carried(ABC):
    """What a walk knows of the values that are still to be read, and what every step did.

    Attributes:
        steps: the linear form of every step.
        means: of all values, (B, *shape).
        lattices: of values that lie on one.
        slices: behind the converters of rows that are driven in slices, every read; until the array takes them.
    """

    def __init__(self, network: Network, crossbars: Sequence[ProgrammedArray], inputs: Tensor) -> None:
        self.lowered, self.inputs = Lowered.of(network, crossbars), inputs
        self.programmed = by_read(crossbars)
        self.steps: dict[Place, Linearized] = {}
        self.means: dict[Place, Tensor] = {START: inputs}
        self.lattices: dict[Place, Lattice | None] = {}
        self.slices: dict[Place, tuple[Reading, ...]] = {}
        self._cuts_inputs = any(len(array.slice_weights) > 1 for array in crossbars)

    def walk(self) -> None:
        """Pass every step in order."""
        passes = {"digital": self.digital, "rows": self.rows, "array": self.array, "columns": self.columns}
        for step in self.lowered.steps:
            passes[step.place.part](step)
            self.means[step.place] = self.moments(step.place)[0]
            if self.lowered.converts_rows:  # which alone round what is on a lattice in another way
                self.lattices[step.place] = self.lattice(step)
            for place in self.lowered.last_read.get(step.place, ()):
                self.drop(place)
                self.lattices.pop(place, None)

    def lattice(self, step: Step) -> Lattice | None:
        """Of the value behind a step, where it lies on one."""
        if not step.node.op.is_crossbar:
            noisy = [i for i, place in enumerate(step.inputs) if place in self.lowered.noisy]
            lattice = self.lattices.get(step.inputs[noisy[0]]) if len(noisy) == 1 else None
            if lattice is None and len(noisy) == 1 and self._cuts_inputs:  # digits of what a ReLU leaves at 0 are 0
                lattice = Lattice.anywhere(*self.moments(step.inputs[noisy[0]]))
            return lattice and lattice.after(step.node.op, [self.means[place] for place in step.inputs], noisy[0])
        if step.place != self.lowered.behind[step.node.name]:
            return None
        analog = step.place if step.place.part == "array" else step.inputs[0]
        return lattice_of(self.programmed[step.node.name], self.moments(analog), self.moments(step.place))

    def rows(self, step: Step) -> None:
        """Pass the converters of a crossbar's rows."""
        (source,) = step.inputs
        exact, lattice = source not in self.lowered.noisy, self.lattices.get(source)
        array = self.programmed[step.node.name]
        self.slices[step.place] = slice_readings(array, *self.moments(source), exact=exact, lattice=lattice)
        self.convert(step, partial(convert_rows, array, *self.moments(source), exact=exact, lattice=lattice))

    def columns(self, step: Step) -> None:
        """Pass the converters of a crossbar's columns."""
        analog = self.steps[step.inputs[0]]
        assert isinstance(analog, ArrayStep)
        self.convert(step, partial(convert_columns, analog.reading, analog.mean, analog.factor))

    @abstractmethod
    def moments(self, place: Place) -> tuple[Tensor, Tensor]:
        """Mean and variance (B, *shape) of a value."""

    @abstractmethod
    def digital(self, step: Step) -> None:
        """Pass a digital operation."""

    @abstractmethod
    def array(self, step: Step) -> None:
        """Pass an array."""

    @abstractmethod
    def convert(self, step: Step, closed_form: Callable[..., Converted]) -> None:
        """Pass converters, whose closed form of Gaussian errors is of ``rounds``."""

    @abstractmethod
    def drop(self, place: Place) -> None:
        """Forget a value that nothing reads any more."""
