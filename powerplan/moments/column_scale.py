"""Digital scales of outputs that take out what an array makes too small or too large.

An array makes z̄_i = Σ_j W̄_ij x_j on average of what it should make, z*_i = Σ_j W_ij x_j. For rows without noise, means
over inputs, positions and reads,

    least_bias     s_i = E[z̄_i z*_i]/E[z̄_i²]               makes the mean squared bias E[(s_i z̄_i − z*_i)²] least,
    least_error    s_i = E[z̄_i z*_i]/(E[z̄_i²] + q_i)       the mean squared error of the array, bias and variance,

q_i the variance of all that errs in the array: whatever source has an error is in it. Clipping, drift and wires, which
make weights smaller or larger on average, are so taken out as far as columns have them in common. The second also makes
noisy columns smaller; such a bias adds up from layer to layer while noise does not, so that it is the better one only
where noise is a large part of a signal. Biases that are added digitally are not scaled.

Why: docs/decisions/compensation.md.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from powerplan.hardware.full_scale import full_scales
from powerplan.hardware.gains import Gains
from powerplan.hardware.hardware import Hardware
from powerplan.hardware.row_samples import row_samples
from powerplan.hardware.wires.inputs import current_shares
from powerplan.moments.array.constants import ArrayConstants
from powerplan.moments.array.program import program
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.array.reading import Reading
from powerplan.moments.sources import errors_of
from powerplan.network.array_maps import RowsMap
from powerplan.network.graph import Network


def scale_of(array: ProgrammedArray, rows: Tensor) -> Tensor:
    """s (n_out, 1) of an array without scales; 1 for columns that carry nothing.

    Args:
        rows: values (S, G, n) that drive the rows, as :func:`powerplan.hardware.row_samples.row_samples` gives them.
    """
    map = RowsMap(array.map)
    wanted, held = (map.apply(rows, weight) for weight in (array.constants.weight, array.mean_weight))
    square = held**2
    if array.hardware.column_scale == "least_error":
        constants = replace(array.constants, map=map, affine=map)
        reading = Reading(array=replace(array, constants=constants), mean=rows, variance=torch.zeros_like(rows))
        square = sum((errors.output_variance for errors in errors_of(reading, array.whole)), square)
    both = (wanted * held).mean(0)
    carries = both > 0
    return torch.where(carries, both / torch.where(carries, square.mean(0), 1.0), 1.0).reshape(-1, 1)


@torch.no_grad()
def with_column_scale(network: Network, hardware: Hardware, gains: Gains, inputs: np.ndarray) -> Gains:
    """The gains with the scales that the hardware's rule makes for inputs (B, *input_shape); themselves where they have
    scales already, or the hardware none."""
    if not hardware.scales_columns or gains.column_scale is not None:
        return gains
    parts = zip(
        ArrayConstants.all_of(network, hardware, torch.float64),
        hardware.of_layers(network.layer_names),
        *([torch.as_tensor(np.array(g)) for g in entries] for entries in (gains.conductance, gains.voltage)),
        full_scales(network, hardware, inputs),
        current_shares(network, hardware, inputs),
        row_samples(network, hardware, inputs),
        strict=True,
    )
    scales = (scale_of(program(*array), rows) for *array, rows in parts)
    return replace(gains, column_scale=tuple(scale.flatten().numpy(force=True) for scale in scales))
