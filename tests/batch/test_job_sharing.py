"""Jobs that differ only in their target share a session, and a worker is given such jobs together."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from study_values import make_jobs

import powerplan as pp
from powerplan.batch import work
from powerplan.batch.job_result import JobResult
from powerplan.batch.jobs import Job
from powerplan.batch.queue import JobQueue
from powerplan.batch.work import Planner


def real_jobs(*targets: dict[str, float], granularity: str = "layer") -> list[Job]:
    options = {"granularity": granularity, "optimize": "conductance", "verify_draws": 0, "seed": 0}
    return [
        Job(network="n", inputs="x", labels=None, hardware=pp.Hardware().to_dict(), target=target, options=options)
        for target in targets
    ]


@pytest.fixture
def planner(small: Path) -> Planner:
    content = {"n": (small / "small.npz").read_bytes(), "x": (small / "x.npy").read_bytes()}
    return Planner(content.__getitem__)


def results(planner: Planner, jobs: list[Job]) -> list[JobResult]:
    found: list[JobResult] = []
    planner.run(jobs, found.append)
    return found


def test_neighbours_of_one_group_are_one_frontier_and_plans_do_not_depend_on_it(
    planner: Planner, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    frontier = pp.frontier

    def counted(*arguments: Any, **options: Any) -> Any:
        calls.append(len(options["targets"]))
        return frontier(*arguments, **options)

    monkeypatch.setattr(work, "frontier", counted)
    targets = [{"max_nmse": 0.05}, {"max_mse": 0.02}, {"max_power": 1e-5}]
    jobs = [*real_jobs(*targets), *real_jobs(*targets, granularity="network")]
    together = results(planner, jobs)
    assert calls == [3, 3]
    for job, result in zip(jobs, together, strict=True):
        (alone,) = results(planner, [job])
        assert alone.plan is not None
        assert result.plan is not None
        for name in ("prediction", "gains", "certificate", "shadow_prices", "baseline_power"):
            assert alone.plan[name] == result.plan[name]


def test_a_failure_costs_only_its_own_job(planner: Planner) -> None:
    """The accuracy needs labels, which are missing: first, in the middle or last, the others are planned."""
    good, bad = {"max_nmse": 0.05}, {"max_accuracy_drop": 0.1}
    for targets in ([bad, good], [good, bad, {"max_nmse": 0.1}], [good, bad]):
        found = results(planner, real_jobs(*targets))
        assert [result.code for result in found] == ["invalid" if target is bad else "" for target in targets]
        assert all("labels" in result.message for result in found if result.code)


def test_damaged_contents_are_failures_with_a_reason(small: Path) -> None:
    planner = Planner({"n": b"junk", "x": (small / "x.npy").read_bytes()}.__getitem__)
    (found,) = results(planner, real_jobs({"max_nmse": 0.05}))
    assert found.code == "unreadable"
    assert "network" in found.message


def test_the_key_is_the_content() -> None:
    """Equal jobs have equal keys; any difference changes it, a target alone leaves the group."""
    one, two = make_jobs(2)
    assert dataclasses.replace(one).key == one.key == Job.from_json(one.to_json()).key
    assert one.key != two.key
    assert dataclasses.replace(one, target=two.target).group == one.group
    for change in ({"network": "m"}, {"inputs": "m"}, {"hardware": {"a": 1}}, {"options": {}}, {"labels": "m"}):
        changed = dataclasses.replace(one, **change)  # type: ignore[arg-type]
        assert changed.key != one.key
        assert changed.group != one.group


def test_workers_get_different_groups_and_stay_with_theirs() -> None:
    queue = JobQueue(2)
    jobs = make_jobs(60)  # three groups of twenty
    queue.put(jobs)
    for _ in range(50):
        queue.measured(0.01)
    first, second = queue.take(0), queue.take(1)
    assert len({job.group for job in first}) == len({job.group for job in second}) == 1
    assert first[0].group != second[0].group
    assert queue.take(0)[0].group == first[0].group


def test_no_job_is_lost_or_taken_twice_and_runs_get_short_at_the_end() -> None:
    queue = JobQueue(3)
    jobs = make_jobs(500)
    queue.put(jobs)
    for _ in range(100):
        queue.measured(0.001)
    taken: list[Job] = []
    sizes = []
    while len(queue):
        part = queue.take(len(sizes) % 3)
        taken += part
        sizes.append(len(part))
    assert sorted(job.key for job in taken) == sorted(job.key for job in jobs)
    assert max(sizes) == 32
    assert sizes[-1] == 1


def test_slow_jobs_are_taken_one_by_one() -> None:
    queue = JobQueue(1)
    queue.put(make_jobs(30))
    assert len(queue.take(0)) == 1
    queue.measured(5.0)
    assert len(queue.take(0)) == 1


def test_a_time_limit_ends_a_plan_with_its_best_gains(planner: Planner) -> None:
    (job,) = real_jobs({"max_nmse": 0.05})
    limited = job.within(1e-6)
    (result,) = results(planner, [limited])
    assert result.plan is not None
    assert result.plan["termination"]["outcome"] == "deadline"
    assert result.plan["prediction"]["power"] > 0
    assert limited.within(1.0).options["deadline"] == 1e-6, "the sooner one holds"
