"""Mean, variance and covariance over draws, in one pass, and what is kept of every draw."""

from __future__ import annotations

import torch

#: bytes of deviations gathered before they are added to the sums
BLOCK_BYTES = 8 << 20
BLOCK_DRAWS = 128


class RunningMoments:
    """Moments over draws of values (B, n), from their deviations from a reference.

    Deviations are gathered in blocks; block means and centred sums of squares are combined by the
    parallel-variance formula, so nothing cancels even if the spread is far below the values. The size of a block
    depends on (B, n) alone: results do not depend on how the draws arrive.

    Args:
        reference: (B, n) float64, best near the mean.
        covariance: keep the (n, n) covariance of each input instead of the variances.
    """

    def __init__(self, reference: torch.Tensor, *, covariance: bool) -> None:
        batch, n = reference.shape
        self.count = 0
        self._reference = reference
        self._covariance = covariance
        self._mean = torch.zeros_like(reference)
        self._square = reference.new_zeros((batch, n, n) if covariance else (batch, n))
        self._block = reference.new_empty((block_draws(batch * n), batch, n))
        self._filled = 0

    def add(self, values: torch.Tensor) -> None:
        """Take in the values (D, B, n) of D draws."""
        while len(values):
            room = self._block[self._filled : self._filled + len(values)]
            torch.sub(values[: len(room)], self._reference, out=room)
            self._filled += len(room)
            values = values[len(room) :]
            if self._filled == len(self._block):
                self._flush()

    def _flush(self) -> None:
        m, self._filled = self._filled, 0
        if not m:
            return
        block = self._block[:m]
        mean = block.mean(0)
        block -= mean
        total = self.count + m
        step = mean - self._mean
        self._square += self._products(block) + (self.count * m / total) * self._products(step[None])
        self._mean += (m / total) * step
        self.count = total

    def _products(self, deviations: torch.Tensor) -> torch.Tensor:
        if not self._covariance:
            return deviations.square().sum(0)
        return torch.bmm(deviations.permute(1, 2, 0), deviations.transpose(0, 1))

    @property
    def mean(self) -> torch.Tensor:
        """(B, n)."""
        self._flush()
        return self._reference + self._mean

    @property
    def covariance(self) -> torch.Tensor:
        """(B, n, n) unbiased covariance; NaN after a single draw."""
        assert self._covariance
        self._flush()
        return self._square / (self.count - 1) if self.count > 1 else torch.full_like(self._square, torch.nan)

    @property
    def variance(self) -> torch.Tensor:
        """(B, n) unbiased variance; NaN after a single draw."""
        if self._covariance:
            return self.covariance.diagonal(dim1=1, dim2=2)
        self._flush()
        return self._square / (self.count - 1) if self.count > 1 else torch.full_like(self._square, torch.nan)

    @property
    def standard_error(self) -> torch.Tensor:
        """(B, n) standard error of the mean; NaN after a single draw."""
        return (self.variance / self.count).sqrt()


class Records:
    """Rows that are kept for every draw, (D, ...), in one growing block of memory.

    A list of small tensors, made between large temporary ones, would keep the memory of those from being given back.
    """

    def __init__(self, like: torch.Tensor) -> None:
        self._held = like.new_empty((BLOCK_DRAWS, *like.shape[1:]))
        self._count = 0

    def add(self, rows: torch.Tensor) -> None:
        """Append rows (D, ...)."""
        end = self._count + len(rows)
        if end > len(self._held):
            larger = self._held.new_empty((max(end, 2 * len(self._held)), *self._held.shape[1:]))
            larger[: self._count] = self._held[: self._count]
            self._held = larger
        self._held[self._count : end] = rows
        self._count = end

    @property
    def all(self) -> torch.Tensor:
        """All rows so far; a view."""
        return self._held[: self._count]


def block_draws(size: int) -> int:
    """Draws in a block of ``size`` values per draw."""
    return max(1, min(BLOCK_DRAWS, BLOCK_BYTES // (8 * size)))
