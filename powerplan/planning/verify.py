"""Monte Carlo verification of a plan."""

from __future__ import annotations

from powerplan.hardware import Gains, Hardware
from powerplan.montecarlo import Simulation, simulate
from powerplan.network import Network
from powerplan.planning.outcome import Verification
from powerplan.planning.plan_value import Plan
from powerplan.planning.targets import MaxMSE, MaxNMSE, MaxPower, Target


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


def misses_target(plan: Plan) -> bool:
    """True if the plan was verified and the bounded quantity exceeds its bound beyond the 95 % interval."""
    check = plan.verification
    if check is None:
        return False
    if isinstance(plan.target, MaxPower):
        relative = check.power_standard_error / check.power if check.power else 0.0
    else:
        relative = check.mse_standard_error / check.mse if check.mse else 0.0
    return check.ratio > 1 + 1.96 * relative * check.ratio
