"""Prometheus metrics, in a registry of the server's own."""

from __future__ import annotations

from collections.abc import Callable
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from powerplan.errors import InvalidInput
from powerplan_client.addresses import parse_address

_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000)


class Metrics:
    """Everything the server counts and times."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
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
        try:
            server, _ = start_http_server(where.ports[0], addr=where.hosts[0], registry=self.registry)
        except OSError as error:
            allowed = "an address of this machine that is not in use"
            raise InvalidInput.of("serve.metrics_listen", address, allowed, f"{error.strerror}.") from error
        return server, server.server_port
