"""Digital scales of inputs and outputs that take out what an array makes too small or too large.

An array makes z̄_i = Σ_j W̄_ij x_j on average of what it should make, z*_i = Σ_j W_ij x_j. For rows without noise, means
over inputs, positions and reads, outputs are multiplied by

    least_bias     s_i = E[z̄_i z*_i]/E[z̄_i²]               makes the mean squared bias E[(s_i z̄_i − z*_i)²] least,
    least_error    s_i = E[z̄_i z*_i]/(E[z̄_i²] + q_i)       the mean squared error of the array, bias and variance,

q_i the variance of all that errs in the array: whatever source has an error is in it. Clipping, drift and wires, which
make weights smaller or larger on average, are so taken out as far as columns have them in common. The second also makes
noisy columns smaller; such a bias adds up from layer to layer while noise does not, so that it is the better one only
where noise is a large part of a signal. Biases that are added digitally are not scaled.

Inputs are multiplied before, by

    least_bias     r_j = Σ_i W̄_ij W_ij/Σ_i W̄_ij²           makes Σ_i (r_j W̄_ij − W_ij)² least,

at most max_j r_j √E[x_j²] / max_j √E[x_j²], so that no row that hardly carries anything asks for voltages that others
have to do without.

Why: docs/decisions/compensation.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

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
from powerplan.network.array_maps import ConstantRowMap, RowsMap
from powerplan.network.graph import Network


class Scales(NamedTuple):
    """Scales of the outputs (n_out,) and inputs (n_rows,) of every array; None = as the hardware's rules make them."""

    columns: Sequence[Tensor] | None = None
    rows: Sequence[Tensor] | None = None

    @classmethod
    def of(cls, arrays: Sequence[ProgrammedArray]) -> Scales:
        """Those that arrays have."""
        columns = [s.flatten() for array in arrays if isinstance(s := array.column_scale, Tensor)]
        rows = [_of_inputs(array, s) for array in arrays if isinstance(s := array.row_scale, Tensor)]
        return cls(columns or None, rows or None)


def scaled_by_rules(
    arrays: Sequence[ProgrammedArray], samples: Sequence[Tensor | None], known: Scales
) -> list[ProgrammedArray]:
    """Arrays with the scales that their hardware asks for.

    Args:
        samples: values (S, G, n) that drive the rows, as :func:`powerplan.hardware.row_samples.row_samples` gives them;
            None where no rule asks for them.
        known: scales that are not made by the rules.
    """
    scaled = []
    for i, (array, rows) in enumerate(zip(arrays, samples, strict=True)):
        if array.hardware.scales_rows and rows is not None:
            given = None if known.rows is None else known.rows[i]
            array = array.driven(row_scale_of(array, rows) if given is None else _with_constant(array, given))
        if array.hardware.scales_columns and rows is not None:
            array = array.scaled(scale_of(array, rows) if known.columns is None else known.columns[i].reshape(-1, 1))
        scaled.append(array)
    return scaled


def scaled_by(array: ProgrammedArray, columns: Tensor | None, rows: Tensor | None) -> ProgrammedArray:
    """An array without scales, with outputs and inputs times scales (n_out,) and (n_rows,); None = as they are."""
    if rows is not None:
        array = array.driven(_with_constant(array, rows))
    return array if columns is None else array.scaled(columns.reshape(-1, 1))


def _has_constant(array: ProgrammedArray) -> bool:
    """Whether the last row of every group is driven by the constant 1."""
    return isinstance(array.map, ConstantRowMap)


def _of_inputs(array: ProgrammedArray, scale: Tensor) -> Tensor:
    """The scales (n_rows,) of the inputs of all groups, of those of all rows (G, n)."""
    return (scale[:, :-1] if _has_constant(array) else scale).flatten()


def _with_constant(array: ProgrammedArray, scale: Tensor) -> Tensor:
    """The scales of all rows (G, n), of those of the inputs."""
    by_group = scale.reshape(array.map.groups, -1)
    return torch.nn.functional.pad(by_group, (0, 1), value=1.0) if _has_constant(array) else by_group


def row_scale_of(array: ProgrammedArray, rows: Tensor) -> Tensor:
    """r (G, n) of an array without scales; 1 for rows that carry nothing, and for the constant that drives biases.

    Args:
        rows: as in :func:`scale_of`.
    """
    wanted, held = (array.map.matrices(weight) for weight in (array.constants.weight, array.mean_weight))
    both = (wanted * held).sum(1)
    scale = torch.where(both > 0, both / torch.where(both > 0, (held * held).sum(1), 1.0), 1.0)
    size = rows.square().mean(0).sqrt()
    inputs = slice(0, -1 if _has_constant(array) else None)
    own, size = scale[:, inputs], size[:, inputs]
    if bool((size > 0).any()):
        own = torch.minimum(own, (own * size).max() / size.max())
    return _with_constant(array, own)


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
def with_scales(network: Network, hardware: Hardware, gains: Gains, inputs: np.ndarray) -> Gains:
    """The gains with the digital scales that the hardware's rules make for inputs (B, *input_shape); those that gains
    have already stay."""
    wanted = {
        name: getattr(gains, name)
        for name, asked in (("column_scale", hardware.scales_columns), ("row_scale", hardware.scales_rows))
        if asked
    }
    if all(scales is not None for scales in wanted.values()):
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
    known = Scales(
        *(None if s is None else [torch.tensor(g) for g in s] for s in (gains.column_scale, gains.row_scale))
    )
    columns: list[np.ndarray] = []
    inputs_of: list[np.ndarray] = []
    for i, (*array, rows) in enumerate(parts):
        own = Scales(*(None if s is None else [s[i]] for s in known))
        made = Scales.of(scaled_by_rules([program(*array)], [rows], own))
        for scales, entries in zip(made, (columns, inputs_of), strict=True):
            entries += [s.numpy(force=True) for s in scales or ()]
    return replace(gains, column_scale=tuple(columns) or None, row_scale=tuple(inputs_of) or None)
