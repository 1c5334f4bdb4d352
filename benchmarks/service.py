"""What does the planning service cost, and what does it do under overload?

Against ``powerplan serve`` in processes of its own, with the digits network, devices with programming noise of 1 % of
the range, 5 % NMSE, and the answer cache off:

- closed loop, one caller: a remote plan beside the same call in this process, in alternation (wall time);
- closed loop, three callers per worker: plans per second with one worker and with as many as cores;
- open loop: four times the measured capacity for ``--duration`` seconds, with health checks every 20 ms, memory of
  the server and its workers every 100 ms, and every request accounted for by its code;
- closed loop again: latency after the burst.

    python -m benchmarks.service [--json FILE] [--duration SECONDS]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import torch
from grpc_health.v1 import health_pb2, health_pb2_grpc

import powerplan as pp
import powerplan_client as pc
from benchmarks.common import machine
from benchmarks.memory import held_memory
from powerplan_client._generated import v1
from powerplan_client._generated.planner_service_pb2_grpc import PlannerServiceStub
from powerplan_client.building import hardware_message
from powerplan_client.networks import network_message
from powerplan_client.packing import tensor_of

HARDWARE = pp.Hardware(programming_noise_std=1e-6)
TARGET = 0.05
CORES = os.cpu_count() or 1


class Server:
    """``powerplan serve`` in a process of its own; ``more`` are further options, which win over those here."""

    def __init__(self, workers: int, folder: Path, *more: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        options = ["--workers", str(workers), "--cache-size", "0", "--queue-size", "16", "--log-level", "warning"]
        command = [sys.executable, "-m", "powerplan.cli", "serve", "--listen", self.address, *options]
        self.process = subprocess.Popen([*command, "--data-dir", str(folder), *more])
        self.channel = grpc.insecure_channel(self.address, [("grpc.enable_http_proxy", 0)])
        self.stub = PlannerServiceStub(self.channel)
        self.health = health_pb2_grpc.HealthStub(self.channel)
        while self.health_check(wait=True) != health_pb2.HealthCheckResponse.SERVING:
            time.sleep(0.05)

    def health_check(self, *, wait: bool = False) -> int:
        """What the health service says."""
        request = health_pb2.HealthCheckRequest(service="powerplan.v1.PlannerService")
        return int(self.health.Check(request, timeout=60, wait_for_ready=wait).status)

    def memory(self) -> int:
        """Anonymous bytes of the server and all its descendants, pages still shared counted once per process."""
        parents = {}
        for path in Path("/proc").iterdir():
            if path.name.isdigit():
                try:
                    parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
                except (FileNotFoundError, ProcessLookupError):
                    continue
        family = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in family} - family:
            family |= more
        return sum(map(held_memory, family))

    def handles(self) -> int:
        """Open file handles of the process that listens."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self) -> None:
        """End it and check that it ends well."""
        self.channel.close()
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(60) != 0:
            raise RuntimeError("the server did not end well")


@contextmanager
def serving(workers: int) -> Iterator[Server]:
    """A server that is warm: every worker has made a plan."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(workers, Path(folder))
        try:
            for call in [server.stub.Plan.future(plan_request()) for _ in range(2 * workers)]:
                call.result()
            yield server
        finally:
            server.stop()


def plan_request() -> v1.PlanRequest:
    """The request, as a message."""
    example = pp.load_example("digits")
    task = v1.PlanTask(
        network=network_message(example.network),
        hardware=hardware_message(HARDWARE),
        inputs=tensor_of(example.inputs),
        target=v1.Target(max_nmse=TARGET),
    )
    return v1.PlanRequest(task=task)


def quantiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50 and p99 in seconds."""
    return {"p50_s": float(np.quantile(seconds, 0.5)), "p99_s": float(np.quantile(seconds, 0.99))}


