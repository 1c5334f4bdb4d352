"""What a simulation says."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from powerplan.errors import Violation
from powerplan.hardware.costs.breakdown import CostBreakdown
from powerplan.labels import layer_labels
from powerplan.moments.chips.sampled import SampledSpread
from powerplan.moments.prediction import LayerMoments, answer_doubts
from powerplan.per_input import Inputs
from powerplan.shown import Tabled
from powerplan.spread import Chips, Spread


@dataclass(frozen=True, kw_only=True)
class RunningEstimate:
    """Where a simulation stands.

    Attributes:
        draws, draws_total: draws made and asked for.
        mse, mse_standard_error: mean squared error over the draws made.
        signal_power: mean over inputs and outputs of y*².
        power, power_standard_error: power of one inference [W].
    """

    draws: int
    draws_total: int
    mse: float
    mse_standard_error: float
    signal_power: float
    power: float
    power_standard_error: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Simulation(Tabled):
    """Monte Carlo estimates of error and power. One draw programs every array once and passes all inputs.

    B inputs, K outputs, L crossbar layers, D draws. Standard errors are over draws; a 95 % confidence
    interval is mean ± 1.96 standard errors; after a single draw they are NaN.

    Attributes:
        draws: number of draws made.
        seed: of the random numbers; equal seeds give equal results whatever the batching.
        mse, mse_standard_error: mean over draws, inputs and outputs of (y − y*)².
        nmse, nmse_standard_error: the same divided by signal_power; NaN if the ideal outputs are all zero.
        signal_power: mean over inputs and outputs of y*².
        mse_by_output, mse_by_output_standard_error: (K,).
        mse_by_draw: (D,) mean over inputs and outputs in each draw.
        worst_mse_by_draw: (D,) mean over inputs of the worst output in each draw.
        power, power_standard_error: power of one inference [W].
        power_by_layer, power_by_layer_standard_error: (L,) [W].
        converter_power_by_layer: (L,) [W], part of ``power_by_layer`` that the converters of rows and columns take, the
            same in every draw; zero if they have no energy.
        energy: energy of one inference [J].
        layer_names: (L,).
        layer_kinds: (L,) their kinds, such as "Linear" and "Conv2d"; empty where they are not known.
        ideal_output: (B, K) y*.
        output_mean: (B, K) mean over draws.
        output_covariance: (B, K, K) over draws; None if K > 64 and it takes more than 1/16 of the memory limit.
        classes: (D, B) class of each output (largest entry; with one output 1 if positive, else 0).
        layers: moments of each crossbar layer's decoded output, if asked for; of every read of its array, by node.
        inputs: the errors of single inputs, means over draws, and what they say of other inputs; None from a server
            that does not tell it.
        power_by_draw: (D,) power of one inference in each draw [W].
        costs: energy, latency and area by layer and component, means over draws; None where the hardware has no costs.
    """

    draws: int
    seed: int
    mse: float
    mse_standard_error: float
    nmse: float
    nmse_standard_error: float
    signal_power: float
    mse_by_output: np.ndarray
    mse_by_output_standard_error: np.ndarray
    mse_by_draw: np.ndarray
    worst_mse_by_draw: np.ndarray
    power: float
    power_standard_error: float
    power_by_layer: np.ndarray
    power_by_layer_standard_error: np.ndarray
    converter_power_by_layer: np.ndarray
    energy: float
    layer_names: tuple[str, ...]
    ideal_output: np.ndarray
    output_mean: np.ndarray
    output_covariance: np.ndarray | None
    classes: np.ndarray
    layers: tuple[LayerMoments, ...] = ()
    inputs: Inputs | None = None
    power_by_draw: np.ndarray | None = None
    costs: CostBreakdown | None = None
    layer_kinds: tuple[str, ...] = ()

    @property
    def layer_labels(self) -> tuple[str, ...]:
        """(L,) the layers as tables and figures call them: names, with the kind where a name is only a number."""
        return layer_labels(self.layer_names, self.layer_kinds)

    @property
    def chips(self) -> Chips:
        """How the error is spread over chips: every draw is one, its reads those of one pass of the inputs."""
        power = None if self.power_by_draw is None else SampledSpread.of(self.power_by_draw)
        return Chips(mse=SampledSpread.of(self.mse_by_draw), signal_power=self.signal_power, power=power)

    @property
    def mse_confidence_interval(self) -> tuple[float, float]:
        """95 % confidence interval of mse."""
        return _interval(self.mse, self.mse_standard_error)

    @property
    def nmse_confidence_interval(self) -> tuple[float, float]:
        """95 % confidence interval of nmse."""
        return _interval(self.nmse, self.nmse_standard_error)

    @property
    def power_confidence_interval(self) -> tuple[float, float]:
        """95 % confidence interval of power [W]."""
        return _interval(self.power, self.power_standard_error)

    def doubts(self) -> tuple[Violation, ...]:
        """Whether error or power is beyond the plausible; the calls that simulate warn of it."""
        return answer_doubts(self.nmse, self.power)

    def accuracy(self, labels: npt.ArrayLike) -> float:
        """Classification accuracy, mean over draws.

        Raises:
            InvalidInput: labels that are not (B,) classes.
        """
        return self.accuracy_with_error(labels)[0]

    def accuracy_with_error(self, labels: npt.ArrayLike) -> tuple[float, float]:
        """:meth:`accuracy` and its standard error over draws, NaN after a single one.

        Raises:
            InvalidInput: labels that are not (B,) classes.
        """
        right = self._right(labels).mean(1)
        error = float(right.std(ddof=1) / math.sqrt(len(right))) if len(right) > 1 else math.nan
        return float(right.mean()), error

    def ideal_accuracy(self, labels: npt.ArrayLike) -> float:
        """Accuracy of the ideal network on the same inputs.

        Raises:
            InvalidInput: labels that are not (B,) classes.
        """
        from powerplan.moments.accuracy import ideal_accuracy

        return ideal_accuracy(self.ideal_output, labels)

    def wrong_by_chip(self, labels: npt.ArrayLike | None = None) -> Spread:
        """How the part of the inputs in another class than the wanted one is spread over the draws, each a chip.

        Args:
            labels: (B,) wanted classes; None = those of the ideal outputs.

        Raises:
            InvalidInput: labels that are not (B,) classes.
        """
        from powerplan.moments.accuracy import wanted_classes

        return SampledSpread.of((self.classes != wanted_classes(self.ideal_output, labels)).mean(1))

    def chips_for(self, labels: npt.ArrayLike | None) -> Chips:
        """``chips``, with what labels tell of them where there are labels.

        Raises:
            InvalidInput: labels that are not (B,) classes.
        """
        return self.chips if labels is None else replace(self.chips, wrong=self.wrong_by_chip(labels))

    def accuracy_standard_error(self, labels: npt.ArrayLike) -> float:
        """The standard error of :meth:`accuracy_with_error`."""
        return self.accuracy_with_error(labels)[1]

    def accuracy_input_error(self, labels: npt.ArrayLike) -> float:
        """The standard error of :meth:`accuracy` over inputs: as one of all inputs that there may be, of which the
        calibration inputs are a random sample. NaN from a single input.

        Raises:
            InvalidInput: labels that are not (B,) classes.
        """
        from powerplan.moments.accuracy import input_error

        return input_error(self._right(labels).mean(0))

    def _right(self, labels: npt.ArrayLike) -> np.ndarray:
        """(D, B) whether a draw has the right class."""
        from powerplan.moments.accuracy import check_labels

        right: np.ndarray = self.classes == check_labels(labels, self.ideal_output.shape)
        return right


def _interval(mean: float, standard_error: float) -> tuple[float, float]:
    return mean - 1.96 * standard_error, mean + 1.96 * standard_error
