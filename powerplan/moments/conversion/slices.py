"""Moments of the parts of inputs in slices (:mod:`powerplan.hardware.input_slices`), read by read.

What is read together errs like one read of the whole input: programming errors are the same in all reads, so that what
they make of the parts adds up to what they make of the input; noise that is fresh in every read adds Σ_s a_s² of its
variance. What converters of columns and power make of single reads depends on the moments of their
digits, which are no smooth functions of the value: E x_s, E x_s² and E|x_s| are means over points of the Gaussian,
carried through what lies between it and the row (:mod:`powerplan.moments.conversion.lattice`), equally likely ones.

Derivatives are those at fixed digits: x_s in proportion to the limit V_max/v.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from powerplan.gaussian import positive_std
from powerplan.hardware.converters import quantised
from powerplan.hardware.input_slices import InputSlices
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.array.reading import Reading
from powerplan.moments.conversion.channels import row_limits
from powerplan.moments.conversion.lattice import Lattice
from powerplan.moments.conversion.staircase import BAND

#: points that a Gaussian is taken at
_POINTS = 32


def slice_readings(
    array: ProgrammedArray, mean: Tensor, variance: Tensor, *, exact: bool, lattice: Lattice | None
) -> tuple[Reading, ...]:
    """The reads of an array at inputs of these moments (B, *input_shape) before their conversion; none where inputs
    come at once.

    Args:
        exact: no noise has reached the inputs.
        lattice: of the inputs, where they come from converters themselves.
    """
    cut = array.hardware.input_slices
    if cut is None:
        return ()
    limit = row_limits(array)
    averaged = "rows" in array.averaged or ("noisy rows" in array.averaged and not exact)
    if averaged:
        variance, lattice = variance + (BAND * mean) ** 2, None
    moments = _moments(cut, mean, variance, limit, lattice, exact=exact and not averaged)
    return tuple(
        Reading(array=array.one_read, mean=limit * first, variance=limit**2 * spread, size=limit * size)
        for first, spread, size in moments
    )


@torch.no_grad()
def _moments(
    cut: InputSlices, mean: Tensor, variance: Tensor, limit: Tensor, lattice: Lattice | None, *, exact: bool
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Mean, variance and mean size of every x_s in units of the limit (B, *input_shape)."""
    places = torch.zeros(1) if exact else _normal_points()
    before = (mean, variance) if lattice is None else (lattice.mean, lattice.variance)
    positive, std = positive_std(before[1].expand_as(before[0]))
    std = torch.where(positive, std, torch.zeros_like(std))
    sums = [[torch.zeros_like(mean) for _ in range(3)] for _ in cut.weights]
    for place in places.tolist():
        value = before[0] + place * std
        if lattice is not None:
            value = lattice.value(_on(lattice, value))
        parts = cut.cut(quantised(value, limit, cut.bits), limit)
        for total, part in zip(sums, parts, strict=True):
            fraction = part / limit
            for power, of_power in zip(total, (fraction, fraction * fraction, fraction.abs()), strict=True):
                power.add_(of_power, alpha=1 / len(places))
    return [(first, (square - first * first).clamp(min=0), size) for first, square, size in sums]


def _on(lattice: Lattice, value: Tensor) -> Tensor:
    """Values on the levels of a lattice that has some."""
    if lattice.step is None:
        return value
    level = ((value - lattice.offset) / lattice.step).round().clamp(-lattice.top, lattice.top)
    return level * lattice.step + lattice.offset


def _normal_points() -> Tensor:
    """Points of a standard normal variable that are equally likely, with its variance."""
    shares = (torch.arange(_POINTS, dtype=torch.float64) + 0.5) / _POINTS
    points = math.sqrt(2) * torch.erfinv(2 * shares - 1)
    return points / points.square().mean().sqrt()
