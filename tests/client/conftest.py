"""A fake planner behind a real gRPC server, and a network to plan for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from planner_server import FakePlanner, start_server


@pytest.fixture
def planner() -> FakePlanner:
    return FakePlanner()


@pytest.fixture
def address(planner: FakePlanner) -> Iterator[str]:
    server, address = start_server(planner)
    yield address
    server.stop(None).wait()


@pytest.fixture(scope="session")
def weights() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(size=(8, 4)), rng.normal(size=(3, 8))]


@pytest.fixture(scope="session")
def inputs() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(6, 4))
