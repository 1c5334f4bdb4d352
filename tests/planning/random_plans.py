"""Random networks for planning tests."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

import powerplan as pp


def small_network(seed: int = 0, widths: tuple[int, ...] = (6, 12, 8, 3), activation: str = "relu") -> pp.Network:
    """A random fully-connected network whose layers differ in scale."""
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(b, a)) * np.sqrt(2 / a) for a, b in pairwise(widths)]
    biases = [rng.normal(size=b) * 0.1 for b in widths[1:]]
    return pp.Network.mlp(weights, biases, activation=activation)
