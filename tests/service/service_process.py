"""``powerplan serve`` as an operator runs it: a process of its own on a free port, observed from outside."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.memory import held_memory
from powerplan_client._generated.planner_service_pb2_grpc import PlannerServiceStub

SERVICE = "powerplan.v1.PlannerService"


class Service:
    """A running server.

    Args:
        folder: where its data and its log go.
        options: more command-line options.
        environment: more environment variables.
    """

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        port, self._metrics_port = _free_ports(2)
        self.address = f"127.0.0.1:{port}"
        self._log = folder / "log"
        command = [sys.executable, "-m", "powerplan.cli", "serve", "--listen", self.address, "--workers", "2"]
        command += ["--metrics-listen", f"127.0.0.1:{self._metrics_port}", "--data-dir", str(folder / "data"), *options]
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(command, stderr=log, env=os.environ | environment)
        self.channel = grpc.insecure_channel(self.address)
        self.stub = PlannerServiceStub(self.channel)
        end = time.monotonic() + 90
        while not self.healthy():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < end, self.log()
            time.sleep(0.05)

    def healthy(self) -> bool:
        """Whether the health service says SERVING."""
        health = health_pb2_grpc.HealthStub(self.channel)
        try:
            status = health.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=2).status
        except grpc.RpcError:
            return False
        return bool(status == health_pb2.HealthCheckResponse.SERVING)

    def log(self) -> str:
        """Everything it has logged."""
        return self._log.read_text()

    def metric(self, name: str) -> float:
        """The value of a metric without labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])

    @property
    def pid(self) -> int:
        """The process that listens."""
        return self._process.pid

    def workers(self) -> list[int]:
        """The worker processes: what the fork server, a child of the server, has forked."""
        return [pid for child in _children(self.pid) for pid in _children(child)]

    def handles(self) -> int:
        """Open file handles of the process that listens."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def stop(self) -> int:
        """Ask it to end; returns its exit code."""
        self.channel.close()
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(60)


def peak_resident(pid: int) -> int:
    """The most resident bytes of a process so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def largest(pids: Sequence[int], what: Callable[[int], int] = held_memory) -> int:
    """The memory of the largest of several processes."""
    return max(map(what, pids), default=0)


def _children(parent: int) -> list[int]:
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                fields = (process / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == parent:
                found.append(int(process.name))
    return found


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports
