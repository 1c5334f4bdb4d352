"""Monte Carlo verification of a plan."""

from __future__ import annotations

import math
import time

import numpy as np

from powerplan.hardware import Gains, Hardware
from powerplan.moments.chips.sampled import part_interval
from powerplan.montecarlo import Simulation, simulate
from powerplan.network import Network
from powerplan.planning.outcome import Verification
from powerplan.planning.plan_value import Plan
from powerplan.planning.targets import Target
from powerplan.planning.targets.over_inputs import MEAN, relative_error


def verify(
    network: Network,
    hardware: Hardware,
    gains: Gains,
    inputs: object,
    target: Target,
    *,
    weights: np.ndarray | None = None,
    calibration: str = MEAN,
    draws: int,
    seed: int,
    calibrated: bool = False,
    stop_at: float | None = None,
) -> Verification | None:
    """Simulate a plan's gains and compare with its target; wires are solved fast, which is right to 0.01 % of the MSE.

    Args:
        weights: (K,) of the outputs in the error, with mean 1; None = all alike.
        calibration: for which inputs the plan was made, see :class:`powerplan.planning.settings.PlanSettings`.
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

    simulation = simulate(
        network,
        hardware,
        gains,
        inputs,  # type: ignore[arg-type]
        draws=draws,
        seed=seed,
        wires="fast",
        progress=mind,
    )
    if simulation.draws < min(draws, 2):
        return None
    mean, error_of_mean = target.simulated(simulation, weights)
    factor = target.input_factor(simulation, weights, calibration)
    value, error = factor * mean, factor * error_of_mean
    by_input = None if target.inputs is not None else target.by_input(simulation, weights)
    scatter = math.nan if by_input is None else relative_error(by_input)
    share = target.chip_yield(simulation, weights)
    low, high = (None, None)
    if share is not None:
        low, high = part_interval(round(share * simulation.draws), simulation.draws)
    quantile, ends = _of_chips(target, simulation)
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
        chip_yield=share,
        chip_yield_low=low,
        chip_yield_high=high,
        chip_mse=quantile,
        chip_mse_low=ends[0],
        chip_mse_high=ends[1],
        ratio_input_standard_error=value / target.value * scatter if math.isfinite(scatter) else None,
    )


def _of_chips(target: Target, simulation: Simulation) -> tuple[float | None, tuple[float | None, float | None]]:
    """The MSE that the target's part of the chips keeps within, with its 95 % interval, where the target is on that."""
    if target.chips is None or not target.tells_slope:
        return None, (None, None)
    mse = simulation.chips.mse
    low, high = mse.quantile_interval(target.chips)
    return mse.quantile(target.chips), (low, high if math.isfinite(high) else None)


def misses_target(plan: Plan) -> bool:
    """True if the plan was verified and the bounded quantity exceeds its bound beyond the 95 % interval.

    With corners, if it does in any of them.
    """
    return any(check.ratio > 1 + 1.96 * check.ratio_standard_error for check in plan.verifications)
