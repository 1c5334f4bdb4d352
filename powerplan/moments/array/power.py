"""What an array dissipates at given moments of its inputs; formulas in :mod:`powerplan.moments.array.programmed`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from powerplan.moments.array.columns import currents
from powerplan.moments.conversion.channels import feedback_of

if TYPE_CHECKING:
    from powerplan.moments.array.programmed import ProgrammedArray


def array_power(moments: ProgrammedArray, mean: Tensor, variance: Tensor, covariance: Tensor | None = None) -> Tensor:
    """Power dissipated in the devices, and the loads of a divider [W], mean over the batch.

    Arguments as for :func:`powerplan.moments.array.columns.currents`.
    """
    drive = moments.affine.row_sums((mean * mean + variance).mean(0, keepdim=True))
    if moments.has_row_noise:
        drive = drive + moments.map.positions * moments.row_noise
    power = (moments.v * moments.v * drive * moments.row_conductance).sum()
    if moments.divider is not None:
        c = moments.c.reshape(-1).expand(moments.map.n_out)
        for node in moments.divider.nodes(mean, variance, covariance):
            power = power - moments.decode_v**2 * moments.divider.drawn_from(node, c).sum() / len(mean)
    return power


def tia_power(moments: ProgrammedArray, mean: Tensor, variance: Tensor, covariance: Tensor | None = None) -> Tensor:
    """Power dissipated in the TIA feedback [W], mean over the batch; arguments as for :func:`array_power`."""
    resistance = feedback_of(moments)
    total = torch.zeros((), dtype=mean.dtype, device=mean.device)
    if resistance is None:
        return total
    scale = moments.map.columns_view(moments.decode**2 * resistance)
    for column in currents(moments, mean, variance, covariance):
        total = total + (scale * column.square).sum()
    return (1 + moments.hardware.column_gain_std**2) * total / mean.shape[0]
