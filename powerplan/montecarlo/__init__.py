"""Monte Carlo simulation of networks on crossbars.

Why: docs/decisions/house.md [0021].
"""

from typing import TYPE_CHECKING

from powerplan.lazy import loaded_when_used
from powerplan.montecarlo.simulation import Simulation

if TYPE_CHECKING:
    from powerplan.montecarlo.monte_carlo import simulate
else:
    __getattr__ = loaded_when_used(__name__, {"simulate": "powerplan.montecarlo.monte_carlo"})

__all__ = ["Simulation", "simulate"]
