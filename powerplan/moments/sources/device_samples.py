"""Samples of what the errors of devices move columns by.

A device held at zero by clipping errs upwards only, one that is stuck errs by a whole range: sums over the few rows of
a small kernel keep that skew, and devices are drawn from their own distribution. Larger layers sum enough of them to be
Gaussian.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from powerplan.hardware.devices import Devices, device_moments
from powerplan.hardware.predistortion import targets
from powerplan.moments.array.device_errors import DeviceErrors
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.rules.linearized import over_batch
from powerplan.moments.sources.sampled import Sampled
from powerplan.moments.sources.shared import by_group
from powerplan.moments.sources.stuck import Part, moved_by_events
from powerplan.network.array_maps import ArrayMap

#: devices of a shared array up to which they are few: every input gets its own, with their own distribution
FEW_DEVICES = 1 << 16
#: rows of a column from which its sum is Gaussian, and the positions' covariance that of separable variances
_MANY_ROWS = 16
#: multiplications in matrix products that take as long as drawing a normal number
_NUMBER_COST = 96
#: roundings of the trace that are added to the covariance of positions, whose rows may be alike
_SMALLEST = 256


def device_samples(array: ProgrammedArray, part: Part, sampled: Sampled) -> Tensor:
    """Samples (B, R, G, P, o) that a part of the devices' errors makes at the columns."""
    sets, usual, groups, n = sampled.sets, part.usual, array.map.groups, array.map.n_in
    if not array.is_shared:  # where inputs are large, so are the errors
        spread = mean_squares(usual, sampled).sqrt()
        moved = spread * sampled.normals((*sets, *spread.shape[2:]))
    elif draws_columns(array):
        variance = by_group(array.map, usual.variance)
        whole = usual.variance is array.weight_variance
        make = partial(_separated, variance)
        moved = _column_samples(*(array.held.kept("separated variance", make) if whole else make()), sampled)
    elif are_few(array):  # inputs with devices of their own average over their chance
        drawn = device_errors(array, sets[0] * sets[1], sampled.common)
        drawn = drawn if part.rows is None else drawn * part.rows
        return usual.moved(sampled.rows, drawn.reshape(*sets, groups, -1, n))
    else:
        spread = usual.variance.sqrt().expand(array.map.n_out, n)
        drawn = spread * sampled.by_chip(spread.shape)
        moved = usual.moved(sampled.rows, drawn.reshape(len(drawn), sets[1], groups, -1, n))
    return moved + moved_by_events(array, part, sampled.rows, sets, sampled.common) if part.events else moved


def draws_columns(array: ProgrammedArray) -> bool:
    """True if what columns err by is drawn instead of the errors of their devices, which nothing else reads."""
    return array.map.n_in >= _MANY_ROWS and array.read_out.adds_devices and not array.is_read_again


def numbers_by_position(map: ArrayMap) -> bool:
    """True if it costs less to draw the positions of a column, from their covariance, than its rows."""
    positions, rows, outputs = map.positions, map.n_in, map.n_out // map.groups
    of_positions = positions * (_NUMBER_COST * outputs + positions * (rows + outputs + positions))
    return of_positions < rows * outputs * (_NUMBER_COST + positions)


def _separated(variance: Tensor) -> tuple[Tensor, Tensor]:
    """Factors a (G, o) of outputs and b (G, n or 1) of rows whose products variances V (G, o, n or 1) are, about."""
    by_row, by_output = variance.mean(1), variance.mean(2)
    mean = by_output.mean(1, keepdim=True)
    return by_output / mean.clamp(min=torch.finfo(mean.dtype).tiny), by_row


