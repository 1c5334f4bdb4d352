"""What a worker does, wherever it runs: plans jobs, and keeps what they share."""

from __future__ import annotations

import io
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from powerplan.batch.blobs import read_array
from powerplan.batch.job_result import JobResult
from powerplan.batch.jobs import ACCEPT, Job
from powerplan.batch.naming import STEPS
from powerplan.batch.targets import make_target
from powerplan.errors import (
    CorruptFile,
    InvalidInput,
    PlausibilityWarning,
    PowerplanError,
    PowerplanWarning,
    SolverFailed,
)
from powerplan.hardware import Hardware
from powerplan.hardware.steps_text import parse_layers
from powerplan.network import Network
from powerplan.planning import frontier
from powerplan.planning.plan_file import plan_to_dict
from powerplan.plausibility import refusing

#: what to do about a doubt of a study
IF_MEANT = f"If this is meant, set {ACCEPT} = true."
#: bytes of networks and inputs that a worker keeps between jobs
_KEEP_BYTES = 256 * 2**20
_T = TypeVar("_T")


def failure_of(error: BaseException) -> tuple[str, str]:
    """Code and message of a failure, the same for the same job on every machine."""
    text = " ".join(str(error).split())
    if isinstance(error, CorruptFile):
        return "unreadable", text
    if isinstance(error, InvalidInput):
        return "invalid", text
    if isinstance(error, SolverFailed):
        return "solver", f"{text} Try another method or target, or powerplan batch retry."
    if isinstance(error, MemoryError):
        return "memory", "Out of memory: use fewer inputs (batch) or fewer workers."
    if isinstance(error, PlausibilityWarning):
        return "implausible", f"{text} {IF_MEANT}"
    if isinstance(error, PowerplanError):
        return "unavailable", text
    return "internal", f"{type(error).__name__}: {text}"


class Planner:
    """Plans jobs one after another; networks and inputs are read once and kept while there is room.

    Args:
        fetch: gives the content of a SHA-256.
    """

    def __init__(self, fetch: Callable[[str], bytes]) -> None:
        self._fetch = fetch
        self._cache: OrderedDict[str, tuple[int, Any]] = OrderedDict()

    def run(self, jobs: Sequence[Job], emit: Callable[[JobResult], None]) -> None:
        """Plan jobs in order; ``emit`` is called once per job as it ends.

        Neighbours that differ only in their target are planned on one session, which predicts once for all.
        """
        begin = 0
        while begin < len(jobs):
            end = begin + 1
            while end < len(jobs) and jobs[end].group == jobs[begin].group:
                end += 1
            begin += self._plan(jobs[begin:end], emit)

    def _plan(self, jobs: Sequence[Job], emit: Callable[[JobResult], None]) -> int:
        """Plan jobs of one group up to the first failure; returns how many ended."""
        ended = 0
        clock = time.perf_counter()

        def tell(result: Callable[[float], JobResult]) -> None:
            nonlocal ended, clock
            before, clock = clock, time.perf_counter()
            emit(result(clock - before))
            ended += 1

        try:
            labels = None if jobs[0].labels is None else self._array(jobs[0].labels)
            targets = [make_target(job.target, labels) for job in jobs]
            network = self._network(jobs[0].network)
            with warnings.catch_warnings(), refusing(not jobs[0].options.get(ACCEPT)):
                warnings.simplefilter("ignore", PowerplanWarning)
                frontier(
                    network,
                    Hardware.from_dict(jobs[0].hardware),
                    fitting(self._array(jobs[0].inputs), network.input_shape),
                    targets=targets,
                    on_point=lambda _, plan: tell(lambda seconds: JobResult(plan=plan_to_dict(plan), seconds=seconds)),
                    **plan_options(jobs[0], network),
                )
        except Exception as error:
            if not ended and len(jobs) > 1:  # whose fault it is shows when the first is planned alone
                return self._plan(jobs[:1], emit)
            code, message = failure_of(error)
            tell(lambda seconds: JobResult(code=code, message=message, seconds=seconds))
        return ended

    def _network(self, digest: str) -> Network:
        def read() -> tuple[int, Network]:
            content = self._fetch(digest)
            return len(content), Network.load(io.BytesIO(content))

        return self._keep(digest, read)

    def _array(self, digest: str) -> np.ndarray:
        def read() -> tuple[int, np.ndarray]:
            array = read_array(self._fetch(digest))
            return array.nbytes, array

        return self._keep(digest, read)

    def _keep(self, digest: str, read: Callable[[], tuple[int, _T]]) -> _T:
        """The value of a digest, from memory or read now; the ones not used for longest are dropped."""
        if digest in self._cache:
            self._cache.move_to_end(digest)
        else:
            self._cache[digest] = read()
            while len(self._cache) > 1 and sum(size for size, _ in self._cache.values()) > _KEEP_BYTES:
                self._cache.popitem(last=False)
        value: _T = self._cache[digest][1]
        return value


def plan_options(job: Job, network: Network) -> dict[str, Any]:
    """Keyword arguments of :func:`powerplan.plan` for a job.

    Raises:
        InvalidInput: hardware or steps that are none.
    """
    options = {name: value for name, value in job.options.items() if name != ACCEPT}
    if "optimize" in options:
        options["optimize"] = tuple(options["optimize"].split("+"))
    if "corners" in options:
        options["corners"] = [Hardware.from_dict(fields) for fields in options["corners"]]
    for name in ("conductance", "voltage"):
        if isinstance(options.get(name), int | float):
            options[name] = (options[name],) * len(network.crossbars)
    for name, unit in STEPS.items():
        if name in options:
            options[name] = parse_layers(options[name], unit)
    return options


def fitting(inputs: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Rows of a table as inputs of a network of images; all else unchanged."""
    if inputs.ndim == 2 and len(shape) > 1 and inputs.shape[1] == int(np.prod(shape)):
        return inputs.reshape(-1, *shape)
    return inputs
