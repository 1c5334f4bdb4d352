"""How the currents of an array's devices become its outputs: the interface of amplifiers and passive dividers.

Why: docs/decisions/moments.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from torch import Tensor

if TYPE_CHECKING:
    from powerplan.moments.array.device_errors import DeviceErrors
    from powerplan.moments.array.programmed import ProgrammedArray
    from powerplan.moments.array.reading import Reading


class Channel(NamedTuple):
    """What is decoded together: row tiles and sides of the pairs, by number, and the sign with which it is added."""

    tiles: tuple[int, ...]
    sides: tuple[int, ...]
    sign: int = 1


class Column(NamedTuple):
    """The physical columns of one side of one row tile, in units of the output: mean, and what of the variance devices,
    inputs and noise of the rows cause, both (B, *columns); what a relative gain error of theirs is a factor of."""

    mean: Tensor
    variance: Tensor
    gain: Tensor | float

    @property
    def square(self) -> Tensor:
        """E[Y²]."""
        return self.mean**2 + self.variance


class ReadOut(ABC):
    """One kind of read-out. Values by column, (B, *columns), are in the layout of the map's columns.

    Attributes:
        adds_devices: what a large error of a device adds does not depend on the others in its column.
    """

    adds_devices = False

    @abstractmethod
    def channels(self, array: ProgrammedArray) -> tuple[Channel, ...]:
        """What is converted by itself."""

    @abstractmethod
    def sides(self, array: ProgrammedArray) -> tuple[tuple[Tensor, Tensor], ...]:
        """Mean g/(c r) and variance s²/(c r)² of the devices on each side, in units of the weight, (n_out, n_in)."""

    @abstractmethod
    def weight(self, array: ProgrammedArray, channel: Channel) -> Tensor:
        """What the devices of a channel multiply by on average (n_out, n_in): passes on errors of the rows."""

    @abstractmethod
    def device_errors(self, array: ProgrammedArray) -> tuple[DeviceErrors, ...]:
        """The errors of the devices, in parts that are independent: of all sides together, or one for every side."""

    @abstractmethod
    def through(self, array: ProgrammedArray, channel: Channel) -> Tensor:
        """What errors of devices make of a variance at the rows, broadcasts to (n_out, n_in)."""

    @abstractmethod
    def device_variance(self, reading: Reading, channel: Channel) -> Tensor:
        """Variance that the errors of the devices of a channel cause at rows without noise, (B, *columns)."""

    @abstractmethod
    def columns(self, reading: Reading, channel: Channel) -> Iterator[Column]:
        """The physical columns of a channel, tile by tile and side by side."""

    @abstractmethod
    def limits(self, array: ProgrammedArray, channel: Channel) -> Tensor:
        """Limit of the converters of a channel, in units of the output, (*columns)."""

    @abstractmethod
    def conductance(self, array: ProgrammedArray, channel: Channel) -> Tensor:
        """Conductances at the columns of a channel's tiles [S], all sides added up, with those of loads, (n_out,)."""

    @abstractmethod
    def saved_power(self, reading: Reading) -> Tensor | float:
        """By how much devices and loads dissipate less than devices between their row and 0 V [W], mean over the
        batch."""

    def driven(self, scale: Tensor) -> ReadOut:
        """The same of an array whose inputs are multiplied by a digital scale (G, n_in)."""
        return self

    def scaled(self, scale: Tensor) -> ReadOut:
        """The same of an array whose outputs are multiplied by a digital scale (n_out, 1)."""
        return self

    @abstractmethod
    def jump(self, array: ProgrammedArray, side: int, step: Tensor, usual: Tensor) -> Tensor:
        """What a large error of a device on one side moves its column by more than a usual one, (n_out, n_in); both in
        units of the weight."""
