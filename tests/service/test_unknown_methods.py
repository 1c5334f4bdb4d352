"""Methods that this server does not have: another major version, another service, another name."""

from __future__ import annotations

import grpc
import pytest
from service_process import Service
from service_requests import plan_request, send


@pytest.mark.parametrize(
    "path",
    [
        "/powerplan.v2.PlannerService/Plan",
        "/powerplan.v1.PlannerService/Unplan",
        "/powerplan.v1.PlannerService/plan",
        "/powerplan.v1.PlannerService/",
        "/another.v1.Service/Plan",
        "/" + "x" * 3000,
    ],
    ids=lambda path: path[:40],
)
def test_unknown_method_is_unimplemented(service: Service, path: str) -> None:
    ending = send(service.channel, path, plan_request().SerializeToString(), timeout=5)
    assert (ending.code, ending.reason) == (grpc.StatusCode.UNIMPLEMENTED, "FEATURE_UNAVAILABLE")
    assert "powerplan.v1.PlannerService" in ending.message
    assert service.healthy()
