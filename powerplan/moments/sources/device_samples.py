"""Draws of the errors of a crossbar's devices from their own distribution.

A device held at zero by clipping errs upwards only, one that is stuck errs by a whole range: sums over the few rows of
a small kernel keep that skew. Larger layers sum enough of them to be Gaussian.
"""

from __future__ import annotations

import torch
from torch import Tensor

from powerplan.hardware.devices import Devices, device_moments
from powerplan.moments.array.programmed import ProgrammedArray


def device_errors(moments: ProgrammedArray, count: int, generator: torch.Generator) -> Tensor:
    """Errors W − W̄ (count, n_out, n_in) of independent sets of the devices of a crossbar with amplifiers."""
    hardware, weight = moments.hardware, moments.crossbar.weight
    sides = [weight + moments.crossbar.offset] if hardware.devices_per_weight == 1 else [weight, -weight]
    gain = moments.gain.expand(weight.shape)
    target = hardware.conductance_min + gain * torch.stack(sides).clamp(min=0)
    devices = Devices.prepare(hardware, target, gain.unsqueeze(0))
    shape = (count, *target.shape)

    def normals() -> Tensor:
        return torch.randn(shape, generator=generator, dtype=weight.dtype, device=weight.device)

    def uniform() -> Tensor:
        return torch.rand(shape, generator=generator, dtype=weight.dtype, device=weight.device)

    errors = devices.sample(normals, uniform, weight.new_empty(shape)) - device_moments(hardware, target)[0] / gain
    return moments.compensation * (errors[:, 0] - errors[:, 1] if len(sides) > 1 else errors[:, 0])
