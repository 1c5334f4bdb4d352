"""Repeated requests are answered from memory; request ids make calls idempotent."""

from __future__ import annotations

import grpc
import pytest
from planner_fakes import plan_request
from planner_running import Running, failure

from powerplan_client._generated import v1
from powerplan_server.cache import AnswerCache, RequestIds, RequestKey
from powerplan_server.errors import ServiceError


def test_same_request_is_answered_from_the_cache(server: Running) -> None:
    first = server.stub.Plan(plan_request(salt=21.0), timeout=10)
    again = server.stub.Plan(plan_request(salt=21.0, label="another-id"), timeout=10)
    other = server.stub.Plan(plan_request(salt=22.0), timeout=10)
    assert (first.info.cache_hit, again.info.cache_hit, other.info.cache_hit) == (False, True, False)
    assert again.profile_plan == first.profile_plan
    assert other.profile_plan != first.profile_plan
    assert again.info.request_id == "another-id"
    assert server.metric("powerplan_cache_total", result="hit") >= 1


def test_stream_is_answered_from_the_cache_without_running_estimates(server: Running) -> None:
    first = list(server.stub.Simulate(v1.SimulateRequest(seed=5), timeout=10))
    again = list(server.stub.Simulate(v1.SimulateRequest(seed=5), timeout=10))
    assert [m.WhichOneof("event") for m in first] == ["estimate"] * 3 + ["simulation"]
    assert [m.WhichOneof("event") for m in again] == ["simulation"]
    assert again[0].simulation == first[-1].simulation
    assert again[0].info.cache_hit


def test_plan_that_ran_out_of_time_is_not_kept(server: Running) -> None:
    answers = [server.stub.Plan(plan_request("deadline"), timeout=10) for _ in range(2)]
    assert not answers[1].info.cache_hit


def test_one_request_id_means_one_calculation(server: Running) -> None:
    """Two calls at the same time under one id get the same answer."""
    calls = [server.stub.Plan.future(plan_request("sleep 0.3", label="once", salt=31.0)) for _ in range(2)]
    first, second = (call.result(10) for call in calls)
    assert first.profile_plan == second.profile_plan
    assert sorted([first.info.cache_hit, second.info.cache_hit]) == [False, True]


def test_request_id_for_another_request_is_refused(server: Running) -> None:
    server.stub.Plan(plan_request(label="taken", salt=41.0), timeout=10)
    failed = failure(lambda: server.stub.Plan(plan_request(label="taken", salt=42.0), timeout=10))
    assert (failed.code, failed.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_CONFLICT")
    assert "taken" in failed.message


def test_cache_keeps_to_its_size_and_forgets_the_least_recently_used() -> None:
    cache = AnswerCache(capacity=100)
    keys = [RequestKey(tenant="a", digest=str(i)) for i in range(4)]
    for key in keys[:3]:
        cache.put(key, (b"x" * 20, b"y" * 10))
    assert cache.get(keys[0]) is not None
    cache.put(keys[3], (b"z" * 40,))
    assert [cache.get(key) is not None for key in keys] == [True, False, True, True]
    assert cache.used == 100
    cache.put(RequestKey(tenant="a", digest="big"), (b"x" * 101,))
    assert cache.used == 100


def test_key_separates_tenants_methods_versions_and_contents() -> None:
    keys = {
        RequestKey.of(tenant, method, version, content)
        for tenant in ("a", "b")
        for method in ("Plan", "Predict")
        for version in ("1", "2")
        for content in (b"", b"x")
    }
    assert len(keys) == 16


def test_request_id_stands_for_its_request_once_answered() -> None:
    """A failed call does not burn it; while one goes on, another request under it is refused."""
    ids = RequestIds()
    one, other = (RequestKey(tenant="a", digest=digest) for digest in "12")
    with pytest.raises(ZeroDivisionError), ids.standing_for(one, "id"):
        raise ZeroDivisionError
    with ids.standing_for(other, "id"), pytest.raises(ServiceError, match="used before"):
        ids.standing_for(one, "id").__enter__()
    with pytest.raises(ServiceError, match="used before"):
        ids.standing_for(one, "id").__enter__()
    with ids.standing_for(other, "id"), ids.standing_for(RequestKey(tenant="b", digest="1"), "id"):
        pass
