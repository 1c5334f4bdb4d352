"""Every call of the client, written once as a generator of steps.

Why: docs/decisions/service.md [0052].
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy.typing as npt
from google.protobuf.message import Message

from powerplan_client import values
from powerplan_client._generated import v1 as pb
from powerplan_client.building import (
    any_task,
    common_fields,
    plan_task,
    point_request,
    profile_task,
    target_message,
)
from powerplan_client.errors import (
    Cancelled,
    Conflict,
    FeatureUnavailable,
    NotFound,
    ResourceExhausted,
    ServerError,
    Unavailable,
)
from powerplan_client.inputs import Profile
from powerplan_client.networks import NetworkLike
from powerplan_client.options import (
    CallOptions,
    PlanOptions,
    PredictOptions,
    ProfileOptions,
    SimulateOptions,
    SubmitOptions,
    checked,
)
from powerplan_client.packing import Packer, packed
from powerplan_client.parsing import (
    parse_event,
    parse_job,
    parse_plan_response,
    parse_predict_response,
    parse_server_info,
    parse_simulate_response,
    parse_statistics,
)
from powerplan_client.results import Job, JobState, ProfilePlan, RunningEstimate, ServerInfo, Statistics
from powerplan_client.settings import Settings
from powerplan_client.shared import Plan, Prediction, Simulation
from powerplan_client.steps import Call, Emit, Next, Open, Sleep, Unary, Upload

M = TypeVar("M", bound=Message)
T = TypeVar("T")

#: blobs asked for at a time
_STATUS_BATCH = 1000
#: tries of a call that a full server turns away, and of an upload or a watch that is interrupted without progress
_TRIES = 5
_PAUSE_SECONDS = 0.2
#: in process everything goes inline
_UNLIMITED = 2**62


class Calls:
    """The calls over one connection.

    Args:
        timeout: seconds for a call that names none.
        inline_bytes, message_bytes: what goes inline, see Settings.
        retries: try again when the server is full for now.
    """

    def __init__(self, *, timeout: float | None, inline_bytes: int, message_bytes: int, retries: bool) -> None:
        self._timeout = values.seconds("timeout", timeout)
        self._retries = retries
        self._inline_bytes = inline_bytes
        self._message_bytes = message_bytes
        self._held: set[str] = set()
        self._info: ServerInfo | None = None

    @classmethod
    def over(cls, settings: Settings) -> Calls:
        """The calls over a connection with these settings."""
        return cls(
            timeout=settings.timeout,
            inline_bytes=settings.inline_bytes,
            message_bytes=settings.message_bytes,
            retries=settings.retries,
        )

    @classmethod
    def in_process(cls, timeout: float | None) -> Calls:
        """The calls without a connection."""
        return cls(timeout=timeout, inline_bytes=_UNLIMITED, message_bytes=_UNLIMITED, retries=False)

    # Calculations

    def plan(
        self, network: NetworkLike, hardware: Any, inputs: npt.ArrayLike, target: Any, options: Mapping[str, Any]
    ) -> Call[Plan | None]:
        """Plan for a network."""
        options = checked(PlanOptions, options)

        def build(packer: Packer) -> pb.PlanRequest:
            return pb.PlanRequest(
                task=plan_task(packer, network, hardware, inputs, target, options), **common_fields(options)
            )

        return self._unary("Plan", build, parse_plan_response, options)

    def plan_profile(self, profile: Profile, target: Any, options: Mapping[str, Any]) -> Call[ProfilePlan | None]:
        """Plan for a profile."""
        options = checked(ProfileOptions, options)

        def build(packer: Packer) -> pb.PlanRequest:
            return pb.PlanRequest(task=profile_task(packer, profile, target), **common_fields(options))

        return self._unary("Plan", build, parse_plan_response, options)

    def predict(
        self,
        network: NetworkLike,
        hardware: Any,
        gains: Any | None,
        inputs: npt.ArrayLike,
        options: Mapping[str, Any],
    ) -> Call[Prediction | None]:
        """Predict error and power."""
        options = checked(PredictOptions, options)
        return self._unary(
            "Predict",
            lambda packer: point_request(pb.PredictRequest, packer, network, hardware, gains, inputs, options),
            parse_predict_response,
            options,
        )

    def simulate(
        self,
        network: NetworkLike,
        hardware: Any,
        gains: Any | None,
        inputs: npt.ArrayLike,
        options: Mapping[str, Any],
        progress: Callable[[RunningEstimate], None] | None = None,
    ) -> Call[Simulation | None]:
        """Simulate: emits running estimates and the result, which is also returned."""
        options = checked(SimulateOptions, options)
        values.function("progress", progress)
        result: Simulation | None = None
        stream, response = yield from self._open(
            "Simulate",
            lambda packer: point_request(pb.SimulateRequest, packer, network, hardware, gains, inputs, options),
            options,
        )
        while response is not None:
            value = parse_simulate_response(response)
            if isinstance(value, Simulation):
                result = value
            elif value is not None and progress is not None:
                progress(value)
            if value is not None:
                yield Emit(value)
            response = yield Next(stream)
        if result is None and not options.get("validate_only"):
            raise ServerError("The stream ended without a result.", code="DATA_LOSS")
        return result

    def frontier(
        self,
        network: NetworkLike | Profile,
        hardware: Any,
        inputs: npt.ArrayLike | None,
        targets: Any,
        options: Mapping[str, Any],
    ) -> Call[tuple[Plan | ProfilePlan, ...]]:
        """Plan for several targets: emits each plan; all are returned."""
        options = checked(ProfileOptions if isinstance(network, Profile) else PlanOptions, options)
        with values.naming("targets"):
            wanted = list(targets)

        def build(packer: Packer) -> pb.FrontierRequest:
            task = any_task(packer, network, hardware, inputs, None, options)
            return pb.FrontierRequest(task=task, targets=[target_message(t) for t in wanted], **common_fields(options))

        plans: list[Plan | ProfilePlan] = []
        stream, response = yield from self._open("Frontier", build, options)
        while response is not None:
            plan = parse_plan_response(response)
            if plan is not None:
                plans.append(plan)
                yield Emit(plan)
            response = yield Next(stream)
        if len(plans) != len(wanted) and not options.get("validate_only"):
            raise ServerError(f"The stream ended after {len(plans)} of {len(wanted)} points.", code="DATA_LOSS")
        return tuple(plans)

    # Jobs

    def submit(
        self,
        network: NetworkLike | Profile,
        hardware: Any,
        inputs: npt.ArrayLike | None,
        target: Any,
        options: Mapping[str, Any],
    ) -> Call[Job | None]:
        """Submit a plan as a job; a request id is made up if none is given, so that a retry cannot submit twice."""
        options = checked(SubmitOptions, options)

        def build(packer: Packer) -> pb.SubmitPlanRequest:
            task = any_task(packer, network, hardware, inputs, target, options)
            common = {**common_fields(options), "request_id": options.get("request_id") or uuid.uuid4().hex}
            return pb.SubmitPlanRequest(task=task, run_limit_seconds=options.get("run_limit"), **common)

        return self._unary("SubmitPlan", build, lambda r: parse_job(r.job) if r.HasField("job") else None, options)

    def get_job(self, job_id: str, options: Mapping[str, Any]) -> Call[Job]:
        """A job with its outcome."""
        options = checked(CallOptions, options)
        request = pb.GetPlanJobRequest(job_id=values.text("job_id", job_id))
        response = yield Unary("GetPlanJob", request, self._seconds(options))
        return parse_job(response.job)

    def cancel_job(self, job_id: str, options: Mapping[str, Any]) -> Call[Job]:
        """Cancel a job."""
        options = checked(CallOptions, options)
        request = pb.CancelPlanJobRequest(job_id=values.text("job_id", job_id))
        response = yield Unary("CancelPlanJob", request, self._seconds(options))
        return parse_job(response.job)

    def delete_job(self, job_id: str, options: Mapping[str, Any]) -> Call[None]:
        """Forget a job."""
        options = checked(CallOptions, options)
        request = pb.DeletePlanJobRequest(job_id=values.text("job_id", job_id))
        yield Unary("DeletePlanJob", request, self._seconds(options))

    def list_jobs(self, states: Any, page_size: int, options: Mapping[str, Any]) -> Call[tuple[Job, ...]]:
        """All jobs, page by page: emits each; all are returned."""
        options = checked(CallOptions, options)
        jobs: list[Job] = []
        with values.naming("states"):
            numbers = [pb.PlanJobState.Value(f"PLAN_JOB_STATE_{JobState(s).name}") for s in states]
        values.whole("page_size", page_size, at_least=1, at_most=2**31 - 1)
        token = ""
        while True:
            request = pb.ListPlanJobsRequest(page_size=page_size, page_token=token, states=numbers)
            response = yield Unary("ListPlanJobs", request, self._seconds(options))
            for message in response.jobs:
                jobs.append(parse_job(message))
                yield Emit(jobs[-1])
            token = response.next_page_token
            if not token:
                return tuple(jobs)

    def watch_job(self, job_id: str, after: int, options: Mapping[str, Any]) -> Call[Job]:
        """Follow a job: emits its events, across broken connections, and returns the ended job."""
        options = checked(CallOptions, options)
        failures = 0
        values.text("job_id", job_id)
        after = values.whole("after", after, at_least=0, at_most=2**63 - 1)
        deadline = _deadline(self._seconds(options))
        while True:
            request = pb.WatchPlanJobRequest(job_id=job_id, after_sequence=after)
            try:
                stream = yield Open("WatchPlanJob", request, _left(deadline))
                while (response := (yield Next(stream))) is not None:
                    failures = 0
                    event = parse_event(response)
                    if event.sequence > after:
                        after = event.sequence
                        yield Emit(event)
                    if event.job is not None:
                        return event.job
                raise Unavailable("The stream of events ended before the job.", code="UNAVAILABLE")
            except Unavailable:
                failures += 1
                if failures >= _TRIES:
                    raise
            yield Sleep(_PAUSE_SECONDS * 2**failures)

    def wait_job(self, job_id: str, options: Mapping[str, Any]) -> Call[Plan | ProfilePlan]:
        """Wait for a job and return its plan, or raise its error."""
        job = yield from self.watch_job(job_id, 0, options)
        if job.plan is not None:
            return job.plan
        raise job.error or Cancelled("The job was cancelled.", code="CANCELLED", request_id=job.request_id)

    def server_info(self, options: Mapping[str, Any]) -> Call[ServerInfo]:
        """What the server is and can do."""
        options = checked(CallOptions, options)
        response = yield Unary("GetServerInfo", pb.GetServerInfoRequest(), self._seconds(options))
        self._info = parse_server_info(response)
        return self._info

    def statistics(self, options: Mapping[str, Any]) -> Call[Statistics]:
        """What became of the calls so far."""
        options = checked(CallOptions, options)
        response = yield Unary("GetStatistics", pb.GetStatisticsRequest(), self._seconds(options))
        return parse_statistics(response)

    # What they share

    def _unary(
        self,
        rpc: str,
        build: Callable[[Packer], M],
        parse: Callable[[Any], Any],
        options: Mapping[str, Any],
    ) -> Call[Any]:
        def send(request: M, seconds: float | None) -> Call[Any]:
            return (yield Unary(rpc, request, seconds))

        response = yield from self._answered(send, build, options)
        return parse(response)

    def _open(self, rpc: str, build: Callable[[Packer], M], options: Mapping[str, Any]) -> Call[tuple[Any, Any]]:
        """An open stream and its first response, None if it has none."""

        def send(request: M, seconds: float | None) -> Call[tuple[Any, Any]]:
            stream = yield Open(rpc, request, seconds)
            return stream, (yield Next(stream))

        return (yield from self._answered(send, build, options))

    def _answered(
        self,
        send: Callable[[M, float | None], Call[T]],
        build: Callable[[Packer], M],
        options: Mapping[str, Any],
    ) -> Call[T]:
        """The answer to a request: again with what the server lost uploaded anew, and while it is full for now.

        A server that is full says when to come back. Whatever else it has too little of, it will have too little of
        the next time too.
        """
        deadline = _deadline(self._seconds(options))
        request, contents = yield from self._prepare(build, options, deadline)
        uploaded, tries = False, 1
        while True:
            try:
                return (yield from send(request, _left(deadline)))
            except NotFound as error:
                if uploaded:
                    raise
                uploaded = True
                yield from self._upload_again(error, contents, options, deadline)
            except ResourceExhausted as error:
                pause = _PAUSE_SECONDS * 2**tries if error.retry_after is None else error.retry_after
                late = deadline is not None and time.monotonic() + pause >= deadline
                if not (self._retries and error.temporary) or tries == _TRIES or late:
                    raise
                tries += 1
                yield Sleep(pause)

    def _prepare(
        self, build: Callable[[Packer], M], options: Mapping[str, Any], deadline: float | None
    ) -> Call[tuple[M, dict[str, memoryview]]]:
        with values.naming("request"):
            request, contents = packed(build, inline_bytes=self._inline_bytes, message_bytes=self._message_bytes)
        network = getattr(getattr(request, "task", request), "network", None)
        if network is not None and network.WhichOneof("source") == "onnx":
            yield from self._need("onnx", options)
        yield from self._upload_missing(contents, options, deadline)
        return request, contents

    def _need(self, feature: str, options: Mapping[str, Any]) -> Call[None]:
        info = self._info or (yield from self.server_info({"timeout": self._seconds(options)}))
        if feature not in info.features:
            raise FeatureUnavailable(
                f"This server (version {info.server_version}) has no feature {feature!r}; it has: "
                f"{', '.join(info.features) or 'none'}. Send the network as a graph.",
                code="UNIMPLEMENTED",
                reason="FEATURE_UNAVAILABLE",
            )

    def _upload_again(
        self,
        error: NotFound,
        contents: dict[str, memoryview],
        options: Mapping[str, Any],
        deadline: float | None,
    ) -> Call[None]:
        """After the server lost blobs it once had; any other error is raised again."""
        if error.reason != "BLOB_NOT_FOUND" or not contents:
            raise error
        self._held -= set(contents)
        yield from self._upload_missing(contents, options, deadline)

    def _upload_missing(
        self, contents: Mapping[str, memoryview], options: Mapping[str, Any], deadline: float | None
    ) -> Call[None]:
        """Upload what the server does not have yet; each content once per connection."""
        unknown = [sha256 for sha256 in contents if sha256 not in self._held]
        report = options.get("on_upload")
        total = sum(contents[sha256].nbytes for sha256 in unknown)
        sent = 0
        for start in range(0, len(unknown), _STATUS_BATCH):
            batch = unknown[start : start + _STATUS_BATCH]
            statuses = yield from self._statuses({sha256: contents[sha256] for sha256 in batch}, deadline)
            for sha256 in batch:
                yield from self._upload(sha256, contents[sha256], statuses[sha256], deadline)
                self._held.add(sha256)
                sent += contents[sha256].nbytes
                if report is not None:
                    report(sent, total)

    def _statuses(self, contents: Mapping[str, memoryview], deadline: float | None) -> Call[dict[str, pb.BlobStatus]]:
        refs = [pb.BlobRef(sha256=sha256, size_bytes=content.nbytes) for sha256, content in contents.items()]
        response = yield Unary("GetBlobStatus", pb.GetBlobStatusRequest(blobs=refs), _left(deadline))
        return {status.blob.sha256: status for status in response.statuses}

    def _upload(self, sha256: str, content: memoryview, status: pb.BlobStatus, deadline: float | None) -> Call[None]:
        """Upload one blob from its committed length on, again after every interruption that made progress."""
        failures = 0
        while not status.complete:
            committed = status.committed_bytes
            try:
                response = yield Upload(sha256, content, committed, _left(deadline))
                status = response.status
            except (Unavailable, Conflict):
                failures += 1
                if failures >= _TRIES:
                    raise
                yield Sleep(_PAUSE_SECONDS * 2**failures)
                status = (yield from self._statuses({sha256: content}, deadline))[sha256]
            if status.committed_bytes > committed:
                failures = 0

    def _seconds(self, options: Mapping[str, Any]) -> float | None:
        """The timeout of a call."""
        return values.seconds("timeout", options["timeout"]) if "timeout" in options else self._timeout


def _deadline(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.001, deadline - time.monotonic())
