"""Monte Carlo verification of a plan."""

from __future__ import annotations

import math

import numpy as np

from powerplan.hardware import Gains, Hardware
from powerplan.montecarlo import Simulation, simulate
from powerplan.network import Network
from powerplan.planning.outcome import Verification
from powerplan.planning.plan_value import Plan
from powerplan.planning.targets import (
    MaxAccuracyDrop,
    MaxFlipRate,
    MaxMSE,
    MaxNMSE,
    MaxOutputMSE,
    MaxPower,
    Target,
)

#: smallest fraction of the target that calibration may ask for where the correction is a difference
_LEAST_CALIBRATED = 0.05


def verify(
    network: Network,
    hardware: Hardware,
    gains: Gains,
    inputs: object,
    target: Target,
    *,
    weights: np.ndarray | None = None,
    draws: int,
    seed: int,
    calibrated: bool = False,
) -> Verification:
    """Simulate a plan's gains and compare with its target.

    Args:
        weights: (K,) of the outputs in the error, with mean 1; None = all alike.
    """
    simulation = simulate(network, hardware, gains, inputs, draws=draws, seed=seed)  # type: ignore[arg-type]
    value, error = _bounded(simulation, target, weights)
    return Verification(
        draws=simulation.draws,
        seed=seed,
        mse=simulation.mse,
        mse_standard_error=simulation.mse_standard_error,
        nmse=simulation.nmse,
        nmse_standard_error=simulation.nmse_standard_error,
        power=simulation.power,
        power_standard_error=simulation.power_standard_error,
        ratio=value / target.value,
        ratio_standard_error=error / target.value,
        calibrated=calibrated,
    )


def _bounded(simulation: Simulation, target: Target, weights: np.ndarray | None) -> tuple[float, float]:
    """The simulated value of the target's quantity and its standard error."""
    match target:
        case MaxPower():
            return simulation.power, simulation.power_standard_error
        case MaxAccuracyDrop() | MaxFlipRate():
            labels = target.labels if isinstance(target, MaxAccuracyDrop) else None
            return _rate(simulation, labels)
        case MaxOutputMSE():
            each = np.ones(simulation.mse_by_output.shape) if weights is None else weights
            worst = int((each * simulation.mse_by_output).argmax())
            return tuple(float(each[worst] * a[worst]) for a in _by_output(simulation))  # type: ignore[return-value]
        case MaxMSE() | MaxNMSE():
            signal = 1.0
            if isinstance(target, MaxNMSE):
                squares = (simulation.ideal_output**2).mean(0)
                signal = float(squares.mean() if weights is None else (squares * weights).mean())
            if weights is None:
                return simulation.mse / signal, simulation.mse_standard_error / signal
            return tuple(float((a * weights).mean()) / signal for a in _by_output(simulation))  # type: ignore[return-value]


def _by_output(simulation: Simulation) -> tuple[np.ndarray, np.ndarray]:
    return simulation.mse_by_output, simulation.mse_by_output_standard_error


def _rate(simulation: Simulation, labels: tuple[int, ...] | None) -> tuple[float, float]:
    """Drop of accuracy, or without labels the rate of changed classes, and its standard error over draws."""
    ideal = simulation.ideal_output
    classes = ideal.argmax(1) if ideal.shape[1] > 1 else (ideal[:, 0] > 0).astype(int)
    wanted = classes if labels is None else np.array(labels)
    wrong = (simulation.classes != wanted).mean(1)
    return float(wrong.mean() - (classes != wanted).mean()), float(wrong.std(ddof=1) / math.sqrt(len(wrong)))


def recalibrated(plan: Plan) -> Target:
    """The target to plan for so that the simulation meets the plan's own target in every corner.

    An error or a power is scaled by predicted / simulated; a fraction is moved by the difference between what was
    predicted and what was simulated.
    """
    target, worst = plan.target, max(check.ratio for check in plan.verifications)
    if isinstance(target, MaxAccuracyDrop | MaxFlipRate):
        moved = target.value + plan.reached - worst * target.value
        return target.with_value(min(max(moved, _LEAST_CALIBRATED * target.value), 1 - 1e-9))
    return target.with_value(plan.reached / worst)


def misses_target(plan: Plan) -> bool:
    """True if the plan was verified and the bounded quantity exceeds its bound beyond the 95 % interval.

    With corners, if it does in any of them.
    """
    return any(check.ratio > 1 + 1.96 * check.ratio_standard_error for check in plan.verifications)
