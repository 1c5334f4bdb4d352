"""plan and frontier: the public calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from powerplan.hardware import Hardware
from powerplan.hardware.gains import Gain
from powerplan.network import Network
from powerplan.planning.plan_value import Plan
from powerplan.planning.targets import Target

Progress = Callable[[str, float], None]


def plan(
    network: Network,
    hardware: Hardware,
    inputs: np.ndarray,
    target: Target,
    *,
    granularity: str = "layer",
    optimize: Sequence[str] = ("conductance",),
    conductance: Sequence[Gain] | None = None,
    voltage: Sequence[float] | None = None,
    verify_draws: int = 0,
    calibrate: bool = False,
    seed: int = 0,
    tolerance: float = 1e-8,
    max_iterations: int = 60,
    deadline: float | None = None,
    progress: Progress | None = None,
) -> Plan:
    """The gains that meet a target at least power. (under construction: signature fixed)"""
    raise NotImplementedError


def frontier(
    network: Network,
    hardware: Hardware,
    inputs: np.ndarray,
    *,
    targets: Sequence[Target],
    **options: object,
) -> tuple[Plan, ...]:
    """One plan per target, each started from the one before; options as in plan. (under construction)"""
    raise NotImplementedError
