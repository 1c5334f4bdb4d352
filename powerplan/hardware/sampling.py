"""Random devices: draws from the distribution whose moments :mod:`powerplan.hardware.devices` gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from powerplan.hardware.curve_values import curve_values
from powerplan.hardware.hardware import Hardware
from powerplan.hardware.stages import Disturbance, programmed


@dataclass(frozen=True, kw_only=True)
class Devices:
    """Everything that sampling devices of given targets needs, in units of ``unit`` (one per device).

    Every tensor has as many axes as the target; axes along which it is constant may have length 1.

    Attributes:
        mean, std: of the programmed devices at the time of inference, before clipping.
        start_mean, start_std: the same just after programming.
        added_shift, added_std: Gaussian added by drift and absolute noise, or None.
        decay: (λμ, λσ_ν) of the power law, or None.
        relative: k Q of the relative low-frequency noise if it is a function of the target, or None.
        unit: [S].
        on, off: conductance_max and conductance_min.
    """

    hardware: Hardware
    mean: Tensor
    std: Tensor
    start_mean: Tensor
    start_std: Tensor
    added_shift: Tensor | None
    added_std: Tensor | None
    decay: tuple[Tensor, Tensor] | None
    relative: Tensor | None
    unit: Tensor
    on: Tensor
    off: Tensor

    @classmethod
    def prepare(cls, hardware: Hardware, target: Tensor, unit: Tensor, *, dtype: torch.dtype | None = None) -> Devices:
        """Devices programmed to ``target`` [S], float64 for accuracy, held in units of ``unit`` [S].

        Args:
            hardware: the technology.
            target: any shape.
            unit: same number of axes, broadcasts to ``target``.
            dtype: of the devices; None = that of ``target``.
        """
        dtype = dtype or target.dtype

        def scaled(value: Tensor) -> Tensor:
            return _collapsed(value / unit).to(dtype)

        mean, variance = programmed(hardware, target)
        disturbance = Disturbance.of(hardware, target)
        std = scaled(variance.sqrt())
        later = len(hardware.measurements or ()) > 1
        start_mean, start_variance = programmed(hardware, target, start=True) if later else (mean, variance)
        start = (mean / unit).to(dtype)
        added = disturbance.variance
        return cls(
            hardware=hardware,
            mean=start,
            std=std,
            start_mean=(start_mean / unit).to(dtype) if later else start,
            start_std=scaled(start_variance.sqrt()) if later else std,
            added_shift=None if added is None else scaled(torch.full_like(target, disturbance.shift)),
            added_std=None if added is None else scaled(added.sqrt()),
            decay=disturbance.decay and tuple(_collapsed(value).to(dtype) for value in disturbance.decay),  # type: ignore[arg-type]
            relative=None if disturbance.relative is None else _collapsed(disturbance.relative).to(dtype),
            unit=unit.to(dtype),
            on=(hardware.conductance_max / unit).to(dtype),
            off=(hardware.conductance_min / unit).to(dtype),
        )

    @property
    def normals_per_device(self) -> int:
        """How many normals :meth:`sample` takes for each device."""
        extra = (self.added_std, self.decay, self.relative)
        noise = sum(part is not None for part in extra) + self.hardware.noise_follows_programming
        return 1 + noise + (self.hardware.device_gain_std > 0)

    @property
    def in_one_step(self) -> bool:
        """True if one normal and nothing else decides a device: ``out`` of :meth:`sample` may then be what
        ``normals()`` returns."""
        return self.normals_per_device == 1 and not self.hardware.stuck_fraction

    def sample(
        self,
        normals: Callable[[], Tensor],
        uniform: Callable[[], Tensor],
        out: Tensor,
        start: Tensor | None = None,
    ) -> Tensor:
        """Conductances held at the time of inference by D independent sets of devices, in ``unit``.

        Args:
            normals: gives fresh independent standard normals (D, *target.shape), float32 or the devices' type,
                ``normals_per_device`` times; it may fill and return the same tensor every time, which is changed here.
            uniform: gives independent uniform numbers in [0, 1) of the same shape; called once if devices can be
                stuck, never otherwise.
            out: (D, *target.shape), written; another tensor than ``normals()`` returns unless ``in_one_step``.
            start: written, if given, with the same devices just after programming (:func:`start_moments`).

        Returns:
            ``out``.
        """
        first = normals().to(out.dtype)
        if start is not None:
            torch.addcmul(self.start_mean, first, self.start_std, out=start)
            self._clip(start)
        torch.addcmul(self.mean, first, self.std, out=out)
        if self.added_std is not None and self.added_shift is not None:
            out.addcmul_(normals().to(out.dtype), self.added_std).add_(self.added_shift)
        self._clip(out)
        flicker = self._flicker(out) if self.hardware.noise_follows_programming else self.relative
        if self.decay is not None:
            mean, std = self.decay
            out.mul_(normals().to(out.dtype).mul_(std).add_(mean).abs_().neg_().exp_())
        if flicker is not None:
            out.mul_(self._clip(normals().to(out.dtype).mul_(flicker).add_(1)))
        if self.hardware.device_gain_std:
            gain = self._clip(normals().to(out.dtype).mul_(self.hardware.device_gain_std).add_(1))
            out.mul_(gain)
            if start is not None:
                start.mul_(gain)
        if self.hardware.stuck_fraction:
            chance = uniform()
            self._stick(out, chance)
            if start is not None:
                self._stick(start, chance)
        return out

    def _flicker(self, programmed: Tensor) -> Tensor:
        """k Q of devices that were programmed to ``programmed``."""
        noise, top = self.hardware.low_frequency_noise, self.hardware.conductance_max
        assert noise is not None
        strength = curve_values(noise.std, (programmed * self.unit).abs(), top)
        return strength.clamp_(min=0).mul_(self.hardware.low_frequency_growth)

    def _clip(self, values: Tensor) -> Tensor:
        return values.clamp_(min=0) if self.hardware.clip_conductance else values

    def _stick(self, devices: Tensor, chance: Tensor) -> None:
        """Devices of the lowest chance are stuck on, those of the highest off."""
        on, off = self.hardware.stuck_on_fraction, self.hardware.stuck_off_fraction
        if on:
            torch.where(chance < on, self.on, devices, out=devices)
        if off:
            torch.where(chance >= 1 - off, self.off, devices, out=devices)


def _collapsed(values: Tensor) -> Tensor:
    """Values with every axis along which they are constant cut to length 1: less to read for every draw."""
    for axis in range(values.dim()):
        first = values.narrow(axis, 0, 1)
        if bool((values == first).all()):
            values = first
    return values
