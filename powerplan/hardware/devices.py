"""The device as a random conductance: what it holds at the time of inference, in its first two moments.

A device programmed to target G goes through, in this order and independently of all others,

    1. programming           P = m(G) + s(G) n₁                      clipped at 0
    2. drift                 P (t'/t0)^−ν, ν = |N(μ(G), σ_ν²(G))|    power law;   or P + N(m, s²): logarithm of time
    3. low-frequency noise   X = D max(0, 1 + k Q n₃)                relative;    or D + k Q n₃: absolute
    4. its own gain          X max(0, 1 + ε n₄)
    5. being stuck           conductance_max, conductance_min, or X

where the clips hold if ``clip_conductance``. Everything additive (the spread of measurements, programming noise,
log-time drift, absolute noise) is one Gaussian, which is clipped once, so that all moments are exact if Q is a
function of G (a function of P needs quadrature: :mod:`powerplan.hardware.flicker`, within 1e-3):

    E[max(0, N(m, s²))], Var        closed form of the clipped Gaussian
    E[e^(−kλν)], k = 1, 2           folded Gaussian, closed form
    E[XY] = E[X]E[Y],  Var[XY] = Var X (Var Y + E[Y]²) + E[X]² Var Y      for independent factors
    mixture of the three cases of step 5

:class:`Devices` draws from the same distribution.

Why: docs/decisions/devices.md [0101].
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from powerplan.gaussian import clipped, rectified
from powerplan.hardware.aging import LogTimeDrift
from powerplan.hardware.flicker import flickering
from powerplan.hardware.folded import folded_decay
from powerplan.hardware.hardware import Hardware
from powerplan.hardware.sampling import Devices
from powerplan.hardware.stages import Disturbance, programmed, programming_variance

__all__ = [
    "Devices",
    "device_moments",
    "idle_device_moments",
    "programming_variance",
    "just_programmed",
    "start_moments",
]

Moments = tuple[Tensor, Tensor]


def device_moments(hardware: Hardware, target: Tensor) -> Moments:
    """Mean [S] and variance [S²] of the conductance held at ``hardware.time`` by devices of ``target`` [S] >= 0.

    Where nothing shifts the mean (``not hardware.shifts_mean``) it is ``target`` itself (the same tensor); the
    variance is () if all devices share it. Differentiable in the target, any shape. Exact: see the module.
    """
    if hardware.has_constant_programming_noise:
        variance = torch.full((), hardware.programming_noise_std**2, dtype=target.dtype, device=target.device)
        return clipped(target, variance) if hardware.shifts_mean else (target, variance)
    disturbance = Disturbance.of(hardware, target)
    if hardware.noise_follows_programming:
        moments = flickering(hardware, target)
    else:
        mean, variance = programmed(hardware, target)
        if disturbance.variance is not None:
            mean, variance = mean + disturbance.shift, variance + disturbance.variance
        moments = _clip(hardware, mean, variance)
    if disturbance.decay is not None:
        moments = _product(moments, folded_decay(*disturbance.decay))
    if disturbance.relative is not None:
        moments = _product(moments, _factor(hardware, disturbance.relative))
    return _held(hardware, moments)


def start_moments(hardware: Hardware, target: Tensor) -> Moments:
    """Mean [S] and variance [S²] of devices just after programming: without drift and low-frequency noise."""
    return device_moments(just_programmed(hardware), target)


@lru_cache(maxsize=256)
def just_programmed(hardware: Hardware) -> Hardware:
    """The same devices before drift and low-frequency noise: what drift compensation compares with."""
    first = hardware.measurements[0].time if hardware.measurements else 0.0
    return hardware.replace(time=first, drift=None, low_frequency_noise=None)


@lru_cache(maxsize=256)
def idle_device_moments(hardware: Hardware) -> tuple[float, float]:
    """Mean [S] and variance [S²] of a device programmed to conductance_min."""
    mean, variance = device_moments(hardware, torch.tensor(hardware.conductance_min, dtype=torch.float64))
    return float(mean), float(variance)


def _clip(hardware: Hardware, mean: Tensor, variance: Tensor) -> Moments:
    if not hardware.clip_conductance:
        return mean, variance
    if hardware.measurements is None and not isinstance(hardware.drift, LogTimeDrift):
        return clipped(mean, variance)  # the mean is the target, which is not negative
    rectified_mean = rectified(mean, variance)
    return rectified_mean.mean, rectified_mean.variance


def _factor(hardware: Hardware, std: Tensor) -> Moments:
    """max(0, 1 + std n), or 1 + std n without clipping."""
    return clipped(torch.ones_like(std), std * std) if hardware.clip_conductance else (torch.ones_like(std), std * std)


def _product(x: Moments, y: Moments) -> Moments:
    """Moments of the product of two independent variables."""
    square = y[0] * y[0]
    return x[0] * y[0], x[1] * (y[1] + square) + x[0] * x[0] * y[1]


def _held(hardware: Hardware, moments: Moments) -> Moments:
    """Steps 4 and 5."""
    if hardware.device_gain_std:
        gain = torch.tensor(hardware.device_gain_std, dtype=torch.float64)
        scale, spread = (float(value) for value in _factor(hardware, gain))
        mean, variance = moments
        moments = (
            mean if scale == 1 else mean * scale,
            variance * (spread + scale * scale) + mean * mean * spread,
        )
    if hardware.stuck_fraction:
        free = 1 - hardware.stuck_fraction
        mean = free * moments[0]
        square = free * moments[1]
        for share, value in hardware.stuck_shares:
            mean = mean + share * value
        for share, value in hardware.stuck_shares:
            square = square + share * (value - mean) ** 2
        moments = mean, square + free * (moments[0] - mean) ** 2
    return moments
