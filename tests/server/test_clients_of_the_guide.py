"""The clients of the guide, as they stand: against the real engine, with TLS and a token."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import trustme
from planner_running import Running

import powerplan as pp
from powerplan_server.server import ENGINE_CALLS

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / "examples" / "clients"
TOKEN = "token-of-the-guide-0123456789"
CURL = Path("/usr/include/x86_64-linux-gnu/curl/curl.h")
JSON = Path("/usr/include/nlohmann/json.hpp")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Path]]:
    """A server with the engine, and the file of the authority that its certificate is of."""
    folder = tmp_path_factory.mktemp("guide")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    running = Running(
        folder / "data",
        calls=ENGINE_CALLS,
        workers=1,
        http_listen="127.0.0.1:0",
        tokens=f"guide:{TOKEN}",
        tls_certificate=str(folder / "server.pem"),
        tls_key=str(folder / "server.pem"),
    )
    yield running, folder / "ca.pem"
    running.stop()


@pytest.fixture(scope="module")
def expected() -> list[float]:
    """The gains found in this process."""
    weights = [np.array([[0.5, -0.25], [0.75, 1], [-0.5, 0.25]]), np.array([[1, -0.5, 0.25]])]
    inputs = np.array([[0.5, 1], [-1, 0.25], [0.75, -0.5], [1, 1]])
    hardware = pp.Hardware(programming_noise_std=1e-6)
    plan = pp.plan(pp.Network.mlp(weights, activation="relu"), hardware, inputs, pp.MaxNMSE(0.05))
    return [float(gain) for gain in plan.gains.conductance]


def _node(folder: Path) -> list[str]:
    return ["node", str(CLIENTS / "plan.mjs")]


def _cpp(folder: Path) -> list[str]:
    program = folder / "plan"
    subprocess.run(
        ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", str(CLIENTS / "plan.cpp"), "-lcurl", "-o", str(program)],
        check=True,
    )
    return [str(program)]


def _stubs(folder: Path) -> list[str]:
    """By the commands in the program's text, up to its own."""
    program = CLIENTS / "plan_with_stubs.py"
    commands = [line.strip() for line in (ast.get_docstring(ast.parse(program.read_text())) or "").splitlines()]
    (folder / "proto").symlink_to(ROOT / "proto")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for command in (line for line in commands if line.startswith(("mkdir ", "python "))):
        subprocess.run(["bash", "-c", command], cwd=folder, env=os.environ | {"PATH": path}, check=True)
    return [sys.executable, str(program)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "build",
    [
        pytest.param(_node, marks=pytest.mark.skipif(not shutil.which("node"), reason="Node is not installed")),
        pytest.param(
            _cpp,
            marks=pytest.mark.skipif(
                not (shutil.which("g++") and CURL.exists() and JSON.exists()),
                reason="g++, libcurl4-openssl-dev or nlohmann-json3-dev is not installed",
            ),
        ),
        _stubs,
    ],
)
def test_a_client_plans_and_tells_errors(
    served: tuple[Running, Path], expected: list[float], tmp_path: Path, build: object
) -> None:
    assert callable(build)
    server, authority = served
    command = build(tmp_path)
    is_grpc = build is _stubs
    address = f"localhost:{server.server.port}" if is_grpc else f"https://localhost:{server.server.http_port}"

    def run(max_nmse: float, token: str, ca: Path = authority) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"POWERPLAN_TOKEN": token, "POWERPLAN_CA": str(ca), "NODE_EXTRA_CA_CERTS": str(ca)}
        environment |= {"PYTHONPATH": os.pathsep.join(map(str, (tmp_path / "stubs", ROOT)))}  # beside the engine
        return subprocess.run(
            [*command, address, str(max_nmse)], env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    done = run(0.05, TOKEN)
    assert (done.returncode, done.stderr) == (0, "")
    outcome, gains = done.stdout.splitlines()
    assert outcome == "OUTCOME_OPTIMAL"
    assert [float(gain) for gain in gains.split()] == expected
    refused = run(-1, TOKEN)
    assert refused.returncode == 1
    assert refused.stderr.startswith("INVALID_REQUEST: ")
    assert "\n  task.target.max_nmse: " in refused.stderr
    assert run(0.05, "wrong").stderr.startswith("UNAUTHENTICATED: ")
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    assert run(0.05, TOKEN, other).returncode != 0
