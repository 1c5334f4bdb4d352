"""Monte Carlo simulation of networks on crossbars."""

from powerplan.montecarlo.monte_carlo import simulate
from powerplan.montecarlo.simulation import Simulation

__all__ = ["Simulation", "simulate"]
