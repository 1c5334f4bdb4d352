"""Targets of devices that hold on average what is wanted, where devices do not hold their targets on average.

A weight is stored as a conductance x above G_min. A device with target G holds g(G) on average, and what is compared
with it is the reference g0: the idle device of its pair, g(G_min), or G_min itself, which an offset mapping subtracts
digitally. With ``hardware.predistort`` the target is

    T(x) = g⁻¹(g0 + x − G_min),    G_min ≤ T ≤ G_max,

so that the mean weight is the weight. Clipping at 0 S, drift, measured means and stuck devices are made up for; with
drift compensation, which makes up for what happens after programming, g is that of devices just programmed. g⁻¹ is a
cubic interpolation of a table, right to 1e-9 of the range for clipped devices; a target that no table entry reaches is
at the end of the range.

Why: docs/decisions/compensation.md.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from powerplan.hardware.devices import device_moments, idle_device_moments, just_programmed
from powerplan.hardware.hardware import Hardware

#: entries of the table of g
_ENTRIES = 1 << 13


def reference_moments(hardware: Hardware) -> tuple[float, float]:
    """Mean [S] and variance [S²] of what a weight's conductance is compared with: the idle device of its pair, or
    conductance_min itself, which an offset mapping subtracts digitally."""
    return idle_device_moments(hardware) if hardware.devices_per_weight == 2 else (hardware.conductance_min, 0.0)


def held_reference(hardware: Hardware) -> float:
    """What a device holds on average [S] of which conductance_min is wanted, with shifted targets."""
    aimed = _aimed(hardware)
    return hardware.conductance_min if aimed is None else _inverse(aimed).reference


def targets(hardware: Hardware, wanted: Tensor) -> Tensor:
    """Target conductances [S] of devices that shall hold ``wanted`` [S] >= conductance_min, any shape; differentiable.

    The same tensor where devices hold their targets on average, or without ``predistort``.
    """
    aimed = _aimed(hardware)
    if aimed is None:
        return wanted
    table = _inverse(aimed)
    held = wanted + (table.reference - hardware.conductance_min)
    place = ((held - table.low) / table.step).clamp(0, _ENTRIES)
    entry = place.detach().floor().clamp(max=_ENTRIES - 1).long()
    t = place - entry
    (a, b), (da, db) = (values.to(wanted)[torch.stack([entry, entry + 1])] for values in (table.targets, table.slopes))
    # cubic Hermite between two entries
    rise, s = b - a, 1 - t
    target: Tensor = a + t * (rise + s * (s * (da - rise) - t * (db - rise)))
    return target


def largest_wanted(hardware: Hardware) -> float:
    """The largest conductance [S] that targets up to conductance_max can stand for."""
    aimed = _aimed(hardware)
    if aimed is None:
        return hardware.conductance_max
    table = _inverse(aimed)
    return table.high - table.reference + hardware.conductance_min


class _Inverse(NamedTuple):
    """g⁻¹ at equal steps from ``low`` to ``high`` [S]: targets, and their slopes per step; and g0."""

    low: float
    high: float
    step: float
    targets: Tensor
    slopes: Tensor
    reference: float


def _aimed(hardware: Hardware) -> Hardware | None:
    """The devices whose mean shall be right; None where targets are not shifted."""
    hardware = hardware.targets_of
    if not hardware.predistort:
        return None
    aimed = just_programmed(hardware) if hardware.drift_compensation else hardware
    return aimed if aimed.shifts_mean else None


@lru_cache(maxsize=64)
@torch.no_grad()
def _inverse(hardware: Hardware) -> _Inverse:
    bottom, top = hardware.conductance_min, hardware.conductance_max
    target = torch.linspace(bottom, top, 4 * _ENTRIES + 1, dtype=torch.float64)
    # the least target that reaches a mean, should the mean fall anywhere
    mean = device_moments(hardware, target)[0].cummax(0).values
    low, high = float(mean[0]), float(mean[-1])
    held = torch.linspace(low, high, _ENTRIES + 1, dtype=torch.float64)
    above = torch.searchsorted(mean, held).clamp(1, len(mean) - 1)
    lower, upper = target[above - 1], target[above]
    for _ in range(_BISECTIONS):
        middle = (lower + upper) / 2
        reached = device_moments(hardware, middle)[0] >= held
        lower, upper = torch.where(reached, lower, middle), torch.where(reached, middle, upper)
    inverse = (lower + upper) / 2
    inverse[0], inverse[-1] = bottom, top
    step = (high - low) / _ENTRIES
    slopes = torch.gradient(inverse, edge_order=2)[0]
    return _Inverse(low, high, step, inverse, slopes, reference_moments(hardware)[0])


#: halvings of an interval of the finer table
_BISECTIONS = 40
