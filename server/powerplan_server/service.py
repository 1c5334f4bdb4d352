"""The methods of ``powerplan.v1.PlannerService``: bytes in, bytes out.

Requests are parsed here (so that bytes that are not a message get a proper error), checked against the limits, looked
up in the cache, admitted and handed to a worker; what comes back gets its ``ResponseInfo`` completed.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from powerplan._version import __version__
from powerplan_client._generated import v1
from powerplan_server.admission import Admission
from powerplan_server.blobs import BlobStore, check_sha256
from powerplan_server.cache import AnswerCache, RequestIds, RequestKey
from powerplan_server.config import ServeConfig
from powerplan_server.errors import Reason, ServiceError, invalid
from powerplan_server.jobs import Job, JobRunner, JobState
from powerplan_server.limits import Calculation, check_request, server_limits
from powerplan_server.metrics import Metrics
from powerplan_server.rpc import current_caller
from powerplan_server.tracing import Tracer
from powerplan_server.wire.scanning import MOST_ELEMENTS, TooManyElements, UnknownField, look_at
from powerplan_server.workers import WorkerPool

SERVICE = "powerplan.v1.PlannerService"
_LARGE = 2**16  # bytes of a message that is read in a thread
_MAX_STATUS_QUERIES = 1000
_STATES = frozenset(map(int, JobState))
_DEFAULT_PAGE, _LARGEST_PAGE = 50, 1000
_PAGE_TOKEN = re.compile(r"(0x1\.[0-9a-f]{1,13}p\+[0-9]{1,3})-([0-9a-f]{32})")

M = TypeVar("M", bound=Message)
T = TypeVar("T")
Context = grpc.aio.ServicerContext
Forward = Callable[[bytes], Awaitable[None]]
Answer = v1.PlanResponse | v1.PredictResponse | v1.SimulateResponse | v1.FrontierResponse


@dataclass(frozen=True, kw_only=True)
class _Prepared:
    """A request ready to be calculated."""

    method: str
    data: bytes
    key: RequestKey
    blobs: set[str]
    label: str
    received: float
    validate_only: bool


class PlannerService:
    """Every method of the service over the parts of the server."""

    def __init__(
        self,
        *,
        config: ServeConfig,
        pool: WorkerPool,
        admission: Admission,
        blobs: BlobStore,
        jobs: JobRunner,
        metrics: Metrics,
        tracer: Tracer,
        cache: AnswerCache,
    ) -> None:
        self._config = config
        self._pool = pool
        self._admission = admission
        self._blobs = blobs
        self._jobs = jobs
        self._metrics = metrics
        self._tracer = tracer
        self._cache = cache
        self._request_ids = RequestIds()
        self._once: dict[RequestKey, asyncio.Lock] = {}
        self._once_users: Counter[RequestKey] = Counter()
        self._info: v1.GetServerInfoResponse | None = None

    def handler(self) -> grpc.GenericRpcHandler:
        """The handler of the service; it sees messages as bytes."""
        unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Plan": unary(self.plan),
                "Predict": unary(self.predict),
                "Simulate": stream(self.simulate),
                "Frontier": stream(self.frontier),
                "UploadBlob": grpc.stream_unary_rpc_method_handler(self.upload_blob),
                "GetBlobStatus": unary(self.get_blob_status),
                "SubmitPlan": unary(self.submit_plan),
                "GetPlanJob": unary(self.get_plan_job),
                "WatchPlanJob": stream(self.watch_plan_job),
                "CancelPlanJob": unary(self.cancel_plan_job),
                "ListPlanJobs": unary(self.list_plan_jobs),
                "DeletePlanJob": unary(self.delete_plan_job),
                "GetServerInfo": unary(self.get_server_info),
                "GetStatistics": unary(self.get_statistics),
            },
        )

    # Calculations

    async def plan(self, data: bytes, context: Context) -> bytes:
        """One plan."""
        return await self._unary(await self._prepare("Plan", v1.PlanRequest, data), v1.PlanResponse, context)

    async def predict(self, data: bytes, context: Context) -> bytes:
        """One prediction."""
        return await self._unary(await self._prepare("Predict", v1.PredictRequest, data), v1.PredictResponse, context)

    async def simulate(self, data: bytes, context: Context) -> None:
        """Running estimates, then the simulation."""
        await self._stream(await self._prepare("Simulate", v1.SimulateRequest, data), v1.SimulateResponse, context)

    async def frontier(self, data: bytes, context: Context) -> None:
        """One plan per target, each as soon as it is there."""
        await self._stream(await self._prepare("Frontier", v1.FrontierRequest, data), v1.FrontierResponse, context)

    async def _prepare(self, method: str, kind: type[Calculation], data: bytes) -> _Prepared:
        """Parse and check a request."""
        received = time.monotonic()
        caller = current_caller.get()

        def read() -> tuple[Calculation, set[str], str, bytes]:
            message = _parse(kind, data)
            blobs = check_request(message, self._config)
            label = message.request_id if message.HasField("request_id") else ""
            message.ClearField("request_id")
            return message, blobs, label, message.SerializeToString(deterministic=True)

        message, blobs, label, canonical = await _off_the_loop(data, read)
        key = RequestKey.of(caller.tenant, method, __version__, canonical)
        return _Prepared(
            method=method,
            data=canonical,
            key=key,
            blobs=blobs,
            label=label,
            received=received,
            validate_only=message.validate_only,
        )

    async def _unary(self, request: _Prepared, kind: type[Answer], context: Context) -> bytes:
        async with self._single(request):
            cached = await self._look_up(request)
            if cached is not None:
                return self._complete(request, kind.FromString(cached[0]), cached=True)
            async with self._worker(request) as (paths, queued):
                answer = kind.FromString(await self._run(request, paths, context))
            self._measure(request, answer)
            if _repeatable(answer):
                await self._cache.keep(request.key, (answer.SerializeToString(),))
            return self._complete(request, answer, queued=queued)

    async def _stream(self, request: _Prepared, kind: type[Answer], context: Context) -> None:
        """Write what the worker emits as it comes; keep all but running estimates for the cache."""
        async with self._single(request):
            cached = await self._look_up(request)
            if cached is not None:
                for data in cached:
                    await context.write(self._complete(request, kind.FromString(data), cached=True))
                return
            sent: list[bytes] = []
            repeatable = True
            async with self._worker(request) as (paths, queued):

                async def forward(data: bytes) -> None:
                    nonlocal repeatable
                    answer = kind.FromString(data)
                    if answer.HasField("info"):
                        sent.append(data)
                        repeatable = repeatable and _repeatable(answer)
                        self._measure(request, answer)
                        data = self._complete(request, answer, queued=queued)
                    await context.write(data)

                await self._run(request, paths, context, forward)
            if repeatable:
                await self._cache.keep(request.key, tuple(sent))

    @asynccontextmanager
    async def _single(self, request: _Prepared) -> AsyncIterator[None]:
        """Let calls with one request id run one after the other: the later ones find the answer of the first.

        Raises:
            ServiceError: REQUEST_ID_CONFLICT.
        """
        if not request.label or request.validate_only:
            yield
            return
        lock = self._once.setdefault(request.key, asyncio.Lock())
        self._once_users[request.key] += 1
        try:
            with self._request_ids.standing_for(request.key, request.label):
                async with lock:
                    yield
        finally:
            self._once_users[request.key] -= 1
            if not self._once_users[request.key]:
                del self._once_users[request.key], self._once[request.key]

    async def _look_up(self, request: _Prepared) -> tuple[bytes, ...] | None:
        answer = await self._cache.find(request.key) if self._config.cache_size else None
        result = "hit" if answer is not None else "miss"
        self._metrics.cache.labels(result).inc()
        if self._config.cache_size:
            self._count(request, **{f"cache_{result}": time.monotonic() - request.received})
        return answer

    @asynccontextmanager
    async def _worker(self, request: _Prepared) -> AsyncIterator[tuple[dict[str, str], float]]:
        """Hold the blobs of a request and a worker slot; gives the paths and the seconds spent waiting."""
        tenant = current_caller.get().tenant
        async with self._blobs.pinned(tenant, request.blobs) as paths:
            began = time.monotonic()
            async with AsyncExitStack() as held:
                await self._slot(held, tenant, len(request.data))
                queued = time.monotonic() - began
                self._metrics.queue_time.observe(queued)
                self._count(request, queue=queued)
                yield paths, queued

    async def _slot(self, held: AsyncExitStack, tenant: str, size: int) -> None:
        """Wait for a worker, no longer than a call may calculate."""
        limit = self._config.max_solve_seconds
        try:
            async with asyncio.timeout(limit):
                await held.enter_async_context(self._admission.slot(tenant, size))
        except TimeoutError:
            raise ServiceError(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                Reason.DEADLINE_EXCEEDED,
                f"No worker became free within {limit:g} s. Submit it as a job, which waits without a call.",
            ) from None

    async def _run(
        self, request: _Prepared, paths: dict[str, str], context: Context, forward: Forward | None = None
    ) -> bytes:
        seconds = context.time_remaining()
        limit = self._config.max_solve_seconds
        with self._tracer.span("calculate", method=request.method):
            return await self._pool.run(
                request.method,
                request.data,
                blobs=paths,
                seconds=limit if seconds is None else max(min(seconds, limit), 0.001),
                on_progress=forward,
                on_trace=self._tracer.on_trace,
            )

    def _measure(self, request: _Prepared, answer: Answer) -> None:
        timings = answer.info.timings
        self._metrics.solve_time.labels(request.method).observe(timings.solve_seconds)
        if timings.verify_seconds:
            self._metrics.verify_time.observe(timings.verify_seconds)
        self._metrics.statistics.computed(request.key.tenant, request.method, timings)

    def _count(self, request: _Prepared, **seconds: float) -> None:
        self._metrics.statistics.add(request.key.tenant, request.method, **seconds)

    def _complete(self, request: _Prepared, answer: Answer, *, queued: float = 0.0, cached: bool = False) -> bytes:
        """The answer with everything in its info that only the server knows."""
        info = answer.info
        info.request_id = request.label or current_caller.get().request_id
        info.server_version = __version__
        info.cache_hit = cached
        if cached:
            info.timings.Clear()
        info.timings.queue_seconds = queued
        info.timings.total_seconds = time.monotonic() - request.received
        return answer.SerializeToString()

    # Uploads

    async def upload_blob(self, requests: AsyncIterator[bytes], context: Context) -> bytes:
        """Append the chunks of a stream to a blob; what arrived before a broken stream stays."""
        tenant = current_caller.get().tenant
        first = _parse(v1.UploadBlobRequest, await anext(requests, b""))
        if first.WhichOneof("part") != "start":
            raise invalid("start", "the first message must hold start")
        start = first.start
        check_sha256(start.blob.sha256, "start.blob.sha256")
        blob = start.blob
        async with self._blobs.upload(tenant, blob.sha256, blob.size_bytes, start.offset_bytes) as upload:
            if upload is not None:
                async for data in requests:
                    message = _parse(v1.UploadBlobRequest, data)
                    if message.WhichOneof("part") != "chunk" or not message.chunk:
                        raise invalid("chunk", "every message after the first must hold a chunk of at least 1 byte")
                    await self._stored(upload.write, message.chunk)
                    self._metrics.uploaded.inc(len(message.chunk))
                await self._stored(upload.finish)
        (status,) = await self._blob_statuses(tenant, [blob])
        return v1.UploadBlobResponse(status=status).SerializeToString()

    async def _stored(self, write: Callable[..., object], *content: bytes) -> None:
        """Write in a thread; a cancel waits until it is done, so that the file is not closed under it."""
        task = asyncio.ensure_future(asyncio.to_thread(write, *content))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            raise

    async def get_blob_status(self, data: bytes, context: Context) -> bytes:
        """How much of each blob is here."""
        request = _parse(v1.GetBlobStatusRequest, data)
        if not 1 <= len(request.blobs) <= _MAX_STATUS_QUERIES:
            raise invalid("blobs", f"got {len(request.blobs)}; allowed: 1 to {_MAX_STATUS_QUERIES}")
        for number, blob in enumerate(request.blobs):
            check_sha256(blob.sha256, f"blobs[{number}].sha256")
        tenant = current_caller.get().tenant
        return v1.GetBlobStatusResponse(
            statuses=await self._blob_statuses(tenant, list(request.blobs))
        ).SerializeToString()

    async def _blob_statuses(self, tenant: str, blobs: list[v1.BlobRef]) -> list[v1.BlobStatus]:
        statuses = []
        for blob, state in zip(blobs, await self._blobs.status(tenant, [blob.sha256 for blob in blobs]), strict=True):
            status = v1.BlobStatus(blob=blob, committed_bytes=state.committed, complete=state.complete)
            if state.committed and not state.complete:
                status.expire_time.CopyFrom(_timestamp(state.touched + self._config.upload_retention))
            statuses.append(status)
        return statuses

    # Jobs

    async def submit_plan(self, data: bytes, context: Context) -> bytes:
        """Accept a plan as a job; it is on disk before this answers."""

        def read() -> tuple[v1.SubmitPlanRequest, set[str], bytes]:
            submitted = _parse(v1.SubmitPlanRequest, data)
            blobs = check_request(submitted, self._config)
            plan = v1.PlanRequest(
                task=submitted.task,
                detail=submitted.detail,
                validate_only=submitted.validate_only,
                accept_implausible=submitted.accept_implausible,
            )
            return submitted, blobs, plan.SerializeToString(deterministic=True)

        submitted, blobs, request = await _off_the_loop(data, read)
        if submitted.validate_only:
            await self.plan(request, context)
            return v1.SubmitPlanResponse().SerializeToString()
        tenant = current_caller.get().tenant
        job, existing = await self._jobs.submit(
            tenant=tenant,
            request_id=submitted.request_id if submitted.HasField("request_id") else None,
            digest=RequestKey.of(tenant, "SubmitPlan", "", request).digest,
            request=request,
            blobs=blobs,
            run_limit=submitted.run_limit_seconds or self._config.max_job_seconds,
            carrier=self._tracer.carrier(),
        )
        return v1.SubmitPlanResponse(job=await self._job(job, outcome=existing), existing=existing).SerializeToString()

    async def get_plan_job(self, data: bytes, context: Context) -> bytes:
        """A job with its outcome."""
        request = _parse(v1.GetPlanJobRequest, data)
        job = await self._jobs.get(current_caller.get().tenant, request.job_id)
        return v1.GetPlanJobResponse(job=await self._job(job, outcome=True)).SerializeToString()

    async def watch_plan_job(self, data: bytes, context: Context) -> AsyncIterator[bytes]:
        """The events of a job until it ends."""
        request = _parse(v1.WatchPlanJobRequest, data)
        if request.after_sequence < 0:
            raise invalid("after_sequence", f"got {request.after_sequence}; allowed: >= 0")
        tenant = current_caller.get().tenant
        async for event in self._jobs.watch(tenant, request.job_id, request.after_sequence):
            message = v1.WatchPlanJobResponse(
                sequence=event.sequence,
                event_time=_timestamp(event.time),
                state=v1.PlanJobState.ValueType(event.state),
                progress=v1.Progress.FromString(event.progress),
            )
            if event.state.ended:
                job = await self._jobs.get(tenant, request.job_id)
                message.job.CopyFrom(await self._job(job, outcome=True))
            yield message.SerializeToString()

    async def cancel_plan_job(self, data: bytes, context: Context) -> bytes:
        """Cancel a job."""
        request = _parse(v1.CancelPlanJobRequest, data)
        job = await self._jobs.cancel(current_caller.get().tenant, request.job_id)
        return v1.CancelPlanJobResponse(job=await self._job(job, outcome=False)).SerializeToString()

    async def list_plan_jobs(self, data: bytes, context: Context) -> bytes:
        """A page of jobs, newest first."""
        request = _parse(v1.ListPlanJobsRequest, data)
        size = request.page_size or _DEFAULT_PAGE
        if not 1 <= size <= _LARGEST_PAGE:
            raise invalid("page_size", f"got {size}; allowed: 1 to {_LARGEST_PAGE}, or 0 for {_DEFAULT_PAGE}")
        if any(int(state) not in _STATES for state in request.states):
            raise invalid("states", f"got {list(request.states)[:20]}; allowed: the states of PlanJobState")
        token = request.page_token
        place = _PAGE_TOKEN.fullmatch(token)
        if token and place is None:
            raise invalid("page_token", f"got {token[:40]!r}; allowed: the next_page_token of a page")
        before = (float.fromhex(place[1]), place[2]) if place else None
        tenant = current_caller.get().tenant
        jobs = await self._jobs.page(tenant, request.states, before, size + 1)
        response = v1.ListPlanJobsResponse(jobs=[await self._job(job, outcome=False) for job in jobs[:size]])
        if len(jobs) > size:
            last = jobs[size - 1]
            response.next_page_token = f"{last.created.hex()}-{last.id}"
        return response.SerializeToString()

    async def delete_plan_job(self, data: bytes, context: Context) -> bytes:
        """Forget a job."""
        request = _parse(v1.DeletePlanJobRequest, data)
        await self._jobs.delete(current_caller.get().tenant, request.job_id)
        return v1.DeletePlanJobResponse().SerializeToString()

    async def _job(self, job: Job, *, outcome: bool) -> v1.PlanJob:
        message = v1.PlanJob(
            job_id=job.id,
            request_id=job.request_id or "",
            state=v1.PlanJobState.ValueType(job.state),
            sequence=job.sequence,
            progress=v1.Progress.FromString(job.progress),
            create_time=_timestamp(job.created),
        )
        for name, value in (("start_time", job.started), ("end_time", job.ended), ("expire_time", job.expires)):
            if value is not None:
                getattr(message, name).CopyFrom(_timestamp(value))
        if outcome and job.state.ended:
            response, error = await self._jobs.outcome(job)
            if response is not None:
                message.response.ParseFromString(response)
                message.response.info.request_id = job.request_id or job.id
                message.response.info.server_version = __version__
                message.response.info.timings.queue_seconds = (job.started or job.created) - job.created
                message.response.info.timings.total_seconds = (job.ended or job.created) - job.created
            elif error is not None:
                message.error.ParseFromString(error)
        return message

    # The server itself

    async def get_server_info(self, data: bytes, context: Context) -> bytes:
        """Versions, limits and what the engine can do (asked from a worker once)."""
        _parse(v1.GetServerInfoRequest, data)
        if self._info is None:
            async with self._admission.slot(current_caller.get().tenant):
                answer = await self._pool.run("GetServerInfo", data, seconds=self._config.max_solve_seconds)
            self._info = v1.GetServerInfoResponse.FromString(answer)
            self._info.server_version = __version__
            self._info.limits.CopyFrom(server_limits(self._config))
        return self._info.SerializeToString()

    async def get_statistics(self, data: bytes, context: Context) -> bytes:
        """What became of the calls of the tenant that asks."""
        _parse(v1.GetStatisticsRequest, data)
        statistics = self._metrics.statistics
        response = v1.GetStatisticsResponse(methods=statistics.of(current_caller.get().tenant))
        response.start_time.CopyFrom(_timestamp(statistics.since))
        return response.SerializeToString()


def _parse(kind: type[M], data: bytes) -> M:
    """A message from its bytes.

    Raises:
        ServiceError: INVALID_REQUEST: it is none, or has a field that is not known here; REQUEST_TOO_LARGE.
    """
    try:
        look_at(data, kind)
        return kind.FromString(data)
    except UnknownField as unknown:
        what = f"has a field number {unknown.number} that this server ({__version__}) does not know"
        raise invalid(unknown.path, f"{what}; leave it out, or ask a newer server") from None
    except TooManyElements as many:
        what = f"got more than {MOST_ELEMENTS:,} elements in the request; allowed: at most that"
        raise invalid(many.path, what, reason=Reason.REQUEST_TOO_LARGE) from None
    except DecodeError:
        raise invalid("", f"the bytes are not a {kind.DESCRIPTOR.full_name}") from None


async def _off_the_loop(data: bytes, read: Callable[[], T]) -> T:
    """Read a message; a large one in a thread, so that the other calls go on."""
    return await asyncio.to_thread(read) if len(data) > _LARGE else read()


def _repeatable(answer: Answer) -> bool:
    """Whether the same request would get the same answer: not if time decided when planning stopped."""
    if not isinstance(answer, v1.PlanResponse | v1.FrontierResponse):
        return True
    result = answer.WhichOneof("result")
    return result is None or getattr(answer, result).termination.outcome != v1.Outcome.OUTCOME_DEADLINE


def _timestamp(seconds: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMicroseconds(round(seconds * 1e6))
    return stamp
