"""Columns held at 0 V by transimpedance amplifiers: every device adds its current, whatever the others do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch import Tensor

from powerplan.hardware.devices import idle_device_moments
from powerplan.hardware.full_scale import column_limits
from powerplan.moments.array.device_errors import DeviceErrors
from powerplan.moments.array.read_out import Channel, Column, ReadOut

if TYPE_CHECKING:
    from powerplan.moments.array.programmed import ProgrammedArray
    from powerplan.moments.array.reading import Reading


class Amplifier(ReadOut):
    """A pair's currents are subtracted before their conversion: one channel for every row tile."""

    adds_devices = True

    def channels(self, array: ProgrammedArray) -> tuple[Channel, ...]:
        return tuple(Channel((tile,), array.whole.sides) for tile in array.whole.tiles)

    def sides(self, array: ProgrammedArray) -> tuple[tuple[Tensor, Tensor], ...]:
        mean = array.analog_weight / array.compensation
        if array.hardware.devices_per_weight == 1:
            return ((mean, (array.weight_variance / array.compensation**2).expand_as(mean)),)
        idle, idle_variance = idle_device_moments(array.hardware)
        gain = array.gain
        # variance of the device that holds |W|, beyond that of an idle one
        spread = array.weight_variance * (gain / array.compensation) ** 2 - 2 * idle_variance
        return tuple(
            (
                idle / gain + (side * mean).clamp(min=0),
                (idle_variance + spread * (side * array.constants.sign).clamp(min=0)) / gain**2,
            )
            for side in (1, -1)
        )

    def weight(self, array: ProgrammedArray, channel: Channel) -> Tensor:
        return array.within(channel, array.analog_weight)

    def device_errors(self, array: ProgrammedArray) -> tuple[DeviceErrors, ...]:
        return (DeviceErrors(variance=array.weight_variance),)

    def through(self, array: ProgrammedArray, channel: Channel) -> Tensor:
        return array.within(channel, array.weight_variance)

    def device_variance(self, reading: Reading, channel: Channel) -> Tensor:
        return reading.squares(self.through(reading.array, channel))

    def columns(self, reading: Reading, channel: Channel) -> Iterator[Column]:
        array = reading.array
        for tile in channel.tiles:
            for side in channel.sides:
                g, s = (array.within(Channel((tile,), (side,)), value) for value in array.sides[side])
                noise = array.row_noise_through(g * g + s)
                yield Column(reading.linear(g), reading.squares(s) + reading.passed(g) + noise, 1.0)

    def limits(self, array: ProgrammedArray, channel: Channel) -> Tensor:
        c = array.per_column(array.c)
        limits = column_limits(array.hardware, array.scale, c, array.decode)
        if isinstance(array.column_scale, Tensor):
            limits = limits * array.per_column(array.column_scale)
        return array.map.columns_view(limits)

    def conductance(self, array: ProgrammedArray, channel: Channel) -> Tensor:
        conductance, feedback = array.within(channel, array.conductance), array.feedback_resistance
        through = (conductance * array.gain).sum(1)
        if feedback is None:
            return through
        return through + len(channel.tiles) * array.hardware.devices_per_weight / feedback

    def saved_power(self, reading: Reading) -> Tensor | float:
        return 0.0

    def jump(self, array: ProgrammedArray, side: int, step: Tensor, usual: Tensor) -> Tensor:
        return array.compensation * (step - usual)
