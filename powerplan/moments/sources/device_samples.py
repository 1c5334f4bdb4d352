"""Samples of what the errors of devices move columns by.

A device held at zero by clipping errs upwards only, one that is stuck errs by a whole range: sums over the few rows of
a small kernel keep that skew, and devices are drawn from their own distribution. Larger layers sum enough of them to be
Gaussian.
"""

from __future__ import annotations

import torch
from torch import Tensor

from powerplan.hardware.devices import Devices, device_moments
from powerplan.moments.array.device_errors import DeviceErrors
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.rules.linearized import over_batch
from powerplan.moments.sources.errors import Sampled, standard_normals
from powerplan.moments.sources.shared import by_group
from powerplan.moments.sources.stuck import Part, moved_by_events

#: devices of a shared array up to which they are few: every input gets its own, with their own distribution
FEW_DEVICES = 1 << 16
#: multiplications in matrix products that take as long as drawing a normal number
_NUMBER_COST = 96
#: a position whose column errs by less of its variance beside what it has in common with others has that by rounding
_ROUNDING = 1e-5
#: what is added to the covariance of positions beside the trace of it, in float64
_SMALLEST = 1e-12


def device_samples(array: ProgrammedArray, part: Part, sampled: Sampled) -> Tensor:
    """Samples (B, R, G, P, o) that a part of the devices' errors makes at the columns."""
    sets, usual, groups, n = sampled.sets, part.usual, array.map.groups, array.map.n_in
    if not array.is_shared:  # where inputs are large, so are the errors
        spread = mean_squares(usual, sampled).sqrt()
        moved = spread * sampled.normals((*sets, *spread.shape[2:]))
    elif are_few(array):  # inputs with devices of their own average over their chance
        drawn = device_errors(array, sets[0] * sets[1], sampled.common)
        drawn = drawn if part.rows is None else drawn * part.rows
        return usual.moved(sampled.rows, drawn.reshape(*sets, groups, -1, n))
    elif not usual.nodes and not array.is_read_again and _positions_are_few(array, sets[0]):
        moved = _gaussian_columns(by_group(array.map, usual.variance), sampled)
    elif not usual.nodes and not array.is_read_again and _is_uniform(array, usual.variance, sets[0]):
        moved = _columns_alike(by_group(array.map, usual.variance), sampled)
    else:
        spread = usual.variance.sqrt().expand(array.map.n_out, n)
        drawn = spread * standard_normals((sets[1], *spread.shape), sampled.common, spread)
        moved = usual.moved(sampled.rows, drawn.reshape(1, sets[1], groups, -1, n))
    return moved + moved_by_events(array, part, sampled.rows, sets, sampled.common) if part.events else moved


def _positions_are_few(array: ProgrammedArray, batch: int) -> bool:
    """True if the covariances of columns between their positions cost less than the errors of all devices."""
    positions = array.map.positions
    return batch * positions * (positions + 1) <= 2 * _NUMBER_COST


def _is_uniform(array: ProgrammedArray, variance: Tensor, batch: int) -> bool:
    """True if all rows have the same variance, and one covariance between positions for all columns costs less than the
    errors of all devices."""
    alike, map = variance.dim() == 0 or variance.shape[-1] == 1, array.map
    outputs, positions = map.n_out // map.groups, map.positions
    work = positions**2 * (outputs + map.n_in + positions)
    return alike and batch * work < _NUMBER_COST * outputs * map.n_in


def _columns_alike(variance: Tensor, sampled: Sampled) -> Tensor:
    """What Gaussian errors of devices of this variance (G, o, 1) move columns by, (B, R, G, P, o): drawn from the
    covariance Σ_k x_pk x_qk between positions. Every input and sample has devices of its own."""
    rows = sampled.rows.double()
    between = rows @ rows.mT
    # rows may be alike, or fewer than positions
    least = (_SMALLEST * between.diagonal(dim1=-2, dim2=-1).sum(-1)).clamp(min=torch.finfo(torch.float64).tiny)
    between = between + torch.diag_embed(least.unsqueeze(-1).expand(between.shape[:-1]))
    factor: Tensor = torch.linalg.cholesky(between).to(sampled.values)
    numbers = sampled.normals((*sampled.sets, *rows.shape[2:4], variance.shape[1]))
    return factor @ numbers * variance.sqrt().mT


def _gaussian_columns(variance: Tensor, sampled: Sampled) -> Tensor:
    """What Gaussian errors of devices of this variance (G, o, n or 1) move columns by, (B, R, G, P, o): drawn from the
    covariances Σ_k V_ok x_pk x_qk of a column between its positions. Every input and sample has devices of its own."""
    rows = sampled.rows.expand(*sampled.sets, *sampled.rows.shape[2:])
    at = [rows[:, :, :, p : p + 1] for p in range(rows.shape[3])]
    numbers = sampled.normals((len(at), *rows.shape[:3], 1, variance.shape[1]))
    cholesky: list[list[Tensor]] = []  # column k of the factor, from its diagonal down
    for p, here in enumerate(at):
        below = []
        for there in at[p:]:
            products = here * there if variance.shape[-1] > 1 else (here * there).sum(-1, keepdim=True)
            below.append(products @ variance.mT)  # (B, R, G, 1, o)
        whole = below[0]
        for k, column in enumerate(cholesky):
            below = [left - column[p - k] * factor for left, factor in zip(below, column[p - k :], strict=True)]
        has_own = below[0] > _ROUNDING * whole
        scale = torch.where(has_own, below[0], torch.ones_like(whole)).rsqrt() * has_own
        cholesky.append([scale * left for left in below])
    moved = [torch.stack([cholesky[k][p - k] * numbers[k] for k in range(p + 1)]).sum(0) for p in range(len(at))]
    return torch.cat(moved, 3)


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
    target = hardware.conductance_min + gain * torch.stack(sides).clamp(min=0)
    devices = Devices.prepare(hardware, target, gain.unsqueeze(0))
    shape = (count, *target.shape)

    def normals() -> Tensor:
        return torch.randn(shape, generator=generator, dtype=weight.dtype, device=weight.device)

    def uniform() -> Tensor:
        return torch.rand(shape, generator=generator, dtype=weight.dtype, device=weight.device)

    errors = devices.sample(normals, uniform, weight.new_empty(shape)) - device_moments(hardware, target)[0] / gain
    return array.compensation * (errors[:, 0] - errors[:, 1] if len(sides) > 1 else errors[:, 0])
