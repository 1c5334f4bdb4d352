"""The blocking client."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, cast

import numpy.typing as npt

from powerplan_client.calls import Calls
from powerplan_client.compat import Self, Unpack
from powerplan_client.drivers import BlockingDriver
from powerplan_client.engine import local_transport
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
from powerplan_client.results import Job, JobEvent, ProfilePlan, RunningEstimate, ServerInfo, Statistics
from powerplan_client.settings import Settings
from powerplan_client.shared import Plan, Prediction, Simulation
from powerplan_client.transport import GrpcTransport


class PlannerClient(BlockingDriver):
    """Calls of a planning service, each returning when it is done. Safe to share between threads.

    Args:
        target: "host:port", "[IPv6]:port", "unix:path" or another form of
            :data:`powerplan_client.addresses.FORMS`; None = the environment variable POWERPLAN_TARGET.
        insecure: plain text; None = for loopback addresses without certificates only. A connection in plain text and
            one to this machine never goes through an HTTP proxy.
        root_certificates, client_certificate, client_key: PEM, for TLS and mutual TLS.
        token: bearer token; never shown, and never sent in plain text beyond this machine.
        timeout: seconds for a call that names none; None or infinite = no limit.
        retries: try idempotent calls again when the server is unavailable or full.
        inline_bytes: larger arrays are uploaded, each once, and then referred to.

    Every call takes ``timeout`` and ``request_id``; see :mod:`powerplan_client.options`. Networks are given as
    :class:`Network`, as a list of weights, as the path of a saved network, as :class:`Onnx`, as a network of the
    engine, or as a torch module. With ``validate_only=True`` a call answers None if the request is good.

    Raises:
        InvalidRequest: settings that cannot be used.
        PlannerError: every call, see :mod:`powerplan_client.errors`; ClientClosed after :meth:`close`.
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
        self._start(GrpcTransport(settings), Calls.over(settings), repr(settings))

    @classmethod
    def local(cls, *, timeout: float | None = None) -> Self:
        """A client that computes in this process with the installed engine: the same calls, the same answers.

        Jobs need a server. Timeouts do not end a calculation here; use ``time_limit``.

        Raises:
            FeatureUnavailable: the engine is not installed.
        """
        client = cls.__new__(cls)
        client._start(local_transport(), Calls.in_process(timeout), "in process")
        return client

    def plan(
        self,
        network: NetworkLike,
        hardware: Any,
        inputs: npt.ArrayLike,
        target: Any,
        **options: Unpack[PlanOptions],
    ) -> Plan:
        """The gains that meet ``target`` at least power. ``hardware`` None = every default."""
        return self._run(self._calls.plan(network, hardware, inputs, target, options))

    def plan_profile(self, profile: Profile, target: Any, **options: Unpack[ProfileOptions]) -> ProfilePlan:
        """The gains of a planning profile: no weights leave this process."""
        return self._run(self._calls.plan_profile(profile, target, options))

    def predict(
        self,
        network: NetworkLike,
        hardware: Any,
        gains: Any | None,
        inputs: npt.ArrayLike,
        **options: Unpack[PredictOptions],
    ) -> Prediction:
        """Error and power at given gains, predicted; ``gains`` None = the whole conductance and voltage range."""
        return self._run(self._calls.predict(network, hardware, gains, inputs, options))

    def simulate(
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
        return self._run(self._calls.simulate(network, hardware, gains, inputs, options, progress))

    def simulate_stream(
        self,
        network: NetworkLike,
        hardware: Any,
        gains: Any | None,
        inputs: npt.ArrayLike,
        **options: Unpack[SimulateOptions],
    ) -> Iterator[RunningEstimate | Simulation]:
        """Running estimates, then the simulation."""
        return self._iterate(self._calls.simulate(network, hardware, gains, inputs, options))

    def frontier(
        self,
        network: NetworkLike | Profile,
        hardware: Any,
        inputs: npt.ArrayLike | None,
        targets: Iterable[Any],
        **options: Unpack[PlanOptions],
    ) -> Iterator[Plan | ProfilePlan]:
        """A plan for each of ``targets``, as they come."""
        return self._iterate(self._calls.frontier(network, hardware, inputs, targets, options))

    def submit(
        self,
        network: NetworkLike | Profile,
        hardware: Any,
        inputs: npt.ArrayLike | None,
        target: Any,
        **options: Unpack[SubmitOptions],
    ) -> Job:
        """Have a plan made in the background."""
        return self._run(self._calls.submit(network, hardware, inputs, target, options))

    def get_job(self, job_id: str, **options: Unpack[CallOptions]) -> Job:
        """A job, with its plan or error once it has ended."""
        return self._run(self._calls.get_job(job_id, options))

    def cancel_job(self, job_id: str, **options: Unpack[CallOptions]) -> Job:
        """Cancel a job."""
        return self._run(self._calls.cancel_job(job_id, options))

    def delete_job(self, job_id: str, **options: Unpack[CallOptions]) -> None:
        """Forget a job and its plan; one that has not ended is cancelled first."""
        self._run(self._calls.delete_job(job_id, options))

    def list_jobs(
        self, states: Sequence[Any] = (), *, page_size: int = 100, **options: Unpack[CallOptions]
    ) -> Iterator[Job]:
        """All jobs, newest first, without their plans; only those in one of ``states`` if given."""
        return self._iterate(self._calls.list_jobs(states, page_size, options))

    def watch_job(self, job_id: str, *, after: int = 0, **options: Unpack[CallOptions]) -> Iterator[JobEvent]:
        """The events of a job until it ends, across broken connections; ``after`` = the last sequence number seen."""
        return self._iterate(self._calls.watch_job(job_id, after, options))

    def wait_job(self, job_id: str, **options: Unpack[CallOptions]) -> Plan | ProfilePlan:
        """The plan of a job, once it has ended; raises its error if it failed."""
        return cast("Plan | ProfilePlan", self._run(self._calls.wait_job(job_id, options)))

    def server_info(self, **options: Unpack[CallOptions]) -> ServerInfo:
        """What the server is and can do."""
        return self._run(self._calls.server_info(options))

    def statistics(self, **options: Unpack[CallOptions]) -> Statistics:
        """What became of the calls and jobs of this tenant since the server started, and where their time went."""
        return self._run(self._calls.statistics(options))
