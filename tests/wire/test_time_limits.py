"""A plan with a time limit ends before the call does that it is made for."""

from __future__ import annotations

import pytest

from powerplan.planning.settings import PlanSettings
from powerplan_server.calls import CallContext, _in_time


@pytest.mark.parametrize(
    ("wanted", "call", "plans", "limit"),
    [(600.0, 300.0, 1, 240.0), (10.0, 300.0, 1, 10.0), (600.0, 300.0, 4, 60.0), (600.0, None, 1, 600.0)],
)
def test_a_time_limit_is_kept_within_the_calls(wanted: float, call: float | None, plans: int, limit: float) -> None:
    values = _in_time(PlanSettings(deadline=wanted, seed=1), CallContext(seconds=call), plans)
    assert values == PlanSettings(deadline=limit, seed=1).values


def test_no_time_limit_is_none_however_long_the_call() -> None:
    assert _in_time(PlanSettings(seed=1), CallContext(seconds=5.0)) == PlanSettings(seed=1).values
