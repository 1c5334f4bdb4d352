"""Servers on free ports of the loopback interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from planner_running import Running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with two workers for all tests of a file."""
    running = Running(tmp_path_factory.mktemp("data"))
    yield running
    running.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start servers with settings of their own; they are stopped at the end of the test."""
    started: list[Running] = []

    def start_server(**settings: Any) -> Running:
        started.append(Running(tmp_path / f"data{len(started)}", **settings))
        return started[-1]

    yield start_server
    for running in started:
        if running.thread.is_alive():
            running.stop()
