"""Relative gain errors of physical columns, the same in all their reads.

A column Y_ti errs by σ_g ε_ti Y_ti: by its mean in all reads together, by what Y fluctuates around it read by read.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from powerplan.moments.array.read_out import Channel
from powerplan.moments.array.reading import Reading
from powerplan.moments.sources.errors import Errors, OfColumns


def column_gain(reading: Reading, channel: Channel) -> Iterator[Errors]:
    """σ_g² (E[Y]² + Var Y) of every physical column of the channel."""
    array = reading.array
    if not array.hardware.column_gain_std:
        return
    columns = reading.columns_of(channel)
    decoded = array.column_compensation
    fluctuating = torch.stack([(decoded * column.gain) ** 2 * column.variance for column in columns]).sum(0)
    loadings = [decoded * column.gain * column.mean for column in columns]
    yield from OfColumns.of(array, "column_gain", loadings, array.hardware.column_gain_std**2, fluctuating)
