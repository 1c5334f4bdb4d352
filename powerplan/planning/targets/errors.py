"""Targets on the squared error of the outputs."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from powerplan.errors import InvalidInput
from powerplan.planning import problem
from powerplan.planning.targets.over_inputs import MEAN, errors_by_input
from powerplan.planning.targets.target import Bound
from powerplan.plausibility import Plausible

if TYPE_CHECKING:
    from torch import Tensor

    from powerplan.moments.prediction import Prediction
    from powerplan.moments.predictor import Predictor
    from powerplan.montecarlo import Simulation
    from powerplan.spread import Spread

#: part of what confidence intervals leave out on either side
_OUTSIDE = 0.025


@dataclass(frozen=True)
class ErrorBound(Bound):
    """A bound on the squared error of all outputs, of the mean over chips and inputs or of a part of either.

    The error that a part keeps within is planned for as the mean times the ratio of the two, which hardly
    depends on the gains: it is taken to first order while they change, that of inputs held, and found again at every
    plan until it stays.
    """

    tells_slope = True
    inputs: float | None = None  # type: ignore[misc]

    def chip_yield(self, simulation: Simulation, weights: np.ndarray | None) -> float | None:
        if weights is not None or self.inputs is not None:
            return None
        return self._over_chips(simulation).yield_at(self.value)

    def input_factor(self, result: Prediction | Simulation, weights: np.ndarray | None, calibration: str) -> float:
        """That of a part of the inputs, for others than those of calibration: the order statistic that it is below with
        97.5 % confidence, whatever the distribution."""
        if self.inputs is None:
            return super().input_factor(result, weights, calibration)
        by_input = np.sort(errors_by_input(result, weights).mse_by_input)
        if calibration == MEAN:
            return float(np.quantile(by_input, self.inputs) / by_input.mean())
        count = len(by_input)
        from scipy.stats import binom

        rank = int(binom.ppf(1 - _OUTSIDE, count, self.inputs))
        if rank >= count:
            least = math.ceil(math.log(_OUTSIDE) / math.log(self.inputs))
            raise InvalidInput.of(
                "inputs",
                count,
                f"at least {least} calibration inputs with calibration={calibration!r} and inputs={self.inputs:g}",
                "Of fewer not even the worst is beyond that part of all inputs with 97.5 % confidence.",
            )
        return float(by_input[rank] / by_input.mean())

    @abstractmethod
    def _over_chips(self, simulation: Simulation) -> Spread:
        """The spread of its number."""

    def _simulated(self, mean: float, error: float, chips: Spread) -> tuple[float, float]:
        if self.chips is None:
            return mean, error
        from powerplan.moments.chips.sampled import quantile_with_error

        return quantile_with_error(chips, self.chips)


@dataclass(frozen=True)
class MaxMSE(ErrorBound):
    """Least power such that the mean squared error of the outputs is at most ``value`` (> 0).

    Attributes:
        chips: the part of the chips that must meet the bound, between 0 and 1; None = the mean over chips must.
        inputs: the part of the inputs whose mean over chips must meet the bound, likewise; None = the mean over inputs
            must. Not with ``chips``.
    """

    kind = "max_mse"
    quantity = words = "MSE"
    help = "largest MSE of the outputs"

    def constraints(self, predictor: Predictor, weights: Tensor | None, corner: int) -> list[problem.Constraint]:
        unit = 1 / self._ratio(predictor, weights)
        return [problem.Constraint(measure=problem.Error(weights=weights), value=self.value, unit=unit, corner=corner)]

    def simulated(self, simulation: Simulation, weights: np.ndarray | None) -> tuple[float, float]:
        if weights is None:
            return self._simulated(simulation.mse, simulation.mse_standard_error, simulation.chips.mse)
        mse, error = simulation.mse_by_output, simulation.mse_by_output_standard_error
        return float((mse * weights).mean()), float((error * weights).mean())

    def _over_chips(self, simulation: Simulation) -> Spread:
        return simulation.chips.mse

    def by_input(self, result: Prediction | Simulation, weights: np.ndarray | None) -> np.ndarray:
        return errors_by_input(result, weights).mse_by_input

    def chip_bound(self, signal_power: float) -> float | None:
        return self.value / signal_power if signal_power > 0 and self.inputs is None else None

    def bounds(self, signal_power: float | None) -> Mapping[str, float]:
        if self.chips is not None or self.inputs is not None:
            return {}
        return {"mse": self.value, **({"nmse": self.value / signal_power} if signal_power and signal_power > 0 else {})}


@dataclass(frozen=True)
class MaxNMSE(ErrorBound):
    """Least power such that MSE / mean y*² is at most ``value`` (> 0; 0.01 is 1 %).

    Attributes:
        chips: the part of the chips that must meet the bound, between 0 and 1; None = the mean over chips must.
        inputs: the part of the inputs whose mean over chips must meet the bound, likewise; None = the mean over inputs
            must. Not with ``chips``.
    """

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
        unit = signal / self._ratio(predictor, weights)
        return [problem.Constraint(measure=problem.Error(weights=weights), value=self.value, unit=unit, corner=corner)]

    def simulated(self, simulation: Simulation, weights: np.ndarray | None) -> tuple[float, float]:
        squares = (simulation.ideal_output**2).mean(0)
        signal = float(squares.mean() if weights is None else (squares * weights).mean())
        mse, error = MaxMSE(self.value, self.chips).simulated(simulation, weights)
        return mse / signal, error / signal

    def _over_chips(self, simulation: Simulation) -> Spread:
        return simulation.chips.nmse

    def by_input(self, result: Prediction | Simulation, weights: np.ndarray | None) -> np.ndarray:
        return errors_by_input(result, weights).nmse_parts

    def chip_bound(self, signal_power: float) -> float | None:
        return self.value if self.inputs is None else None

    def bounds(self, signal_power: float | None) -> Mapping[str, float]:
        if self.chips is not None or self.inputs is not None:
            return {}
        return {"nmse": self.value, **({} if signal_power is None else {"mse": self.value * signal_power})}


@dataclass(frozen=True)
class MaxOutputMSE(Bound):
    """Least power such that the mean squared error of every single output is at most ``value`` (> 0).

    Attributes:
        chips: the part of the chips whose every output must meet the bound, between 0 and 1; None = the mean over chips
            must.
    """

    kind = "max_output_mse"
    quantity, words = "worst MSE", "MSE of the worst output"
    help = "largest MSE of every single output"
    needs_outputs = True

    def constraints(self, predictor: Predictor, weights: Tensor | None, corner: int) -> list[problem.Constraint]:
        unit = 1 / self._ratio(predictor, weights)
        outputs = predictor.ideal.shape[1]
        each = predictor.ideal.new_ones(outputs) if weights is None else outputs * weights
        rows = each.diag()
        return [
            problem.Constraint(
                measure=problem.Error(weights=rows[k]), value=self.value, unit=unit, corner=corner, output=k
            )
            for k in range(outputs)
            if each[k] > 0
        ]

    def chip_ratio(self, prediction: Prediction) -> float:
        assert self.chips is not None
        from powerplan.moments.chips.predicted import ChipSource
        from powerplan.moments.chips.sampled import SampledSpread

        chips = ChipSource.behind(prediction)
        worst = SampledSpread.of(chips.outputs.worst_mse(chips.ideal).cpu().numpy())
        return worst.quantile(self.chips) / float(prediction.mse_by_output.max())

    def chip_yield(self, simulation: Simulation, weights: np.ndarray | None) -> float | None:
        return None if weights is not None else self._over_chips(simulation).yield_at(self.value)

    def simulated(self, simulation: Simulation, weights: np.ndarray | None) -> tuple[float, float]:
        if self.chips is not None:
            from powerplan.moments.chips.sampled import quantile_with_error

            return quantile_with_error(self._over_chips(simulation), self.chips)
        each = np.ones(simulation.mse_by_output.shape) if weights is None else weights
        worst = int((each * simulation.mse_by_output).argmax())
        mse, error = simulation.mse_by_output[worst], simulation.mse_by_output_standard_error[worst]
        return float(each[worst] * mse), float(each[worst] * error)

    def _over_chips(self, simulation: Simulation) -> Spread:
        """The spread of the worst output's error."""
        from powerplan.moments.chips.sampled import SampledSpread

        return SampledSpread.of(simulation.worst_mse_by_draw)
