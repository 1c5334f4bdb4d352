"""Inputs that drive their rows some bits at a time, in several reads whose results are added digitally.

A converter of b bits rounds a value to x = Δ k, |k| ≤ K = 2^(b − 1) − 1, and L = K Δ is its limit. The magnitude |k|
is cut into digits of m bits, from the least, |k| = Σ_s 2^(m s) d_s, the last one of the bits that are left. In read s
every row is driven with its digit, and with the largest voltage where that is as large as it can be:

    x_s = L sign(k) d_s/(2^m_s − 1),      x = Σ_s a_s x_s,      a_s = 2^(m s) (2^m_s − 1)/K,      Σ_s a_s = 1.

So what a layer makes of an input is the mean, weighted by a_s, of what the same array makes in S reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

#: most bits of inputs that are cut: levels that single precision counts exactly
MOST_BITS = 16


@dataclass(frozen=True)
class InputSlices:
    """The digits of inputs.

    Attributes:
        bits: b, of the whole input with its sign.
        slice_bits: m, of a digit.
    """

    bits: int
    slice_bits: int

    @cached_property
    def widths(self) -> tuple[int, ...]:
        """m_s, bits of every digit, from the least."""
        return tuple(min(self.slice_bits, self.bits - 1 - low) for low in range(0, self.bits - 1, self.slice_bits))

    @cached_property
    def weights(self) -> tuple[float, ...]:
        """a_s."""
        return tuple(2 ** (self.slice_bits * s) * (2**width - 1) / self._top for s, width in enumerate(self.widths))

    @property
    def _top(self) -> int:
        """K."""
        return int(2 ** (self.bits - 1) - 1)

    def cut(self, x: Tensor, limit: Tensor) -> list[Tensor]:
        """x_s of values that are levels, in units of the value.

        Args:
            limit: L, broadcasts to x.
        """
        levels = self._levels(x, limit)
        return [self._part(levels, limit, number) for number in range(len(self.widths))]

    def part(self, x: Tensor, limit: Tensor, number: int) -> Tensor:
        """One of them."""
        return self._part(self._levels(x, limit), limit, number)

    def _levels(self, x: Tensor, limit: Tensor) -> Tensor:
        return (x * (self._top / limit)).round()

    def _part(self, levels: Tensor, limit: Tensor, number: int) -> Tensor:
        size, width, low = levels.abs(), self.widths[number], 2 ** (self.slice_bits * number)
        digit = (size / low).floor() - (size / (low * 2**width)).floor() * 2**width
        part: Tensor = levels.sign() * digit * (limit / (2**width - 1))
        return part

    def cut_rows(self, rows: Tensor, limit: Tensor, *, constant: bool) -> list[Tensor]:
        """The same of rows (..., n), of which the last may be driven by a constant: by all of it in every read."""
        parts = self.cut(rows, limit)
        if constant:
            for part in parts:
                part[..., -1] = rows[..., -1]
        return parts
