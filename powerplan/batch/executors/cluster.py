"""A Ray cluster: one actor per worker, killed when it takes too long and made again."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from powerplan.batch.blobs import Blobs
from powerplan.batch.executors.base import Stopped, crashed, too_long
from powerplan.batch.job_result import JobResult
from powerplan.batch.jobs import Job
from powerplan.batch.work import Planner
from powerplan.errors import MissingExtra, PowerplanError

#: seconds in which a new actor must answer
_START_TIMEOUT = 300.0
_LOOK = 0.5


class RayPlanner:
    """What an actor does; a class of its own so that the cluster's machines find it by name.

    They need the same powerplan installed.
    """

    def __init__(self) -> None:
        import torch

        torch.set_num_threads(1)
        self._contents: dict[str, Any] = {}
        self._planner = Planner(self._fetch)

    def ready(self) -> bool:
        """An answer, once everything is imported."""
        return True

    def plan(self, contents: Mapping[str, Sequence[Any]], jobs: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Outcomes as (head, plan) in JSON, as they come.

        Args:
            contents: references of networks and inputs by SHA-256, each in a list so that it is not resolved.
        """
        self._contents.update({digest: reference for digest, (reference,) in contents.items()})
        results: queue.SimpleQueue[JobResult] = queue.SimpleQueue()
        parsed = [Job.from_json(text) for text in jobs]
        thread = threading.Thread(target=self._planner.run, args=(parsed, results.put), daemon=True)
        thread.start()
        for _ in parsed:
            result = results.get()
            head = {"seconds": result.seconds, "code": result.code, "message": result.message}
            yield json.dumps(head), "" if result.plan is None else json.dumps(result.plan, allow_nan=False)

    def _fetch(self, digest: str) -> bytes:
        import ray

        content: bytes = ray.get(self._contents[digest])
        return content


class RayExecutor:
    """Actors of a Ray cluster.

    Args:
        folder: where networks and inputs are stored by content.
        address: of the cluster; None = the one this process is connected to, else one on this machine.
        workers: actors; None = one per processor of the cluster.
        planner: what an actor does.

    Raises:
        MissingExtra: Ray is not installed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        address: str | None = None,
        workers: int | None = None,
        planner: type[RayPlanner] = RayPlanner,
    ) -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingExtra("ray", "ray", "Planning on a Ray cluster") from error
        self._ray: Any = ray
        self._folder = folder
        self._address = address
        self._count = workers
        self._planner = planner
        self._own = False

    def start(self) -> Sequence[RayWorker]:
        """The actors; each is made with its first job."""
        ray = self._ray
        if not ray.is_initialized():
            local = {"num_cpus": self._count, "include_dashboard": False} if self._address is None else {}
            try:
                ray.init(address=self._address, log_to_driver=False, logging_level="ERROR", **local)
            except Exception as error:
                raise PowerplanError(f"The Ray cluster cannot be reached: {error}") from error
            self._own = True
        count = self._count or max(1, int(ray.cluster_resources().get("CPU", 1)))
        actor = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(self._planner)
        store = _Store(ray, Blobs(self._folder))
        return [RayWorker(ray, actor, store) for _ in range(count)]

    def close(self) -> None:
        """Leave the cluster, if this executor joined it."""
        if self._own:
            self._ray.shutdown()
            self._own = False


class _Store:
    """References of networks and inputs in the cluster, each put there once."""

    def __init__(self, ray: Any, blobs: Blobs) -> None:
        self._ray = ray
        self._blobs = blobs
        self._lock = threading.Lock()
        self._references: dict[str, Any] = {}

    def reference(self, digest: str) -> Any:
        with self._lock:
            if digest not in self._references:
                self._references[digest] = self._ray.put(self._blobs.get(digest))
            return self._references[digest]


class RayWorker:
    """One actor, made when it is first needed and again after it was killed."""

    def __init__(self, ray: Any, actor: Any, store: _Store) -> None:
        self._ray = ray
        self._class = actor
        self._store = store
        self._actor: Any = None
        self._stopped = threading.Event()

    def run(self, jobs: Sequence[Job], time_limit: float | None) -> Iterator[JobResult]:
        """As :meth:`powerplan.batch.executors.base.Worker.run`."""
        if self._actor is None:
            self._start()
        digests = {digest for job in jobs for digest in (job.network, job.inputs, job.labels) if digest is not None}
        contents = {digest: [self._store.reference(digest)] for digest in digests}
        answers = self._actor.plan.options(num_returns="streaming").remote(contents, [job.to_json() for job in jobs])
        for _ in jobs:
            try:
                head, plan = self._ray.get(self._next(answers, time_limit))
            except TimeoutError:
                self._kill()
                yield too_long(time_limit or 0.0)
                return
            except (self._ray.exceptions.RayActorError, StopIteration):
                self._kill()
                if self._stopped.is_set():
                    raise Stopped from None
                yield crashed("the actor of the cluster is gone")
                return
            yield JobResult(plan=json.loads(plan) if plan else None, **json.loads(head))

    def stop(self) -> None:
        """Kill the actor."""
        self._stopped.set()

    def _next(self, answers: Any, seconds: float | None) -> Any:
        """The reference of the next answer, waited for in short steps so that a stop is seen."""
        waited = 0.0
        while not self._ray.wait([answers], timeout=_LOOK)[0]:
            waited += _LOOK
            if self._stopped.is_set():
                self._kill()
                raise Stopped
            if seconds is not None and waited >= seconds:
                raise TimeoutError
        return next(answers)

    def _start(self) -> None:
        if self._stopped.is_set():
            raise Stopped
        self._actor = self._class.remote()
        try:
            self._ray.get(self._actor.ready.remote(), timeout=_START_TIMEOUT)
        except Exception as error:
            self._kill()
            reason = " ".join(str(error).split())[:300]
            raise PowerplanError(
                f"A Ray actor does not start: {reason} Is this powerplan installed on the cluster?"
            ) from error

    def _kill(self) -> None:
        if self._actor is not None:
            self._ray.kill(self._actor, no_restart=True)
            self._actor = None
