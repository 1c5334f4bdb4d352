"""Servers that are not there: exit code 7 and what to check; addresses that are none: exit code 2."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
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
    "address",
    [
        "",
        "localhost",
        "http://planner:50051",
        "planner:50051/",
        "planner:port",
        "planner:0",
        "a b:1",
        "a:1,b:1",
        "planner:123456",
        "::1:50051",
        "ipv4:planner:50051",
    ],
)
def test_what_is_no_address(run: Run, files: Any, address: str) -> None:
    for done in (run("predict", files.problem, "--server", address), run("status", address)):
        assert done.exit_code == 2
        assert "HOST:PORT" in done.stderr


def test_another_kind_of_address_is_passed_on(run: Run) -> None:
    done = run("status", "unix:/nowhere/powerplan.sock")
    assert done.exit_code == 7


def test_a_password_in_an_address_is_not_shown(run: Run) -> None:
    done = run("status", "http://user:secret@planner:50051")
    assert done.exit_code == 2
    assert "Did you mean 'planner:50051'?" in done.stderr
    assert "secret" not in done.stderr


def test_what_the_client_refuses_is_named_by_its_option(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.pem").touch()
    for arguments, name in (
        (["--server-ca", "empty.pem"], "--server-ca"),
        (["--server-key", __file__], "--server-key"),
        (["--server-ca", __file__, "--server-plaintext"], "--server-plaintext"),
    ):
        done = run("status", "planner:50051", arguments)
        assert done.exit_code == 2
        assert done.stderr.startswith(f"error: {name}: ")
    for token, address in (("0123456789abcdef\n", "localhost:1"), ("0123456789abcdef", "planner:50051")):
        monkeypatch.setenv("POWERPLAN_TOKEN", token)
        done = run("status", address, "--server-plaintext")
        assert done.exit_code == 2
        assert done.stderr.startswith("error: POWERPLAN_TOKEN: ")
        assert "0123456789abcdef" not in done.stderr


@pytest.mark.parametrize("value", ["0", "-1", "nan", "soon", "5 apples"])
def test_what_is_no_time(run: Run, files: Any, value: str) -> None:
    Path("plan.json").touch()
    for arguments in (
        ["status", "localhost:1", "--timeout", value],
        ["plan", *files.problem, "--max-nmse", "10%", "--deadline", value],
        ["frontier", *files.problem, "--max-nmse", "10%", "--deadline", value],
        ["explain", "plan.json", *files.problem, "--deadline", value],
        ["batch", "run", "study.toml", "--time-limit", value],
    ):
        done = run(arguments)
        assert done.exit_code == 2
        assert f"got '{value}'" in done.stderr
        assert "[s]" in done.stderr


@pytest.mark.parametrize("value", ["inf", "1e12"])
def test_no_time_is_too_long(run: Run, files: Any, value: str) -> None:
    done = run("plan", files.problem, "--max-nmse", "20%", "--deadline", value)
    assert done.exit_code == 0, done.stderr
    done = run("status", "127.0.0.1:1", "--timeout", value)  # nobody is there: that is known at once
    assert done.exit_code == 7
