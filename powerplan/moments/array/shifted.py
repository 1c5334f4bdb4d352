"""Devices whose targets are shifted for the whole array that they are in: moments as functions of the gains."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from powerplan.hardware.devices import device_moments, idle_device_moments
from powerplan.hardware.hardware import Hardware
from powerplan.hardware.layer_targets import layer_targets
from powerplan.moments.array.constants import ArrayConstants
from powerplan.moments.array.weights import WeightMoments

#: mean g/γ and variance s²/γ² of the devices of every side, (n_out, n_in)
Sides = tuple[tuple[Tensor, Tensor], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class ShiftedDevices:
    """The devices of one array.

    Attributes:
        gain: γ (n_out, n_in) [S per unit weight].
        target: of the devices, (sides, n_out, n_in) [S].
        groups: of the operation.
    """

    gain: Tensor
    target: Tensor
    groups: int

    @classmethod
    def of(cls, constants: ArrayConstants, hardware: Hardware, c: Tensor, r: Tensor | None) -> ShiftedDevices:
        """Those at conductance gain () or (n_out, 1) and relative gains (G, n_in) of the rows; None = 1."""
        weight, groups = constants.weight, constants.map.groups
        n_out, rows = weight.shape
        gain = (c if r is None else c * r.repeat_interleave(n_out // groups, 0)).expand(n_out, rows)
        sides = [weight, -weight] if hardware.devices_per_weight == 2 else [weight + constants.offset]
        wanted = gain * torch.stack(sides).clamp(min=0)
        target = layer_targets(hardware, wanted.view(len(sides), groups, n_out // groups, rows))
        return cls(gain=gain, target=target.view(wanted.shape), groups=groups)

    @property
    def aimed(self) -> tuple[Tensor, ...]:
        """Target/γ of the devices of every side, (n_out, n_in)."""
        return tuple((self.target / self.gain).unbind())

    def sides(self, hardware: Hardware) -> Sides:
        """The devices of every side."""
        level, spread = device_moments(hardware, self.target)
        return tuple(zip(level / self.gain, spread.expand_as(level) / self.gain**2, strict=True))

    def moments(self, hardware: Hardware) -> WeightMoments:
        """As :func:`powerplan.moments.array.weights.weight_moments` gives them: those with ideal wires."""
        levels, variances = (torch.stack(part) for part in zip(*self.sides(hardware), strict=True))
        rows = (levels * self.gain).sum(0).view(self.groups, -1, self.gain.shape[1])
        if len(levels) == 1:
            mean, idle = levels[0] - hardware.conductance_min / self.gain, 0.0
        else:
            mean, idle = levels[0] - levels[1], idle_device_moments(hardware)[0]
        return WeightMoments(mean, variances.sum(0), (rows - idle).sum(1))
