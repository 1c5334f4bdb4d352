"""The target on power: a budget, in which the error is least."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from powerplan.planning import problem
from powerplan.planning.objectives import ERROR, LeastErrorOfChips
from powerplan.planning.targets.target import Bound
from powerplan.plausibility import Plausible

if TYPE_CHECKING:
    from torch import Tensor

    from powerplan.moments.predictor import Predictor
    from powerplan.montecarlo import Simulation


class MaxPower(Bound):
    """Least mean squared error such that the power of one inference is at most ``value`` [W] (> 0).

    Attributes:
        chips: the part of the chips, between 0 and 1, whose error is least: what that part keeps within; None = the
            mean over chips is.
    """

    kind = "max_power"
    quantity, words = "power", "power [W]"
    unit = "W"
    help = "largest power [W]; then the MSE is minimised"
    plausible = Plausible(
        unit="W", low=1e-12, high=1e3, why="the power of one inference on one chip", mistakes=(1e-3, 1e-6, 1e3)
    )
    objective = ERROR
    is_budget = True
    tells_slope = True

    def _name_parts(self) -> None:
        if self.chips is not None:
            object.__setattr__(self, "objective", LeastErrorOfChips(self.chips))

    def constraints(self, predictor: Predictor, weights: Tensor | None, corner: int) -> list[problem.Constraint]:
        self._ratio(predictor, weights)  # refuses what chips are not known with
        return [problem.Constraint(measure=problem.Power(), value=self.value, corner=corner)]

    def simulated(self, simulation: Simulation, weights: np.ndarray | None) -> tuple[float, float]:
        return simulation.power, simulation.power_standard_error

    def bounds(self, signal_power: float | None) -> Mapping[str, float]:
        return {"power": self.value}
