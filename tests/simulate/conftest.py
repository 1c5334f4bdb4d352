"""A small case for the simulator's tests."""

from __future__ import annotations

import numpy as np
import pytest
from random_networks import batch, mlp

import powerplan as pp


@pytest.fixture
def small() -> tuple[pp.Network, pp.Hardware, pp.Gains, np.ndarray]:
    """A 6-9-4 network with every noise, its gains and five inputs."""
    network, inputs = mlp(6, 9, 4, activation="tanh"), batch(5, 6)
    hardware = pp.Hardware(read_noise_std=1e-7, input_noise_std=2e-3, feedback_resistance=1e4)
    return network, hardware, pp.Gains.uniform(network, hardware, inputs=inputs), inputs
