"""Overload is refused at once, with the time to come back, and starves nobody who only asks for health."""

from __future__ import annotations

import asyncio
import threading
import time

import grpc
import pytest
from planner_fakes import plan_request
from planner_running import failure, outcome, wait_for

from powerplan_server.admission import Admission
from powerplan_server.errors import ServiceError


def test_full_queue_is_refused_with_retry_info(start) -> None:
    server = start(workers=1, queue_size=1)
    running = [server.stub.Plan.future(plan_request("sleep 1", salt=i + 1.0)) for i in range(2)]
    wait_for(lambda: server.server.admission.waiting == 1)
    began = time.monotonic()
    failed = failure(lambda: server.stub.Plan(plan_request(salt=9.0), timeout=5))
    assert time.monotonic() - began < 0.5
    assert (failed.code, failed.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
    delay = failed.retry.retry_delay.ToMilliseconds()
    assert 50 <= delay <= 80_000
    assert abs(int(failed.trailing["grpc-retry-pushback-ms"]) - delay) <= 1
    assert server.health() == 1
    assert all(call.result(10).HasField("profile_plan") for call in running)


def test_queue_is_bounded_by_bytes(start) -> None:
    server = start(workers=1, queue_size=100, queue_bytes=10_000)
    first = server.stub.Plan.future(plan_request("sleep 1.5"))
    wait_for(lambda: server.server.admission.running == 1)
    failed = failure(lambda: server.stub.Plan(plan_request("x" * 20_000), timeout=5))
    assert failed.reason == "QUEUE_FULL"
    assert server.stub.Plan(plan_request("x" * 5_000), timeout=5).HasField("profile_plan")
    first.result(5)


def test_health_answers_under_overload(start) -> None:
    """With every worker computing and the queue full, each of 100 health checks takes well below 100 ms."""
    server = start(workers=2, queue_size=4)
    calls = [server.stub.Plan.future(plan_request("burn 1", salt=i + 1.0), timeout=10) for i in range(40)]
    wait_for(lambda: server.server.admission.waiting == 4)
    times = []
    for _ in range(100):
        began = time.monotonic()
        assert server.health("powerplan.v1.PlannerService") == 1
        times.append(time.monotonic() - began)
    assert sorted(times)[98] < 0.1
    codes = [call.code() for call in calls]
    assert set(codes) == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert codes.count(grpc.StatusCode.OK) >= 6


def test_cancelled_while_waiting_frees_its_place(start) -> None:
    server = start(workers=1, queue_size=1)
    first = server.stub.Plan.future(plan_request("sleep 1.5"))
    wait_for(lambda: server.server.admission.running == 1)
    second = server.stub.Plan.future(plan_request(salt=2.0))
    wait_for(lambda: server.server.admission.waiting == 1)
    second.cancel()
    wait_for(lambda: server.server.admission.waiting == 0)
    assert server.server.admission.waiting_bytes == 0
    assert server.stub.Plan(plan_request(salt=3.0), timeout=5).HasField("profile_plan")
    first.result(5)


def test_slots_are_handed_over_in_order_whatever_is_cancelled() -> None:
    """Random cancels lose no slot: afterwards all are free and everyone not cancelled was served, in order."""

    async def scenario() -> None:
        admission = Admission(slots=2, queue_size=100, queue_bytes=0)
        served: list[int] = []

        async def work(number: int) -> None:
            async with admission.slot():
                served.append(number)
                await asyncio.sleep(0.001)

        tasks = [asyncio.create_task(work(i)) for i in range(60)]
        for i in range(5, 60, 3):
            await asyncio.sleep(0.0005)
            tasks[i].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert admission.running == admission.waiting == 0
        assert served == sorted(served)
        assert {i for i, task in enumerate(tasks) if not task.cancelled()} <= set(served)

    asyncio.run(scenario())


def test_closing_turns_the_waiting_away() -> None:
    async def scenario() -> None:
        admission = Admission(slots=1, queue_size=10, queue_bytes=0)
        async with admission.slot():
            waiting = asyncio.create_task(admission.slot().__aenter__())
            await asyncio.sleep(0)
            admission.close()
            with pytest.raises(ServiceError) as refused:
                await waiting
            assert refused.value.code is grpc.StatusCode.UNAVAILABLE
            with pytest.raises(ServiceError):
                await admission.slot().__aenter__()
        assert admission.running == 0

    asyncio.run(scenario())


def test_a_flood_of_one_tenant_hardly_delays_another(start) -> None:
    """Alice keeps 40 calls coming to two workers and a queue of eight; Bob's take at most three times as long (median).

    In one line for all they would wait for the eight, and take five times as long."""
    server = start(workers=2, queue_size=8, cache_size=0, tokens="alice:0123456789abcdef,bob:fedcba9876543210")
    bob, alice = ((("authorization", f"Bearer {token}"),) for token in ("fedcba9876543210", "0123456789abcdef"))

    def times(count: int, first: float) -> list[float]:
        seconds = []
        for i in range(count):
            began = time.monotonic()
            server.stub.Plan(plan_request("sleep 0.1", salt=first + i), metadata=bob, timeout=10)
            seconds.append(time.monotonic() - began)
        return sorted(seconds)

    quiet = times(10, 1.0)
    over = threading.Event()

    def flood(number: int) -> None:
        request = plan_request("sleep 0.1", salt=100.0 + number)
        while not over.is_set():
            if outcome(lambda: server.stub.Plan(request, metadata=alice, timeout=10))[0] is not grpc.StatusCode.OK:
                over.wait(0.05)

    threads = [threading.Thread(target=flood, args=(i,)) for i in range(40)]
    for thread in threads:
        thread.start()
    wait_for(lambda: server.server.admission.waiting == 8)
    flooded = times(20, 20.0)
    over.set()
    for thread in threads:
        thread.join()
    assert flooded[10] <= 3 * quiet[5]


def test_a_longer_line_gives_up_its_newest_for_a_shorter_one() -> None:
    async def scenario() -> None:
        admission = Admission(slots=1, queue_size=3, queue_bytes=0)
        order: list[str] = []

        async def call(tenant: str, number: int) -> None:
            async with admission.slot(tenant):
                order.append(f"{tenant}{number}")
                await asyncio.sleep(0.001)

        tasks = [asyncio.create_task(call("a", i)) for i in range(4)]
        await asyncio.sleep(0)
        tasks += [asyncio.create_task(call("b", i)) for i in range(3)]
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        turned_away = [isinstance(outcome, ServiceError) for outcome in outcomes]
        assert order == [
            "a0",
            "a1",
            "b0",
            "a2",
        ]  # the third of a gave its place to b, which then had as many as a less one
        assert turned_away == [False, False, False, True, False, True, True]
        assert (admission.running, admission.waiting) == (0, 0)

    asyncio.run(scenario())


def test_jobs_come_after_direct_calls_and_a_tenant_keeps_to_its_slots() -> None:
    async def scenario() -> None:
        admission = Admission(slots=2, queue_size=10, queue_bytes=0, tenant_slots=1)
        order: list[str] = []

        async def call(tenant: str, *, background: bool = False) -> None:
            async with admission.slot(tenant, background=background):
                order.append(tenant)
                await asyncio.sleep(0.001)

        first = [asyncio.create_task(call("a")), asyncio.create_task(call("b"))]
        await asyncio.sleep(0)
        job = asyncio.create_task(call("job", background=True))
        await asyncio.sleep(0)
        later = [asyncio.create_task(call(tenant)) for tenant in "ab"]
        await asyncio.gather(*first, job, *later)
        assert order == ["a", "b", "a", "b", "job"]

    asyncio.run(scenario())
