"""Monte Carlo simulation of networks on crossbars.

Why: docs/decisions/house.md [0021].
"""

from powerplan.montecarlo.monte_carlo import simulate
from powerplan.montecarlo.simulation import Simulation

__all__ = ["Simulation", "simulate"]
