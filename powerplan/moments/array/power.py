"""What an array dissipates at given moments of its inputs; formulas in :mod:`powerplan.moments.array.programmed`."""

from __future__ import annotations

from torch import Tensor

from powerplan.moments.array.reading import Reading


def array_power(reading: Reading) -> Tensor:
    """Power dissipated in the devices, and the loads of a divider [W], mean over the batch."""
    array = reading.array
    squares = array.affine.row_sums((reading.mean * reading.mean + reading.variance).mean(0, keepdim=True))
    drive = array.with_row_noise(squares)
    return (array.v * array.v * drive * array.row_conductance).sum() - array.read_out.saved_power(reading)


def tia_power(reading: Reading) -> Tensor:
    """Power dissipated in the TIA feedback [W], mean over the batch."""
    array, resistance = reading.array, reading.array.feedback_resistance
    total = reading.mean.new_zeros(())
    if resistance is None:
        return total
    scale = array.map.columns_view(array.decode**2 * resistance)
    for column in reading.columns:
        total = total + (scale * column.square).sum()
    return (1 + array.hardware.column_gain_std**2) * total / len(reading.mean)
