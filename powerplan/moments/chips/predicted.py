"""What a prediction says of single chips."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from powerplan.errors import InvalidInput
from powerplan.hardware.gains import Gains
from powerplan.moments.accuracy import wanted_classes
from powerplan.moments.chips.linear import LinearChips
from powerplan.moments.chips.outputs import ChipOutputs, Margins
from powerplan.moments.chips.quadratic_form import QuadraticForm
from powerplan.moments.chips.sampled import SampledSpread
from powerplan.moments.predictor import Predictor
from powerplan.spread import Chips, Spread

if TYPE_CHECKING:
    from powerplan.moments.chips.spectrum import Spectrum
    from powerplan.moments.prediction import Prediction


@dataclass(frozen=True, kw_only=True, eq=False)
class ChipSource:
    """What the outputs of single chips are drawn from, once they are asked for.

    Attributes:
        predictor: corrected as it must be at the gains.
        spectrum: of the errors that inputs have in common.
        moments: mean (B, K) and covariance (B, K, K) of the outputs; None where that is not known.
        relative_error: standard error of the mean MSE, as a part of it.
    """

    predictor: Predictor
    gains: Gains
    spectrum: Spectrum
    moments: tuple[np.ndarray, np.ndarray] | None
    relative_error: float = 0.0
    _margins: dict[bytes, Margins] = field(default_factory=dict)

    @property
    def ideal(self) -> Tensor:
        """The ideal outputs, (B, K)."""
        return self.predictor.ideal

    @property
    def known_moments(self) -> tuple[Tensor, Tensor]:
        """Mean (B, K) and covariance (B, K, K) of the outputs.

        Raises:
            InvalidInput: the covariance is not known.
        """
        if self.moments is None:
            raise InvalidInput.of(
                "output_combinations",
                self.predictor.directions.shape[1],
                "0 for classes, single inputs and single outputs of chips",
                "Random combinations of the outputs do not tell them; give output_combinations=0.",
            )
        mean, covariance = (torch.as_tensor(np.array(each)).to(self.ideal) for each in self.moments)
        return mean, covariance

    @cached_property
    def outputs(self) -> ChipOutputs:
        """The outputs of single chips.

        Raises:
            InvalidInput: their covariance is not known.
        """
        predictor, moments = self.predictor, self.known_moments
        with torch.no_grad():
            chips = LinearChips.of(predictor, predictor.program(*predictor.gain_tensors(self.gains)))
        return ChipOutputs.of(chips, *moments)

    def wrong_by_chip(self, labels: npt.ArrayLike | None) -> Spread:
        """How the part of the inputs in another class than that of the labels is spread; None = of the ideal outputs.

        Raises:
            InvalidInput: labels that do not fit, or a covariance of the outputs that is not known.
        """
        wanted = torch.as_tensor(wanted_classes(self.ideal.cpu().numpy(), labels))
        return SampledSpread.of(self.margins(wanted).wrong_rates().cpu().numpy())

    def margins(self, wanted: Tensor) -> Margins:
        """How far the chips are from another class than the wanted one (B,), found once for the same classes.

        Raises:
            InvalidInput: a covariance of the outputs that is not known.
        """
        known = wanted.cpu().numpy().tobytes()
        if known not in self._margins:
            self._margins.clear()
            self._margins[known] = self.outputs.margins(wanted)
        return self._margins[known]

    @classmethod
    def behind(cls, prediction: Prediction) -> ChipSource:
        """That of a prediction that was just made with its chips."""
        assert isinstance(prediction.chips, PredictedChips)
        return prediction.chips.source


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictedChips(Chips):
    """The errors of single chips, and what their outputs are drawn from."""

    source: ChipSource = field(repr=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class PredictedSpread(Spread):
    """The distribution of an error over chips.

    Attributes:
        form: the distribution.
        std_error: standard error of its standard deviation, as a part of it.
        relative_error: standard error of the whole, as a part of it.
    """

    form: QuadraticForm
    std_error: float
    relative_error: float

    @classmethod
    def of(cls, form: QuadraticForm, std_error: float, relative_error: float) -> PredictedSpread:
        """With its standard error, and that of its standard deviation, each as a part of it."""
        return cls(
            mean=form.mean,
            std=form.std,
            std_standard_error=math.hypot(std_error, relative_error) * form.std,
            form=form,
            std_error=std_error,
            relative_error=relative_error,
        )

    def _scaled(self, factor: float) -> dict[str, Any]:
        return {"form": self.form.scaled(factor)}

    def _quantile(self, probability: float) -> float:
        return max(self.form.quantile(probability), 0.0)

    def _quantile_interval(self, probability: float) -> tuple[float, float]:
        at = self._quantile(probability)
        error = 1.96 * math.hypot(self.std_error * (at - self.mean), self.relative_error * at)
        return max(at - error, 0.0), at + error

    def _yield_at(self, bound: float) -> float:
        return self.form.cdf(bound)

    def _yield_interval(self, bound: float) -> tuple[float, float]:
        at = self.form.cdf(bound)
        moved = max(abs(self.form.cdf(bound / (1 + sign * self.relative_error)) - at) for sign in (1, -1))
        wider = self.form.cdf(self.mean + (bound - self.mean) / (1 + self.std_error))
        error = 1.96 * math.hypot(wider - at, moved)
        return max(at - error, 0.0), min(at + error, 1.0)
