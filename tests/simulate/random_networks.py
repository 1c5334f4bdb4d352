"""Random networks and inputs for the simulator's tests."""

from __future__ import annotations

import itertools

import numpy as np

import powerplan as pp


def mlp(*widths: int, activation: str = "relu", seed: int = 0) -> pp.Network:
    """A random network with biases."""
    rng = np.random.default_rng(seed)
    pairs = list(itertools.pairwise(widths))
    return pp.Network.mlp(
        [rng.normal(size=(n_out, n_in)) * np.sqrt(2 / n_in) for n_in, n_out in pairs],
        [0.1 * rng.normal(size=n_out) for _, n_out in pairs],
        activation,
    )


def batch(count: int, width: int, seed: int = 1) -> np.ndarray:
    """Random inputs."""
    return np.random.default_rng(seed).normal(size=(count, width))
