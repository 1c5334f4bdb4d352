"""What an array dissipates at given moments of its inputs; formulas in :mod:`powerplan.moments.array.programmed`."""

from __future__ import annotations

from torch import Tensor

from powerplan.moments.array.reading import Reading
from powerplan.moments.rounds import in_rounds


def array_power(reading: Reading, rounds: int = 1) -> Tensor:
    """Power dissipated in the devices, and the loads of a divider [W], mean over the inputs of each round, (M,)."""
    array = reading.array
    squares = in_rounds(reading.mean * reading.mean + reading.variance, rounds).mean(1)
    drive = array.with_row_noise(array.affine.row_sums(squares))
    return (array.v * array.v * drive * array.row_conductance).sum((-2, -1)) - array.read_out.saved_power(reading)


def tia_power(reading: Reading, rounds: int = 1) -> Tensor:
    """Power dissipated in the TIA feedback [W], mean over the inputs of each round, (M,)."""
    array, resistance = reading.array, reading.array.feedback_resistance
    total = reading.mean.new_zeros(rounds)
    if resistance is None:
        return total
    scale = array.map.columns_view(array.decode**2 * resistance)
    for column in reading.columns:
        total = total + (scale * column.square).reshape(rounds, -1).sum(1)
    return (1 + array.hardware.column_gain_std**2) * total * rounds / len(reading.mean)
