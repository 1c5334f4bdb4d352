"""The device as a random conductance: torch code shared by simulation and prediction.

A device programmed to target G holds N(G, s²(G)), clipped at zero if the hardware says so.
"""

from __future__ import annotations

from functools import lru_cache

import torch

from powerplan.gaussian import clipped
from powerplan.hardware.hardware import Hardware


def programming_variance(hardware: Hardware, target: torch.Tensor) -> torch.Tensor:
    """s²(G) [S²] of the unclipped programming noise at target conductances G [S], any shape.

    s² = σ_p² + (ρG)² + max(0, Σ_k a_k (G/reference)^k)². Differentiable in G.
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
    return variance


def device_moments(hardware: Hardware, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean [S] and variance [S²] of the conductance held by devices programmed to ``target`` [S] >= 0, any shape.

    Without clipping the mean is ``target`` itself (the same tensor); the variance is () if all devices share it.
    With clipping both are those of max(0, N(G, s²)). Differentiable in the target.
    """
    if hardware.has_constant_programming_noise:
        variance = torch.full((), hardware.programming_noise_std**2, dtype=target.dtype, device=target.device)
    else:
        variance = programming_variance(hardware, target)
    if not hardware.shifts_mean:
        return target, variance
    return clipped(target, variance)


@lru_cache(maxsize=256)
def idle_device_moments(hardware: Hardware) -> tuple[float, float]:
    """Mean [S] and variance [S²] of a device programmed to conductance_min."""
    mean, variance = device_moments(hardware, torch.tensor(hardware.conductance_min, dtype=torch.float64))
    return float(mean), float(variance)


def program(
    hardware: Hardware, target: torch.Tensor, std: torch.Tensor, normals: torch.Tensor, out: torch.Tensor
) -> torch.Tensor:
    """Random conductances target + std · normals, clipped at zero if the hardware says so.

    Any common unit (S, or weights): clipping at zero does not depend on it.

    Args:
        hardware: says whether devices are clipped.
        target: target conductances, shape broadcastable to that of ``normals``.
        std: standard deviation s of the unclipped programming noise, in the unit of ``target``.
        normals: independent standard normals, one per device.
        out: where the conductances are written, shape of ``normals``; may be ``normals`` itself.

    Returns:
        ``out``.
    """
    torch.addcmul(target, normals.to(target.dtype), std, out=out)
    return out.clamp_(min=0) if hardware.clip_conductance else out
