"""The engine's calls as worker functions: bytes in, bytes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from powerplan_client._generated import v1
from powerplan_server.calls import (
    CallContext,
    describe_engine,
    run_frontier,
    run_plan,
    run_predict,
    run_simulate,
)
from powerplan_server.wire.blobs import FileBlobs
from powerplan_server.wire.limits import WireLimits
from powerplan_server.workers.protocol import Call, WorkerFunction

_PROGRESS_SECONDS = 0.2  # shortest time between two progress messages
_FEATURES = ("blobs", "jobs")


def _context(call: Call, progress: Callable[[v1.Progress], None] = lambda progress: None) -> CallContext:
    return CallContext(
        blobs=FileBlobs(call.blobs), limits=WireLimits(**call.settings), progress=progress, seconds=call.seconds
    )


def _plan(request: bytes, call: Call) -> bytes:
    last = time.monotonic()
    stage = "decoding"
    call.begin(stage)

    def progress(message: v1.Progress) -> None:
        nonlocal last, stage
        if message.stage != stage:
            stage = message.stage
            call.begin(stage)
        if time.monotonic() - last >= _PROGRESS_SECONDS:
            last = time.monotonic()
            call.emit(message.SerializeToString())

    return run_plan(v1.PlanRequest.FromString(request), _context(call, progress)).SerializeToString()


def _predict(request: bytes, call: Call) -> bytes:
    return run_predict(v1.PredictRequest.FromString(request), _context(call)).SerializeToString()


def _simulate(request: bytes, call: Call) -> bytes:
    run_simulate(v1.SimulateRequest.FromString(request), _context(call), lambda m: call.emit(m.SerializeToString()))
    return b""


def _frontier(request: bytes, call: Call) -> bytes:
    run_frontier(v1.FrontierRequest.FromString(request), _context(call), lambda m: call.emit(m.SerializeToString()))
    return b""


def _describe(request: bytes, call: Call) -> bytes:
    answer = describe_engine(WireLimits(**call.settings))
    answer.features.extend(name for name in _FEATURES if name not in answer.features)
    return answer.SerializeToString()


CALLS: Mapping[str, WorkerFunction] = {
    "Plan": _plan,
    "Predict": _predict,
    "Simulate": _simulate,
    "Frontier": _frontier,
    "GetServerInfo": _describe,
}
"""Worker function by method. What a stream sends goes through ``emit``; its own result is then empty."""
