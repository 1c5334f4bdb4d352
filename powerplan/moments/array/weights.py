"""Mean and variance of the effective weights of a programmed crossbar, as functions of its gains.

With device moments g(G), s²(G) and G = G_min + γ|W|, where γ_ij = c_i r_j [S per unit weight] is the conductance gain c
of the column times the relative gain r of the row, and g₀, s₀² those of the idle device of the pair at G_min:

    W̄ = sign(W) (g(G) − g₀)/γ,         V = (s²(G) + s₀²)/γ²,
    ∂W̄/∂γ = sign(W) (|W| g′(G) − (g − g₀)/γ)/γ,     ∂V/∂γ = (|W| (s²)′(G) − 2(s² + s₀²)/γ)/γ².

With an offset mapping one device holds G = G_min + γ(W + w): the same with W + w for |W|, 1 for the sign, g₀ = G_min
and s₀ = 0, which gives the mean of W + w. Both are covered by |W| → σW + w with signs σ and, for pairs, w = 0.

The elementwise steps run on blocks of rows that stay in the processor's cache; the derivatives in G come from
automatic differentiation of the device model on each block, so any device model will do.

Why: docs/decisions/moments.md [0078].
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from powerplan.errors import InvalidInput
from powerplan.gaussian import rectified
from powerplan.hardware.devices import device_moments, idle_device_moments
from powerplan.hardware.hardware import Hardware

#: bytes of a block of rows: small enough for the cache, large enough to hide the cost of a call
_BLOCK_BYTES = 1 << 18


class WeightMoments(NamedTuple):
    """Mean weight W̄, or W̄ + w with an offset, and its variance V, both (n_out, n_in); g(G) [S] summed over the
    columns of each group, (G, n_in)."""

    mean: Tensor
    variance: Tensor
    row_conductance: Tensor


def weight_moments(
    weight: Tensor,
    c: Tensor,
    r: Tensor | None,
    hardware: Hardware,
    groups: int = 1,
    offset: float = 0.0,
) -> WeightMoments:
    """Moments of effective weights; differentiable (once) in c and r.

    Args:
        weight: W (n_out, n_in), n_in rows of one group.
        c: conductance gain, () or (n_out, 1) [S per unit weight].
        r: relative gain of every row, (G, n_in); None = 1.
        groups: G; outputs are divided among them in order.
        offset: w of an offset mapping; 0 for pairs.
    """
    arguments = weight, c, r, hardware, groups, offset
    if _differentiates(c, r):
        return WeightMoments(*_WeightMoments.apply(*arguments))  # type: ignore[no-untyped-call]
    return _moments(*arguments, None)


def signs(weight: Tensor, *, pairs: bool) -> Tensor:
    """σ of weights, broadcasts to their shape: with an offset mapping 1."""
    return weight.sign() if pairs else weight.new_ones(1, 1)


def reference_moments(hardware: Hardware) -> tuple[float, float]:
    """Mean [S] and variance [S²] of what a weight's conductance is compared with: the idle device of its pair, or
    conductance_min itself, which an offset mapping subtracts digitally."""
    return idle_device_moments(hardware) if hardware.devices_per_weight == 2 else (hardware.conductance_min, 0.0)


def read_for_drift(moments: WeightMoments, hardware: Hardware, partners: int, beside: Tensor | float) -> Tensor:
    """What drift compensation of a layer goes by, on average, (): see ``Hardware.drift_compensation_by``.

    Args:
        moments: of the weights.
        partners: idle devices of pairs on one row of a group.
        beside: what the columns read beside ``moments.mean``, broadcasts to (n_out, n_in).

    Raises:
        InvalidInput: each column has a gain of its own.
    """
    if hardware.drift_compensation_by == "column":
        raise InvalidInput.of(
            "hardware.drift_compensation_by",
            "column",
            "'conductance' or 'weight' in predictions and plans: the gain of a column moves with the errors of its own "
            "few devices, which is not predicted",
            "Plan with 'weight', whose error is a little larger, and simulate the gains with 'column'.",
        )
    if hardware.drift_compensation_by == "conductance":
        return (
            moments.row_conductance.sum()
            + moments.row_conductance.numel() * partners * idle_device_moments(hardware)[0]
        )
    mean = moments.mean + beside
    if hardware.devices_per_weight == 1:
        return mean.mean()  # of conductances, which have one sign
    return (2 * rectified(mean, moments.variance.expand_as(mean)).mean - mean).mean()


class _WeightMoments(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        c: Tensor,
        r: Tensor | None,
        hardware: Hardware,
        groups: int,
        offset: float,
    ) -> tuple[Tensor, Tensor, Tensor]:
        slopes = torch.empty_like(weight), torch.empty_like(weight), torch.empty_like(weight)
        ctx.groups, ctx.has_rows = groups, r is not None
        moments = _moments(weight, c, r, hardware, groups, offset, slopes)
        ctx.save_for_backward(*slopes, c, *(() if r is None else (r,)))
        return moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor, Tensor | None, None, None, None]:
        by_mean, by_variance, by_sum, c, *rows = ctx.saved_tensors
        to_mean, to_variance, to_sum = gradients
        total = (to_mean * by_mean).addcmul_(to_variance, by_variance)
        grouped = total.view(ctx.groups, -1, total.shape[1])
        grouped.addcmul_(to_sum.unsqueeze(1), by_sum.view_as(grouped))
        to_c, to_r = total, None
        if ctx.has_rows:
            r = rows[0]
            to_c = (grouped * r.unsqueeze(1)).view_as(total)
            to_r = ((total * c).view_as(grouped)).sum(1)
        return None, to_c.sum(-1, keepdim=True) if c.dim() else to_c.sum(), to_r, None, None, None


def _differentiates(c: Tensor, r: Tensor | None) -> bool:
    return torch.is_grad_enabled() and (c.requires_grad or (r is not None and r.requires_grad))


def _moments(
    weight: Tensor,
    c: Tensor,
    r: Tensor | None,
    hardware: Hardware,
    groups: int,
    offset: float,
    slopes: tuple[Tensor, Tensor, Tensor] | None,
) -> WeightMoments:
    """The moments; fills ``slopes`` with the derivatives of mean and variance in γ, and with |W| g′."""
    idle, idle_variance = reference_moments(hardware)
    mean, variance = torch.empty_like(weight), torch.empty_like(weight)
    row_conductance = weight.new_zeros(groups, weight.shape[1])
    for part, members in _blocks(weight, groups):
        sign = signs(weight[part], pairs=hardware.devices_per_weight == 2)
        magnitude = (weight[part] * sign).add_(offset)
        gain = c[part] if c.dim() else c
        if r is not None:
            gain = gain * r[members].repeat_interleave(len(magnitude) // len(r[members]), 0)
        target = (magnitude * gain).add_(hardware.conductance_min)
        derivatives = None if slopes is None else _device_slopes(hardware, target)
        level, spread = device_moments(hardware, target) if derivatives is None else derivatives[0]
        row_conductance[members] += level.view(members.stop - members.start, -1, level.shape[1]).sum(1)
        shifted = (level - idle).div_(gain)
        torch.mul(shifted, sign, out=mean[part])
        total = (spread + idle_variance).div_(gain * gain)
        variance[part] = total
        if slopes is not None and derivatives is not None:
            level_slope, spread_slope = derivatives[1]
            torch.mul(magnitude, level_slope, out=slopes[2][part])
            torch.mul((slopes[2][part] - shifted).div_(gain), sign, out=slopes[0][part])
            torch.sub(magnitude * spread_slope / (gain * gain), total.mul_(2 / gain), out=slopes[1][part])
    return WeightMoments(mean, variance, row_conductance)


def _blocks(weight: Tensor, groups: int) -> list[tuple[slice, slice]]:
    """Blocks of rows of the matrix that stay in the cache, and the groups they are of: one, or several whole ones."""
    rows = max(1, _BLOCK_BYTES // (weight.element_size() * weight.shape[1]))
    size = weight.shape[0] // groups
    if rows > size:
        many = rows // size
        spans = [slice(low, min(low + many, groups)) for low in range(0, groups, many)]
        return [(slice(s.start * size, s.stop * size), s) for s in spans]
    return [
        (slice(group * size + low, group * size + min(low + rows, size)), slice(group, group + 1))
        for group in range(groups)
        for low in range(0, size, rows)
    ]


def _device_slopes(hardware: Hardware, target: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Device mean and variance at targets, and the derivatives of both in the target."""
    with torch.enable_grad():
        point = target.detach().requires_grad_()
        moments = device_moments(hardware, point)
        mean_slope, variance_slope = (
            torch.autograd.grad(value.sum(), point, retain_graph=True, materialize_grads=True)[0]
            if value.requires_grad
            else torch.zeros_like(target)
            for value in moments
        )
    return (moments[0].detach(), moments[1].detach()), (mean_slope, variance_slope)
