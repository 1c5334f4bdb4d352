"""The contract of moment rules: what a digital operation does to Gaussian moments, and its transpose for adjoints.

An operation is replaced by its statistical linearisation: a linear map (``push``; ``pull`` is its transpose) plus an
independent residual, such that mean and variance of its output are right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Linearized:
    """A digital operation, converters or an array at given input moments.

    Attributes:
        mean, variance: of the output, (B, *shape); batch 1 if no input has more.
        pull: adjoints of the output (B or 1, K, *shape) to adjoints of every input (B or 1, K, *input shape).
        push: perturbations (B or 1, R, *input shape) of every input to those of the output (B or 1, R, *shape).
        residual: variance of the independent residual, (B, *shape); None if the operation is linear.
        first_order: the operation has no Gaussian formula and was taken at the mean.
    """

    mean: Tensor
    variance: Tensor
    pull: Callable[[Tensor], tuple[Tensor, ...]]
    push: Callable[..., Tensor]
    residual: Tensor | None = None
    first_order: bool = False

    @classmethod
    def elementwise(cls, mean: Tensor, variance: Tensor, slope: Tensor, residual: Tensor | None) -> Linearized:
        """What multiplies the error of every entry by a slope (B, *shape)."""
        factor = slope.unsqueeze(1)
        return cls(
            mean=mean,
            variance=variance,
            pull=lambda adjoint: (adjoint * factor,),
            push=lambda perturbation: perturbation * factor,
            residual=residual,
        )


def flat_entries(value: Tensor, lead: int) -> Tensor:
    """A value behind ``lead`` axes as one axis of its entries; of shape () too, which torch does not flatten."""
    return value.reshape(*value.shape[:lead], -1)


def over_batch(function: Callable[[Tensor], Tensor], value: Tensor) -> Tensor:
    """A function of (N, *shape) applied to (B, K, *shape)."""
    folded = function(value.flatten(0, 1))
    return folded.reshape(*value.shape[:2], *folded.shape[1:])


def value_and_transpose(
    function: Callable[..., Tensor], *points: Tensor
) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, ...]]]:
    """A function's value and the transpose of its derivative at points."""
    pair: tuple[Any, ...] = torch.func.vjp(function, *points)
    return pair[0], pair[1]


def residual_of(variance: Tensor, linear: Tensor) -> Tensor:
    """What is left of the variance beyond the linear part, never negative."""
    return (variance - linear).clamp(min=0)
