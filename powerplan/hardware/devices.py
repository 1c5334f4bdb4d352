"""The device as a random conductance: torch code shared by simulation and prediction.

A device programmed to target G holds N(G, s²(G)), clipped at zero if the hardware says so.
"""

from __future__ import annotations

import torch

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
