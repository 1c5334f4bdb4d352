"""Small networks and hardware for planning tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from random_plans import small_network

import powerplan as pp
from powerplan.examples import Example


@pytest.fixture(scope="session")
def network() -> pp.Network:
    return small_network()


@pytest.fixture(scope="session")
def inputs() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 1, (24, 6))


@pytest.fixture(scope="session")
def hardware() -> pp.Hardware:
    return pp.Hardware(programming_noise_std=1e-6)


@pytest.fixture
def example(request: pytest.FixtureRequest) -> Callable[[str], Example]:
    """An example network by name, trained once for the whole run."""
    return lambda name: request.getfixturevalue(f"{name}_example")
