"""Noise of the row voltages, fresh in every read: an error of variance σ_V²/v_j² of each row, common to all columns."""

from __future__ import annotations

from collections.abc import Iterator

from powerplan.moments.array.read_out import Channel
from powerplan.moments.array.reading import Reading
from powerplan.moments.sources.errors import Errors, OfRows


def row_noise(reading: Reading, channel: Channel) -> Iterator[Errors]:
    """What devices pass on of it on average; what their errors do is part of those."""
    array = reading.array
    if array.hardware.input_noise_std:
        yield OfRows(array=array, kind="row", weight=array.read_out.weight(array, channel))
