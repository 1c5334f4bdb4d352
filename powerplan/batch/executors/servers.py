"""Planning servers: every call is one job, a full server is given time, and the jobs of a lost one go to the others."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from powerplan.batch.blobs import Blobs, read_array
from powerplan.batch.executors.base import Busy, Gone, Stopped, crashed, too_long
from powerplan.batch.job_result import JobResult
from powerplan.batch.jobs import ACCEPT, Job
from powerplan.batch.targets import make_target
from powerplan.batch.work import failure_of, fitting, plan_options
from powerplan.errors import InvalidInput, PowerplanError
from powerplan.hardware import Hardware
from powerplan.network import Network
from powerplan.planning.plan_file import plan_to_dict
from powerplan.plausibility import refusing, unasked
from powerplan.remote import Remote, connect

if TYPE_CHECKING:
    from powerplan_client.errors import PlannerError

#: calls at a time to a server, unless told otherwise; the server queues what it cannot do at once
CALLS = 2
#: seconds to wait for a full server that does not say how long
_PAUSE = 1.0
#: seconds that a call may take if there is no time limit
_LONGEST = 7 * 86400.0


class ServerExecutor:
    """Planning servers, each with a few calls at a time.

    Args:
        folder: where networks and inputs are stored by content.
        addresses: "host:port" of every server.
        calls: calls at a time to each.
        way: how to reach them: ``server_ca``, ``server_certificate``, ``server_key`` (paths), ``server_plaintext``.
            A token is read from the environment variable POWERPLAN_TOKEN.

    Raises:
        InvalidInput: no address, or one given twice.
        MissingExtra: the client is not installed.
    """

    def __init__(self, folder: Path, addresses: Sequence[str], *, calls: int | None = None, **way: Any) -> None:
        if not addresses or len(set(addresses)) != len(addresses):
            raise InvalidInput.of("server", list(addresses), "different addresses host:port", "Name every server once.")
        self._clients = {address: connect(address, **way) for address in addresses}
        blobs = Blobs(folder)
        network = lru_cache(maxsize=8)(lambda digest: Network.load(io.BytesIO(blobs.get(digest))))
        array = lru_cache(maxsize=16)(lambda digest: read_array(blobs.get(digest)))
        self._workers = [
            ServerWorker(address, client, network, array)
            for _ in range(calls or CALLS)
            for address, client in self._clients.items()
        ]

    def start(self) -> Sequence[ServerWorker]:
        """One worker per call at a time, servers in turn."""
        return self._workers

    def close(self) -> None:
        """End the connections."""
        for client in self._clients.values():
            client.close()


class ServerWorker:
    """One call at a time to one server."""

    def __init__(
        self, address: str, client: Any, network: Callable[[str], Network], array: Callable[[str], Any]
    ) -> None:
        self._address = address
        self._client = client
        self._remote = Remote(client)
        self._network = network
        self._array = array
        self._stopped = False

    def run(self, jobs: Sequence[Job], time_limit: float | None) -> Iterator[JobResult]:
        """As :meth:`powerplan.batch.executors.base.Worker.run`."""
        for job in jobs:
            if self._stopped:
                raise Stopped
            yield self._plan(job, time_limit)

    def stop(self) -> None:
        """Cancel the call."""
        self._stopped = True
        self._client.close()

    def _plan(self, job: Job, time_limit: float | None) -> JobResult:
        from powerplan_client.errors import PlannerError

        begin = time.perf_counter()
        try:
            network = self._network(job.network)
            with unasked() if job.options.get(ACCEPT) else refusing():
                plan = self._remote.plan(
                    network,
                    Hardware.from_dict(job.hardware),
                    fitting(self._array(job.inputs), network.input_shape),
                    make_target(job.target, None if job.labels is None else self._array(job.labels)),
                    timeout=_LONGEST if time_limit is None else time_limit,
                    **plan_options(job, network),
                )
        except Exception as error:
            if self._stopped:
                raise Stopped from None
            if isinstance(error.__cause__, PlannerError):
                return self._failure(error.__cause__, time_limit)
            code, message = failure_of(error)
            return JobResult(code=code, message=message)
        return JobResult(plan=plan_to_dict(plan), seconds=time.perf_counter() - begin)

    def _failure(self, error: PlannerError, time_limit: float | None) -> JobResult:
        """The result that an error of the call is, unless it is about the server and not about the job."""
        from powerplan_client import errors

        if isinstance(error, errors.ResourceExhausted):
            if error.temporary:
                raise Busy(error.retry_after or _PAUSE)
            code = "memory" if error.reason == "OUT_OF_MEMORY" else "unavailable"
            return JobResult(code=code, message=f"{self._address}: {error.message}")
        if isinstance(error, errors.Unavailable | errors.Cancelled):
            raise Gone(f"{self._address}: {error.message}")
        if isinstance(error, errors.Unauthenticated | errors.PermissionDenied):
            raise PowerplanError(f"{self._address} refuses the calls: {error}")
        if isinstance(error, errors.DeadlineExceeded):
            return JobResult(code="time_limit", message=error.message) if time_limit is None else too_long(time_limit)
        if error.reason == "WORKER_CRASHED":
            return crashed("the worker of the server is gone")
        if isinstance(error, errors.InvalidRequest | errors.FeatureUnavailable):
            text = "; ".join(str(v) for v in error.violations) or error.message
            return JobResult(code="invalid", message=" ".join(text.split()))
        return JobResult(code="internal", message=f"{error.reason}: {error.message}")
