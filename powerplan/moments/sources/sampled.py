"""What samples of errors are drawn with: an array in samples of its input, and its random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.rules.linearized import over_batch


@dataclass(frozen=True, kw_only=True, eq=False)
class Sampled:
    """An array in samples of its input.

    Attributes:
        values: of the input, (B, R or 1, *input_shape).
        count: samples R.
        rounds: the inputs are those of so many behind each other, which have chips of their own.
        generator: of random numbers of this read.
        common: of those that all reads of the array have in common, its devices and columns.
    """

    array: ProgrammedArray
    values: Tensor
    count: int
    generator: torch.Generator
    common: torch.Generator
    rounds: int = 1

    @property
    def sets(self) -> tuple[int, int]:
        """(B, R)."""
        return len(self.values), self.count

    @cached_property
    def rows(self) -> Tensor:
        """Values at the rows, (B, R or 1, G, P, n)."""
        return over_batch(self.array.affine.patches, self.values)

    def normals(self, shape: Sequence[int]) -> Tensor:
        """Standard normal numbers."""
        return standard_normals(shape, self.generator, self.values)

    def by_chip(self, shape: Sequence[int]) -> Tensor:
        """Standard normal numbers of every chip, (B or 1, R, *shape), the same for all inputs of a round."""
        numbers = standard_normals((self.rounds, self.count, *shape), self.common, self.values)
        return numbers if self.rounds == 1 else numbers.repeat_interleave(len(self.values) // self.rounds, 0)


def standard_normals(shape: Sequence[int], generator: torch.Generator, like: Tensor) -> Tensor:
    """Standard normal numbers of this shape."""
    return torch.randn(tuple(shape), generator=generator, dtype=like.dtype, device=like.device)
