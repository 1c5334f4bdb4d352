"""Limits of energy, latency and area of plans that are hard to believe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from powerplan.checks import finite_number
from powerplan.errors import Violation
from powerplan.plausibility import Plausible

_PLAUSIBLE = {
    "max_energy": Plausible(
        unit="J",
        low=1e-18,
        high=1.0,
        why="one inference on one chip",
        mistakes=(1e-12, 1e-9, 1e-6, 1e-3, 1e12),
        usual=1e-11,
    ),
    "max_latency": Plausible(
        unit="s", low=1e-12, high=100.0, why="one inference", mistakes=(1e-9, 1e-6, 1e-3, 1e9), usual=1e-7
    ),
    "max_area": Plausible(
        unit="m2", low=1e-14, high=0.1, why="up to a wafer of 300 mm", mistakes=(1e-12, 1e-6, 1e12), usual=1e-6
    ),
}


@dataclass(frozen=True)
class CostLimits:
    """The limits among the options of a plan; what is no number is left to their checks."""

    options: Mapping[str, Any]

    def doubts(self) -> tuple[Violation, ...]:
        """Limits that are most likely in another unit."""
        given = ((name, plausible, self.options.get(name)) for name, plausible in _PLAUSIBLE.items())
        return tuple(d for name, plausible, value in given for d in plausible.doubt(name, finite_number(value)))
