"""What a prediction says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from powerplan.errors import InvalidInput, Violation
from powerplan.hardware.costs.breakdown import CostBreakdown
from powerplan.labels import layer_labels
from powerplan.per_input import Inputs
from powerplan.plausibility import Plausible
from powerplan.shown import Tabled
from powerplan.spread import Chips, Spread

if TYPE_CHECKING:
    from powerplan.moments.chips.predicted import ChipSource

_NMSE = Plausible(
    unit="",
    high=100.0,
    why="beyond, nothing of the signal is left",
    advice="Check the units of the hardware, and with a target on classes that the labels are those of the inputs.",
)
_POWER = Plausible(
    unit="W", low=1e-12, high=1e5, why="the power of one inference", advice="Check the units of the hardware."
)


def answer_doubts(nmse: float, power: float) -> tuple[Violation, ...]:
    """What is hard to believe of an answer: an input, most likely of the hardware, is in another unit."""
    return (*_NMSE.doubt("prediction.nmse", nmse), *_POWER.doubt("prediction.power", power))


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerMoments:
    """Moments of the decoded output z = W x + b of one crossbar layer, for every input.

    Attributes:
        name: name of the layer.
        mean: shape (B, n).
        variance: shape (B, n).
        covariance: shape (B, n, n); None unless the method carries covariances.
    """

    name: str
    mean: np.ndarray
    variance: np.ndarray
    covariance: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class ArrayDrop:
    """What wires take off one array.

    Attributes:
        layer: name.
        group, row_tile, column_tile: of the layer's arrays, from 0.
        side: 0, or 1 of the negative weights where these have arrays of their own.
        mean: share of the column currents where all rows are driven alike, mean over the columns.
        largest: largest share of what one device adds to its column.
    """

    layer: str
    group: int
    row_tile: int
    column_tile: int
    side: int
    mean: float
    largest: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction(Tabled):
    """Error and power of a network on crossbars, from second-order moments.

    B inputs, K outputs, L crossbar layers. ``mse`` is the mean over inputs and outputs of E[(y − y*)²],
    y* the ideal output; ``nmse`` = mse / mean y*². ``mse_by_layer`` sums to ``mse``.

    Attributes:
        method: "linearized", "covariance" or "diagonal".
        mse: mean squared error of the outputs.
        mse_standard_error: its own standard error, of error samples and of random combinations of the outputs; 0 where
            neither was used, NaN where too few samples were asked for to tell.
        marginal_fields: error samples that correct variances, means and power; with any of them there is chance in the
            result, another seed gives another; 0 = none.
        sampling_limited: the standard error that samples leave is larger than ``sampling_error`` asks for: the limit of
            work or time, or ``marginal_fields``, came first.
        nmse_standard_error: mse_standard_error / signal_power.
        nmse: mse / signal_power (NaN if the ideal outputs are all zero).
        signal_power: mean over inputs and outputs of y*².
        mse_bias: part of mse that is squared bias; the rest is variance.
        mse_by_layer: (L,) share of mse caused by the noise of each layer.
        mse_by_output: (K,) mean over inputs of each output's squared error; with random combinations the variance in
            it is shared out among the outputs as if the activations were independent.
        mse_by_output_standard_error: (K,) what the chance of error samples leaves in it.
        wire_bias_by_layer: (L,) squared output bias that the resistance of each layer's wires causes alone: that of the
            mean weights less what the same gains give with ideal wires, digital scales and shifted targets being made
            for the wires in either case; 0 with ideal wires.
        wire_drop_by_layer: (L,) share of the column currents that wires take off where all rows are driven alike, mean
            over the columns of all arrays.
        largest_wire_drop_by_layer: (L,) largest share that wires take off what one device adds to its column.
        array_drops: what they take off every array; empty with ideal wires, and in a prediction read back from a plan
            file.
        power: power of one inference [W], summed over the layers.
        power_standard_error: what the chance of error samples leaves in it [W].
        power_by_layer: (L,) [W].
        array_power_by_layer: (L,) [W], dissipated in the devices.
        tia_power_by_layer: (L,) [W], dissipated in the TIA feedback; zero if not counted.
        converter_power_by_layer: (L,) [W], of the converters of rows and columns; zero if they have no energy.
        energy: energy of one inference [J] = power × read time.
        layer_names: (L,) names of the crossbar layers.
        layer_kinds: (L,) their kinds, such as "Linear" and "Conv2d"; empty where they are not known.
        ideal_output: (B, K) y*; None in a prediction read back from a plan file.
        output_mean: (B, K); None in a prediction read back from a plan file.
        output_covariance: (B, K, K); None in a prediction read back from a plan file, or with random combinations.
            Where rare errors saturate converters the mean over inputs is right to a few percent, that of a single
            input may be off by half.
        layers: moments of each crossbar layer; empty in a prediction read back from a plan file, and where they would
            take more than the memory limit.
            With ``diagonal``, and with ``linearized`` where no error samples correct them, the variances of inner
            layers assume independent activations and are approximate (10-20 % low is usual); ``covariance``
            gives the accurate ones.
        first_order: names of nodes without a Gaussian formula, taken at the mean (first order).
        chips: how the error is spread over chips, if asked for.
        inputs: the errors of single inputs, and what they say of inputs beside the calibration batch; None in plan
            files written before they were kept.
        costs: energy, latency and area by layer and component; None where the hardware has no costs.
    """

    method: str
    mse: float
    nmse: float
    signal_power: float
    mse_bias: float
    mse_by_layer: np.ndarray
    mse_by_output: np.ndarray
    power: float
    power_by_layer: np.ndarray
    array_power_by_layer: np.ndarray
    tia_power_by_layer: np.ndarray
    converter_power_by_layer: np.ndarray
    energy: float
    layer_names: tuple[str, ...]
    ideal_output: np.ndarray | None = None
    output_mean: np.ndarray | None = None
    output_covariance: np.ndarray | None = None
    layers: tuple[LayerMoments, ...] = ()
    first_order: tuple[str, ...] = ()
    chips: Chips | None = None
    mse_standard_error: float = 0.0
    mse_by_output_standard_error: np.ndarray | None = None
    wire_bias_by_layer: np.ndarray | None = None
    wire_drop_by_layer: np.ndarray | None = None
    largest_wire_drop_by_layer: np.ndarray | None = None
    array_drops: tuple[ArrayDrop, ...] = ()
    power_standard_error: float = 0.0
    marginal_fields: int = 0
    sampling_limited: bool = False
    inputs: Inputs | None = None
    costs: CostBreakdown | None = None
    layer_kinds: tuple[str, ...] = ()

    @property
    def layer_labels(self) -> tuple[str, ...]:
        """(L,) the layers as tables and figures call them: names, with the kind where a name is only a number."""
        return layer_labels(self.layer_names, self.layer_kinds)

    def label_of(self, layer: str) -> str:
        """The label of the layer of this name; what names no single layer stays as it is."""
        return dict(zip(self.layer_names, self.layer_labels, strict=True)).get(layer, layer)

    @property
    def nmse_standard_error(self) -> float:
        return self.mse_standard_error / self.signal_power if self.signal_power > 0 else float("nan")

    def doubts(self) -> tuple[Violation, ...]:
        """Whether error or power is beyond the plausible; the calls that predict warn of it."""
        return answer_doubts(self.nmse, self.power)

    @property
    def tells_accuracy(self) -> bool:
        """Whether the covariance of the outputs is known, which :meth:`accuracy` needs."""
        return self.output_covariance is not None

    def accuracy(self, labels: npt.ArrayLike, *, samples: int = 2000, seed: int = 0) -> float:
        """Expected classification accuracy, from the Gaussian of each input's outputs.

        The class is the largest output (with one output: its sign, 1 if positive).

        Args:
            labels: (B,) integer classes.
            samples: Gaussian samples per input.
            seed: of the sampling.

        Raises:
            InvalidInput: labels of the wrong shape or range, or a prediction read back from a file.
        """
        from powerplan.moments.accuracy import gaussian_accuracy

        return gaussian_accuracy(*self._output_moments(), labels, samples=samples, seed=seed)

    def accuracy_with_error(self, labels: npt.ArrayLike, *, samples: int = 2000, seed: int = 0) -> tuple[float, float]:
        """:meth:`accuracy`, and what the chance of its sampling and of error samples leaves in it, fractions.

        Args:
            labels, samples, seed: as given to :meth:`accuracy`.

        Raises:
            InvalidInput: as :meth:`accuracy`.
        """
        from powerplan.moments.accuracy import gaussian_accuracy_with_error

        relative = self.mse_standard_error / self.mse if self.mse > 0 else 0.0
        moments = self._output_moments()
        return gaussian_accuracy_with_error(*moments, labels, samples=samples, seed=seed, relative_error=relative)

    def ideal_accuracy(self, labels: npt.ArrayLike) -> float:
        """Accuracy of the ideal network on the same inputs.

        Raises:
            InvalidInput: labels of the wrong shape or range, or a prediction read back from a file.
        """
        from powerplan.moments.accuracy import ideal_accuracy

        if self.ideal_output is None:
            raise InvalidInput.of(
                "prediction.ideal_output", None, "a prediction with its outputs", "Predict again with pp.predict."
            )
        return ideal_accuracy(self.ideal_output, labels)

    def accuracy_standard_error(self, labels: npt.ArrayLike, *, samples: int = 2000, seed: int = 0) -> float:
        """The standard error of :meth:`accuracy_with_error`."""
        return self.accuracy_with_error(labels, samples=samples, seed=seed)[1]

    def accuracy_input_error(self, labels: npt.ArrayLike, *, samples: int = 2000, seed: int = 0) -> float:
        """The standard error of :meth:`accuracy` over inputs: as one of all inputs that there may be, of which the
        calibration inputs are a random sample. NaN from a single input.

        Args:
            labels, samples, seed: as given to :meth:`accuracy`.

        Raises:
            InvalidInput: as :meth:`accuracy`.
        """
        from powerplan.moments.accuracy import gaussian_accuracy_input_error

        return gaussian_accuracy_input_error(*self._output_moments(), labels, samples=samples, seed=seed)

    def wrong_by_chip(self, labels: npt.ArrayLike | None = None) -> Spread:
        """How the part of the inputs in another class than the wanted one is spread over chips.

        The accuracy that 95 % of the chips have at least is 1 − ``wrong_by_chip(labels).quantile(0.95)``. Chips are
        drawn from the linearised network; their errors are common to all inputs.

        Args:
            labels: (B,) wanted classes; None = those of the ideal outputs.

        Raises:
            InvalidInput: labels of the wrong shape or range, or a prediction without its chips (``chip_spread``), or
                one read back from a file.
        """
        return self._chip_source().wrong_by_chip(labels)

    def chips_by_input(self) -> tuple[Spread, ...]:
        """(B) how the MSE of every input, over its outputs, is spread over chips that read it once.

        Found when it is asked for, from the covariance of the input's outputs.

        Raises:
            InvalidInput: a prediction without its chips (``chip_spread``), one read back from a file or from a server,
                or one by random combinations of the outputs.
        """
        from powerplan.moments.chips.single import spread_by_input

        return spread_by_input(self._chip_source())

    def chips_by_output(self) -> tuple[Spread, ...]:
        """(K) how the MSE of every output, over all inputs, is spread over chips.

        Found when it is asked for: of up to 256 outputs of all inputs together for the time of one prediction, of more
        by drawing chips, for that of about five.

        Raises:
            InvalidInput: as :meth:`chips_by_input`.
        """
        from powerplan.moments.chips.single import spread_by_output

        return spread_by_output(self._chip_source())

    def _chip_source(self) -> ChipSource:
        from powerplan.moments.chips.predicted import PredictedChips

        if isinstance(self.chips, PredictedChips):
            return self.chips.source
        found = None if self.chips is None else "what a file or a server tells of them"
        raise InvalidInput.of(
            "prediction.chips", found, "a prediction made here with chip_spread=True", "Predict again with pp.predict."
        )

    def chips_for(self, labels: npt.ArrayLike | None) -> Chips | None:
        """``chips``, with what labels tell of them where there are labels and the outputs' covariance is known.

        Raises:
            InvalidInput: labels of the wrong shape or range.
        """
        if self.chips is None or labels is None or not self.tells_accuracy:
            return self.chips
        return replace(self.chips, wrong=self.wrong_by_chip(labels))

    def _output_moments(self) -> tuple[np.ndarray, np.ndarray]:
        if self.output_mean is None or self.output_covariance is None:
            raise InvalidInput.of(
                "prediction.output_mean", None, "a prediction with output moments", "Predict again with pp.predict."
            )
        return self.output_mean, self.output_covariance
