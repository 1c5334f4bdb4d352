"""Limits in words: their prices, and why a target cannot be reached."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from powerplan.hardware import Hardware
from powerplan.moments.prediction import Prediction
from powerplan.planning.free_gains import FreeGains
from powerplan.planning.outcome import LimitPrice
from powerplan.planning.targets import MaxNMSE, MaxPower, Target


@dataclass(frozen=True, kw_only=True)
class Unreachable:
    """Why a target cannot be reached: best value of its quantity, binding limits, one sentence."""

    best: float
    limits: tuple[str, ...]
    message: str


def limit_prices(free: FreeGains, limit_duals: np.ndarray) -> tuple[LimitPrice, ...]:
    """d log objective / d log limit of every active limit; limit duals are > 0 at upper limits, < 0 at lower ones."""
    active = np.flatnonzero(limit_duals)
    return tuple(
        LimitPrice(
            layer=free.name_of(entry),
            limit=entry.limit_name(upper=bool(dual > 0)),
            price=float(-dual),
            column=entry.column,
            row=entry.row,
        )
        for entry, dual in zip(free.entries(active), limit_duals[active], strict=True)
    )


def binding_limits(free: FreeGains, binds: np.ndarray, *, upper: bool) -> tuple[str, ...]:
    """``layer: limit`` of every layer with binding limits, with their number where columns or rows have their own.

    Args:
        binds: (n,) whether each entry of θ is at its limit.
    """
    counts: dict[tuple[str, str], list[int]] = {}
    for entry, bound in zip(free.entries(range(free.count)), binds, strict=True):
        part = " columns" if entry.column is not None else " rows" if entry.row is not None else ""
        count = counts.setdefault((f"{free.name_of(entry)}: {entry.limit_name(upper=upper)}", part), [0, 0])
        count[0] += bool(bound)
        count[1] += 1
    return tuple(
        f"{limit} ({bound} of {total}{part})" if part else limit
        for (limit, part), (bound, total) in counts.items()
        if bound
    )


def unreachable(
    target: Target, free: FreeGains, theta: np.ndarray, prediction: Prediction, hardware: Hardware
) -> Unreachable:
    """Explain an infeasible target at the θ with the lowest value of its quantity."""
    at_limit = theta <= free.lower + 1e-9 if isinstance(target, MaxPower) else theta >= free.upper - 1e-9
    upper = not isinstance(target, MaxPower)
    limits = binding_limits(free, at_limit, upper=upper)
    if isinstance(target, MaxPower):
        best, quantity = prediction.power, "power [W]"
        advice = "Raise the budget."
    else:
        best = prediction.nmse if isinstance(target, MaxNMSE) else prediction.mse
        quantity = "NMSE" if isinstance(target, MaxNMSE) else "MSE"
        # programming noise falls as 1/range²: the range that would do, to first order
        factor = float(np.sqrt(best / target.value))
        relax = []
        if any("conductance_max" in limit for limit in limits):
            wanted = hardware.conductance_max * factor
            relax.append(f"raise hardware.conductance_max about {factor:.3g} times (to {wanted:.3g} S)")
        if any("voltage_max" in limit for limit in limits) or hardware.read_noise_std:
            relax.append("raise hardware.voltage_max or lower read_noise_std")
        relax.append("use devices with less noise")
        advice = f"To reach it, {', or '.join(relax)}; or set the target to {best:.4g} or more."
    return Unreachable(
        best=best,
        limits=limits,
        message=f"The lowest reachable {quantity} is {best:.6g}, above the target {target.value:.6g}; "
        f"limits that bind: {', '.join(limits) or 'none'}. {advice}",
    )
