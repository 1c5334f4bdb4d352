"""Targets on classes. The class of an input is the largest output; with one output it is its sign."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from powerplan.checks import Checker, class_array
from powerplan.errors import InvalidInput
from powerplan.planning import problem
from powerplan.planning.targets.target import Target
from powerplan.plausibility import Plausible

if TYPE_CHECKING:
    from torch import Tensor

    from powerplan.moments.chips.outputs import Margins
    from powerplan.moments.prediction import Prediction
    from powerplan.moments.predictor import Predictor
    from powerplan.montecarlo.simulation import Simulation


#: by which differences of rates, whole numbers over that of the inputs, are rounded
_ROUNDING = 1e-9
#: how far, in log, errors are scaled to find the mean rate at which a part of the chips meets a bound, and how closely
_MOST_FACTOR, _FACTOR_ERROR = math.log(4), 2e-4


@dataclass(frozen=True)
class ClassTarget(Target):
    """A target on the fraction of inputs that are not in the wanted class, beyond that of the ideal network."""

    fraction: float

    unit = ""
    plausible = Plausible(unit="", high=0.25, why="a network that errs more often is of little use", mistakes=(0.01,))
    is_verified = True
    takes_weights = False
    needs_outputs = True

    def __post_init__(self) -> None:
        check = Checker("target.")
        check.number(type(self).__name__, self.fraction, above=0, below=1, advice="Give a fraction: 0.01 is 1 %.")
        check.done()
        object.__setattr__(self, "fraction", float(self.fraction))
        self._take_parts()

    @property
    def value(self) -> float:
        """The fraction."""
        return self.fraction

    @property
    def has_steps(self) -> bool:
        """Of a chip: whole numbers of inputs."""
        return self.chips is not None

    @abstractmethod
    def wanted(self) -> Sequence[int] | None:
        """The wanted class of every input; None = that of the ideal network."""

    def constraints(self, predictor: Predictor, weights: Tensor | None, corner: int) -> list[problem.Constraint]:
        measure = problem.ErrorRate.of(predictor.ideal, self.wanted())
        if measure.ideal + self.value >= 1:
            raise InvalidInput.of(
                f"target.{type(self).__name__}",
                self.value,
                f"less than the accuracy of the ideal network on these inputs, {1 - measure.ideal:.6g}",
                "Any gains meet it; give a smaller drop, or check the labels.",
            )
        if self.chips is None:
            return [problem.Constraint(measure=measure, value=self.value, offset=measure.ideal, corner=corner)]
        unit = 1 / self._ratio(predictor, weights)
        lost = replace(measure, only_lost=True)
        return [problem.Constraint(measure=lost, value=self.value, unit=unit, corner=corner)]

    def chip_ratio(self, prediction: Prediction) -> float:
        """The bound over the mean rate at which the part of the chips meets it, of the inputs that can be lost.

        Rates of chips are whole numbers over that of the inputs: their quantile has steps. The factor of all errors
        with which just that part meets the bound has none; the mean is the one with this factor.
        """
        margins, mean, ideal = self._rates(prediction)
        allowed, part = ideal + self.value, self.chips
        assert part is not None

        def excess(logarithm: float) -> float:
            within = margins.wrong_rates(math.exp(logarithm)) <= allowed + _ROUNDING
            return part - float(within.double().mean())

        lost = mean(_crossing(excess))
        return self.value / lost if lost else 1.0  # none is lost, whatever the ratio

    def reached_by(self, prediction: Prediction, factor: float) -> float | None:
        """The rate of wrong classes that the part of the chips keeps within, less that of the ideal network: of errors
        so much larger that the mean rate, of the inputs that can be lost, is multiplied by the factor."""
        if self.chips is None:
            return None
        margins, mean, ideal = self._rates(prediction)
        aim = factor * mean(0.0)
        logarithm = _crossing(lambda x: mean(x) - aim) if factor != 1 and aim else 0.0
        rates = margins.wrong_rates(math.exp(logarithm)).cpu().numpy()
        return float(np.quantile(rates, self.chips, method="inverted_cdf")) - ideal

    def _rates(self, prediction: Prediction) -> tuple[Margins, Callable[[float], float], float]:
        """Of inputs not in the wanted class: those of chips; the mean, of the inputs that can be lost, by the log
        factor of all errors; that of the ideal network."""
        from powerplan.moments.chips.predicted import ChipSource

        chips = ChipSource.behind(prediction)
        measure = problem.ErrorRate.of(chips.ideal, self.wanted())

        def mean(logarithm: float) -> float:
            covariance = math.exp(2 * logarithm) * chips.outputs.covariance
            return float(measure.rates(chips.outputs.mean, covariance)[0])

        return chips.margins(measure.wanted), mean, measure.ideal

    def tell_chips(self, prediction: Prediction) -> Prediction:
        if prediction.chips is None:
            return prediction
        from powerplan.moments.chips.predicted import ChipSource

        wrong = ChipSource.behind(prediction).wrong_by_chip(self.wanted())
        return replace(prediction, chips=replace(prediction.chips, wrong=wrong))

    def simulated(self, simulation: Simulation, weights: np.ndarray | None) -> tuple[float, float]:
        """The error is not below a single changed class in all draws: no change at all does not prove that there is
        none."""
        if self.chips is not None:
            return self._simulated_by_chip(simulation)
        wrong = self.wrong_rates(simulation)
        error = float(wrong.std(ddof=1) / math.sqrt(len(wrong)))
        ideal = 1 - self.largest(simulation.ideal_output)
        return float(wrong.mean() - ideal), max(error, 1 / simulation.classes.size)

    def _simulated_by_chip(self, simulation: Simulation) -> tuple[float, float]:
        """The drop that the part of the chips keeps within, interpolated between the whole numbers of inputs such that
        it is the bound where just that part meets it."""
        assert self.chips is not None
        inputs = simulation.classes.shape[1]
        wrong = np.rint(inputs * self.wrong_rates(simulation)).astype(int)
        most = math.floor(inputs * (1 - self.largest(simulation.ideal_output) + self.value) + _ROUNDING)
        parts = np.append(0.0, np.bincount(wrong, minlength=inputs + 1).cumsum() / len(wrong))
        drops = self.value + (np.arange(-1, inputs + 1) - most) / inputs
        error = math.sqrt(self.chips * (1 - self.chips) / len(wrong))
        low, drop, high = np.interp((self.chips - error, self.chips, self.chips + error), parts, drops)
        return float(drop), max(float(high - low) / 2, 1 / simulation.classes.size)

    def chip_yield(self, simulation: Simulation, weights: np.ndarray | None) -> float:
        ideal = 1 - self.largest(simulation.ideal_output)
        return float((self.wrong_rates(simulation) - ideal <= self.value + _ROUNDING).mean())

    def by_input(self, result: Prediction | Simulation, weights: np.ndarray | None) -> np.ndarray:
        ideal = result.ideal_output
        assert ideal is not None
        wanted = self._wanted_at(ideal)
        beyond: np.ndarray = self._wrong_by_input(result, ideal, wanted) - (_classes(ideal) != wanted)
        return beyond

    def _wrong_by_input(self, result: Prediction | Simulation, ideal: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """(B,) chances of another class than the wanted one."""
        from powerplan.montecarlo.simulation import Simulation

        if isinstance(result, Simulation):
            rates: np.ndarray = (result.classes != wanted).mean(0)
            return rates
        import torch

        mean, covariance = (torch.as_tensor(np.array(m)) for m in (result.output_mean, result.output_covariance))
        rate = problem.ErrorRate.of(torch.as_tensor(np.array(ideal)), self.wanted())
        return rate.wrong(mean.double(), covariance.double()).numpy()

    def spread(self, simulation: Simulation) -> float:
        return float(self.wrong_rates(simulation).std(ddof=1))

    def largest(self, ideal: np.ndarray) -> float:
        """The accuracy of the ideal network."""
        return float((_classes(ideal) == self._wanted_at(ideal)).mean())

    def wrong_rates(self, simulation: Simulation) -> np.ndarray:
        """(D,) fraction of the inputs not in the wanted class in every draw."""
        rates: np.ndarray = (simulation.classes != self._wanted_at(simulation.ideal_output)).mean(1)
        return rates

    def _wanted_at(self, ideal: np.ndarray) -> np.ndarray:
        wanted = self.wanted()
        return _classes(ideal) if wanted is None else np.array(wanted)


@dataclass(frozen=True)
class MaxFlipRate(ClassTarget):
    """Least power such that at most ``fraction`` (0 to 1) of the outputs change class: no labels needed.

    The class is the largest output (with one output: its sign), expected over devices and inputs.

    Attributes:
        chips: the part of the chips that must meet the bound, between 0 and 1; None = the mean over chips must.
    """

    chips: float | None = None

    kind = "max_flip_rate"
    quantity, words = "flip rate", "rate of changed classes"
    help = "largest fraction of outputs that change class (0.01 or 1%)"

    def wanted(self) -> None:
        """Those of the ideal network."""


@dataclass(frozen=True)
class MaxAccuracyDrop(ClassTarget):
    """Least power such that the expected accuracy on the calibration inputs falls by at most ``fraction``.

    The drop is absolute (0.01 is one percentage point), from the accuracy of the ideal network on the same inputs.

    Attributes:
        fraction: 0 to 1, below the ideal accuracy.
        labels: one class per calibration input, from 0.
        chips: the part of the chips that must meet the bound, between 0 and 1; None = the mean over chips must.
    """

    labels: tuple[int, ...]
    chips: float | None = None

    kind = "max_accuracy_drop"
    quantity, words = "accuracy drop", "drop of accuracy"
    help = "largest fall of the expected accuracy (0.01 or 1%); needs the classes of the inputs"

    def __init__(self, fraction: float, labels: npt.ArrayLike, chips: float | None = None) -> None:
        object.__setattr__(self, "fraction", fraction)
        object.__setattr__(self, "chips", chips)
        object.__setattr__(self, "labels", _label_tuple(labels))
        self.__post_init__()

    def __repr__(self) -> str:
        chips = "" if self.chips is None else f", chips={self.chips!r}"
        return f"MaxAccuracyDrop(fraction={self.fraction!r}, {len(self.labels)} labels{chips})"

    def wanted(self) -> Sequence[int]:
        """The labels."""
        return self.labels

    def ideal_accuracy(self, ideal: np.ndarray) -> float:
        return self.largest(ideal)


def _crossing(rising: Callable[[float], float]) -> float:
    """The log factor of errors at which a number that rises with it is 0; the nearer end of those looked at if none."""
    ends = (-_MOST_FACTOR, _MOST_FACTOR)
    at = [rising(end) for end in ends]
    if not at[0] < 0 < at[1]:
        return ends[0] if at[0] >= 0 else ends[1]
    from scipy import optimize

    return float(optimize.brentq(rising, *ends, xtol=_FACTOR_ERROR))


def _classes(ideal: np.ndarray) -> np.ndarray:
    return ideal.argmax(1) if ideal.shape[1] > 1 else (ideal[:, 0] > 0).astype(int)


def _label_tuple(labels: npt.ArrayLike | None) -> tuple[int, ...]:
    """Labels as integers >= 0; whether they fit the inputs is seen when planning."""
    allowed = "one class >= 0 per calibration input"
    if labels is None:
        raise InvalidInput.of("target.labels", None, allowed, "Give labels, or use MaxFlipRate without them.")
    check = Checker("target.")
    array = class_array(check, "labels", labels, allowed)
    if array is not None and not array.size:
        check.fail("labels", array, allowed, "Give one class per calibration input.")
    check.done()
    assert array is not None
    return tuple(array.tolist())
