"""The rule of operations that have none: the Jacobian at the mean, by automatic differentiation.

First order. The variance diag(J diag(v) Jᵀ) is exact with at most ``_PROBES`` input entries; beyond, it is the mean
square of J √v ε over that many fixed random sign vectors ε: unbiased, with a relative error of up to √(2/_PROBES).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from powerplan.gaussian import positive_std
from powerplan.moments.rules.linearized import Linearized, flat_entries, value_and_transpose
from powerplan.network.digital import digital
from powerplan.network.ops import Op

_PROBES = 64
_SEED = 20210


def at_the_mean(op: Op, means: Sequence[Tensor], variances: Sequence[Tensor]) -> Linearized:
    """A digital operation by its Jacobian at the mean; inputs (B or 1, *shape), all from the batch of the largest."""
    rows = max(m.shape[0] for m in means)
    points = tuple(m.expand(rows, *m.shape[1:]) for m in means)

    def compute(*values: Tensor) -> Tensor:
        return digital(op, *values)

    def pull(adjoint: Tensor) -> tuple[Tensor, ...]:
        _, transpose = value_and_transpose(compute, *points)
        wide = adjoint.expand(rows, *adjoint.shape[1:])
        pulled: tuple[Tensor, ...] = _for_each(lambda a: tuple(p + _nothing(a) for p in transpose(a)), wide)
        return pulled

    def push(*perturbations: Tensor) -> Tensor:
        wide = tuple(p.expand(rows, *p.shape[1:]) for p in perturbations)

        # the transpose of the transpose, which is linear: needs no forward-mode derivative of the operation; not at
        # zero, where that of logcumsumexp is no number
        output, transpose = value_and_transpose(compute, *points)
        _, forward = torch.func.vjp(transpose, torch.ones_like(output))[:2]
        pushed: Tensor = _for_each(lambda *tangents: forward(tangents)[0] + _nothing(*tangents), *wide)
        return pushed

    sizes = [m[0].numel() for m in means]
    few = sum(sizes) <= _PROBES
    probes = _directions(means, sizes, few)
    if few:  # all unit vectors: J_ij² v_j, no roots of variances
        entries = torch.cat([flat_entries(v.expand(rows, *v.shape[1:]), 1) for v in variances], 1)
        square = push(*probes) ** 2
        variance = (square * entries.view(*entries.shape, *(1,) * (square.dim() - 2))).sum(1)
    else:
        stds = [torch.where(*positive_std(v), torch.zeros_like(v)).unsqueeze(1) for v in variances]
        variance = (push(*(s * e for s, e in zip(stds, probes, strict=True))) ** 2).mean(1)
    return Linearized(mean=compute(*points), variance=variance, pull=pull, push=push, first_order=True)


def _for_each(function: Callable[..., Any], *values: Tensor) -> Any:
    """What a function makes of each of the directions (B, R, *shape)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)  # of vmap, one by one
        return torch.vmap(function, in_dims=1, out_dims=1)(*values)


def _nothing(*values: Tensor) -> Tensor:
    """Zero that depends on values: vmap does not place what is the same for all, such as the slope of a constant."""
    return sum((v.sum() for v in values), torch.zeros(())) * 0


def _directions(means: Sequence[Tensor], sizes: Sequence[int], few: bool) -> list[Tensor]:
    """Directions (1, R, *shape) for every input: all unit vectors if they are few, else random signs."""
    like = means[0]
    if few:
        table = torch.eye(sum(sizes), dtype=like.dtype, device=like.device)
    else:
        generator = torch.Generator().manual_seed(_SEED)
        signs = torch.randint(0, 2, (_PROBES, sum(sizes)), generator=generator) * 2 - 1
        table = signs.to(like.device, like.dtype)
    parts = torch.split(table, list(sizes), dim=1)
    return [part.reshape(1, -1, *m.shape[1:]) for part, m in zip(parts, means, strict=True)]
