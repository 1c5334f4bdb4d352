"""Mutated and random requests to a real server: each ends cleanly and in time, and nothing piles up."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from service_mutation import SEEDS, requests
from service_process import Service, largest
from service_requests import Ending, plan_request, send

from benchmarks.memory import held_memory
from powerplan_client._generated import v1

TOKEN = "token-of-the-fuzzer"
DEADLINE = 5.0
CALLERS = 6
MIB = 2**20
CLEAN = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNIMPLEMENTED,
}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server whose operator allows few draws and iterations, so that most mutated requests are quick."""
    limits = ["--max-draws", "10000", "--max-iterations", "50", "--cache-size", "4MiB", "--job-queue-size", "100"]
    running = Service(tmp_path_factory.mktemp("fuzz"), *limits, POWERPLAN_SERVE_TOKENS=f"fuzzer:{TOKEN}")
    yield running
    assert running.stop() == 0


def fuzz(service: Service, seed: int, count: int) -> Counter[str]:
    """Send ``count`` requests from several callers at once; returns how many ended with which code and reason."""
    source, lock = requests(seed, count), threading.Lock()
    endings: Counter[str] = Counter()

    def caller() -> None:
        with grpc.insecure_channel(service.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            while True:
                with lock:
                    drawn = next(source, None)
                if drawn is None:
                    return
                method, parts = drawn
                ending = send(channel, method, *parts, timeout=DEADLINE, token=TOKEN)
                complaint = complain(ending)
                assert not complaint, (complaint, ending, method, [part.hex() for part in parts])
                with lock:
                    endings[f"{ending.code.name} {ending.reason}".strip()] += 1

    with ThreadPoolExecutor(CALLERS) as pool:
        for future in [pool.submit(caller) for _ in range(CALLERS)]:
            future.result()
    assert endings.total() == count
    return endings


def complain(ending: Ending) -> str:
    """What is unclean about an ending; "" if nothing is."""
    solver_gave_up = (ending.code, ending.reason) == (grpc.StatusCode.INTERNAL, "SOLVER_FAILED")
    if ending.code not in CLEAN and not solver_gave_up:
        return "unclean code"
    if not ending.reason and ending.code not in (grpc.StatusCode.OK, grpc.StatusCode.DEADLINE_EXCEEDED):
        return "no ErrorInfo"
    if ending.reason in ("INTERNAL", "WORKER_CRASHED"):
        return "internal reason"
    if "Traceback" in ending.message or 'File "' in ending.message:
        return "stack trace"
    return "late" if ending.seconds > DEADLINE + 1.0 else ""


def check_plans(service: Service, salt: int) -> None:
    """The server still finds the plan that it found first."""
    answers = [
        v1.PlanResponse.FromString(
            send(service.channel, "Plan", plan_request(salt=seed).SerializeToString(), timeout=20, token=TOKEN).answer
        )
        for seed in (10**6, 10**6 + salt)
    ]
    assert answers[0].plan.termination.outcome == v1.Outcome.OUTCOME_OPTIMAL
    assert answers[0].plan.gains == answers[1].plan.gains


def check_log(service: Service) -> None:
    """No call failed in a way that the server did not foresee, and the token is nowhere."""
    log = service.log()
    assert TOKEN not in log
    unforeseen = [line for line in log.splitlines() if "Traceback" in line or '"a calculation failed"' in line]
    assert not unforeseen, unforeseen[:3]
    assert all(json.loads(line)["level"] != "error" for line in log.splitlines()), "errors in the log"


def test_the_requests_that_are_mutated_are_good(target: Service) -> None:
    """Otherwise the fuzzer would test one refusal only."""
    for method, message in SEEDS:
        ending = send(target.channel, method, message.SerializeToString(), timeout=20, token=TOKEN)
        expected = {grpc.StatusCode.NOT_FOUND} if method.endswith("PlanJob") and method != "SubmitPlan" else set()
        assert ending.code in (expected or {grpc.StatusCode.OK}), (method, ending)


def test_a_few_hundred_mutated_requests(target: Service) -> None:
    endings = fuzz(target, seed=1, count=400)
    assert endings["OK"] > 20
    assert endings["INVALID_ARGUMENT INVALID_REQUEST"] > 100
    check_plans(target, salt=1)
    check_log(target)


@pytest.mark.slow
def test_four_thousand_mutated_requests_leave_nothing_behind(target: Service) -> None:
    """Memory and handles after 4000 requests are those after the first 1000, but for a bounded allowance."""
    fuzz(target, seed=2, count=1000)
    before = held_memory(target.pid), largest(target.workers()), target.handles()
    began = time.monotonic()
    endings = fuzz(target, seed=3, count=4000)
    seconds = time.monotonic() - began
    check_plans(target, salt=2)
    after = held_memory(target.pid), largest(target.workers()), target.handles()
    print(f"\n{4000 / seconds:.0f} requests/s; server, worker bytes and handles: {before} -> {after}; {dict(endings)}")
    assert after[0] < before[0] + 24 * MIB
    assert after[1] < before[1] + 80 * MIB
    assert after[2] < before[2] + 8
    assert len(target.workers()) <= 4  # two at work, and those that take their place
    assert endings["OK"] > 200
    assert endings["DEADLINE_EXCEEDED"] + endings["DEADLINE_EXCEEDED DEADLINE_EXCEEDED"] < 40
    check_log(target)
