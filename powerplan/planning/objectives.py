"""What a plan minimises. Each objective is one value, which problems, explanations and reports ask.

To add one: its class and its name in :data:`OBJECTIVES`; a target names the objective that it is met with.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from powerplan.moments.prediction import Prediction
from powerplan.planning import problem

if TYPE_CHECKING:
    from torch import Tensor

    from powerplan.planning.plan_value import Plan


class Objective(ABC):
    """What is least among the gains that meet a target.

    Attributes:
        name: in sentences, such as "least power".
        quantity: its number: "power" or "MSE".
        unit: SI unit of the number; "1" for a plain one.
    """

    name: ClassVar[str]
    quantity: ClassVar[str]
    unit: ClassVar[str]

    @abstractmethod
    def measure(self, weights: Tensor | None) -> problem.Measure:
        """It as a sum of terms, for weights (K,) of the outputs with sum 1; None = all alike."""

    @abstractmethod
    def of(self, prediction: Prediction, weights: np.ndarray | None) -> float:
        """Its value, for weights (K,) with mean 1; None = all alike."""

    @abstractmethod
    def of_baseline(self, plan: Plan) -> float | None:
        """Its value at the baseline of a plan; None without one."""

    def of_plan(self, plan: Plan) -> float:
        """Its value at a plan."""
        weights = plan.output_weights
        return self.of(plan.prediction, None if weights is None else np.array(weights))


class _LeastPower(Objective):
    name, quantity, unit = "power", "power", "W"

    def measure(self, weights: Tensor | None) -> problem.Measure:
        return problem.Power()

    def of(self, prediction: Prediction, weights: np.ndarray | None) -> float:
        return prediction.power

    def of_baseline(self, plan: Plan) -> float | None:
        return plan.baseline_power


class _LeastError(Objective):
    name, quantity, unit = "error", "MSE", "1"

    def measure(self, weights: Tensor | None) -> problem.Measure:
        return problem.Error(weights=weights)

    def of(self, prediction: Prediction, weights: np.ndarray | None) -> float:
        return weighted_mse(prediction, weights)

    def of_baseline(self, plan: Plan) -> float | None:
        return plan.baseline_mse


@dataclass(frozen=True)
class LeastErrorOfChips(_LeastError):
    """The error that a part of the chips keeps within: it is told of predictions with their chips.

    Attributes:
        part: of the chips, between 0 and 1.
    """

    part: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "quantity", f"{type(self).quantity} of {100 * self.part:g} % of the chips")

    def of(self, prediction: Prediction, weights: np.ndarray | None) -> float:
        assert prediction.chips is not None
        return prediction.chips.mse.quantile(self.part)


def weighted_mse(prediction: Prediction, weights: np.ndarray | None) -> float:
    """Mean over the outputs of their MSE times their weight; weights (K,) with mean 1, None = all alike."""
    return prediction.mse if weights is None else float((prediction.mse_by_output * weights).mean())


POWER, ERROR = _LeastPower(), _LeastError()
#: by name; where plans of several are compared, the first that they have counts
OBJECTIVES: dict[str, Objective] = {objective.name: objective for objective in (POWER, ERROR)}
