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

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from powerplan.errors import InvalidInput
from powerplan.gaussian import rectified
from powerplan.hardware.devices import device_moments, idle_device_moments
from powerplan.hardware.hardware import Hardware
from powerplan.hardware.predistortion import reference_moments, targets
from powerplan.moments.array.constants import ArrayConstants, signs

#: bytes of a block of rows: small enough for the cache, large enough to hide the cost of a call
_BLOCK_BYTES = 1 << 19
#: weights of an array up to which their slopes are kept for a backward pass; those of more are made again
_KEPT_SLOPES = 1 << 22


class WeightMoments(NamedTuple):
    """Mean weight W̄, or W̄ + w with an offset, and its variance V, both (n_out, n_in); g(G) [S] summed over the
    columns of each group, (G, n_in)."""

    mean: Tensor
    variance: Tensor
    row_conductance: Tensor


def weight_moments(constants: ArrayConstants, c: Tensor, r: Tensor | None, hardware: Hardware) -> WeightMoments:
    """Moments of effective weights; differentiable (once) in c and r.

    Args:
        c: conductance gain, () or (n_out, 1) [S per unit weight].
        r: relative gain of every row, (G, n_in); None = 1.
    """
    if _differentiates(c, r):
        return WeightMoments(*_WeightMoments.apply(constants, c, r, hardware))  # type: ignore[no-untyped-call]
    return _moments(constants, c, r, hardware, None)


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
        ctx: Any, constants: ArrayConstants, c: Tensor, r: Tensor | None, hardware: Hardware
    ) -> tuple[Tensor, Tensor, Tensor]:
        weight = constants.weight
        slopes = None
        if constants.size <= _KEPT_SLOPES:
            slopes = _Slopes(torch.empty_like(weight), torch.empty_like(weight), torch.empty_like(weight))
        ctx.constants, ctx.hardware, ctx.has_rows = constants, hardware, r is not None
        moments = _moments(constants, c, r, hardware, slopes)
        ctx.save_for_backward(c, *(() if r is None else (r,)), *(slopes or ()))
        ctx.set_materialize_grads(False)
        return moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[None, Tensor, Tensor | None, None]:
        to_mean, to_variance, to_sum = gradients
        c, *others = ctx.saved_tensors
        r = others.pop(0) if ctx.has_rows else None
        weight, groups = ctx.constants.weight, ctx.constants.map.groups
        to_c, to_r = weight.new_zeros(len(weight)), None if r is None else torch.zeros_like(r)
        for part, members in _blocks(weight, groups):
            if others:
                slopes = _Slopes(*(slope[part] for slope in others))
            else:
                slopes = _Block.of(ctx.constants, weight, (part, members), c, r, ctx.hardware).with_slopes()[-1]
            total = torch.zeros_like(weight[part])
            if to_mean is not None:
                total.addcmul_(to_mean[part], slopes.mean)
            if to_variance is not None:
                total.addcmul_(to_variance[part], slopes.variance)
            grouped = total.view(members.stop - members.start, -1, total.shape[1])
            if to_sum is not None:
                grouped.addcmul_(to_sum[members].unsqueeze(1), slopes.level.view_as(grouped))
            if r is not None and to_r is not None:
                to_r[members] += (total * (c[part] if c.dim() else c)).view_as(grouped).sum(1)
                grouped.mul_(r[members].unsqueeze(1))
            to_c[part] = total.sum(-1)
        return None, to_c.unsqueeze(-1) if c.dim() else to_c.sum(), to_r, None


def _differentiates(c: Tensor, r: Tensor | None) -> bool:
    return torch.is_grad_enabled() and (c.requires_grad or (r is not None and r.requires_grad))


class _Slopes(NamedTuple):
    """Derivatives in γ of mean and variance, and of the level g, which is summed over columns."""

    mean: Tensor
    variance: Tensor
    level: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class _Block:
    """Some rows of the matrix: σ, |W| (σW + w), γ and the conductance wanted [S], which is the target of devices unless
    targets are shifted."""

    hardware: Hardware
    sign: Tensor
    magnitude: Tensor
    gain: Tensor
    target: Tensor

    @classmethod
    def of(
        cls,
        constants: ArrayConstants,
        weight: Tensor,
        rows: tuple[slice, slice],
        c: Tensor,
        r: Tensor | None,
        hardware: Hardware,
    ) -> _Block:
        """These rows of the weight, which are of these groups."""
        part, members = rows
        sign = signs(weight[part], pairs=hardware.devices_per_weight == 2)
        magnitude = weight[part] * sign
        if isinstance(constants.offset, Tensor) or constants.offset:
            magnitude.add_(constants.offset)
        gain = c[part] if c.dim() else c
        if r is not None:
            gain = gain * r[members].repeat_interleave(len(magnitude) // len(r[members]), 0)
        target = magnitude * gain
        if hardware.conductance_min:
            target.add_(hardware.conductance_min)
        return cls(hardware=hardware, sign=sign, magnitude=magnitude, gain=gain, target=target)

    def moments(self, level: Tensor, spread: Tensor) -> tuple[Tensor, Tensor]:
        """Mean, without its sign, and variance of the weights, from those of their devices."""
        idle, idle_variance = reference_moments(self.hardware)
        return (level - idle).div_(self.gain), (spread + idle_variance).div_(self.gain * self.gain)

    def with_slopes(self) -> tuple[Tensor, Tensor, Tensor, _Slopes]:
        """Level of the devices, both moments, and the derivatives of all three."""
        (level, spread), (level_slope, spread_slope) = _device_slopes(self.hardware, self.target)
        mean, variance = self.moments(level, spread)
        by_level = self.magnitude * level_slope
        by_mean = (by_level - mean).div_(self.gain).mul_(self.sign)
        by_variance = self.magnitude * spread_slope / (self.gain * self.gain) - variance * (2 / self.gain)
        return level, mean, variance, _Slopes(by_mean, by_variance, by_level)


def _moments(
    constants: ArrayConstants, c: Tensor, r: Tensor | None, hardware: Hardware, slopes: _Slopes | None
) -> WeightMoments:
    """The moments; fills ``slopes``."""
    weight, groups = constants.weight, constants.map.groups
    mean, variance = torch.empty_like(weight), torch.empty_like(weight)
    row_conductance = weight.new_zeros(groups, weight.shape[1])
    for part, members in _blocks(weight, groups):
        block = _Block.of(constants, weight, (part, members), c, r, hardware)
        if slopes is None:
            level, spread = device_moments(hardware, targets(hardware, block.target))
            size, variance[part] = block.moments(level, spread)
        else:
            level, size, variance[part], own = block.with_slopes()
            for kept, slope in zip(slopes, own, strict=True):
                kept[part] = slope
        row_conductance[members] += level.view(members.stop - members.start, -1, level.shape[1]).sum(1)
        torch.mul(size, block.sign, out=mean[part])
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
    """Device mean and variance where these conductances are wanted, and the derivatives of both in them."""
    with torch.enable_grad():
        point = target.detach().requires_grad_()
        moments = device_moments(hardware, targets(hardware, point))
        mean_slope, variance_slope = (
            torch.autograd.grad(value.sum(), point, retain_graph=True, materialize_grads=True)[0]
            if value.requires_grad
            else torch.zeros_like(target)
            for value in moments
        )
    return (moments[0].detach(), moments[1].detach()), (mean_slope, variance_slope)
