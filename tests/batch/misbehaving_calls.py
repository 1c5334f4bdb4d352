"""The server's calls, except that two seeds misbehave."""

from __future__ import annotations

from misbehaving import misbehave

from powerplan_client._generated import v1
from powerplan_server.engine import CALLS as REAL
from powerplan_server.workers.protocol import Call


def _plan(request: bytes, call: Call) -> bytes:
    misbehave(v1.PlanRequest.FromString(request).task.settings.seed)
    return REAL["Plan"](request, call)


CALLS = {**REAL, "Plan": _plan}
