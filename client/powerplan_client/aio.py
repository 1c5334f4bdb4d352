"""The asyncio client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack, cast

import numpy.typing as npt

from powerplan_client.calls import Calls
from powerplan_client.engine import local_transport
from powerplan_client.errors import ClientClosed, PlannerError
from powerplan_client.inputs import Profile
from powerplan_client.networks import NetworkLike
from powerplan_client.options import (
    CallOptions,
    PlanOptions,
    PredictOptions,
    ProfileOptions,
    SimulateOptions,
    SubmitOptions,
)
from powerplan_client.results import (
    Job,
    JobEvent,
    Plan,
    Prediction,
    ProfilePlan,
    RunningEstimate,
    ServerInfo,
    Simulation,
)
from powerplan_client.settings import Settings
from powerplan_client.steps import Call, Emit, Next, Open, Sleep, Unary, Upload
from powerplan_client.transport import AsyncGrpcTransport, AsyncTransport

T = TypeVar("T")


class AsyncPlannerClient:
    """The calls of :class:`powerplan_client.PlannerClient` as coroutines and asynchronous iterators.

    The arguments are the same. Use it within one event loop.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        insecure: bool | None = None,
        root_certificates: bytes | None = None,
        client_certificate: bytes | None = None,
        client_key: bytes | None = None,
        token: str | None = None,
        timeout: float | None = 300.0,
        retries: bool = True,
        inline_bytes: int = 256 * 1024,
    ) -> None:
        settings = Settings(
            target=target,
            insecure=insecure,
            root_certificates=root_certificates,
            client_certificate=client_certificate,
            client_key=client_key,
            token=token,
            timeout=timeout,
            retries=retries,
            inline_bytes=inline_bytes,
        )
        self._start(AsyncGrpcTransport(settings), Calls.over(settings), repr(settings))

    @classmethod
    def local(cls, *, timeout: float | None = None) -> Self:
        """A client that computes in threads of this process; see :meth:`PlannerClient.local`."""
        client = cls.__new__(cls)
        client._start(_LocalThreads(), Calls.in_process(timeout), "in process")
        return client

    def _start(self, transport: AsyncTransport, calls: Calls, shown: str) -> None:
        self._transport = transport
        self._shown = shown
        self._calls = calls
        self._closed = asyncio.Event()

    async def plan(
        self,
        network: NetworkLike,
        hardware: Any,
        inputs: npt.ArrayLike,
        target: Any,
        **options: Unpack[PlanOptions],
    ) -> Plan:
        """The gains that meet ``target`` at least power. ``hardware`` None = every default."""
        return await self._run(self._calls.plan(network, hardware, inputs, target, options))

    async def plan_profile(self, profile: Profile, target: Any, **options: Unpack[ProfileOptions]) -> ProfilePlan:
        """The gains of a planning profile: no weights leave this process."""
        return await self._run(self._calls.plan_profile(profile, target, options))

    async def predict(
        self,
        network: NetworkLike,
        hardware: Any,
        gains: Any | None,
        inputs: npt.ArrayLike,
        **options: Unpack[PredictOptions],
    ) -> Prediction:
        """Error and power at given gains, predicted; ``gains`` None = the whole conductance and voltage range."""
        return await self._run(self._calls.predict(network, hardware, gains, inputs, options))

    async def simulate(
        self,
        network: NetworkLike,
        hardware: Any,
        gains: Any | None,
        inputs: npt.ArrayLike,
        *,
        progress: Callable[[RunningEstimate], None] | None = None,
        **options: Unpack[SimulateOptions],
    ) -> Simulation:
        """Error and power at given gains, simulated; ``progress`` is told the running estimates."""
        return await self._run(self._calls.simulate(network, hardware, gains, inputs, options, progress))

    def simulate_stream(
        self,
        network: NetworkLike,
        hardware: Any,
        gains: Any | None,
        inputs: npt.ArrayLike,
        **options: Unpack[SimulateOptions],
    ) -> AsyncIterator[RunningEstimate | Simulation]:
        """Running estimates, then the simulation."""
        return self._drive(self._calls.simulate(network, hardware, gains, inputs, options), [])

    def frontier(
        self,
        network: NetworkLike | Profile,
        hardware: Any,
        inputs: npt.ArrayLike | None,
        targets: Iterable[Any],
        **options: Unpack[PlanOptions],
    ) -> AsyncIterator[Plan | ProfilePlan]:
        """A plan for each of ``targets``, as they come."""
        return self._drive(self._calls.frontier(network, hardware, inputs, targets, options), [])

    async def submit(
        self,
        network: NetworkLike | Profile,
        hardware: Any,
        inputs: npt.ArrayLike | None,
        target: Any,
        **options: Unpack[SubmitOptions],
    ) -> Job:
        """Have a plan made in the background."""
        return await self._run(self._calls.submit(network, hardware, inputs, target, options))

    async def get_job(self, job_id: str, **options: Unpack[CallOptions]) -> Job:
        """A job, with its plan or error once it has ended."""
        return await self._run(self._calls.get_job(job_id, options))

    async def cancel_job(self, job_id: str, **options: Unpack[CallOptions]) -> Job:
        """Cancel a job."""
        return await self._run(self._calls.cancel_job(job_id, options))

    def list_jobs(
        self, states: Sequence[Any] = (), *, page_size: int = 100, **options: Unpack[CallOptions]
    ) -> AsyncIterator[Job]:
        """All jobs, newest first, without their plans; only those in one of ``states`` if given."""
        return self._drive(self._calls.list_jobs(states, page_size, options), [])

    def watch_job(self, job_id: str, *, after: int = 0, **options: Unpack[CallOptions]) -> AsyncIterator[JobEvent]:
        """The events of a job until it ends, across broken connections; ``after`` = the last sequence number seen."""
        return self._drive(self._calls.watch_job(job_id, after, options), [])

    async def wait_job(self, job_id: str, **options: Unpack[CallOptions]) -> Plan | ProfilePlan:
        """The plan of a job, once it has ended; raises its error if it failed."""
        return cast(Plan | ProfilePlan, await self._run(self._calls.wait_job(job_id, options)))

    async def server_info(self, **options: Unpack[CallOptions]) -> ServerInfo:
        """What the server is and can do."""
        return await self._run(self._calls.server_info(options))

    async def close(self) -> None:
        """End the connection and the calls that run; closing again does nothing."""
        self._closed.set()
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._shown})"

    async def _run(self, call: Call[T | None]) -> T:
        """Drive a call to its result (None only with validate_only)."""
        result: list[T] = []
        async for _ in self._drive(call, result):
            pass
        return result[0]

    async def _drive(self, call: Call[Any], result: list[Any]) -> AsyncGenerator[Any, None]:
        """Drive a call, handing on what it emits; its result goes into ``result``."""
        streams: list[Any] = []
        answer: Any = None
        failure: PlannerError | None = None
        try:
            while True:
                try:
                    step = call.send(answer) if failure is None else call.throw(failure)
                except StopIteration as stop:
                    result.append(stop.value)
                    return
                answer, failure = None, None
                if isinstance(step, Emit):
                    yield step.value
                elif self._closed.is_set():
                    failure = ClientClosed()
                elif isinstance(step, Sleep):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._closed.wait(), step.seconds)
                else:
                    try:
                        answer = await self._transport.perform(step)
                    except (Exception, asyncio.CancelledError) as error:
                        closed = self._closed.is_set() and not _is_cancelled()
                        if not isinstance(error, PlannerError) and not closed:
                            raise
                        failure = ClientClosed() if closed else error  # type: ignore[assignment]
                    if isinstance(step, Open) and failure is None:
                        streams.append(answer)
        finally:
            call.close()
            for stream in streams:
                self._transport.release(stream)


def _is_cancelled() -> bool:
    """Whether somebody cancels the task at hand; gRPC cancels what it waits for when the connection is closed."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class _LocalThreads:
    """The in-process service, off the event loop."""

    def __init__(self) -> None:
        self._local = local_transport()

    async def perform(self, step: Unary | Upload | Open | Next) -> Any:
        """The answer to a step."""
        return await asyncio.to_thread(self._local.perform, step)

    def release(self, stream: Any) -> None:
        """End a stream that is not read to its end."""
        self._local.release(stream)

    async def close(self) -> None:
        """Nothing to end."""
