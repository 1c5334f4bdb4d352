"""What a job is: where it stands, what happened to it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class JobState(IntEnum):
    """Where a job stands; the numbers are those of the contract's ``PlanJobState``."""

    QUEUED = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4
    CANCELLED = 5

    @property
    def ended(self) -> bool:
        """Nothing will change any more."""
        return self >= JobState.SUCCEEDED


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job, without its request and outcome.

    Attributes:
        claim: the event by which a server took it to run it: what that server writes counts as long as the claim is the
            same; None if nobody runs it.
    """

    number: int
    id: str
    tenant: str
    request_id: str | None
    digest: str
    state: JobState
    attempts: int
    sequence: int
    run_limit: float
    created: float
    started: float | None
    ended: float | None
    expires: float | None
    blobs: tuple[str, ...]
    progress: bytes
    claim: int | None


@dataclass(frozen=True, kw_only=True)
class Event:
    """One change of a job: its number in the job, when, and the state and serialized progress after it."""

    sequence: int
    time: float
    state: JobState
    progress: bytes


@dataclass(frozen=True, kw_only=True)
class JobLimits:
    """How much is stored and run.

    Attributes:
        unfinished: most jobs of all tenants that have not ended.
        unfinished_of_tenant: most of one tenant.
        running_of_tenant: most that run at once for one tenant.
        outcomes_of_tenant: bytes of ended jobs kept for one tenant, 1 KiB and its outcome each; the oldest leave first.
        retention: seconds that an ended job is kept.
    """

    unfinished: int
    unfinished_of_tenant: int
    running_of_tenant: int
    outcomes_of_tenant: int
    retention: float


class QueueFull(Exception):
    """No more jobs are accepted now.

    Attributes:
        limit: how many are unfinished.
        of_tenant: they are all of one tenant.
    """

    def __init__(self, limit: int, *, of_tenant: bool) -> None:
        super().__init__(limit, of_tenant)
        self.limit = limit
        self.of_tenant = of_tenant
