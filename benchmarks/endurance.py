"""What the planning service must hold under attack and over time, each with its verdict; exit code 1 if one fails.

    python -m benchmarks.endurance overload [--seconds 120]    four times what it can answer
    python -m benchmarks.endurance flood [--connections 1000]  strangers with unfinished messages, at both doors
    python -m benchmarks.endurance tenants [--calls 100]       one floods, the other hardly waits
    python -m benchmarks.endurance soak [--minutes 30]         mixed calls: memory and file handles stay flat

Everything runs on this machine. `POWERPLAN_TEST_KILLS=50 pytest tests/server/test_kills.py` kills the server, its fork
server and its workers at random moments, and `tests/server/test_faults.py` lets 500 writes fail.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import itertools
import json
import os
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np

import powerplan_client as pc
from benchmarks.memory import held_memory
from benchmarks.service import CORES, Server, burst, closed_loop, plan_request, quantiles, serving

TOKEN, OTHER = "token-of-the-endurance-test", "token-of-another-tenant"
MIB = 2**20
HEALTH_P99 = 0.1  # s
FLOODED_MEMORY = 150 * MIB
FLOODED_TIME = 3.0  # times the quiet one
GROWTH, GROWTH_AT_LEAST, HANDLES = 0.05, 10 * MIB, 20  # that a soak may show from its first sixth to its end


def overload(seconds: float) -> dict[str, Any]:
    """Four times the capacity: nothing is lost, health answers, memory stays."""
    with serving(CORES) as server:
        capacity = closed_loop(server, 3 * CORES, 10.0)["plans_per_s"]
        found = burst(server, 4 * capacity, seconds)
    codes = {name for name in found if name.startswith("code_")}
    return found | {
        "holds": {
            "nothing lost": found["lost"] == 0 and codes <= {"code_ok", "code_resource_exhausted"},
            "health p99 under 100 ms": found["health_p99_s"] < HEALTH_P99,
            "memory flat": found["memory_last_tenth_bytes"] <= found["memory_first_tenth_bytes"] + 20 * MIB,
        }
    }


def flood(connections: int) -> dict[str, Any]:
    """Strangers who connect again whenever they are turned away, while one with a token plans."""
    doors: dict[str, Any] = {}
    with _guarded() as (server, http_port):
        grpc_port = int(server.address.rpartition(":")[2])
        call = _caller(server, TOKEN)
        call(4)  # warm
        quiet = quantiles(call(15))
        for door, port, unfinished in (("grpc", grpc_port, _GRPC), ("http", http_port, _HTTP)):
            idle, peaks = held_memory(server.process.pid), [0]
            over = threading.Event()
            strangers = threading.Thread(target=_strangers, args=(port, unfinished, connections, over))
            strangers.start()
            time.sleep(2.0)
            watch = threading.Thread(target=_watched, args=(server, peaks, over))
            watch.start()
            flooded = quantiles(call(15))
            over.set()
            strangers.join()
            watch.join()
            doors[door] = {"above_idle_bytes": max(peaks) - idle, **flooded}
    return {
        "connections": connections,
        "quiet": quiet,
        **doors,
        "holds": {
            f"{name}: {what}": holds
            for name, door in doors.items()
            for what, holds in (
                ("memory", door["above_idle_bytes"] <= FLOODED_MEMORY),
                ("plans under 3 times their quiet time", door["p50_s"] <= FLOODED_TIME * quiet["p50_s"]),
            )
        },
    }


def tenants(calls: int) -> dict[str, Any]:
    """One keeps both workers and its line full; the times of another, one call after the other."""
    over = threading.Event()
    with _guarded() as (server, _):
        _caller(server, TOKEN)(4)  # warm
        call = _caller(server, OTHER)
        quiet = quantiles(call(calls))

        def keep_calling() -> None:
            again = _caller(server, TOKEN)
            while not over.is_set():
                try:
                    again(1)
                except grpc.RpcError as error:
                    if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                        raise
                    over.wait(0.1)

        threads = [threading.Thread(target=keep_calling) for _ in range(16 * CORES)]
        for thread in threads:
            thread.start()
        time.sleep(2.0)
        flooded = quantiles(call(calls))
        over.set()
        for thread in threads:
            thread.join()
    holds = {"p99 at most 3 times the quiet one": flooded["p99_s"] <= FLOODED_TIME * quiet["p99_s"]}
    return {"calls": calls, "quiet": quiet, "flooded": flooded, "holds": holds}


def soak(minutes: float) -> dict[str, Any]:
    """Every kind of call from four callers, some of which fail, go away or are wrong."""
    codes: Counter[str] = Counter()
    samples: list[tuple[float, int, int]] = []
    over = threading.Event()
    with _guarded("--cache-size", "4MiB", "--worker-max-requests", "50") as (server, http_port):

        def caller(seed: int) -> None:
            rng = random.Random(seed)
            while not over.is_set():
                with pc.PlannerClient(server.address, token=TOKEN, timeout=30, inline_bytes=64) as client:
                    for _ in range(20):
                        action = rng.choice(_ACTIONS)
                        try:
                            action(client, http_port, rng)
                            codes[f"{action.__name__} ok"] += 1
                        except pc.PlannerError as error:
                            codes[f"{action.__name__} {error.reason or error.code}"] += 1

        threads = [threading.Thread(target=caller, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        while (now := time.monotonic() - began) < 60 * minutes:
            samples.append((now, held_memory(server.process.pid), server.handles()))
            time.sleep(1.0)
        over.set()
        for thread in threads:
            thread.join()
        time.sleep(1.0)
        at_rest = server.handles()
    sixth = max(len(samples) // 6, 1)
    early = float(np.mean([memory for _, memory, _ in samples[sixth : 2 * sixth]]))
    late = float(np.mean([memory for _, memory, _ in samples[-sixth:]]))
    handles = [max(count for *_, count in part) for part in (samples[sixth : 2 * sixth], samples[-sixth:])]
    return {
        "minutes": minutes,
        "calls": dict(sorted(codes.items())),
        "memory_second_sixth_bytes": int(early),
        "memory_last_sixth_bytes": int(late),
        "handles_second_sixth": handles[0],
        "handles_last_sixth": handles[1],
        "handles_at_rest": at_rest,
        "holds": {
            "memory flat": late <= early + max(GROWTH * early, GROWTH_AT_LEAST),
            "handles flat": handles[1] <= handles[0] + HANDLES,
            "no call failed in another way than it had to": not [c for c in codes if not _is_expected(c)],
        },
    }


@contextmanager
def _guarded(*options: str) -> Iterator[tuple[Server, int]]:
    """A server with a token and its port for HTTP."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        tokens = Path(folder) / "tokens"
        tokens.write_text(f"endurance:{TOKEN}\nother:{OTHER}\n")
        more = ("--token-file", str(tokens), "--http-listen", f"127.0.0.1:{port}", *options)
        server = Server(CORES, Path(folder) / "data", *more)
        try:
            yield server, port
        finally:
            server.stop()


