"""Rows of several rounds: a batch (N, ...) of M rounds of the same B inputs behind each other, N = M·B."""

from __future__ import annotations

import torch
from torch import Tensor


def in_rounds(value: Tensor, rounds: int) -> Tensor:
    """A value (N, ...) with an axis of the rounds, (M, B, ...)."""
    return value.reshape(rounds, -1, *value.shape[1:])


def by_round(value: Tensor, rounds: int) -> Tensor:
    """Sums (M,) of a value (N, ...) over each round."""
    return value.reshape(rounds, -1).sum(1)


def in_rows(values: Tensor, rows: int) -> Tensor:
    """What each round has, (M, ...), for each of its rows (N, ...); of a single round as it is."""
    return values if len(values) == 1 else values.repeat_interleave(rows // len(values), 0)


def rowwise(factor: Tensor | float, value: Tensor) -> Tensor:
    """A value (N, ...) times a factor, or one of each round, (M,)."""
    if isinstance(factor, float) or not factor.dim():
        return factor * value
    return in_rows(factor, len(value)).reshape(-1, *(1,) * (value.dim() - 1)) * value


def ratio_of_sums(above: Tensor, below: Tensor) -> Tensor:
    """Ratio of two sums >= 0; 1 where the second is 0."""
    return torch.where(below > torch.finfo(below.dtype).tiny, above / below, 1.0)
