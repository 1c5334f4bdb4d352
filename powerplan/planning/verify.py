"""Monte Carlo verification of a plan."""

from __future__ import annotations

from powerplan.hardware import Gains, Hardware
from powerplan.montecarlo import Simulation, simulate
from powerplan.network import Network
from powerplan.planning.outcome import Verification
from powerplan.planning.targets import MaxMSE, MaxNMSE, Target


def verify(
    network: Network,
    hardware: Hardware,
    gains: Gains,
    inputs: object,
    target: Target,
    *,
    draws: int,
    seed: int,
    calibrated: bool = False,
) -> Verification:
    """Simulate a plan's gains and compare with its target."""
    simulation = simulate(network, hardware, gains, inputs, draws=draws, seed=seed)  # type: ignore[arg-type]
    return Verification(
        draws=simulation.draws,
        seed=seed,
        mse=simulation.mse,
        mse_standard_error=simulation.mse_standard_error,
        nmse=simulation.nmse,
        nmse_standard_error=simulation.nmse_standard_error,
        power=simulation.power,
        power_standard_error=simulation.power_standard_error,
        ratio=_bounded(simulation, target) / target.value,
        calibrated=calibrated,
    )


def _bounded(simulation: Simulation, target: Target) -> float:
    if isinstance(target, MaxMSE):
        return simulation.mse
    return simulation.nmse if isinstance(target, MaxNMSE) else simulation.power
