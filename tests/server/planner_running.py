"""Servers for tests: in a thread of this process, or in a process of their own."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from powerplan_client._generated.planner_service_pb2_grpc import PlannerServiceStub
from powerplan_server.config import ServeConfig
from powerplan_server.server import PlannerServer

HERE = Path(__file__).parent


class Running:
    """A server in a thread, with the fake calls unless others are named."""

    def __init__(self, folder: Path, *, calls: str = "planner_fakes:CALLS", **settings: Any) -> None:
        self.config = ServeConfig(
            **{"listen": "127.0.0.1:0", "workers": 2, "data_dir": str(folder), "grace": 5.0} | settings
        )
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.server = PlannerServer(self.config, calls=calls, preload="powerplan_server.workers.child")
        try:
            self.do(self.server.start())
        except BaseException:
            self._end()
            raise
        self.channel = self.connect()
        self.stub = PlannerServiceStub(self.channel)

    def connect(self, credentials: grpc.ChannelCredentials | None = None, **options: Any) -> grpc.Channel:
        """A new connection."""
        target = f"localhost:{self.server.port}"
        extra = list(options.items())
        if credentials is None:
            return grpc.insecure_channel(target, options=extra)
        return grpc.secure_channel(target, credentials, options=extra)

    def do(self, coroutine: Any) -> Any:
        """Run a coroutine on the server's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    def health(self, service: str = "") -> int:
        """What the health service says."""
        stub = health_pb2_grpc.HealthStub(self.channel)
        return stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5).status

    def stop(self, grace: float | None = 0.0) -> None:
        """Stop the server and its thread."""
        self.channel.close()
        self.do(self.server.stop(grace))
        self._end()

    def _end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()

    def metric(self, name: str, **labels: str) -> float:
        """The value of a metric; 0 if it has none yet."""
        return self.server.metrics.registry.get_sample_value(name, labels) or 0.0


class Process:
    """A server in a process of its own; ``arguments`` is its command line, its log goes to a file."""

    def __init__(
        self, arguments: Sequence[str], port: int, log: Path, *, session: bool = False, **environment: str
    ) -> None:
        self.port = port
        self.log = log
        path = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
        with open(log, "ab") as file:
            self.process = subprocess.Popen(
                arguments,
                stderr=file,
                env=os.environ | {"PYTHONPATH": path} | environment,
                start_new_session=session,
            )
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.stub = PlannerServiceStub(self.channel)
        health = health_pb2_grpc.HealthStub(self.channel)

        def serving() -> bool:
            assert self.process.poll() is None, log.read_text()
            try:
                return health.Check(health_pb2.HealthCheckRequest(), timeout=1).status == 1
            except grpc.RpcError:
                return False

        wait_for(serving, 60)

    @classmethod
    def fake(cls, data_dir: Path, log: Path, *settings: str, session: bool = False) -> Process:
        """A server with the fake calls."""
        port = free_port()
        script = str(HERE / "planner_process.py")
        return cls([sys.executable, script, str(port), str(data_dir), *settings], port, log, session=session)

    def kill(self, number: int) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        self.process.send_signal(number)
        code = self.process.wait(30)
        self.channel.close()
        return code


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def cpu_seconds(pids: Sequence[int]) -> float:
    """CPU time used so far by those of the processes that live."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def assert_idle(server: Running, pids: Sequence[int]) -> None:
    """300 ms from now the work of one of the workers ``pids`` has ended, and once replaced nobody computes."""
    time.sleep(0.3)
    assert not all(Path(f"/proc/{pid}").exists() for pid in pids)
    assert server.server.admission.running == 0
    wait_for(lambda: server.server.pool.idle == server.config.workers)
    now = server.server.pool.pids()
    before = cpu_seconds(now)
    time.sleep(0.3)
    assert cpu_seconds(now) - before <= 0.02


class Failure:
    """The parts of an error that a call ended with."""

    def __init__(self, error: grpc.RpcError) -> None:
        self.code: grpc.StatusCode = error.code()
        self.message: str = error.details()
        self.status: Status | None = rpc_status.from_call(error)
        self.trailing = dict(error.trailing_metadata() or ())
        self.info, self.bad, self.retry = ErrorInfo(), BadRequest(), RetryInfo()
        for detail in self.status.details if self.status is not None else ():
            for part in (self.info, self.bad, self.retry):
                detail.Unpack(part)
        self.reason: str = self.info.reason


def outcome(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    """The code that a call ends with, and all it says if it fails."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), f"{error} {rpc_status.from_call(error)}"
    return grpc.StatusCode.OK, ""


def failure(call: Callable[[], Any]) -> Failure:
    """How a call fails; it is an error if it does not."""
    try:
        answer = call()
        if hasattr(answer, "__next__"):
            list(answer)
    except grpc.RpcError as error:
        return Failure(error)
    raise AssertionError("the call succeeded")