def overhead(server: Server, rounds: int = 30) -> list[dict[str, Any]]:
    """Wall time of a remote plan beside the same call in this process, in alternation."""
    example = pp.load_example("digits")
    local: list[float] = []
    remote: list[float] = []
    with pc.PlannerClient(server.address) as client:
        for number in range(rounds + 2):
            for seconds, call in ((local, pp.plan), (remote, client.plan)):
                start = time.perf_counter()
                call(example.network, HARDWARE, example.inputs, pp.MaxNMSE(TARGET))
                if number >= 2:
                    seconds.append(time.perf_counter() - start)
    allowed = 1.1 * quantiles(local)["p50_s"] + 0.02
    return [
        {"call": "in this process", **quantiles(local)},
        {"call": "remote", **quantiles(remote), "allowed_p50_s": allowed},
    ]


def closed_loop(server: Server, callers: int, seconds: float) -> dict[str, Any]:
    """Callers that each send the next request when the last is answered; answers per second and latency."""
    request = plan_request()
    times: list[float] = []
    start = time.perf_counter()

    def call() -> None:
        while time.perf_counter() - start < seconds:
            began = time.perf_counter()
            server.stub.Plan(request, timeout=60)
            times.append(time.perf_counter() - began)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"callers": callers, "plans_per_s": len(times) / (time.perf_counter() - start), **quantiles(times)}


@contextmanager
def repeated(action: Callable[[], None], pause: float) -> Iterator[None]:
    """Do something again and again in a thread, with pauses [s], while the body runs."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(pause):
            action()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def burst(server: Server, rate: float, seconds: float) -> dict[str, Any]:
    """Requests at a fixed rate whatever becomes of them, for a while."""
    request = plan_request()
    codes: Counter[str] = Counter()
    answered: list[float] = []
    health: list[float] = []
    memory: list[int] = []
    counted = threading.Lock()

    def check_health() -> None:
        began = time.perf_counter()
        server.health_check()
        health.append(time.perf_counter() - began)

    def note(call: Any, began: float) -> None:
        with counted:
            codes[call.code().name] += 1
            if call.code() is grpc.StatusCode.OK:
                answered.append(time.perf_counter() - began)

    sent = 0
    with repeated(check_health, 0.02), repeated(lambda: memory.append(server.memory()), 0.1):
        start = time.perf_counter()
        while (now := time.perf_counter() - start) < seconds:
            if now < sent / rate:
                time.sleep(sent / rate - now)
                continue
            began = time.perf_counter()
            call = server.stub.Plan.future(request, timeout=30)
            call.add_done_callback(partial(note, began=began))
            sent += 1
        while sum(codes.values()) < sent and time.perf_counter() - start < seconds + 60:
            time.sleep(0.05)
    tenth = max(1, len(memory) // 10)
    return {
        "requests_per_s": rate,
        "seconds": seconds,
        "sent": sent,
        **{f"code_{name.lower()}": count for name, count in sorted(codes.items())},
        "lost": sent - sum(codes.values()),
        **{f"answered_{name}": value for name, value in quantiles(answered).items()},
        **{f"health_{name}": value for name, value in quantiles(health).items()},
        "health_checks": len(health),
        "memory_first_tenth_bytes": int(np.mean(memory[:tenth])),
        "memory_last_tenth_bytes": int(np.mean(memory[-tenth:])),
        "memory_peak_bytes": max(memory),
    }


def measure(duration: float) -> dict[str, Any]:
    """Everything."""
    steady = min(duration, 15.0)
    with serving(1) as server:
        latency = overhead(server)
        one = closed_loop(server, 3, steady)
    with serving(CORES) as server:
        many = closed_loop(server, 3 * CORES, steady)
        before = closed_loop(server, 1, steady / 2)
        under = burst(server, 4 * many["plans_per_s"], duration)
        after = closed_loop(server, 1, steady / 2)
    return {
        "overhead": latency,
        "throughput": [{"workers": 1, **one}, {"workers": CORES, **many}],
        "throughput_ratio": many["plans_per_s"] / one["plans_per_s"],
        "burst": under,
        "one_caller": [{"when": "before the burst", **before}, {"when": "after the burst", **after}],
    }


def main() -> None:
    """Measure, print, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--duration", type=float, default=60.0, help="seconds of the burst")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    results = {"machine": machine(), **measure(arguments.duration), "seconds": round(time.perf_counter() - start, 1)}
    text = json.dumps(results, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
