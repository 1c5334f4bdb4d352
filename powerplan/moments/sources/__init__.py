"""Error sources: what each adds to the outputs of an array.

A source is a function that yields the :class:`~powerplan.moments.sources.errors.Errors` that it causes in what is
decoded together; these know their variance, covariance, what they cause in directions of the output, and samples.
"""

from __future__ import annotations

from powerplan.moments.array.read_out import Channel
from powerplan.moments.array.reading import Reading
from powerplan.moments.sources.column_gain import column_gain
from powerplan.moments.sources.errors import Errors
from powerplan.moments.sources.programming import programming
from powerplan.moments.sources.read_noise import read_noise
from powerplan.moments.sources.row_noise import row_noise

__all__ = ["SOURCES", "Errors", "errors_of"]

#: every source of errors
SOURCES = (programming, column_gain, read_noise, row_noise)


def errors_of(reading: Reading, channel: Channel) -> tuple[Errors, ...]:
    """The errors that all sources cause in a channel of an array."""
    return tuple(errors for source in SOURCES for errors in source(reading, channel))
