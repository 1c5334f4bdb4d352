"""Moments of the parts of inputs in slices (:mod:`powerplan.hardware.input_slices`), read by read.

What is read together errs like one read of the whole input: programming errors are the same in all reads, so that what
they make of the parts adds up to what they make of the input; noise that is fresh in every read adds Σ_s a_s² of its
variance. What converters of columns and power make of single reads depends on the moments of their
digits, which are no smooth functions of the value: E x_s, E x_s² and E|x_s| are means over cells of the Gaussian that
are equally likely, carried through what lies between it and the row (:mod:`powerplan.moments.conversion.lattice`). In a
cell the value is taken as uniform, so that integrals of the digits say them, and they change smoothly with gains.

Derivatives are those at fixed digits: x_s in proportion to the limit V_max/v.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from powerplan.gaussian import positive_std
from powerplan.hardware.converters import quantised, top_level
from powerplan.hardware.input_slices import InputSlices
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.array.reading import Reading
from powerplan.moments.conversion.channels import row_limits
from powerplan.moments.conversion.lattice import Lattice
from powerplan.moments.conversion.staircase import BAND

#: cells of a Gaussian, and width in steps of one that is a point
_CELLS, _NARROW = 32, 1e-6
#: entries of the values at the edges of cells that are worked on at a time
_BLOCK_ENTRIES = 1 << 17


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
    if exact and not averaged:
        parts = [part / limit for part in cut.cut(quantised(mean, limit, cut.bits), limit)]
        moments = [(part, torch.zeros_like(part), part.abs()) for part in parts]
    else:
        moments = _moments(cut, mean, variance, limit, lattice)
    return tuple(
        Reading(array=array.one_read, mean=limit * first, variance=limit**2 * spread, size=limit * size)
        for first, spread, size in moments
    )


@torch.no_grad()
def _moments(
    cut: InputSlices, mean: Tensor, variance: Tensor, limit: Tensor, lattice: Lattice | None
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Mean, variance and mean size of every x_s in units of the limit (B, *input_shape)."""
    middle, spread = (mean, variance) if lattice is None else (lattice.mean, lattice.variance)
    positive, std = positive_std(spread.expand_as(middle))
    std = torch.where(positive, std, torch.zeros_like(std))
    edges, scale = _edges(), top_level(cut.bits) / limit
    sums = [[torch.zeros_like(mean, dtype=torch.float64) for _ in range(3)] for _ in cut.weights]
    at_once = max(1, _BLOCK_ENTRIES // mean.numel())
    for low in range(0, _CELLS, at_once):
        values = (middle + edge * std for edge in edges[low : low + at_once + 1])
        value = torch.stack([(x if lattice is None else lattice.value(x)).double() * scale for x in values])
        width = value.diff(dim=0)
        wide = width.abs() > _NARROW
        safe = torch.where(wide, width, torch.ones_like(width))
        for total, digit in zip(sums, _digits(cut, value), strict=True):
            for power, integral, there in zip(total, digit.integrals, digit.powers, strict=True):
                power.add_(torch.where(wide, integral.diff(dim=0) / safe, there[1:]).sum(0), alpha=1 / _CELLS)
    moments = ((first, (square - first * first).clamp(min=0), size) for first, square, size in sums)
    return [(first.to(mean), spread.to(mean), size.to(mean)) for first, spread, size in moments]


class _Digit(NamedTuple):
    """A digit's share f of the largest at some values: f, f² and |f|, and their integrals from 0."""

    powers: tuple[Tensor, ...]
    integrals: tuple[Tensor, ...]


def _digits(cut: InputSlices, value: Tensor) -> list[_Digit]:
    """The digits of values in steps Δ."""
    size, sign = value.abs() + 0.5, value.sign()
    levels = size.clamp(max=top_level(cut.bits) + 1)
    beyond = size - levels
    digits = []
    for place, width in enumerate(cut.widths):
        step, most = 2 ** (cut.slice_bits * place), 2**width - 1
        steps = (levels / step).floor()
        periods = (steps / (most + 1)).floor()
        digit = steps - periods * (most + 1)
        rest = levels - steps * step
        first = step * (periods * (most * (most + 1) / 2) + digit * (digit - 1) / 2) + digit * rest + most * beyond
        of_period = most * (most + 1) * (2 * most + 1) / 6
        square = step * (periods * of_period + (digit - 1) * digit * (2 * digit - 1) / 6)
        square = square + digit**2 * rest + most**2 * beyond
        share = torch.where(levels > top_level(cut.bits), torch.ones_like(digit), digit / most)
        digits.append(
            _Digit((sign * share, share * share, share), (first / most, sign * square / most**2, sign * first / most))
        )
    return digits


def _edges() -> list[float]:
    """Edges of the cells of a standard normal variable, which have its variance where it is uniform in each."""
    shares = torch.arange(1, _CELLS, dtype=torch.float64) / _CELLS
    inner = math.sqrt(2) * torch.erfinv(2 * shares - 1)
    # E over cells (a, b) of (a² + a b + b²)/3 is 1
    within = (inner[:-1] ** 2 + inner[:-1] * inner[1:] + inner[1:] ** 2).sum() / 3
    last = float(inner[-1])
    each = 3 * (_CELLS - float(within)) / 2  # of both end cells: last² + last e + e²
    end = (math.sqrt(4 * each - 3 * last**2) - last) / 2
    return [-end, *inner.tolist(), end]
