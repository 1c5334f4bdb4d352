"""The real engine behind ``powerplan serve``: the same answers as in this process, bit for bit."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from planner_running import Process, free_port

import powerplan as pp
import powerplan_client as pc
from powerplan.cli import main
from powerplan.examples import Example

HARDWARE = pp.Hardware(programming_noise_std=1e-6)
TOKEN = "token-of-the-end-to-end-test"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("serve")
    port = free_port()
    command = [sys.executable, "-m", "powerplan.cli", "serve", "--listen", f"127.0.0.1:{port}", "--workers", "2"]
    server = Process(
        [*command, "--data-dir", str(folder / "data")],
        port,
        folder / "log",
        POWERPLAN_SERVE_TOKENS=f"tests:{TOKEN}",
    )
    yield f"127.0.0.1:{port}"
    assert server.kill(signal.SIGTERM) == 0


@pytest.fixture
def client(address: str) -> Iterator[pc.PlannerClient]:
    with pc.PlannerClient(address, token=TOKEN) as connected:
        yield connected


@pytest.mark.parametrize("name", ["iris", "digits", pytest.param("mnist", marks=pytest.mark.slow)])
def test_remote_plan_is_the_local_plan(client: pc.PlannerClient, name: str, request: pytest.FixtureRequest) -> None:
    example: Example = request.getfixturevalue(f"{name}_example")
    inputs = example.inputs[: 4 if name == "mnist" else 32]
    here = pp.plan(example.network, HARDWARE, inputs, pp.MaxNMSE(0.05), verify_draws=50, seed=3)
    there = client.plan(example.network, HARDWARE, inputs, pc.MaxNMSE(0.05), verify_draws=50, seed=3)
    for ours, theirs in zip(here.gains.conductance, there.gains.conductance, strict=True):
        assert np.array_equal(ours, theirs)
    assert tuple(here.gains.voltage) == tuple(there.gains.voltage)
    assert (here.power, here.mse) == (there.power, there.mse)
    assert here.verification is not None
    assert there.verification is not None
    assert here.verification.mse == there.verification.mse


def test_five_lines(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERPLAN_TARGET", address)
    rng = np.random.default_rng(0)
    weights, inputs = [rng.normal(size=(8, 6)), rng.normal(size=(3, 8))], rng.normal(size=(16, 6))
    with pc.PlannerClient(token=TOKEN) as client:
        plan = client.plan(pc.Network.mlp(weights), pc.Hardware(), inputs, pc.MaxNMSE(0.05))
    assert plan.nmse == pytest.approx(0.05, rel=1e-6)


def test_every_violation_of_a_real_request_is_named(client: pc.PlannerClient) -> None:
    hardware = {"conductance_max": -1.0, "voltage_max": float("nan")}
    with pytest.raises(pc.InvalidRequest) as refused:
        client.plan([np.ones((2, 3))], hardware, np.ones((4, 3)), pc.MaxNMSE(-1.0))
    fields = {violation.field for violation in refused.value.violations}
    assert {"task.hardware.conductance_max_siemens", "task.hardware.voltage_max_volts"} <= fields


@pytest.mark.slow
def test_command_line_answers_alike_with_and_without_a_server(
    address: str, tmp_path: Path, iris_example: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    """plan, predict, simulate and frontier print the same document, but for times and the order of entries."""
    monkeypatch.setenv("POWERPLAN_TOKEN", TOKEN)
    iris_example.network.save(tmp_path / "net.npz")
    np.savez(tmp_path / "x.npz", inputs=iris_example.inputs[:32], labels=iris_example.labels[:32])
    problem = ["--network", str(tmp_path / "net.npz"), "--inputs", str(tmp_path / "x.npz"), "--json", "--quiet"]
    for command in (
        ["plan", *problem, "--max-nmse", "5%"],
        ["frontier", *problem, "--max-nmse", "5%,10%"],
        ["plan", *problem, "--max-nmse", "5%", "--chips", "90%", "--verify", "50"],
        ["predict", *problem],
        ["predict", *problem, "--chip-spread"],
        ["simulate", *problem, "--draws", "50"],
    ):
        here, there = (CliRunner().invoke(main, [*command, *more]) for more in ([], ["--server", address]))
        assert (here.exit_code, there.exit_code) == (0, 0), there.output
        assert _without_times(json.loads(there.stdout)) == _without_times(json.loads(here.stdout))


def test_status(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POWERPLAN_TOKEN", TOKEN)
    result = CliRunner().invoke(main, ["status", address, "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["server_version"] == pp.__version__
    monkeypatch.setenv("POWERPLAN_TOKEN", "wrong")
    result = CliRunner().invoke(main, ["status", address])
    assert result.exit_code == 1
    assert "UNAUTHENTICATED" in result.stderr


def test_jobs_and_statistics_on_the_command_line(
    address: str, client: pc.PlannerClient, monkeypatch: pytest.MonkeyPatch, iris_example: Example
) -> None:
    """A job that a client submitted is followed, listed and forgotten; its calculation is counted."""
    monkeypatch.setenv("POWERPLAN_TOKEN", TOKEN)

    def answer(*arguments: str) -> Any:
        result = CliRunner().invoke(main, [*arguments, "--json"])
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    hardware = pc.Hardware(programming_noise_std=1e-6)
    job = client.submit(iris_example.network, hardware, iris_example.inputs[:8], pc.MaxNMSE(0.05)).job_id
    watched = answer("jobs", "watch", address, job)
    assert (watched["state"], watched["outcome"]) == ("succeeded", "optimal")
    assert [listed["job_id"] for listed in answer("jobs", "list", address)["jobs"]] == [job]
    assert answer("jobs", "cancel", address, job)["state"] == "succeeded"
    assert answer("jobs", "delete", address, job)["job_id"] == job
    assert answer("jobs", "list", address)["jobs"] == []
    counted = answer("status", address, "--statistics")["statistics"]["methods"]
    assert counted["PlanJob"]["solve"]["count"] == 1
    assert counted["DeletePlanJob"]["success"]["count"] == 1
    text = CliRunner().invoke(main, ["status", address, "--statistics"]).stdout
    assert any(line.startswith("PlanJob ") for line in text.splitlines())


def test_jobs_and_statistics_of_the_asyncio_client(address: str, iris_example: Example) -> None:
    async def scenario() -> pc.Statistics:
        async with pc.AsyncPlannerClient(address, token=TOKEN) as client:
            hardware = pc.Hardware(programming_noise_std=1e-6)
            job = await client.submit(iris_example.network, hardware, iris_example.inputs[:8], pc.MaxNMSE(0.04))
            await client.delete_job(job.job_id)
            with pytest.raises(pc.NotFound):
                await client.get_job(job.job_id)
            return await client.statistics()

    counted = asyncio.run(scenario())
    assert counted.methods["GetPlanJob"].failure.count == 1
    assert counted.since < dt.datetime.now(dt.UTC)


def test_server_process_stays_light(address: str, client: pc.PlannerClient) -> None:
    """torch and cvxpy live in the workers: the process that listens never imports them."""
    client.server_info()
    port = address.rpartition(":")[2]
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and f"127.0.0.1:{port}".encode() in _command_line(process):
            assert b"libtorch" not in (process / "maps").read_bytes()
            assert os.path.exists(process / "fd")
            return
    raise AssertionError("the server's process was not found")


def _command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def _without_times(document: object) -> object:
    if isinstance(document, dict):
        return {key: _without_times(value) for key, value in document.items() if "seconds" not in key}
    return [_without_times(value) for value in document] if isinstance(document, list) else document
