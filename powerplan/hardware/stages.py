"""The parts of a device model as functions of the target: programming, and what happens until the inference.

Shared by the moments (:mod:`powerplan.hardware.devices`) and the draws (:mod:`powerplan.hardware.sampling`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from powerplan.hardware.aging import LogTimeDrift, PowerLawDrift, Snapshot
from powerplan.hardware.curve_values import curve_values
from powerplan.hardware.hardware import Hardware


def programming_variance(hardware: Hardware, target: Tensor) -> Tensor:
    """s²(G) [S²] of the unclipped programming noise at target conductances G [S], any shape.

    s² = σ_p² + (ρG)² + max(0, Σ_k a_k (G/reference)^k)² + max(0, curve(G))². Differentiable in G.
    """
    variance = torch.full_like(target, hardware.programming_noise_std**2)
    if hardware.programming_noise_proportional:
        variance = variance + (hardware.programming_noise_proportional * target) ** 2
    if hardware.programming_noise_polynomial:
        u = target / hardware.polynomial_reference
        std = torch.zeros_like(target)
        for coefficient in reversed(hardware.programming_noise_polynomial):
            std = std * u + coefficient
        variance = variance + std.clamp(min=0) ** 2
    if hardware.programming_noise_curve is not None:
        std = curve_values(hardware.programming_noise_curve, target, hardware.conductance_max)
        variance = variance + std.clamp(min=0) ** 2
    return variance


def programmed(hardware: Hardware, target: Tensor, *, start: bool = False) -> tuple[Tensor, Tensor]:
    """Mean [S] and variance [S²] of devices before any clipping, drift or other noise; the mean may be ``target``.

    Args:
        start: at the first of the measured times instead of the time of inference.
    """
    variance = programming_variance(hardware, target)
    if hardware.measurements is None:
        return target, variance
    mean: Tensor | float = 0.0
    std: Tensor | float = 0.0
    for weight, snapshot in snapshot_weights(hardware.measurements, -math.inf if start else hardware.time):
        reached = target if snapshot.mean is None else curve_values(snapshot.mean, target, hardware.conductance_max)
        mean = mean + weight * reached
        if snapshot.std is not None:
            state = reached if snapshot.std_of == "mean" else target
            std = std + weight * curve_values(snapshot.std, state, hardware.conductance_max).clamp(min=0)
    if all(snapshot.mean is None for snapshot in hardware.measurements):
        mean = target
    return torch.as_tensor(mean), variance + std * std


def snapshot_weights(measurements: tuple[Snapshot, ...], time: float) -> list[tuple[float, Snapshot]]:
    """The one or two snapshots around ``time`` [s] and the weight of each."""
    later = next((k for k, snapshot in enumerate(measurements) if snapshot.time >= time), len(measurements) - 1)
    after = measurements[later]
    if later == 0 or after.time <= time:
        return [(1.0, after)]
    before = measurements[later - 1]
    logarithmic = before.time > 0  # the logarithm of time 0 is not there to start from
    weight = math.log(time / before.time) / math.log(after.time / before.time) if logarithmic else time / after.time
    return [(1 - weight, before), (weight, after)]


@dataclass(frozen=True, kw_only=True)
class Disturbance:
    """What is added to a programmed device before it is clipped: N(shift, variance) [S], and what then multiplies it.

    Attributes:
        shift: [S].
        variance: [S²], shape of the target; None = 0.
        decay: (λμ, λσ_ν) of the power law, or None.
        relative: k Q of the relative low-frequency noise if it is a function of the target, or None.
    """

    shift: float
    variance: Tensor | None
    decay: tuple[Tensor, Tensor] | None
    relative: Tensor | None

    @classmethod
    def of(cls, hardware: Hardware, target: Tensor) -> Disturbance:
        """What happens to devices of target ``target`` [S] up to the time of inference."""
        shift, variance, decay, relative = 0.0, None, None, None
        drift, time = hardware.drift, hardware.time
        if isinstance(drift, LogTimeDrift) and hardware.drifts:
            shift, variance = drift.shift(time), torch.full_like(target, drift.std(time) ** 2)
        elif isinstance(drift, PowerLawDrift) and hardware.drifts:
            age = drift.age(time)
            spread = drift.exponent_std
            decay = (
                age * curve_values(drift.exponent_mean, target, hardware.conductance_max).abs(),
                torch.zeros_like(target)
                if spread is None
                else age * curve_values(spread, target, hardware.conductance_max).clamp(min=0),
            )
        growth, noise = hardware.low_frequency_growth, hardware.low_frequency_noise
        if growth and noise is not None and noise.std_of == "target":
            fluctuation = growth * curve_values(noise.std, target, hardware.conductance_max).clamp(min=0)
            if noise.relative:
                relative = fluctuation
            else:
                variance = fluctuation**2 if variance is None else variance + fluctuation**2
        return cls(shift=shift, variance=variance, decay=decay, relative=relative)
