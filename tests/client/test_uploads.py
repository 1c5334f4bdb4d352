"""Large arrays are uploaded once, resumed where they broke, and uploaded again if the server lost them."""

from __future__ import annotations

import numpy as np
import pytest
from planner_server import FakePlanner

import powerplan_client as pc
from powerplan_client.packing import packed


@pytest.fixture
def large() -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.normal(size=(600, 300)), rng.normal(size=(2, 600))]


@pytest.fixture
def batch() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(2, 300))


def test_each_array_travels_once(
    planner: FakePlanner, address: str, large: list[np.ndarray], batch: np.ndarray
) -> None:
    told: list[tuple[int, int]] = []
    with pc.PlannerClient(address) as client:
        first = client.predict(large, None, None, batch, on_upload=lambda done, total: told.append((done, total)))
        again = client.predict(large, None, None, batch)
    assert first.mse == again.mse
    assert told == [(large[0].nbytes, large[0].nbytes)]
    assert planner.uploads == 1
    with pc.PlannerClient(address) as another:
        another.predict(large, None, None, batch)
    assert planner.uploads == 1
    assert planner.count("GetBlobStatus") == 2
    with pc.PlannerClient.local() as local:
        assert local.predict(large, None, None, batch).mse == first.mse


def test_an_upload_continues_where_it_broke(
    planner: FakePlanner, address: str, large: list[np.ndarray], batch: np.ndarray
) -> None:
    planner.break_upload_at = 1_000_000
    with pc.PlannerClient(address) as client:
        client.predict(large, None, None, batch)
    assert planner.uploads == 2  # the server asserts that the second begins at the committed length


def test_content_the_server_lost_is_uploaded_again(
    planner: FakePlanner, address: str, large: list[np.ndarray], batch: np.ndarray
) -> None:
    with pc.PlannerClient(address) as client:
        client.predict(large, None, None, batch)
        planner.stored.clear()
        client.predict(large, None, None, batch)
        planner.stored.clear()
        list(client.frontier(large, None, batch, [pc.MaxNMSE(0.1)], max_iterations=1))
    assert planner.uploads == 3


def test_a_message_that_would_be_too_large_sends_smaller_content_by_reference_too() -> None:
    arrays = [np.full(2000, float(i)) for i in range(40)]

    def build(packer):  # type: ignore[no-untyped-def]
        from powerplan_client._generated import v1 as pb

        return pb.NetworkNode(tensors={str(i): packer.array(array) for i, array in enumerate(arrays)})

    message, contents = packed(build, inline_bytes=100_000, message_bytes=1_000_000)
    assert contents == {}
    message, contents = packed(build, inline_bytes=100_000, message_bytes=100_000)
    assert len(contents) == 40
    assert message.ByteSize() < 100_000
