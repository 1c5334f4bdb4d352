"""Reports: plans, predictions, simulations and frontiers as text and as figures."""