def _column_samples(by_output: Tensor, by_row: Tensor, sampled: Sampled) -> Tensor:
    """What Gaussian errors of devices of variances V_ok = a_o b_k move columns by, (B, R, G, P, o), with devices of
    their own for every input and sample.

    What V is beside that averages out in Σ_k V_ok x_pk x_qk over many rows, and the variances of samples are scaled to
    the right ones. Unless errors are rare, that sum is taken from typical rows, which all samples have in common.
    """
    map = sampled.array.map
    rows = sampled.rows if sampled.rare else sampled.typical_rows  # (B, T, G, P, n)
    if numbers_by_position(map):
        between, known = (rows * by_row.unsqueeze(1)) @ rows.mT, torch.finfo(rows.dtype)
        between = between if sampled.rare else between.mean(1, keepdim=True)
        diagonal = between.diagonal(dim1=-2, dim2=-1)
        diagonal += (_SMALLEST * known.eps * diagonal.sum(-1, keepdim=True)).clamp(min=known.tiny)
        moving = torch.linalg.cholesky(between) if diagonal.shape[-1] > 1 else between.sqrt()
        spread = by_output.unsqueeze(1)
    else:
        moving, spread = rows, by_row.unsqueeze(2) * by_output.unsqueeze(1)
    (batch, count), (groups, outputs), size = sampled.sets, by_output.shape, moving.shape[-1]
    if sampled.rare:
        return moving @ sampled.normals((batch, count, groups, size, outputs)).mul_(spread.sqrt())
    numbers = sampled.normals((batch, groups, size, count, outputs)).mul_(spread.sqrt().unsqueeze(2))
    columns = numbers.new_empty(batch, count, groups, outputs, map.positions)
    chunks = zip(
        moving.unbind(1),
        numbers.tensor_split(moving.shape[1], 3),
        columns.tensor_split(moving.shape[1], 1),
        strict=True,
    )
    for typical, own, moved in chunks:
        product = typical @ own.flatten(3)  # (B, G, P, R·o): one for all samples
        moved.copy_(product.unflatten(3, own.shape[3:]).permute(0, 3, 1, 4, 2))
    return columns.mT


def mean_squares(usual: DeviceErrors, sampled: Sampled) -> Tensor:
    """Mean square (B, R or 1, G, P, o) of what errors of devices that are read once move columns by."""
    array = sampled.array

    def by_column(x: Tensor) -> Tensor:
        return array.map.as_columns(array.weighted(x.square(), usual.variance, array.affine))

    total = over_batch(by_column, sampled.values)
    for node in usual.nodes:
        voltage, r = node.at(sampled.rows), node.relative
        errors = array.map.matrices(usual.variance)[..., node.rows] * r.unsqueeze(1)
        crossed = sampled.rows[..., node.rows] @ errors.mT
        total = total + voltage * ((errors @ r.unsqueeze(-1)).mT * voltage - 2 * crossed)
    return total.clamp(min=0)


def are_few(array: ProgrammedArray) -> bool:
    """True if devices are drawn from their own distribution."""
    return array.is_shared and array.read_out.adds_devices and array.constants.size <= FEW_DEVICES


def device_errors(array: ProgrammedArray, count: int, generator: torch.Generator) -> Tensor:
    """Errors W − W̄ (count, n_out, n_in) of independent sets of the devices of an array with amplifiers."""
    hardware, weight = array.hardware, array.constants.weight
    sides = [weight + array.constants.offset] if hardware.devices_per_weight == 1 else [weight, -weight]
    gain = array.gain.expand(weight.shape)
    target = targets(hardware, hardware.conductance_min + array.programmed_gain * torch.stack(sides).clamp(min=0))
    devices = Devices.prepare(hardware, target, gain.unsqueeze(0))
    shape = (count, *target.shape)

    def normals() -> Tensor:
        return torch.randn(shape, generator=generator, dtype=weight.dtype, device=weight.device)

    def uniform() -> Tensor:
        return torch.rand(shape, generator=generator, dtype=weight.dtype, device=weight.device)

    errors = devices.sample(normals, uniform, weight.new_empty(shape)) - device_moments(hardware, target)[0] / gain
    return array.compensation * (errors[:, 0] - errors[:, 1] if len(sides) > 1 else errors[:, 0])
