"""Targets on the squared error of the outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from powerplan.errors import InvalidInput
from powerplan.planning import problem
from powerplan.planning.targets.target import Bound
from powerplan.plausibility import Plausible

if TYPE_CHECKING:
    from torch import Tensor

    from powerplan.moments.predictor import Predictor
    from powerplan.montecarlo import Simulation


class MaxMSE(Bound):
    """Least power such that the mean squared error of the outputs is at most ``value`` (> 0)."""

    kind = "max_mse"
    quantity = words = "MSE"
    help = "largest MSE of the outputs"

    def constraints(self, predictor: Predictor, weights: Tensor | None, corner: int) -> list[problem.Constraint]:
        return [problem.Constraint(measure=problem.Error(weights=weights), value=self.value, corner=corner)]

    def simulated(self, simulation: Simulation, weights: np.ndarray | None) -> tuple[float, float]:
        if weights is None:
            return simulation.mse, simulation.mse_standard_error
        mse, error = simulation.mse_by_output, simulation.mse_by_output_standard_error
        return float((mse * weights).mean()), float((error * weights).mean())

    def bounds(self, signal_power: float | None) -> Mapping[str, float]:
        return {"mse": self.value, **({"nmse": self.value / signal_power} if signal_power and signal_power > 0 else {})}


class MaxNMSE(Bound):
    """Least power such that MSE / mean y*² is at most ``value`` (> 0; 0.01 is 1 %)."""

    kind = "max_nmse"
    quantity = words = "NMSE"
    unit = ""
    help = "largest NMSE, as a fraction or in % (0.01 or 1%)"
    plausible = Plausible(
        unit="", low=1e-14, high=0.5, why="an output that is always 0 has an NMSE of 100 %", mistakes=(0.01,)
    )

    def constraints(self, predictor: Predictor, weights: Tensor | None, corner: int) -> list[problem.Constraint]:
        squares = predictor.ideal**2
        signal = float(squares.mean() if weights is None else squares.mean(0) @ weights)
        if not signal:
            raise InvalidInput.of(
                "target", "MaxNMSE", "MaxMSE where the ideal outputs are all zero", "A relative error has no meaning."
            )
        measure = problem.Error(weights=weights)
        return [problem.Constraint(measure=measure, value=self.value, unit=signal, corner=corner)]

    def simulated(self, simulation: Simulation, weights: np.ndarray | None) -> tuple[float, float]:
        squares = (simulation.ideal_output**2).mean(0)
        signal = float(squares.mean() if weights is None else (squares * weights).mean())
        mse, error = MaxMSE(self.value).simulated(simulation, weights)
        return mse / signal, error / signal

    def bounds(self, signal_power: float | None) -> Mapping[str, float]:
        return {"nmse": self.value, **({} if signal_power is None else {"mse": self.value * signal_power})}


class MaxOutputMSE(Bound):
    """Least power such that the mean squared error of every single output is at most ``value`` (> 0)."""

    kind = "max_output_mse"
    quantity, words = "worst MSE", "MSE of the worst output"
    help = "largest MSE of every single output"
    needs_outputs = True

    def constraints(self, predictor: Predictor, weights: Tensor | None, corner: int) -> list[problem.Constraint]:
        outputs = predictor.ideal.shape[1]
        each = predictor.ideal.new_ones(outputs) if weights is None else outputs * weights
        rows = each.diag()
        return [
            problem.Constraint(measure=problem.Error(weights=rows[k]), value=self.value, corner=corner, output=k)
            for k in range(outputs)
            if each[k] > 0
        ]

    def simulated(self, simulation: Simulation, weights: np.ndarray | None) -> tuple[float, float]:
        each = np.ones(simulation.mse_by_output.shape) if weights is None else weights
        worst = int((each * simulation.mse_by_output).argmax())
        mse, error = simulation.mse_by_output[worst], simulation.mse_by_output_standard_error[worst]
        return float(each[worst] * mse), float(each[worst] * error)
