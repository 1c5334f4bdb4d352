"""Servers that are not there: exit code 7 and what to check; addresses that are none: exit code 2."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import Result

Run = Callable[..., Result]


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of something that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nohost.invalid:50051"])
def test_a_server_that_is_not_there(run: Run, files: Any, address: str) -> None:
    arguments = [*files.problem, "--max-nmse", "2%", "--server", address, "--server-plaintext"]
    for done in (run("plan", arguments), run("status", address, "--server-plaintext")):
        assert done.exit_code == 7, done.stderr
        assert "powerplan serve" in done.stderr
        assert "--server-ca" in done.stderr


def test_a_server_that_does_not_answer(run: Run, silent: str) -> None:
    done = run("status", silent, "--timeout", "0.5")
    assert done.exit_code == 7
    assert f"no answer from {silent} within 0.5 s" in done.stderr


@pytest.mark.parametrize(
    "address", ["", "localhost", "http://planner:50051", "planner:port", "a b:1", "planner:123456", "::1:50051"]
)
def test_what_is_no_address(run: Run, files: Any, address: str) -> None:
    for done in (run("predict", files.problem, "--server", address), run("status", address)):
        assert done.exit_code == 2
        assert "HOST:PORT" in done.stderr


def test_another_kind_of_address_is_passed_on(run: Run) -> None:
    done = run("status", "unix:/nowhere/powerplan.sock")
    assert done.exit_code == 7
