"""What the server says it can do is what the engine does."""

from __future__ import annotations

from powerplan.planning import GRANULARITIES
from powerplan_client._generated import v1 as pb
from powerplan_server.calls import describe_engine


def test_only_granularities_that_the_engine_plans_are_listed() -> None:
    listed = [pb.Granularity.Name(g) for g in describe_engine().granularities]
    assert listed == [f"GRANULARITY_{name.upper()}" for name in GRANULARITIES]
