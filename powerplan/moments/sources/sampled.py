"""What samples of errors are drawn with: an array in samples of its input, and its random numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        mean, errors: of the input, (B, *input_shape) and (B, R, *input_shape); None = no errors.
        of_values: what of the values drives the rows; None = themselves.
        count: samples R.
        rounds: the inputs are those of so many behind each other, which have chips of their own.
        generator: of random numbers of this read.
        common: of those that all reads of the array have in common, its devices and columns.
        rare: some samples have errors of quite another size than most.
    """

    array: ProgrammedArray
    mean: Tensor
    count: int
    generator: torch.Generator
    common: torch.Generator
    errors: Tensor | None = None
    of_values: Callable[[Tensor], Tensor] | None = None
    rounds: int = 1
    rare: bool = False

    @property
    def sets(self) -> tuple[int, int]:
        """(B, R)."""
        return len(self.mean), self.count

    @cached_property
    def values(self) -> Tensor:
        """Of the input, (B, R or 1, *input_shape)."""
        mean = self.mean.unsqueeze(1)
        return self._of(mean if self.errors is None else mean + self.errors)

    def _of(self, values: Tensor) -> Tensor:
        return values if self.of_values is None else self.of_values(values)

    @cached_property
    def rows(self) -> Tensor:
        """Values at the rows, (B, R or 1, G, P, n)."""
        return over_batch(self.array.affine.patches, self.values)

    @cached_property
    def typical_rows(self) -> Tensor:
        """Rows (B, 2 or 1, G, P, n) whose products between positions are on average those of the samples: the mean with
        the error of one sample added, and taken off."""
        if self.errors is None:
            return self.rows
        mean, error = self.mean.unsqueeze(1), self.errors[:, :1]
        return over_batch(self.array.affine.patches, self._of(torch.cat([mean + error, mean - error], 1)))

    def normals(self, shape: Sequence[int]) -> Tensor:
        """Standard normal numbers."""
        return standard_normals(shape, self.generator, self.mean)

    def by_chip(self, shape: Sequence[int]) -> Tensor:
        """Standard normal numbers of every chip, (B or 1, R, *shape), the same for all inputs of a round."""
        numbers = standard_normals((self.rounds, self.count, *shape), self.common, self.mean)
        return numbers if self.rounds == 1 else numbers.repeat_interleave(len(self.mean) // self.rounds, 0)


def standard_normals(shape: Sequence[int], generator: torch.Generator, like: Tensor) -> Tensor:
    """Standard normal numbers of this shape."""
    return torch.randn(tuple(shape), generator=generator, dtype=like.dtype, device=like.device)
