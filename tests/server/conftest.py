"""Servers on free ports of the loopback interface."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import planner_postgres
import pytest
from planner_postgres import Postgres
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


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A database server for all tests."""
    with planner_postgres.running() as running:
        yield running


@pytest.fixture
def sharing(postgres: Postgres, tmp_path: Path) -> dict[str, str]:
    """Settings of servers that share a new database and a folder."""
    return {"database": postgres.new(), "blob_store": str(tmp_path / "uploads")}


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=planner_postgres.needed)])
def storing(request: pytest.FixtureRequest) -> dict[str, str]:
    """Settings of a server that keeps jobs in either database."""
    return request.getfixturevalue("sharing") if request.param == "postgres" else {}
