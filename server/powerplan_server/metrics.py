"""Prometheus metrics, in a registry of the server's own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_wsgi_app

from powerplan.errors import InvalidInput
from powerplan_client.addresses import parse_address
from powerplan_server.statistics import Statistics

_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000)

_MOST_THREADS = 8  # answers to who asks for metrics, at once


class Metrics:
    """Everything the server counts and times; of each tenant in ``statistics``."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.statistics = Statistics()
        self.registry.register(self.statistics)
        self.requests = Counter("powerplan_requests", "Calls answered", ["method", "code"], registry=self.registry)
        self.latency = Histogram(
            "powerplan_request_seconds", "Time to answer", ["method"], buckets=_SECONDS, registry=self.registry
        )
        self.queue_time = Histogram(
            "powerplan_queue_seconds", "Time waiting for a worker", buckets=_SECONDS, registry=self.registry
        )
        self.solve_time = Histogram(
            "powerplan_solve_seconds", "Time calculating", ["method"], buckets=_SECONDS, registry=self.registry
        )
        self.verify_time = Histogram(
            "powerplan_verify_seconds", "Time simulating plans to verify them", buckets=_SECONDS, registry=self.registry
        )
        self.cache = Counter("powerplan_cache", "Answers looked up in the cache", ["result"], registry=self.registry)
        self.killed = Counter("powerplan_workers_killed", "Workers that ended early", ["why"], registry=self.registry)
        self.refused = Counter("powerplan_unauthenticated", "Calls without a valid token", registry=self.registry)
        self.jobs = Counter("powerplan_jobs", "Jobs ended", ["state"], registry=self.registry)
        self.uploaded = Counter("powerplan_uploaded_bytes", "Bytes of uploads received", registry=self.registry)

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """A gauge that is read when the endpoint is."""
        Gauge(f"powerplan_{name}", text, registry=self.registry).set_function(value)

    def serve(self, address: str) -> tuple[WSGIServer, int]:
        """Serve the endpoint on ``HOST:PORT`` from a thread; returns the HTTP server and its port.

        Raises:
            InvalidInput: the address is not of this machine, or in use.
        """
        where = parse_address(address, to_listen=True)
        kind = type("_Server", (_BoundedServer,), {"address_family": _family(where.hosts[0])})
        try:
            server: WSGIServer = make_server(
                where.hosts[0], where.ports[0], make_wsgi_app(self.registry), kind, _Handler
            )
        except OSError as error:
            allowed = "an address of this machine that is not in use"
            raise InvalidInput.of("serve.metrics_listen", address, allowed, f"{error.strerror}.") from error
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        return server, server.server_port


class _Handler(WSGIRequestHandler):
    """Answers without a log; gives up who does not say what he wants."""

    timeout = 10.0

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the endpoint is asked every few seconds."""


class _BoundedServer(ThreadingMixIn, WSGIServer):
    """A thread per request, and no more than a few: further connections are closed."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, *args: Any, **named: Any) -> None:
        self._free = threading.BoundedSemaphore(_MOST_THREADS)
        super().__init__(*args, **named)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread if one is free."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, then free the thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: the other side went away, or said nothing in time."""


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
