"""What is asked of every target: the number that it bounds, in words, as constraints, and in a simulation."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from powerplan.checks import Checker
from powerplan.errors import InvalidInput, Violation
from powerplan.planning import problem
from powerplan.planning.objectives import ERROR, POWER, Objective
from powerplan.planning.targets.over_inputs import MEAN, upper_factor
from powerplan.plausibility import Plausible

if TYPE_CHECKING:
    from torch import Tensor

    from powerplan.moments.prediction import Prediction
    from powerplan.moments.predictor import Predictor
    from powerplan.montecarlo import Simulation


class Target(ABC):
    """A bound on one number, the first field of its class, with all that is asked of it.

    Attributes:
        kind: its name in files, on the command line and, with its unit, on the wire.
        quantity: the number in one or two words.
        words: the number in sentences.
        unit: SI unit of the number; "" for a fraction, which is shown in %, "1" for a plain number.
        help: what the bound is, for the command line.
        plausible: bounds that would be believed; None = any.
        objective: what is least among the gains that meet it.
        is_budget: the number is a cost, which rises with the gains: then small gains meet the bound, not large ones.
        is_verified: its plans are simulated and calibrated unless told otherwise, since a prediction is too far off.
        takes_weights: outputs can have weights.
        needs_outputs: it needs the variance of single outputs, which random combinations of them do not give.
        tells_slope: how its ratio for a part of the chips changes with the gains is known: it is that of the MSE.
        chips: the part of the chips that must meet the bound; None = it is one on the mean over chips.
        inputs: the part of the inputs that must meet the bound; None = it is one on the mean over inputs.
        value: the bound.
    """

    kind: ClassVar[str]
    quantity: ClassVar[str]
    words: ClassVar[str]
    unit: ClassVar[str] = "1"
    help: ClassVar[str]
    plausible: ClassVar[Plausible | None] = None
    objective: ClassVar[Objective] = POWER
    is_budget: ClassVar[bool] = False
    is_verified: ClassVar[bool] = False
    takes_weights: ClassVar[bool] = True
    needs_outputs: ClassVar[bool] = False
    tells_slope: ClassVar[bool] = False
    chips: float | None
    inputs: ClassVar[float | None] = None
    value: Any

    @abstractmethod
    def constraints(self, predictor: Predictor, weights: Tensor | None, corner: int) -> list[problem.Constraint]:
        """What it bounds in one corner, for weights (K,) of the outputs with sum 1; None = all alike.

        Raises:
            InvalidInput: the network leaves nothing to bound.
        """

    @abstractmethod
    def simulated(self, simulation: Simulation, weights: np.ndarray | None) -> tuple[float, float]:
        """Its number in a simulation and the standard error, for weights (K,) with mean 1; None = all alike."""

    def chip_ratio(self, prediction: Prediction) -> float:
        """What the mean of its number over chips is multiplied by where it is on a part of them: as the MSE is.

        Args:
            prediction: at the gains there are, with its chips.
        """
        assert prediction.chips is not None
        assert self.chips is not None
        mse = prediction.chips.mse
        return mse.quantile(self.chips) / mse.mean

    def reached_by(self, prediction: Prediction, factor: float) -> float | None:
        """The number that the part of the chips keeps within, where the ratio to the mean depends on the bound.

        None where it is the mean times the ratio.

        Args:
            prediction: with its chips.
            factor: what the mean is multiplied by.
        """
        return None

    def tell_chips(self, prediction: Prediction) -> Prediction:
        """The prediction with what the target is about told of single chips."""
        return prediction

    def chip_yield(self, simulation: Simulation, weights: np.ndarray | None) -> float | None:
        """The part of the simulated chips that meet the bound, each by itself; None where draws do not tell it."""
        return None

    def by_input(self, result: Prediction | Simulation, weights: np.ndarray | None) -> np.ndarray | None:
        """(B,) parts of single inputs in its number: their mean is it, their spread that over inputs.

        None where it is not a mean over inputs.
        """
        return None

    def input_factor(self, result: Prediction | Simulation, weights: np.ndarray | None, calibration: str) -> float:
        """What its mean over the calibration inputs is multiplied by, where it is on a part of them or for others.

        Args:
            weights: (K,) of the outputs, with mean 1; None = all alike.
            calibration: for which inputs plans are made, see :class:`powerplan.planning.settings.PlanSettings`.

        Raises:
            InvalidInput: it is not a mean over inputs.
        """
        if calibration == MEAN:
            return 1.0
        by_input = self.by_input(result, weights)
        if by_input is None:
            raise InvalidInput.of(
                "calibration",
                calibration,
                f"{MEAN!r} with {type(self).__name__}",
                "What it bounds is not a mean over inputs.",
            )
        return upper_factor(by_input)

    @property
    def error(self) -> Objective:
        """The error of its plans and baselines: what is least under a budget, else the mean."""
        return self.objective if self.is_budget else ERROR

    @property
    def has_steps(self) -> bool:
        """Whether its number changes in steps, so that another bound may be the same one."""
        return False

    def spread(self, simulation: Simulation) -> float:
        """Standard deviation of its number between draws."""
        return self.simulated(simulation, None)[1] * math.sqrt(simulation.draws)

    def largest(self, ideal: np.ndarray) -> float:
        """A bound that any gains meet, for ideal outputs (B, K)."""
        return math.inf

    def ideal_accuracy(self, ideal: np.ndarray) -> float | None:
        """The accuracy of ideal outputs (B, K), if it has labels."""
        return None

    def bounds(self, signal_power: float | None) -> Mapping[str, float]:
        """Its bounds on the numbers that every prediction has, by name: "power", "mse", "nmse".

        Args:
            signal_power: mean y*²; None = not known.
        """
        return {}

    def chip_bound(self, signal_power: float) -> float | None:
        """Its bound on the NMSE of a chip, or of the mean over them; None where it has none."""
        return None

    @classmethod
    def written_unit(cls) -> str:
        """The unit that its bound may be written with; "" is none or %."""
        return "" if cls.unit == "1" else cls.unit

    def _take_parts(self) -> None:
        """Check the parts of the chips and of the inputs, and name the number after them.

        Raises:
            InvalidInput: one that is no part, or both.
        """
        check = Checker("target.")
        parts = {name: part for name in ("chips", "inputs") if (part := getattr(self, name)) is not None}
        for name, part in parts.items():
            check.number(name, part, above=0, below=1, advice=f"95 % is 0.95; no gains make all {name} good.")
        if len(parts) > 1:
            advice = "The error of a chip is known over all inputs, that of an input over all chips; bound one of them."
            check.fail("inputs", self.inputs, "None with chips", advice)
        check.done()
        self._name_parts()

    def _name_parts(self) -> None:
        """Name the number after the part that it is of."""
        for what in ("chips", "inputs"):
            if (part := getattr(self, what)) is not None:
                for name in ("quantity", "words"):
                    object.__setattr__(self, name, f"{getattr(type(self), name)} of {100 * part:g} % of the {what}")

    def _ratio(self, predictor: Predictor, weights: Tensor | None) -> float:
        """What its mean over chips is multiplied by at the gains there are; 1 where it is on the mean.

        Raises:
            InvalidInput: outputs have weights, or chips are not told by variances or by the method.
        """
        if self.chips is None:
            return 1.0
        if weights is not None:
            raise InvalidInput.of(
                "output_weights", weights, "None with chips", "How the error is spread is known for equal weights."
            )
        from powerplan.moments.chips.spectrum import check_chips

        check_chips(predictor.network, predictor.hardware, predictor.method, "target.chips", self.chips)
        return predictor.chip_ratio

    def doubts(self) -> tuple[Violation, ...]:
        """Whether the bound is beyond the plausible, most likely a number in %; planning warns of it."""
        return () if self.plausible is None else self.plausible.doubt(f"target.{self.kind}", self.value)

    def is_plausible(self, value: float) -> bool:
        """Whether the target would be believed with this bound."""
        return self.plausible is None or not self.plausible.doubt("", value)

    def with_value(self, value: float) -> Self:
        """The same target with another bound."""
        return replace(self, **{fields(self)[0].name: value})  # type: ignore[arg-type,type-var]

    def with_chips(self, part: float | None) -> Self:
        """The same target on another part of the chips; None = on the mean over them."""
        return replace(self, chips=part)  # type: ignore[type-var]


@dataclass(frozen=True)
class Bound(Target):
    """A target on a number > 0."""

    value: float
    chips: float | None = None

    def __post_init__(self) -> None:
        check = Checker("target.")
        advice = "Give the largest value that you accept."
        if check.number(type(self).__name__, self.value, above=0, advice=advice):
            object.__setattr__(self, "value", float(self.value))
        check.done()
        self._take_parts()
