"""The server: builds every part from the settings, starts it, and drains it when it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from powerplan._version import __version__
from powerplan.errors import InvalidInput, MissingExtra
from powerplan_client.addresses import parse_address
from powerplan_server.admission import Admission
from powerplan_server.blobs import open_blobs
from powerplan_server.callers import Callers
from powerplan_server.certificates import Certificates
from powerplan_server.config import ServeConfig, is_served
from powerplan_server.jobs import JobBook, JobExecution, JobRunner, open_jobs
from powerplan_server.limits import worker_settings
from powerplan_server.metrics import Metrics
from powerplan_server.rpc import CallInterceptor
from powerplan_server.security import load_tokens
from powerplan_server.service import SERVICE, PlannerService
from powerplan_server.shared_cache import open_cache
from powerplan_server.storage import Storage, locked
from powerplan_server.tracing import Tracer
from powerplan_server.workers import WorkerPool

log = logging.getLogger(__name__)

ENGINE_CALLS = "powerplan_server.engine:CALLS"
_HOUSEKEEPING = 60.0  # seconds
_READINESS = 0.2  # seconds between looks at storage and workers
_WITHOUT_WORKERS = 5.0  # seconds without a worker after which the server is not ready
_MOST_MILLISECONDS = 2**31 - 1  # no limit, to gRPC
_MAX_STREAMS = 1000  # concurrent calls on one connection
_MAX_METADATA = 16 * 1024
_POLL = 0.02  # seconds between looks at what still runs
_LAST_RESORT = 10.0  # seconds after the grace period in which the parts must be down
_LAST_ANSWERS = 0.2  # seconds that answers on their way get


class PlannerServer:
    """One planning server.

    Args:
        config: the settings.
        calls: ``module:attribute`` of the table of worker functions; the engine's unless a test brings its own.
        preload: module that is imported once for all workers.

    Attributes:
        port: the port it listens on, once started.
        http_port: the port for HTTP, if there is one.
        metrics_port: the port of the metrics endpoint, if there is one.
        told_to_stop: called when a signal tells it to stop.
    """

    def __init__(
        self, config: ServeConfig, *, calls: str = ENGINE_CALLS, preload: str = "powerplan_server.workers.preload"
    ) -> None:
        self.config = config
        self.port = 0
        self.http_port = 0
        self.metrics_port = 0
        self.metrics = Metrics()
        self.admission = Admission(
            slots=config.workers,
            queue_size=config.queue_size,
            queue_bytes=config.queue_bytes,
            tenant_slots=config.tenant_workers or None,
            tenant_queue_size=config.tenant_queue_size or None,
        )
        self.pool = WorkerPool(
            calls=calls,
            size=config.workers,
            memory=config.worker_memory,
            settings=worker_settings(config),
            max_requests=config.worker_max_requests,
            preload=preload,
            on_kill=lambda why: self.metrics.killed.labels(why).inc(),
        )
        self._health = health.aio.HealthServicer()
        self._parts = AsyncExitStack()
        self.told_to_stop: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Bind the port, warm the workers, take up stored jobs and begin to answer.

        Raises:
            InvalidInput: a setting that cannot be used: address, certificate, token file, data folder.
        """
        try:
            await self._start()
        except BaseException:
            await self._parts.aclose()
            raise

    async def _start(self) -> None:
        """Build and start the parts; each is taken down in reverse order when the server stops or cannot start."""
        config, parts = self.config, self._parts
        tokens = load_tokens(config)
        certificates = Certificates(config) if config.tls_certificate else None
        tls = certificates.credentials() if certificates is not None else None
        self._lock_data()
        tracer = Tracer(config.otel_endpoint, __version__)
        parts.callback(tracer.close)
        self.storage = Storage(config.data_path, config.blob_path, room=config.max_message)
        self.blobs = open_blobs(config, self.storage)
        book = JobBook(
            opening=partial(open_jobs, config),
            blobs=self.blobs,
            storage=self.storage,
            metrics=self.metrics,
        )
        execution = JobExecution(
            book=book,
            pool=self.pool,
            admission=self.admission,
            blobs=self.blobs,
            storage=self.storage,
            statistics=self.metrics.statistics,
            tracer=tracer,
            concurrency=config.concurrent_jobs,
        )
        self.jobs = JobRunner(
            book=book, execution=execution, admission=self.admission, blobs=self.blobs, storage=self.storage
        )
        self.cache = open_cache(config, book.store.database, self.storage)
        service = PlannerService(
            config=config,
            pool=self.pool,
            admission=self.admission,
            blobs=self.blobs,
            jobs=self.jobs,
            metrics=self.metrics,
            tracer=tracer,
            cache=self.cache,
        )
        interceptor = CallInterceptor(
            callers=Callers(tokens, certificates=bool(config.tls_client_ca), metrics=self.metrics),
            metrics=self.metrics,
            tracer=tracer,
            max_message=config.max_message,
            message_seconds=config.message_timeout,
        )
        server = grpc.aio.server(interceptors=[interceptor], options=_channel_options(config))
        server.add_generic_rpc_handlers((service.handler(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if config.reflection:
            reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        self._watch_gauges()
        if config.metrics_listen:
            endpoint, self.metrics_port = self.metrics.serve(config.metrics_listen)
            parts.callback(endpoint.server_close)
            parts.callback(endpoint.shutdown)
        parts.push_async_callback(self.pool.close)
        parts.push_async_callback(server.stop, _LAST_ANSWERS)
        parts.push_async_callback(self.jobs.close)
        self.port = self._bind(server, tls)
        if config.http_listen:
            self._start_http(service.handler(), interceptor, certificates)
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        await server.start()
        await self.pool.start()
        await self.jobs.start()
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)
        duties = (
            self._keep_house(),
            self._keep_ready(),
            self.jobs.follow(),
            self.storage.watch(self.jobs.try_storing, self.blobs.try_writing),
        )
        for duty in duties:
            parts.callback(asyncio.create_task(duty).cancel)
        log.info(
            "serving",
            extra={"port": self.port, "workers": config.workers, "tls": tls is not None, "tokens": bool(tokens)},
        )

    async def stop(self, grace: float | None = None) -> None:
        """Drain: report NOT_SERVING, admit nothing, let running calls finish for ``grace`` seconds, then end.

        Jobs that are still running go back to the store and are taken up by the next server.
        """
        grace = self.config.grace if grace is None else grace
        log.info("draining", extra={"grace": grace, "running": self.admission.running})
        await self._health.enter_graceful_shutdown()
        self.admission.close()
        try:
            async with asyncio.timeout(grace):
                while self.admission.running:
                    await asyncio.sleep(_POLL)
        except TimeoutError:
            log.warning("grace period over, cancelling", extra={"running": self.admission.running})
        await self._parts.aclose()
        log.info("stopped")

    async def run(self) -> None:
        """Start, serve until SIGTERM or SIGINT, drain. A second signal ends the grace period at once."""
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopped.set)
        await self.start()
        await stopped.wait()
        stopped.clear()
        self.told_to_stop()
        drain = asyncio.create_task(self.stop())
        hurry = asyncio.create_task(stopped.wait())
        await asyncio.wait([drain, hurry], return_when=asyncio.FIRST_COMPLETED)
        if not drain.done():
            drain.cancel()
            await asyncio.wait([drain])
            await self.stop(0)
        hurry.cancel()

    def _start_http(
        self, methods: grpc.GenericRpcHandler, interceptor: CallInterceptor, certificates: Certificates | None
    ) -> None:
        try:
            from powerplan_server.http import HttpServer
        except ModuleNotFoundError as error:
            raise MissingExtra(error.name or "connectrpc", "http", "Serving HTTP") from error
        http = HttpServer(self.config, methods, interceptor, certificates)
        self.http_port = http.port
        http.start()
        self._parts.push_async_callback(http.stop)

    def _bind(self, server: grpc.aio.Server, tls: grpc.ServerCredentials | None) -> int:
        address = parse_address(self.config.listen, to_listen=True).text
        if is_served(address):
            raise InvalidInput.of("serve.listen", address, "a socket that nobody listens on", "Another server does.")
        try:
            return server.add_insecure_port(address) if tls is None else server.add_secure_port(address, tls)
        except RuntimeError as error:
            raise InvalidInput.of(
                "serve.listen", address, "an address of this machine that is not in use", f"gRPC says: {error}."
            ) from error

    def _lock_data(self) -> None:
        """Hold the data folder for this process, and find the one for uploads."""
        path = self.config.data_path
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._parts.enter_context(locked(path))
        except OSError as error:
            allowed = "a writable folder that no other server uses"
            reason = "A server uses it now." if isinstance(error, BlockingIOError) else f"{error.strerror}."
            raise InvalidInput.of("serve.data_dir", str(path), allowed, reason) from error
        try:
            self.config.blob_path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            where = str(self.config.blob_path)
            raise InvalidInput.of("serve.blob_store", where, "a writable folder", f"{error.strerror}.") from error

    def _watch_gauges(self) -> None:
        self.metrics.watch("queue_length", "Calculations waiting for a worker", lambda: self.admission.waiting)
        self.metrics.watch("queue_bytes", "Request bytes waiting", lambda: self.admission.waiting_bytes)
        self.metrics.watch("running", "Calculations running", lambda: self.admission.running)
        self.metrics.watch("workers", "Worker processes", lambda: len(self.pool.pids()))
        self.metrics.watch("jobs_unfinished", "Jobs accepted and not ended", lambda: self.jobs.unfinished)

    async def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in ("", SERVICE):
            await self._health.set(name, status)

    async def _keep_ready(self) -> None:
        """Say SERVING while calculations and storage work, and only then.

        All workers may be gone for a moment without a fault: deadlines and cancels end them, and new ones are started.
        """
        serving, lived = True, time.monotonic()
        while True:
            await asyncio.sleep(_READINESS)
            now = time.monotonic()
            lived = now if self.pool.works else lived
            if (ready := self.storage.works and now - lived < _WITHOUT_WORKERS) != serving:
                serving = ready
                states = health_pb2.HealthCheckResponse
                await self._set_health(states.SERVING if serving else states.NOT_SERVING)
                log.warning("readiness", extra={"storage": self.storage.works, "workers": self.pool.works})

    async def _keep_house(self) -> None:
        while True:
            try:
                await self.jobs.expire()
                await self.cache.prune()
                await asyncio.to_thread(self.blobs.expire)
            except Exception:
                log.exception("housekeeping failed")
            await asyncio.sleep(_HOUSEKEEPING)


def serve(config: ServeConfig) -> None:
    """Run a server in this process until SIGTERM or SIGINT.

    Raises:
        InvalidInput: as :meth:`PlannerServer.start`.
    """
    serve_in_process(PlannerServer(config))


def serve_in_process(server: PlannerServer) -> None:
    """Run a server until SIGTERM or SIGINT; soon after the grace period the process is over, whatever hangs in it."""
    watchdog = threading.Timer(server.config.grace + _LAST_RESORT, os._exit, (1,))
    watchdog.daemon = True
    server.told_to_stop = watchdog.start
    asyncio.run(server.run())


def _channel_options(config: ServeConfig) -> list[tuple[str, int]]:
    def milliseconds(seconds: float) -> int:
        return min(round(seconds * 1000), _MOST_MILLISECONDS)

    return [
        ("grpc.max_receive_message_length", config.max_message),
        ("grpc.max_metadata_size", _MAX_METADATA),
        ("grpc.max_concurrent_streams", _MAX_STREAMS),
        ("grpc.http2.bdp_probe", 0),  # or what nobody reads yet piles up, megabytes for each call
        ("grpc.max_allowed_incoming_connections", config.max_connections),
        ("grpc.server_handshake_timeout_ms", milliseconds(config.keepalive_timeout)),
        ("grpc.keepalive_time_ms", milliseconds(config.keepalive)),
        ("grpc.keepalive_timeout_ms", milliseconds(config.keepalive_timeout)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 5000),
        ("grpc.max_connection_age_ms", milliseconds(config.max_connection_age)),
        ("grpc.max_connection_age_grace_ms", milliseconds(config.max_solve_seconds)),
        ("grpc.so_reuseport", 0),
    ]
