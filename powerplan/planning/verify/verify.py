"""Monte Carlo verification of a plan."""

from __future__ import annotations

import math
import time

import numpy as np

from powerplan.hardware import Gains, Hardware
from powerplan.montecarlo import Simulation, simulate
from powerplan.network import Network
from powerplan.planning.outcome import Verification
from powerplan.planning.plan_value import Plan
from powerplan.planning.targets import (
    ClassTarget,
    MaxAccuracyDrop,
    MaxFlipRate,
    MaxMSE,
    MaxNMSE,
    MaxOutputMSE,
    MaxPower,
    Target,
)


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
    stop_at: float | None = None,
) -> Verification | None:
    """Simulate a plan's gains and compare with its target.

    Args:
        weights: (K,) of the outputs in the error, with mean 1; None = all alike.
        stop_at: ``time.monotonic()`` value after which no group of draws is begun.

    Returns:
        what was found with the draws made; None if there was no time for two.
    """
    if stop_at is not None and time.monotonic() > stop_at:
        return None
    last = time.monotonic()

    def mind(done: int, of: int) -> None:
        nonlocal last
        now = time.monotonic()
        took, last = now - last, now
        if stop_at is not None and done < of and now + took > stop_at:
            raise StopIteration

    simulation = simulate(network, hardware, gains, inputs, draws=draws, seed=seed, progress=mind)  # type: ignore[arg-type]
    if simulation.draws < min(draws, 2):
        return None
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
            return _rate(simulation, target)
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


def wrong_rates(simulation: Simulation, target: ClassTarget) -> tuple[np.ndarray, float]:
    """(D,) fraction of the inputs not in the wanted class in every draw, and that of the ideal network."""
    labels = np.array(target.labels) if isinstance(target, MaxAccuracyDrop) else _classes(simulation.ideal_output)
    return (simulation.classes != labels).mean(1), 1 - ideal_accuracy(simulation.ideal_output, target)


def ideal_accuracy(ideal: np.ndarray, target: ClassTarget) -> float:
    """Fraction of the ideal outputs (B, K) that are in the wanted class."""
    return float((_classes(ideal) == target.labels).mean()) if isinstance(target, MaxAccuracyDrop) else 1.0


def _classes(ideal: np.ndarray) -> np.ndarray:
    return ideal.argmax(1) if ideal.shape[1] > 1 else (ideal[:, 0] > 0).astype(int)


def _rate(simulation: Simulation, target: ClassTarget) -> tuple[float, float]:
    """Drop of accuracy, or without labels the rate of changed classes, and its standard error over draws.

    The error is not below a single changed class in all draws: no change at all does not prove that there is none.
    """
    wrong, ideal = wrong_rates(simulation, target)
    error = float(wrong.std(ddof=1) / math.sqrt(len(wrong)))
    return float(wrong.mean() - ideal), max(error, 1 / simulation.classes.size)


def misses_target(plan: Plan) -> bool:
    """True if the plan was verified and the bounded quantity exceeds its bound beyond the 95 % interval.

    With corners, if it does in any of them.
    """
    return any(check.ratio > 1 + 1.96 * check.ratio_standard_error for check in plan.verifications)
