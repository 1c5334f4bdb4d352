"""Mean and variance of the effective weights of a programmed crossbar, as functions of the conductance gain.

With device moments g(G), s²(G), idle devices g₀, s₀² at G_min, and G = G_min + c|W|:

    W̄ = sign(W) (g(G) − g₀)/c,         V = (s²(G) + s₀²)/c²,
    ∂W̄/∂c = sign(W) (|W| g′(G) − (g − g₀)/c)/c,     ∂V/∂c = (|W| (s²)′(G) − 2(s² + s₀²)/c)/c².

The elementwise steps run on blocks of rows that stay in the processor's cache; the derivatives in G come from
automatic differentiation of the device model on each block, so any device model will do.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from powerplan.hardware.devices import device_moments, idle_device_moments
from powerplan.hardware.hardware import Hardware

#: bytes of a block of rows: small enough for the cache, large enough to hide the cost of a call
_BLOCK_BYTES = 1 << 18


def weight_moments(weight: Tensor, sign: Tensor, c: Tensor, hardware: Hardware) -> tuple[Tensor, Tensor, Tensor]:
    """Mean weight W̄ and its variance V, both (n_out, n_in), and Σ_i g(G_ij) (n_in,); differentiable (once) in c.

    Args:
        weight: W (n_out, n_in).
        sign: its signs.
        c: conductance gain, () or (n_out, 1) [S per unit weight].
    """
    mean, variance, held = _WeightMoments.apply(weight, sign, c, hardware)  # type: ignore[no-untyped-call]
    return mean, variance, held


class _WeightMoments(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, sign: Tensor, c: Tensor, hardware: Hardware) -> tuple[Tensor, Tensor, Tensor]:
        derivative = c.requires_grad
        idle, idle_variance = idle_device_moments(hardware)
        mean, variance = torch.empty_like(weight), torch.empty_like(weight)
        slopes = tuple(torch.empty_like(weight) for _ in range(3)) if derivative else None
        column_sum = torch.zeros_like(weight[0])
        rows = max(1, _BLOCK_BYTES // (weight.element_size() * weight.shape[1]))
        for low in range(0, weight.shape[0], rows):
            part = slice(low, low + rows)
            magnitude, signs = weight[part].abs(), sign[part]
            gain = c[part] if c.dim() else c
            target = (magnitude * gain).add_(hardware.conductance_min)
            held, spread, held_slope, spread_slope = _device(hardware, target, derivative)
            column_sum += held.sum(0)
            shifted = (held - idle).div_(gain)
            torch.mul(shifted, signs, out=mean[part])
            total = (spread + idle_variance).div_(gain * gain)
            variance[part] = total
            if slopes is not None:
                torch.mul(magnitude, held_slope, out=slopes[2][part])
                torch.mul((slopes[2][part] - shifted).div_(gain), signs, out=slopes[0][part])
                torch.sub(magnitude * spread_slope / (gain * gain), total.mul_(2 / gain), out=slopes[1][part])
        ctx.shape = c.shape
        if slopes is not None:
            ctx.save_for_backward(*slopes)
        return mean, variance, column_sum

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, Tensor, None]:
        by_mean, by_variance, by_held = ctx.saved_tensors
        to_mean, to_variance, to_held = gradients
        total = (to_mean * by_mean).addcmul_(to_variance, by_variance).addcmul_(to_held, by_held)
        return None, None, total.sum(-1, keepdim=True) if ctx.shape else total.sum(), None


def _device(hardware: Hardware, target: Tensor, derivative: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Device mean and variance at targets, and their derivatives in the target (zeros if not asked for)."""
    if not derivative:
        with torch.no_grad():
            mean, variance = device_moments(hardware, target)
        return mean, variance, target, target
    with torch.enable_grad():
        point = target.detach().requires_grad_()
        mean, variance = device_moments(hardware, point)
        mean_slope, variance_slope = (
            torch.autograd.grad(value.sum(), point, retain_graph=True, materialize_grads=True)[0]
            if value.requires_grad
            else torch.zeros_like(target)
            for value in (mean, variance)
        )
    return mean.detach(), variance.detach(), mean_slope, variance_slope
