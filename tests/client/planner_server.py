"""A small planning server for tests of the client: the engine's calls, blobs in memory, faults to order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from powerplan.errors import InvalidInput
from powerplan_client._generated import v1 as pb
from powerplan_client._generated.planner_service_pb2_grpc import (
    PlannerServiceServicer,
    add_PlannerServiceServicer_to_server,
)
from powerplan_client.rpc_status import STATUS_KEY, _kinds
from powerplan_server import calls
from powerplan_server.wire import MemoryBlobs, blob_refs


class FakePlanner(PlannerServiceServicer):
    """Answers with the engine; notes what it was asked; fails as told.

    Attributes:
        seen: (method, metadata) of every call.
        stored: complete blobs by SHA-256; partial: bytes of unfinished ones.
        faults: errors to give before answering, by method: (code, status bytes, further metadata).
        break_upload_at: bytes after which an upload breaks, once.
        events: of the job that WatchPlanJob tells about; break_watch_at: the number of events after which it breaks.
    """

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.stored: dict[str, bytes] = {}
        self.partial: dict[str, bytearray] = {}
        self.faults: dict[str, list[tuple[grpc.StatusCode, bytes, tuple[tuple[str, str], ...]]]] = {}
        self.break_upload_at: int | None = None
        self.events: list[pb.WatchPlanJobResponse] = []
        self.break_watch_at: int | None = None
        self.uploads = 0
        self.submitted: list[pb.SubmitPlanRequest] = []

    def count(self, method: str) -> int:
        return sum(name == method for name, _ in self.seen)

    def _begin(self, method: str, context: Any) -> None:
        self.seen.append((method, dict(context.invocation_metadata())))
        if self.faults.get(method):
            code, status, metadata = self.faults[method].pop(0)
            context.set_trailing_metadata(((STATUS_KEY, status), *metadata))
            context.abort(code, "as ordered")

    def _context(self, request: Any, context: Any) -> calls.CallContext:
        missing = blob_refs(request) - set(self.stored)
        if missing:
            status = status_bytes("BLOB_NOT_FOUND", metadata={"sha256": ",".join(sorted(missing))})
            context.set_trailing_metadata(((STATUS_KEY, status),))
            context.abort(grpc.StatusCode.NOT_FOUND, "a blob is missing")
        return calls.CallContext(blobs=MemoryBlobs(self.stored))

    def Plan(self, request: pb.PlanRequest, context: Any) -> pb.PlanResponse:
        self._begin("Plan", context)
        try:
            return calls.run_plan(request, self._context(request, context))
        except InvalidInput as error:
            violations = [(v.field, v.advice) for v in error.violations]
            context.set_trailing_metadata(((STATUS_KEY, status_bytes("INVALID_REQUEST", violations)),))
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request is invalid")
            raise

    def Predict(self, request: pb.PredictRequest, context: Any) -> pb.PredictResponse:
        self._begin("Predict", context)
        return calls.run_predict(request, self._context(request, context))

    def Simulate(self, request: pb.SimulateRequest, context: Any) -> Iterator[pb.SimulateResponse]:
        self._begin("Simulate", context)
        messages: list[pb.SimulateResponse] = []
        calls.run_simulate(request, self._context(request, context), messages.append)
        yield from messages

    def Frontier(self, request: pb.FrontierRequest, context: Any) -> Iterator[pb.FrontierResponse]:
        self._begin("Frontier", context)
        messages: list[pb.FrontierResponse] = []
        calls.run_frontier(request, self._context(request, context), messages.append)
        yield from messages

    def UploadBlob(self, requests: Iterator[pb.UploadBlobRequest], context: Any) -> pb.UploadBlobResponse:
        self._begin("UploadBlob", context)
        self.uploads += 1
        start = next(requests).start
        content = self.partial.setdefault(start.blob.sha256, bytearray())
        assert start.offset_bytes == len(content)
        for message in requests:
            content += message.chunk
            if self.break_upload_at is not None and len(content) >= self.break_upload_at:
                self.break_upload_at = None
                context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
        assert hashlib.sha256(content).hexdigest() == start.blob.sha256
        self.stored[start.blob.sha256] = bytes(self.partial.pop(start.blob.sha256))
        return pb.UploadBlobResponse(status=self._status(start.blob))

    def GetBlobStatus(self, request: pb.GetBlobStatusRequest, context: Any) -> pb.GetBlobStatusResponse:
        self._begin("GetBlobStatus", context)
        return pb.GetBlobStatusResponse(statuses=[self._status(blob) for blob in request.blobs])

    def _status(self, blob: pb.BlobRef) -> pb.BlobStatus:
        if blob.sha256 in self.stored:
            return pb.BlobStatus(blob=blob, committed_bytes=blob.size_bytes, complete=True)
        return pb.BlobStatus(blob=blob, committed_bytes=len(self.partial.get(blob.sha256, b"")))

    def SubmitPlan(self, request: pb.SubmitPlanRequest, context: Any) -> pb.SubmitPlanResponse:
        self._begin("SubmitPlan", context)
        self.submitted.append(request)
        state = pb.PLAN_JOB_STATE_QUEUED
        return pb.SubmitPlanResponse(job=pb.PlanJob(job_id="job1", request_id=request.request_id, state=state))

    def GetPlanJob(self, request: pb.GetPlanJobRequest, context: Any) -> pb.GetPlanJobResponse:
        self._begin("GetPlanJob", context)
        return pb.GetPlanJobResponse(job=self.events[-1].job)

    def WatchPlanJob(self, request: pb.WatchPlanJobRequest, context: Any) -> Iterator[pb.WatchPlanJobResponse]:
        self._begin("WatchPlanJob", context)
        for event in self.events:
            if event.sequence > request.after_sequence:
                if self.break_watch_at is not None and event.sequence > self.break_watch_at:
                    self.break_watch_at = None
                    context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
                yield event

    def ListPlanJobs(self, request: pb.ListPlanJobsRequest, context: Any) -> pb.ListPlanJobsResponse:
        self._begin("ListPlanJobs", context)
        first = int(request.page_token or 0)
        jobs = [pb.PlanJob(job_id=f"job{i}", state=pb.PLAN_JOB_STATE_RUNNING) for i in range(first, min(first + 2, 5))]
        return pb.ListPlanJobsResponse(jobs=jobs, next_page_token=str(first + 2) if first + 2 < 5 else "")

    def GetServerInfo(self, request: pb.GetServerInfoRequest, context: Any) -> pb.GetServerInfoResponse:
        self._begin("GetServerInfo", context)
        return calls.describe_engine()


def status_bytes(
    reason: str,
    violations: list[tuple[str, str]] | None = None,
    *,
    metadata: dict[str, str] | None = None,
    retry_seconds: int | None = None,
) -> bytes:
    """Serialized google.rpc.Status."""
    kinds = _kinds()
    status = kinds["Status"](code=3, message="m")
    details = [kinds["ErrorInfo"](reason=reason, domain="powerplan", metadata=metadata or {})]
    if violations:
        bad = kinds["BadRequest"]()
        for field, description in violations:
            bad.field_violations.add(field=field, description=description)
        details.append(bad)
    if retry_seconds is not None:
        retry = kinds["RetryInfo"]()
        retry.retry_delay.seconds = retry_seconds
        details.append(retry)
    for detail in details:
        name = detail.DESCRIPTOR.full_name
        status.details.add(type_url=f"type.googleapis.com/{name}", value=detail.SerializeToString())
    data: bytes = status.SerializeToString()
    return data


def start_server(planner: FakePlanner) -> tuple[grpc.Server, str]:
    """A running server and its address."""
    server = grpc.server(ThreadPoolExecutor(max_workers=4))
    add_PlannerServiceServicer_to_server(planner, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"
