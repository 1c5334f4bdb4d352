"""OpenTelemetry traces, when an endpoint is set and the extra ``powerplan-crossbar[otel]`` is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from powerplan.errors import MissingExtra
from powerplan_client.addresses import Address
from powerplan_server.workers.protocol import Span


class Tracer:
    """Spans around calls and calculations; does nothing without an endpoint.

    Args:
        endpoint: URL of an OTLP/HTTP collector, for example ``http://collector:4318/v1/traces``; empty = off.
        version: the server's version, told with every span.
        exporter: a span exporter instead of the one for ``endpoint``.
    """

    def __init__(self, endpoint: str, version: str, exporter: Any = None) -> None:
        self._provider: Any = None
        if not endpoint and exporter is None:
            return
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise MissingExtra("opentelemetry-sdk", "otel", "Exporting traces") from error
        resource = Resource.create({"service.name": "powerplan", "service.version": version})
        self._provider = TracerProvider(resource=resource)
        if exporter is None:
            exporter = OTLPSpanExporter(endpoint=endpoint, session=_session(endpoint))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("powerplan_server")

    @contextmanager
    def span(
        self, name: str, carrier: Mapping[str, str] | None = None, *, called: bool = False, **attributes: str
    ) -> Iterator[None]:
        """A span within the one at hand, or within that of a ``carrier`` (its ``traceparent``).

        Args:
            called: it is a call of the service.
        """
        if self._provider is None:
            yield
            return
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = TraceContextTextMapPropagator().extract(dict(carrier)) if carrier is not None else None
        kind = SpanKind.SERVER if called else SpanKind.INTERNAL
        with self._tracer.start_as_current_span(name, context=context, kind=kind, attributes=attributes):
            yield

    def carrier(self) -> dict[str, str]:
        """What leads from elsewhere, or from later, to the span at hand."""
        carrier: dict[str, str] = {}
        if self._provider is not None:
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

            TraceContextTextMapPropagator().inject(carrier)
        return carrier

    @property
    def on_trace(self) -> Callable[[list[Span]], None] | None:
        """What takes the parts of a worker's work into the span at hand; None without an endpoint."""
        return None if self._provider is None else self._worked

    def _worked(self, spans: list[Span]) -> None:
        from opentelemetry.trace import set_span_in_context

        whole, *parts = spans
        outer = self._tracer.start_span(whole.name, start_time=whole.began)
        for part in parts:
            inner = self._tracer.start_span(part.name, context=set_span_in_context(outer), start_time=part.began)
            inner.end(part.ended)
        outer.end(whole.ended)

    def close(self) -> None:
        """Send what is left."""
        if self._provider is not None:
            self._provider.shutdown()


def _session(endpoint: str) -> Any:
    """HTTP to the collector; to this machine never through the proxy of the environment, to which "localhost" is its
    own."""
    import requests

    session = requests.Session()
    host = urlsplit(endpoint).hostname or ""
    session.trust_env = not Address(text=host, hosts=(host,)).is_this_machine
    return session
