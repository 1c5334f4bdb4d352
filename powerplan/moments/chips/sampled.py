"""What draws of chips say of single chips."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from powerplan.spread import Spread

#: part of what confidence intervals leave out on either side
_OUTSIDE = 0.025


@dataclass(frozen=True, kw_only=True, eq=False)
class SampledSpread(Spread):
    """The distribution of an error over chips that were drawn.

    Intervals of yields are those of Clopper and Pearson, of quantiles the order statistics that hold them with the
    same confidence, whatever the distribution.

    Attributes:
        by_chip: (D,) the error of every chip.
    """

    by_chip: np.ndarray

    @classmethod
    def of(cls, by_chip: np.ndarray) -> SampledSpread:
        """That of the errors of chips (D,)."""
        mean, count = float(by_chip.mean()), len(by_chip)
        std = float(by_chip.std(ddof=1)) if count > 1 else math.nan
        spread = (by_chip - mean) ** 2
        error = float(spread.std(ddof=1)) / math.sqrt(count) / (2 * std) if count > 1 and std > 0 else std  # NaN or 0
        return cls(mean=mean, std=std, std_standard_error=error, by_chip=by_chip)

    def _scaled(self, factor: float) -> dict[str, Any]:
        return {"by_chip": factor * self.by_chip}

    @cached_property
    def _sorted(self) -> np.ndarray:
        return np.sort(self.by_chip)

    def _quantile(self, probability: float) -> float:
        return float(np.quantile(self._sorted, probability))

    def _quantile_interval(self, probability: float) -> tuple[float, float]:
        count = len(self.by_chip)
        from scipy.stats import binom

        low, high = binom.ppf(_OUTSIDE, count, probability), binom.ppf(1 - _OUTSIDE, count, probability)
        return (
            float(self._sorted[int(low) - 1]) if low >= 1 else 0.0,
            float(self._sorted[int(high)]) if high < count else math.inf,
        )

    def _yield_at(self, bound: float) -> float:
        return float((self.by_chip <= bound).mean())

    def _yield_interval(self, bound: float) -> tuple[float, float]:
        return part_interval(int((self.by_chip <= bound).sum()), len(self.by_chip))


def part_interval(within: int, count: int) -> tuple[float, float]:
    """The 95 % confidence interval of a part of which ``within`` of ``count`` chips were seen (Clopper and Pearson)."""
    from scipy.stats import beta

    low = float(beta.ppf(_OUTSIDE, within, count - within + 1)) if within else 0.0
    return low, float(beta.ppf(1 - _OUTSIDE, within + 1, count - within)) if within < count else 1.0


def chips_for_width(part: float, width: float) -> int:
    """Fewest chips of which a part is told with a 95 % confidence interval of at most this width.

    Args:
        part: what is expected; half a width nearer to one half, where intervals are wider, is allowed for.
    """
    part = max(0.5, max(part, 1 - part) - width / 2)
    count = max(2, math.ceil(part * (1 - part) * (2 * 1.96 / width) ** 2))
    while (interval := part_interval(round(part * count), count))[1] - interval[0] > width:
        count += max(1, count // 100)
    return count


def quantile_with_error(spread: Spread, part: float) -> tuple[float, float]:
    """The error that a part of the chips keeps within, and its standard error."""
    low, high = spread.quantile_interval(part)
    return spread.quantile(part), (high - low) / (2 * 1.96)
