"""A closed client says so, whatever it was doing, and closing again is harmless."""

from __future__ import annotations

import _thread
import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from planner_server import FakePlanner, start_server, status_bytes

import powerplan_client as pc
from powerplan_client._generated import v1 as pb

TARGETS = [pc.MaxNMSE(0.1), pc.MaxNMSE(0.05)]


class Slow(FakePlanner):
    """Takes its time for everything, unless the caller has gone."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.left = threading.Event(), threading.Event()

    def _dawdle(self, context: Any) -> None:
        self.began.set()
        for _ in range(1000):
            time.sleep(0.02)
            if not context.is_active():
                self.left.set()
                return

    def Plan(self, request: pb.PlanRequest, context: Any) -> pb.PlanResponse:
        self._dawdle(context)
        return pb.PlanResponse()

    def WatchPlanJob(self, request: pb.WatchPlanJobRequest, context: Any) -> Iterator[pb.WatchPlanJobResponse]:
        yield pb.WatchPlanJobResponse(sequence=1, state=pb.PLAN_JOB_STATE_RUNNING)
        self._dawdle(context)


@pytest.fixture
def slow() -> Iterator[tuple[Slow, str]]:
    planner = Slow()
    server, address = start_server(planner)
    yield planner, address
    server.stop(None).wait()


@pytest.mark.parametrize("local", [False, True])
def test_calls_after_the_end_are_refused(
    address: str, weights: list[np.ndarray], inputs: np.ndarray, local: bool
) -> None:
    with pc.PlannerClient.local() if local else pc.PlannerClient(address) as client:
        points = client.frontier(weights, None, inputs, TARGETS)
        next(points)
    client.close()
    calls: list[Callable[[], Any]] = [
        lambda: next(points),
        lambda: client.plan(weights, None, inputs, TARGETS[0]),
        lambda: client.simulate(weights, None, None, inputs),
        lambda: list(client.simulate_stream(weights, None, None, inputs)),
        lambda: list(client.list_jobs()),
        lambda: client.wait_job("job1"),
        client.server_info,
    ]
    for call in calls:
        with pytest.raises(pc.ClientClosed, match="closed"):
            call()


@pytest.mark.parametrize("local", [False, True])
def test_calls_of_the_asyncio_client_after_the_end_are_refused(
    address: str, weights: list[np.ndarray], inputs: np.ndarray, local: bool
) -> None:
    async def run() -> None:
        async with pc.AsyncPlannerClient.local() if local else pc.AsyncPlannerClient(address) as client:
            points = client.frontier(weights, None, inputs, TARGETS)
            await anext(points)
        await client.close()
        for call in (
            anext(points),
            client.plan(weights, None, inputs, TARGETS[0]),
            anext(client.list_jobs()),
            client.server_info(),
        ):
            with pytest.raises(pc.ClientClosed):
                await call

    asyncio.run(run())


def test_closing_ends_calls_that_run(slow: tuple[Slow, str], weights: list[np.ndarray], inputs: np.ndarray) -> None:
    planner, address = slow
    for call in (
        lambda c: c.plan(weights, None, inputs, TARGETS[0]),
        lambda c: list(c.watch_job("job1")),
        lambda c: c.wait_job("job1"),
    ):
        client = pc.PlannerClient(address)
        planner.began.clear()
        planner.left.clear()
        threading.Thread(target=lambda c=client: (planner.began.wait(10), c.close())).start()
        with pytest.raises(pc.ClientClosed):
            call(client)
        assert planner.left.wait(20)  # on a busy machine


def test_closing_the_asyncio_client_ends_calls_but_does_not_cancel_tasks(
    slow: tuple[Slow, str], weights: list[np.ndarray], inputs: np.ndarray
) -> None:
    planner, address = slow

    async def run() -> None:
        client = pc.AsyncPlannerClient(address)
        call = asyncio.create_task(client.plan(weights, None, inputs, TARGETS[0]))
        await asyncio.to_thread(planner.began.wait, 10)
        await client.close()
        with pytest.raises(pc.ClientClosed):
            await call
        assert not call.cancelled()
        async with pc.AsyncPlannerClient(address) as client:
            call = asyncio.create_task(client.plan(weights, None, inputs, TARGETS[0]))
            await asyncio.sleep(0.2)
            call.cancel()  # by its owner: that stays a cancel
            with pytest.raises(asyncio.CancelledError):
                await call

    asyncio.run(run())


def test_closing_ends_the_wait_for_a_full_server(planner: FakePlanner, address: str) -> None:
    status = status_bytes("QUEUE_FULL", retry_seconds=60)
    planner.faults["Predict"] = [(grpc.StatusCode.RESOURCE_EXHAUSTED, status, ())]
    client = pc.PlannerClient(address)
    threading.Timer(0.3, client.close).start()
    began = time.monotonic()
    with pytest.raises(pc.ClientClosed):
        client.predict([np.ones((2, 2))], None, None, np.ones((1, 2)))
    assert time.monotonic() - began < 10


def test_ctrl_c_ends_the_call_on_the_server_and_leaves_the_client_usable(
    slow: tuple[Slow, str], weights: list[np.ndarray], inputs: np.ndarray
) -> None:
    planner, address = slow
    with pc.PlannerClient(address) as client:
        threading.Thread(target=lambda: (planner.began.wait(10), _thread.interrupt_main())).start()
        with pytest.raises(KeyboardInterrupt):
            client.plan(weights, None, inputs, TARGETS[0])
        assert planner.left.wait(20)  # on a busy machine
        assert client.server_info().server_version


def test_one_asyncio_client_is_for_one_event_loop(address: str) -> None:
    client = pc.AsyncPlannerClient(address)
    asyncio.run(client.server_info())
    with pytest.raises(pc.InvalidRequest, match="event loop"):
        asyncio.run(client.server_info())
    asyncio.run(client.close())
