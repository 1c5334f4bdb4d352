"""What a prediction says of single chips."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from powerplan.moments.chips.quadratic_form import QuadraticForm
from powerplan.spread import Spread


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictedSpread(Spread):
    """The distribution of an error over chips, from its linearised form.

    Attributes:
        form: the distribution.
        wider: it, with its standard deviation one standard error larger.
        relative_error: standard error of the whole, as a part of it.
    """

    form: QuadraticForm
    wider: QuadraticForm
    relative_error: float

    @classmethod
    def of(cls, form: QuadraticForm, wider: QuadraticForm, relative_error: float) -> PredictedSpread:
        """With its standard error."""
        error = math.hypot(wider.std - form.std, relative_error * form.std)
        return cls(
            mean=form.mean,
            std=form.std,
            std_standard_error=error,
            form=form,
            wider=wider,
            relative_error=relative_error,
        )

    def _scaled(self, factor: float) -> dict[str, Any]:
        return {"form": self.form.scaled(factor), "wider": self.wider.scaled(factor)}

    def _quantile(self, probability: float) -> float:
        return self.form.quantile(probability)

    def _quantile_interval(self, probability: float) -> tuple[float, float]:
        at = self.form.quantile(probability)
        error = 1.96 * math.hypot(self.wider.quantile(probability) - at, self.relative_error * at)
        return max(at - error, 0.0), at + error

    def _yield_at(self, bound: float) -> float:
        return self.form.cdf(bound)

    def _yield_interval(self, bound: float) -> tuple[float, float]:
        at = self.form.cdf(bound)
        moved = max(abs(self.form.cdf(bound / (1 + sign * self.relative_error)) - at) for sign in (1, -1))
        error = 1.96 * math.hypot(self.wider.cdf(bound) - at, moved)
        return max(at - error, 0.0), min(at + error, 1.0)
