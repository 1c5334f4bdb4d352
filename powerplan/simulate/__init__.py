"""Monte Carlo simulation of networks on crossbars."""

from powerplan.simulate.monte_carlo import simulate
from powerplan.simulate.simulation import Simulation

__all__ = ["Simulation", "simulate"]