def _caller(server: Server, token: str) -> Callable[[int], list[float]]:
    """What plans a number of times, and tells the seconds of each."""
    request = plan_request()

    def call(count: int) -> list[float]:
        seconds = []
        for _ in range(count):
            began = time.perf_counter()
            server.stub.Plan(request, timeout=60, metadata=(("authorization", f"Bearer {token}"),))
            seconds.append(time.perf_counter() - began)
        return seconds

    return call


def _grpc_unfinished() -> bytes:
    """HTTP/2 by hand: a call without a token that announces 4 MiB and sends as much as the first window lets it."""

    def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload

    headers = {
        ":method": "POST", ":scheme": "http", ":path": "/powerplan.v1.PlannerService/Plan", ":authority": "x",
        "content-type": "application/grpc", "te": "trailers",
    }  # fmt: skip
    block = b"".join(
        b"\0" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()
        for name, value in headers.items()
    )
    start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + frame(1, 4, 1, block)
    return (
        start
        + frame(0, 0, 1, b"\0" + (4 * MIB - 1000).to_bytes(4, "big") + bytes(16_000))
        + frame(0, 0, 1, bytes(16_000))
    )


_GRPC = _grpc_unfinished()
_HTTP = (
    b"POST /powerplan.v1.PlannerService/Plan HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    b"content-length: 4000000\r\n\r\n" + b" " * 32_000
)


def _strangers(port: int, unfinished: bytes, connections: int, over: threading.Event) -> None:
    """Hold so many connections with an unfinished message each; those that the server ends begin anew."""
    held: list[socket.socket] = []
    while not over.is_set():
        while len(held) < connections and not over.is_set():
            with suppress(OSError):
                connection = socket.create_connection(("127.0.0.1", port), timeout=5)
                connection.settimeout(0.0)
                held.append(connection)
                connection.send(unfinished)
        alive = []
        for connection in held:
            try:
                while connection.recv(65536):
                    pass
                connection.close()
            except BlockingIOError:
                alive.append(connection)
            except OSError:
                connection.close()
        held = alive
        over.wait(0.1)
    for connection in held:
        connection.close()


