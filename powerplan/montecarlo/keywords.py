"""Keywords of simulations, as type checkers see them. Written by scripts/generate_keywords.py. Do not edit."""

from __future__ import annotations

from typing import TypedDict


class SimulationOptions(TypedDict, total=False):
    """The settings of :class:`~.settings.SimulationSettings`."""

    draws: int
    seed: int
    relative_standard_error: float | None
    yield_width: float | None
    yield_at: float | None
    dtype: str
    device: str
    memory_limit: int
    wires: str
    layer_moments: str
