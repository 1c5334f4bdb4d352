"""Every executor does the same: the plans of ``pp.plan``, and a job that kills or blocks its worker fails alone."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from misbehaving import HANG, POISON

import powerplan as pp
from powerplan.batch import Study, StudyResult
from powerplan.batch.executors.base import Executor, Gone, Stopped
from powerplan.batch.executors.local import LocalExecutor
from powerplan.batch.table import rows

HERE = Path(__file__).parent
pytestmark = pytest.mark.slow


def values(small: Path, seeds: list[int]) -> dict[str, Any]:
    """Two hardware x two granularities x two targets x seeds, on the small network."""
    return {
        "name": "conformance",
        "networks": {"small": {"file": str(small / "small.npz")}},
        "inputs": {"batch": {"file": str(small / "x.npy")}},
        "hardware": {"quiet": {"programming_noise_std": 1e-6}, "noisy": {"programming_noise_std": 3e-6}},
        "grid": {
            "granularity": ["network", "layer"],
            "seed": seeds,
            "target": {"max_nmse": [0.05], "max_mse": [0.02]},
        },
    }


@dataclass
class Kind:
    """One kind of executor, made from the folder of stored networks and inputs."""

    make: Callable[[Path], Executor]


class Server:
    """A planning server in a process of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.address = f"127.0.0.1:{self.port}"
        self._log = folder / f"{self.port}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "misbehaving.py"), str(self.port), str(folder / str(self.port))],
                stderr=log,
                env=os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])},
            )

    def wait(self) -> None:
        end = time.monotonic() + 120
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < end, "the server does not start"
            time.sleep(0.1)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    folder = tmp_path_factory.mktemp("servers")
    started = [Server(folder), Server(folder)]
    for server in started:
        server.wait()
    yield started
    for server in started:
        server.end()


def _local(request: pytest.FixtureRequest) -> Kind:
    return Kind(lambda folder: LocalExecutor(folder, workers=2, module="misbehaving_child"))


def _servers(request: pytest.FixtureRequest) -> Kind:
    from powerplan.batch.executors.servers import ServerExecutor

    addresses = [server.address for server in request.getfixturevalue("servers")]
    return Kind(lambda folder: ServerExecutor(folder, addresses, calls=2))


def _ray(request: pytest.FixtureRequest) -> Kind:
    pytest.importorskip("ray", reason="Ray is an extra")
    cluster = request.getfixturevalue("cluster")
    return Kind(cluster)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Callable[[Path], Executor]]:
    """A Ray cluster on this machine for all tests, whose actors can misbehave."""
    import ray
    from ray_actor import MisbehavingRayPlanner

    from powerplan.batch.executors.cluster import RayExecutor

    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield lambda folder: RayExecutor(folder, workers=2, planner=MisbehavingRayPlanner)
    ray.shutdown()


@pytest.fixture(scope="module", params=[_local, _servers, _ray], ids=["local", "servers", "ray"])
def kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(HERE), prepend=os.pathsep)
        yield request.param(request)


@pytest.fixture(scope="module")
def expected(small: Path) -> list[pp.Plan]:
    """The plans that ``pp.plan`` makes in this process."""
    import numpy as np

    study = Study.from_dict(values(small, [0]))
    network, inputs = pp.Network.load(small / "small.npz"), np.load(small / "x.npy")
    made = {"max_nmse": pp.MaxNMSE, "max_mse": pp.MaxMSE}
    plans = []
    for point in study.points:
        ((name, value),) = point.settings["target"].items()
        hardware = study.hardware.of(point.settings["hardware"], {})
        granularity = point.settings["granularity"]
        plans.append(pp.plan(network, hardware, inputs, made[name](value), granularity=granularity))
    return plans


def assert_plans(result: StudyResult, expected: list[pp.Plan]) -> None:
    """Every point has its plan, and the table is that of these plans to the last digit."""
    points = (replace(point, source=plan) for point, plan in zip(result.points, expected, strict=True))
    assert result.complete
    assert rows(result) == rows(replace(result, points=tuple(points)))


def test_plans_are_those_of_one_process(kind: Kind, small: Path, expected: list[pp.Plan], tmp_path: Path) -> None:
    assert_plans(Study.from_dict(values(small, [0])).run(folder=tmp_path, executor=kind.make), expected)


def test_poison_and_hanging_jobs_fail_alone(kind: Kind, small: Path, tmp_path: Path) -> None:
    study = Study.from_dict(
        values(small, [0])
        | {
            "grid": {"granularity": "network", "target": {"max_nmse": [0.05, 0.1]}},
            "points": [
                {"name": name, "hardware": "quiet", "seed": seed, "target": {"max_nmse": 0.05}}
                for name, seed in (("poison", POISON), ("hang", HANG))
            ],
        }
    )
    result = study.run(folder=tmp_path, executor=kind.make, time_limit=4.0, attempts=2)
    assert len(result.done) == 4
    codes = {point.name: point.failure and (point.failure.code, point.failure.attempts) for point in result.failed}
    assert codes == {"poison": ("crashed", 2), "hang": ("time_limit", 1)}


def test_a_stopped_worker_says_so(kind: Kind, small: Path, tmp_path: Path) -> None:
    """``stop`` from another thread ends a call that would not end."""
    study = Study.from_dict(values(small, [HANG]))
    prepared = study.prepare(tmp_path)
    executor = kind.make(prepared.blobs.folder)
    (worker, *_) = executor.start()
    threading.Timer(4.0, worker.stop).start()
    begin = time.monotonic()
    try:
        with pytest.raises(Stopped):
            list(worker.run(list(prepared.jobs.values())[:1], None))
        assert time.monotonic() - begin < 60
    finally:
        executor.close()


def test_a_server_that_is_killed_half_way_costs_nothing(
    small: Path, expected: list[pp.Plan], servers: list[Server], tmp_path: Path
) -> None:
    """Of two servers one is killed: the same plans, nothing lost."""
    from powerplan.batch.executors.servers import ServerExecutor

    study = Study.from_dict(values(small, [0]))
    third = Server(tmp_path)
    third.wait()
    killed = []

    def progress(told: Any) -> None:
        if told.done >= 2 and not killed:
            killed.append(told.done)
            third.end()

    def make(folder: Path) -> Executor:
        return ServerExecutor(folder, [servers[0].address, third.address], calls=2)

    try:
        result = study.run(folder=tmp_path / "remote", executor=make, progress=progress)
    finally:
        third.end()
    assert killed
    assert killed[0] < len(study)
    assert_plans(result, expected)


def test_servers_that_are_all_gone_end_the_run_with_an_explanation(small: Path, tmp_path: Path) -> None:
    """A closed port: first the worker says that it is gone, then the run stops and keeps what waits."""
    from powerplan.batch.executors.servers import ServerExecutor
    from powerplan.batch.ledger import Ledger
    from powerplan.batch.runner import Runner

    study = Study.from_dict(values(small, [0]))
    ledger = Ledger(tmp_path)
    prepared = study.prepare(tmp_path, ledger)
    executor = ServerExecutor(prepared.blobs.folder, ["127.0.0.1:1"], calls=1)
    with pytest.raises(Gone, match=r"127\.0\.0\.1:1"):
        list(executor.start()[0].run(list(prepared.jobs.values())[:1], 5.0))
    with pytest.raises(pp.PowerplanError, match=r"No worker could be reached for 0\.5 s.*What is done is kept"):
        Runner(ledger, study.digest, executor, patience=0.5).run()
    assert len(ledger.queued(study.digest)) == 8
    executor.close()
    ledger.close()
