"""Noise of the row voltages, fresh in every read: an error of variance σ_V²/v_j² of each row.

The mean weights pass it on to all columns; through the errors of devices V_ij it is an error of each by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from powerplan.moments.array.read_out import Channel
from powerplan.moments.array.reading import Reading
from powerplan.moments.sources.errors import Errors, Independent, OfRows


def row_noise(reading: Reading, channel: Channel) -> Iterator[Errors]:
    """What devices pass on of it on average, and Σ_j V_ij σ_V²/v_j² through their errors."""
    array = reading.array
    if array.hardware.input_noise_std:
        yield OfRows(array=array, kind="row", channel=channel)
        through = array.row_noise_through(array.read_out.through(array, channel)).unsqueeze(0)
        yield Independent(array=array, kind="row", by_column=through)
