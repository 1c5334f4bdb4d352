"""Devices whose low-frequency noise depends on the conductance P that programming reached, not on the target.

    F = P max(0, 1 + k Q(P) n),  P = max(0, N(m(G), s²(G))),  n ~ N(0, 1)      (without the clips if not clipped)

has no closed form for a general Q. Given P, with q = k Q(P), mean and mean square are P a(q) and P² b(q), those of a
clipped Gaussian; their means over P are taken by Gauss-Legendre quadrature in z, P = m + s z, on both sides of P = 0.
Mean and variance of F depend on the target alone: they are tabulated once per hardware, with their exact slopes,
and read from the table by cubic Hermite interpolation.

Why: docs/decisions/devices.md [0102].
"""

from __future__ import annotations

from dataclasses import fields
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from powerplan.gaussian import clipped
from powerplan.hardware.by_layer import is_by_layer
from powerplan.hardware.curve_values import curve_values
from powerplan.hardware.hardware import Hardware
from powerplan.hardware.stages import Disturbance, programmed

#: targets in the table, quadrature nodes per target
_TARGETS = 2049
_NODES = 48
#: standard deviations of the programming noise that are integrated over
_REACH = 7.0


def flickering(hardware: Hardware, target: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [S] and variance [S²] of F at targets [S] within the conductance range; differentiable."""
    low, step, values, slopes = (part.to(target.device) for part in _table(devices_alone(hardware)))
    place = (target.double() - low) / step
    index = place.detach().floor().clamp(0, _TARGETS - 2).long()
    t = place - index
    mean, variance = (
        _hermite(t, values[k][index], values[k][index + 1], slopes[k][index] * step, slopes[k][index + 1] * step)
        for k in range(2)
    )
    return mean.to(target.dtype), variance.clamp(min=0).to(target.dtype)


def _hermite(t: Tensor, y0: Tensor, y1: Tensor, d0: Tensor, d1: Tensor) -> Tensor:
    """The cubic with values y and slopes d at t = 0 and t = 1."""
    rise = y1 - y0
    return y0 + t * (d0 + t * (3 * rise - 2 * d0 - d1 + t * (d0 + d1 - 2 * rise)))


@lru_cache(maxsize=256)
def devices_alone(hardware: Hardware) -> Hardware:
    """The same for all layers that differ in their converters alone."""
    return hardware.replace(**{f.name: f.default for f in fields(hardware) if is_by_layer(f)})


@lru_cache(maxsize=64)
def _table(hardware: Hardware) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """First target, step, and mean and variance (2, n) with their slopes (2, n)."""
    low, high = hardware.conductance_min, hardware.conductance_max
    with torch.enable_grad():
        target = torch.linspace(low, high, _TARGETS, dtype=torch.float64, requires_grad=True)
        moments = quadrature(hardware, target)
        slopes = [torch.autograd.grad(value.sum(), target, retain_graph=True)[0] for value in moments]
    step = torch.tensor((high - low) / (_TARGETS - 1), dtype=torch.float64)
    values = torch.stack([value.detach() for value in moments])
    return torch.tensor(low, dtype=torch.float64), step, values, torch.stack(slopes)


def quadrature(hardware: Hardware, target: Tensor, nodes: int = _NODES) -> tuple[Tensor, Tensor]:
    """Mean [S] and variance [S²] of F at targets (n,), by quadrature."""
    mean, variance = programmed(hardware, target)
    disturbance = Disturbance.of(hardware, target)
    if disturbance.variance is not None:
        mean, variance = mean + disturbance.shift, variance + disturbance.variance
    std = (variance + 1e-60).sqrt().unsqueeze(-1)
    mean = mean.unsqueeze(-1)
    zero = (-mean / std).clamp(-_REACH, _REACH)
    x, weight = (torch.as_tensor(part) for part in np.polynomial.legendre.leggauss(nodes))
    first: Tensor | float = 0.0
    second: Tensor | float = 0.0
    sides = [(zero, torch.full_like(zero, _REACH))]
    if not hardware.clip_conductance:
        sides.append((torch.full_like(zero, -_REACH), zero))
    for start, end in sides:
        half = (end - start) / 2
        z = start + half * (1 + x)
        conductance = mean + std * z
        density = half * weight * torch.exp(-z * z / 2) / (2 * torch.pi) ** 0.5
        a, b = _factor(hardware, conductance.abs())
        first = first + (density * conductance * a).sum(-1)
        second = second + (density * conductance * conductance * b).sum(-1)
    average, square = torch.as_tensor(first), torch.as_tensor(second)
    return average, (square - average * average).clamp(min=0)


def _factor(hardware: Hardware, conductance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and mean square of max(0, 1 + k Q(P) n), or of 1 + k Q(P) n without clipping."""
    noise = hardware.low_frequency_noise
    assert noise is not None
    q = hardware.low_frequency_growth * curve_values(noise.std, conductance, hardware.conductance_max).clamp(min=0)
    if not hardware.clip_conductance:
        return torch.ones_like(q), 1 + q * q
    mean, variance = clipped(torch.ones_like(q), q * q)
    return mean, variance + mean * mean
