"""What the service answers beside the engine's values (:mod:`powerplan_client.shared`): frozen, with numpy arrays."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping

import numpy as np

from powerplan_client.call_info import CallInfo
from powerplan_client.compat import dataclass
from powerplan_client.errors import PlannerError
from powerplan_client.shared import Certificate, Plan, ShadowPrices, Target, Termination


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A Monte Carlo estimate: mean, standard error and 95 % confidence interval."""

    mean: float
    standard_error: float
    confidence_interval: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class RunningEstimate:
    """Where a simulation stands; power in W."""

    draws: int
    draws_total: int
    mse: Estimate
    nmse: Estimate
    power: Estimate


@dataclass(frozen=True, kw_only=True, eq=False)
class ProfilePlan:
    """The answer to a planning profile.

    Attributes:
        names: (n,) of the gains; gains: (n,) in the unit of the profile.
        power [W], mse: at these gains; power_by_gain, mse_by_gain: (n,) without the constants.
        target, solver: what was asked and used.
        termination, certificate, shadow_prices: as in Plan.
        info: of the call.
    """

    names: tuple[str, ...]
    gains: np.ndarray
    power: float
    mse: float
    power_by_gain: np.ndarray
    mse_by_gain: np.ndarray
    target: Target
    solver: str
    termination: Termination
    certificate: Certificate | None
    shadow_prices: ShadowPrices | None
    info: CallInfo | None = None


class JobState(enum.Enum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether the job has come to its end."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """A plan made in the background.

    Attributes:
        job_id: its name; request_id: what it was submitted with.
        state: where it stands; sequence: number of its latest event.
        stage, fraction: what is being done and how much of it is done.
        iteration, objective, bound: of the optimisation so far, as the engine's on_step tells them: steps made, power
            [W] or with a power budget MSE, and a lower bound on it; None where there is none yet.
        created, started, ended, expires: times (UTC), None if not yet.
        plan: the result of a job that succeeded; None in lists.
        error: of a job that failed or was cancelled; None in lists.
    """

    job_id: str
    request_id: str
    state: JobState
    sequence: int
    stage: str
    fraction: float
    iteration: int | None = None
    objective: float | None = None
    bound: float | None = None
    created: dt.datetime | None = None
    started: dt.datetime | None = None
    ended: dt.datetime | None = None
    expires: dt.datetime | None = None
    plan: Plan | ProfilePlan | None = None
    error: PlannerError | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class JobEvent:
    """Something that happened to a job, with its progress as in Job; ``job`` holds its outcome with the last event."""

    sequence: int
    state: JobState
    stage: str
    fraction: float
    iteration: int | None = None
    objective: float | None = None
    bound: float | None = None
    time: dt.datetime | None = None
    job: Job | None = None


@dataclass(frozen=True)
class CountAndSeconds:
    """How often something happened, and how long it took in all [s]."""

    count: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class MethodStatistics:
    """What became of the calls of one method.

    Attributes:
        success, failure: calls by how they ended, from receipt to answer; jobs from submission to end.
        queue: waiting for a worker.
        decode, solve, verify: of the worker.
        cache_hit, cache_miss: looking for an answer that had been computed before.
    """

    success: CountAndSeconds
    failure: CountAndSeconds
    queue: CountAndSeconds
    decode: CountAndSeconds
    solve: CountAndSeconds
    verify: CountAndSeconds
    cache_hit: CountAndSeconds
    cache_miss: CountAndSeconds


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """What became of a tenant's calls since the server started (``since``), by method; "PlanJob" = its jobs."""

    since: dt.datetime
    methods: Mapping[str, MethodStatistics]


@dataclass(frozen=True, kw_only=True)
class ServerInfo:
    """What a server is and can do.

    Attributes:
        server_version, engine_version: versions.
        api_versions: versions of the contract.
        limits: by name, see ServerLimits in the contract; 0 = none.
        solvers, features: names.
        operations: kinds by type of operation, () where there is no choice.
        methods, granularities: names.
    """

    server_version: str
    engine_version: str
    api_versions: tuple[str, ...]
    limits: Mapping[str, float]
    solvers: tuple[str, ...]
    features: tuple[str, ...]
    operations: Mapping[str, tuple[str, ...]]
    methods: tuple[str, ...]
    granularities: tuple[str, ...]
