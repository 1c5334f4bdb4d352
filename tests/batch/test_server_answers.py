"""What a planning server answers to the job of a study: wait for it, go elsewhere, or a failure of that job."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import powerplan as pp
import powerplan_client as pc
from powerplan.batch.executors.base import Busy, Gone
from powerplan.batch.executors.servers import ServerExecutor, ServerWorker
from powerplan.batch.jobs import Job

JOB = Job(network="", inputs="", labels=None, hardware={}, target={"max_nmse": 0.1}, options={})


class Refusing:
    """A client whose calls end with an error."""

    def __init__(self, error: pc.PlannerError) -> None:
        self._error = error

    def plan(self, *_: Any, **__: Any) -> None:
        raise self._error


def worker(error: pc.PlannerError) -> ServerWorker:
    network = pp.Network.mlp([np.eye(2)])
    return ServerWorker("planner:50051", Refusing(error), lambda _: network, lambda _: np.ones((3, 2)))


def exhausted(reason: str, retry_after: float | None = None) -> pc.ResourceExhausted:
    return pc.ResourceExhausted("no", code="RESOURCE_EXHAUSTED", reason=reason, retry_after=retry_after)


def test_a_full_server_is_given_the_time_it_asks_for() -> None:
    with pytest.raises(Busy) as caught:
        next(worker(exhausted("QUEUE_FULL", 7.0)).run([JOB], None))
    assert caught.value.seconds == 7.0


@pytest.mark.parametrize(
    ("reason", "code"), [("OUT_OF_MEMORY", "memory"), ("QUOTA_EXCEEDED", "unavailable"), ("", "unavailable")]
)
def test_a_job_that_needs_more_than_the_server_has_fails_once(reason: str, code: str) -> None:
    outcome = next(worker(exhausted(reason)).run([JOB], None))
    assert (outcome.code, outcome.message) == (code, "planner:50051: no")


def test_the_jobs_of_a_server_that_is_away_go_to_the_others() -> None:
    with pytest.raises(Gone):
        next(worker(pc.Unavailable("no", code="UNAVAILABLE")).run([JOB], None))


@pytest.mark.parametrize("address", ["http://planner:50051", "planner", "user:secret@planner:50051", ""])
def test_addresses_are_read_as_everywhere(tmp_path: Any, address: str) -> None:
    with pytest.raises(pp.InvalidInput, match="HOST:PORT") as caught:
        ServerExecutor(tmp_path, [address])
    assert "secret" not in str(caught.value)