def _watched(server: Server, peaks: list[int], over: threading.Event) -> None:
    while not over.wait(0.05):
        peaks.append(held_memory(server.process.pid))


# What callers of a soak do. Each is given a client, the port for HTTP and random numbers.

_WEIGHTS = [np.random.default_rng(0).normal(size=(8, 6)), np.random.default_rng(1).normal(size=(3, 8))]
_INPUTS = np.random.default_rng(2).normal(size=(8, 6))
_HARDWARE = pc.Hardware(programming_noise_std=1e-6)
_salts = itertools.count()


def plan(client: pc.PlannerClient, port: int, rng: random.Random) -> None:
    """A plan, one of four kept in the cache."""
    client.plan(_WEIGHTS, _HARDWARE, _INPUTS, pc.MaxNMSE(rng.choice([0.02, 0.03, 0.04, 0.05])))


def predict(client: pc.PlannerClient, port: int, rng: random.Random) -> None:
    """A prediction for inputs never seen, which are uploaded."""
    client.predict(_WEIGHTS, _HARDWARE, None, _INPUTS + next(_salts) * 1e-6)


def simulate_and_leave(client: pc.PlannerClient, port: int, rng: random.Random) -> None:
    """A simulation that its caller leaves in the middle."""
    stream = client.simulate_stream(_WEIGHTS, _HARDWARE, None, _INPUTS, draws=50_000, seed=next(_salts))
    next(iter(stream))
    getattr(stream, "close", lambda: None)()


def job(client: pc.PlannerClient, port: int, rng: random.Random) -> None:
    """A job, watched or cancelled, and forgotten."""
    submitted = client.submit(_WEIGHTS, _HARDWARE, _INPUTS, pc.MaxNMSE(0.02 + 1e-6 * next(_salts)))
    if rng.random() < 0.3:
        client.cancel_job(submitted.job_id)
    for _ in client.watch_job(submitted.job_id):
        pass
    client.delete_job(submitted.job_id)


def wrong(client: pc.PlannerClient, port: int, rng: random.Random) -> None:
    """A request that is refused."""
    client.plan(_WEIGHTS, _HARDWARE, _INPUTS[:, :2], pc.MaxNMSE(0.05))


def late(client: pc.PlannerClient, port: int, rng: random.Random) -> None:
    """A call whose time is over before its end."""
    client.simulate(_WEIGHTS, _HARDWARE, None, _INPUTS, draws=1_000_000, seed=next(_salts), timeout=0.2)


def ask(client: pc.PlannerClient, port: int, rng: random.Random) -> None:
    """What costs nothing."""
    client.server_info()
    client.statistics()
    list(client.list_jobs(page_size=5))


def stranger(client: pc.PlannerClient, port: int, rng: random.Random) -> None:
    """A connection that says half a sentence and goes."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.send(_HTTP[: rng.randrange(len(_HTTP))])


def over_http(client: pc.PlannerClient, port: int, rng: random.Random) -> None:
    """A call over HTTP."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
    digest = hashlib.sha256(os.urandom(8)).hexdigest()
    body = json.dumps({"blobs": [{"sha256": digest, "sizeBytes": "8"}]})
    connection.request("POST", "/powerplan.v1.PlannerService/GetBlobStatus", body, headers)
    if connection.getresponse().status != 200:
        raise RuntimeError("HTTP does not answer")
    connection.close()


_ACTIONS = (plan, predict, simulate_and_leave, job, wrong, late, ask, stranger, over_http)


def _is_expected(code: str) -> bool:
    return code.endswith((" ok", "wrong INVALID_REQUEST", "late DEADLINE_EXCEEDED"))


def main() -> int:
    """Run one of them, print what was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["overload", "flood", "tenants", "soak"])
    parser.add_argument("--seconds", type=float, default=120.0, help="of the overload")
    parser.add_argument("--connections", type=int, default=1000, help="of the flood")
    parser.add_argument("--calls", type=int, default=100, help="of the tenant that waits")
    parser.add_argument("--minutes", type=float, default=30.0, help="of the soak")
    arguments = parser.parse_args()
    found = {
        "overload": lambda: overload(arguments.seconds),
        "flood": lambda: flood(arguments.connections),
        "tenants": lambda: tenants(arguments.calls),
        "soak": lambda: soak(arguments.minutes),
    }[arguments.what]()
    print(json.dumps(found, indent=2))
    return 0 if all(found["holds"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
