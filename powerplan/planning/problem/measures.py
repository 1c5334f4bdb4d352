"""What a plan minimises or bounds: power, an error, or the rate of wrong classes, each as a sum of positive terms.

A measure maps the predicted moments of one corner to terms (T,) whose sum is its value; the terms are what local
geometric programs replace by monomials.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor

from powerplan.moments.predictor import Moments, Predictor
from powerplan.planning import policy

if TYPE_CHECKING:
    from powerplan.planning.problem.variables import FreeGains


class Measure(Protocol):
    """A positive function of the gains, through the predicted moments.

    Attributes:
        rises: it is a cost, which rises with the gains where nothing else is known; else an error, which falls.
    """

    rises: bool

    @property
    def needs_covariance(self) -> bool:
        """Whether the moments must hold the output covariance."""

    def terms(self, predictor: Predictor, moments: Moments, part: slice) -> Tensor:
        """(T,) terms >= 0 whose sum is the value for a part of the inputs.

        The value for all inputs is the mean over the parts, weighted with their numbers of inputs.
        """

    def residuals(self, predictor: Predictor, moments: Moments, part: slice) -> Tensor:
        """(m,) numbers whose sum of squares is a part of the value in which all gains act together; may be empty."""

    def exponents(self, layout: FreeGains) -> np.ndarray:
        """(n,) exponents t of its terms in the gains, ∝ exp(t θ), as far as they are known beforehand."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tilt:
    """A factor exp(slope · (θ − at)) of a measure: what its mean over chips is multiplied by changes so with the gains.

    Attributes:
        at: θ (n,) where it is 1.
        slope: (n,) of its logarithm.
    """

    at: np.ndarray
    slope: np.ndarray

    def log(self, theta: np.ndarray) -> float:
        """Its logarithm at θ (n,)."""
        return float(self.slope @ (theta - self.at))

    def factor(self, point: Tensor) -> Tensor:
        """It () at θ (n,)."""
        return (point.new_tensor(self.slope) @ (point - point.new_tensor(self.at))).exp()


@dataclass(frozen=True, kw_only=True, eq=False)
class Constraint:
    """measure <= bound, which is unit · (value + offset).

    Attributes:
        value: bound of the target's quantity, measure / unit − offset (for example MSE / mean y*²).
        corner: the hardware it holds in; 0 is the nominal one.
        output: the output it is about; None if it is about all of them.
        tilt: of the measure; None = none.
        beside: it is a limit beside the target, whose number is another one.
    """

    measure: Measure
    value: float
    unit: float = 1.0
    offset: float = 0.0
    corner: int = 0
    output: int | None = None
    tilt: Tilt | None = None
    beside: bool = False

    @property
    def bound(self) -> float:
        """Largest value of the measure."""
        return self.unit * (self.value + self.offset)

    def quantity(self, measured: float) -> float:
        """The target's quantity for a value of the measure."""
        return measured / self.unit - self.offset

    def times(self, factor: float) -> Constraint:
        """The same bound on the target's quantity times a factor."""
        return self if factor == 1 else replace(self, unit=self.unit / factor, offset=self.offset * factor)

    @property
    def leverage(self) -> float:
        """d log bound / d log value."""
        return self.value / (self.value + self.offset)


@dataclass(frozen=True, kw_only=True, eq=False)
class Power:
    """Power of one inference [W], by layer."""

    needs_covariance = False
    rises = True

    def terms(self, predictor: Predictor, moments: Moments, part: slice) -> Tensor:
        """Array power of every layer, then TIA power and that of converters if they are counted."""
        hardware = predictor.hardware
        parts = [moments.array_power]
        if hardware.feedback_resistance is not None or hardware.feedback_tracking:
            parts.append(moments.tia_power)
        if hardware.dac_energy or hardware.adc_energy:
            parts.append(moments.converter_power)
        return torch.cat(parts)

    def residuals(self, predictor: Predictor, moments: Moments, part: slice) -> Tensor:
        """None: every layer has its own power."""
        return moments.mean.new_zeros(0)

    def exponents(self, layout: FreeGains) -> np.ndarray:
        """Those of the gains."""
        return layout.power_exponents


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayEnergy:
    """Energy of devices and feedback resistors in one inference [J], by layer.

    Attributes:
        seconds: (L,) how long the arrays of every layer are read.
    """

    seconds: np.ndarray
    needs_covariance = False
    rises = True

    def terms(self, predictor: Predictor, moments: Moments, part: slice) -> Tensor:
        """That of every layer."""
        power = moments.array_power + moments.tia_power
        return power * power.new_tensor(self.seconds)

    def residuals(self, predictor: Predictor, moments: Moments, part: slice) -> Tensor:
        """None: every layer has its own energy."""
        return moments.mean.new_zeros(0)

    def exponents(self, layout: FreeGains) -> np.ndarray:
        """Those of the gains."""
        return layout.power_exponents


@dataclass(frozen=True, kw_only=True, eq=False)
class Error:
    """Weighted mean over the outputs of the mean squared error, Σ_k w_k MSE_k, by noise source and bias.

    Attributes:
        weights: (K,) >= 0 with sum 1; None = 1/K each.
    """

    weights: Tensor | None = None
    needs_covariance = False
    rises = False

    def terms(self, predictor: Predictor, moments: Moments, part: slice) -> Tensor:
        """Error caused by every noise source, then the squared bias."""
        spread = [source.variance for source in moments.sources]
        if predictor.method != "linearized":
            spread = [moments.variance]
        means = []
        for squared in (*spread, (moments.mean - predictor.ideal[part]) ** 2):
            means.append(squared.mean() if self.weights is None else squared.mean(0) @ self.weights)
        return torch.stack(means)

    def residuals(self, predictor: Predictor, moments: Moments, part: slice) -> Tensor:
        """The output bias of every input and output."""
        shift = moments.mean - predictor.ideal[part]
        weights = shift.new_tensor(1 / shift.shape[1]) if self.weights is None else self.weights
        return (shift * (weights / len(shift)).sqrt()).flatten()

    def exponents(self, layout: FreeGains) -> np.ndarray:
        """Those of noise, 1/c²."""
        return np.full(layout.count, policy.NOISE_EXPONENT)
