"""Statistics of error samples: ratios of variances and shifts of means, pooled over what a channel has in common.

Each of several rounds (:mod:`powerplan.moments.rounds`) is pooled by itself.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from powerplan.gaussian import positive_std
from powerplan.moments.rounds import in_rounds, in_rows, ratio_of_sums

#: largest shift of a mean in standard deviations
_MOST_STDS = 2.0
#: entries of a channel up to which it is pooled with the others: each by itself is known too badly by few samples
_FEW_ENTRIES = 16
#: entries of a sample of all inputs from which the squares of every sample are added in place
_MANY_ENTRIES = 1 << 15


def ratio(estimate: Tensor, expected: Tensor, rounds: int = 1) -> Tensor:
    """Ratio of two variances (N or 1, *shape) by channel and round, (N or 1, ...); 1 where none is expected."""
    rows = max(len(estimate), len(expected))
    above, below = (_sums(v.expand(rows, *v.shape[1:]), rounds) for v in (estimate, expected))
    return in_rows(ratio_of_sums(above, below), rows)


def _sums(value: Tensor, rounds: int) -> Tensor:
    """Sums of a value (N, *shape) over what is pooled in each round, (M, ...)."""
    axes = pooled_axes(value)
    if rounds == 1:
        return value.sum(axes, keepdim=True)
    return in_rounds(value, rounds).sum([axis + 1 for axis in axes], keepdim=True).flatten(0, 1)


def channel_axes(value: Tensor) -> tuple[int, ...]:
    """Axes of a value (B, *shape) but that of the channels; all of a vector's."""
    return (0, 1) if value.dim() == 2 else (0, *range(2, value.dim()))


def pooled_axes(value: Tensor) -> tuple[int, ...]:
    """Axes that are pooled: those of a channel, and where its entries are too few to know it by, all."""
    return tuple(range(value.dim())) if math.prod(value.shape[2:]) <= _FEW_ENTRIES else channel_axes(value)


def shift_of(
    estimate: Tensor, chance: Tensor, std: Tensor, mean: Tensor, rounds: int = 1, *, averaged: int = 1
) -> Tensor:
    """Shift (N, *shape) of means, from its estimate and the variance of that.

    The part that a channel has in common, in standard deviations and in proportion to the means, is well known; what
    entries deviate from it is made as large as their mean square is beyond chance, that of the mean of as many rounds
    as are averaged in the end.
    """
    rows = len(estimate)
    std, mean = (x.expand(rows, *x.shape[1:]) for x in (std, mean))

    def along(basis: Tensor, part: Tensor, weighted: Tensor) -> Tensor:
        total = _sums(weighted, rounds)
        factor = torch.where(total > _tiny(total), _sums(part, rounds) / total, 0.0)
        return in_rows(factor, rows) * basis

    common = along(std, estimate, std)
    common = common + along(mean, (estimate - common) * mean, mean * mean)
    deviation = estimate - common
    by_chance = ratio(chance, deviation * deviation, rounds)
    beyond = (1 - by_chance).clamp(min=0)
    if averaged > 1:
        beyond = beyond / (beyond + by_chance / averaged)
    deviation *= beyond.sqrt_()
    return (common + deviation) * std.sign()


def in_stds(moved: Tensor, std: Tensor) -> Tensor:
    """Shifts (B, *shape) in standard deviations; 0 where these are 0.

    More than a few would be rounding of a mean whose standard deviation is smaller than that, and say nothing of
    other inputs or gains.
    """
    return (moved / std.clamp(min=_tiny(std))).clamp_(-_MOST_STDS, _MOST_STDS) * std.sign()


def centred(samples: Tensor) -> Tensor:
    """Samples (B, R, *shape) less their mean, scaled to keep their variance; a single one as it is."""
    count = samples.shape[1]
    if count == 1:
        return samples
    return (samples - samples.mean(1, keepdim=True)) * math.sqrt(count / (count - 1))


def centre(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Samples (B, R, *shape) centred in place, as :func:`centred` does, and their mean (B, *shape)."""
    count, mean = samples.shape[1], samples.mean(1)
    if count > 1:
        scale = math.sqrt(count / (count - 1))
        torch.add((-scale * mean).unsqueeze(1), samples, alpha=scale, out=samples)
    return samples, mean


def mean_square(samples: Tensor) -> Tensor:
    """Mean square (B, *shape) of samples (B, R, *shape)."""
    first, *others = samples.unbind(1)
    if first.numel() < _MANY_ENTRIES:
        return samples.square().mean(1)
    total = first.square()
    for sample in others:
        total.addcmul_(sample, sample)
    return total.div_(samples.shape[1])


def stds(variance: Tensor) -> Tensor:
    """Standard deviations, with finite derivatives at 0."""
    positive, std = positive_std(variance)
    return torch.where(positive, std, 0.0)


def _tiny(like: Tensor) -> float:
    return float(torch.finfo(like.dtype).tiny)
