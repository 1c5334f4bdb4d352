"""Running a server: draining, metrics, traces, logs, reflection, and errors with stable reasons."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from planner_fakes import plan_request
from planner_running import Process, Running, failure, wait_for

from powerplan.jobs.processes import birth
from powerplan_client._generated import v1
from powerplan_server.errors import Reason
from powerplan_server.tracing import Tracer


def test_drain_finishes_what_runs_and_admits_nothing(tmp_path: Path) -> None:
    """SIGTERM: health says NOT_SERVING, new calls are sent away, the running one ends well, exit code 0."""
    server = Process.fake(tmp_path / "data", tmp_path / "log", "workers=1", "grace=20")
    health = health_pb2_grpc.HealthStub(server.channel)
    running = server.stub.Plan.future(plan_request("sleep 1.5"), timeout=20)
    time.sleep(0.3)
    server.process.send_signal(signal.SIGTERM)
    wait_for(lambda: health.Check(health_pb2.HealthCheckRequest(), timeout=2).status == 2)
    failed = failure(lambda: server.stub.Plan(plan_request(salt=2.0), timeout=5))
    assert (failed.code, failed.reason) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
    assert failed.retry.HasField("retry_delay")
    assert running.result(10).HasField("profile_plan")
    assert server.process.wait(10) == 0
    server.channel.close()


def test_grace_period_is_the_limit(tmp_path: Path) -> None:
    """A call that runs longer is cancelled, a job goes back to the store; the exit code is still 0."""
    server = Process.fake(tmp_path / "data", tmp_path / "log", "workers=2", "grace=0.5")
    running = server.stub.Plan.future(plan_request("burn 60"), timeout=60)
    job = server.stub.SubmitPlan(v1.SubmitPlanRequest(task=plan_request("sleep 1").task), timeout=5).job
    wait_for(lambda: server.stub.GetPlanJob(v1.GetPlanJobRequest(job_id=job.job_id), timeout=5).job.state == 2)
    began = time.monotonic()
    assert server.kill(signal.SIGTERM) == 0
    assert time.monotonic() - began < 5
    assert running.code() is not grpc.StatusCode.OK
    second = Process.fake(tmp_path / "data", tmp_path / "log")
    watch = second.stub.WatchPlanJob(v1.WatchPlanJobRequest(job_id=job.job_id), timeout=20)
    assert list(watch)[-1].state == v1.PlanJobState.PLAN_JOB_STATE_SUCCEEDED
    assert second.kill(signal.SIGTERM) == 0


def test_metrics_endpoint(start: Callable[..., Running]) -> None:
    server = start(workers=1, metrics_listen="127.0.0.1:0")
    server.stub.Plan(plan_request(), timeout=5)
    server.stub.Plan(plan_request(), timeout=5)
    failure(lambda: server.stub.Plan(plan_request("crash SIGKILL"), timeout=5))
    failure(lambda: server.channel.unary_unary("/random/" + "x" * 50)(b"", timeout=5))
    address = f"http://127.0.0.1:{server.server.metrics_port}/metrics"
    unknown = 'powerplan_requests_total{code="UNIMPLEMENTED",method="unknown"} 1.0'
    text = ""
    for _ in range(50):  # a call is counted a moment after it is answered
        with urllib.request.urlopen(address, timeout=5) as answer:
            text = answer.read().decode()
        if unknown in text:
            break
        time.sleep(0.1)
    plan = 'method="/powerplan.v1.PlannerService/Plan"'
    for line in (
        f'powerplan_requests_total{{code="OK",{plan}}} 2.0',
        f'powerplan_requests_total{{code="INTERNAL",{plan}}} 1.0',
        unknown,
        f"powerplan_request_seconds_count{{{plan}}} 3.0",
        'powerplan_solve_seconds_sum{method="Plan"} 0.5',
        "powerplan_verify_seconds_sum 0.25",
        'powerplan_cache_total{result="hit"} 1.0',
        'powerplan_workers_killed_total{why="died"} 1.0',
        "powerplan_queue_length 0.0",
        "powerplan_queue_seconds_count 2.0",
    ):
        assert line in text


def test_statistics_of_a_tenant(start: Callable[..., Running]) -> None:
    """Counts and seconds by method and part, of the tenant that asks alone; the operator finds all tenants' metrics."""
    server = start(workers=2, tokens=f"alice:{'a' * 20},bob:{'b' * 20}")
    alice, bob = ((("authorization", f"Bearer {letter * 20}"),) for letter in "ab")
    for _ in range(2):
        server.stub.Plan(plan_request(), timeout=5, metadata=alice)
    failure(lambda: server.stub.Plan(plan_request("refuse 1"), timeout=5, metadata=alice))
    job = server.stub.SubmitPlan(v1.SubmitPlanRequest(task=plan_request().task), timeout=5, metadata=alice).job
    list(server.stub.WatchPlanJob(v1.WatchPlanJobRequest(job_id=job.job_id), timeout=10, metadata=alice))
    statistics = {}

    def counted() -> bool:  # a call is counted a moment after it is answered
        answer = server.stub.GetStatistics(v1.GetStatisticsRequest(), timeout=5, metadata=alice)
        statistics.update({method.method: method for method in answer.methods})
        return "WatchPlanJob" in statistics

    wait_for(counted)
    plan = statistics["Plan"]
    assert (plan.success.count, plan.failure.count, plan.cache_hit.count, plan.cache_miss.count) == (2, 1, 1, 2)
    assert (plan.queue.count, plan.solve.count, plan.solve.seconds, plan.verify.seconds) == (2, 1, 0.5, 0.25)
    jobs = statistics["PlanJob"]
    assert (jobs.success.count, jobs.queue.count, jobs.solve.seconds) == (1, 1, 0.5)
    assert jobs.success.seconds > jobs.queue.seconds > 0
    assert not server.stub.GetStatistics(v1.GetStatisticsRequest(), timeout=5, metadata=bob).methods
    labels = {"tenant": "alice", "method": "Plan"}
    assert server.metric("powerplan_tenant_calls_total", part="cache_hit", **labels) == 1
    assert server.metric("powerplan_tenant_seconds_total", part="solve", **labels) == 0.5


def test_logs_are_json_with_the_request_id(tmp_path: Path) -> None:
    server = Process.fake(tmp_path / "data", tmp_path / "log")
    server.stub.Plan(plan_request(), timeout=5, metadata=(("x-request-id", "trace-me"),))
    failure(lambda: server.stub.Plan(plan_request("fail"), timeout=5, metadata=(("x-request-id", "bad id!"),)))
    server.kill(signal.SIGTERM)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    calls = [line for line in lines if line["message"] == "call" and line["method"].endswith("/Plan")]
    assert [(call["code"], call["reason"]) for call in calls] == [("OK", ""), ("INTERNAL", "INTERNAL")]
    assert calls[0]["request_id"] == "trace-me"
    assert len(calls[1]["request_id"]) == 16
    traces = [line for line in lines if "secret detail" in line.get("trace", "")]
    assert [line["request_id"] for line in traces] == [calls[1]["request_id"]]


def test_request_id_comes_back(server: Running) -> None:
    _, call = server.stub.Plan.with_call(plan_request(), timeout=5, metadata=(("x-request-id", "abc"),))
    assert ("x-request-id", "abc") in [tuple(pair) for pair in call.trailing_metadata()]
    failed = failure(lambda: server.stub.Plan(plan_request("fail"), timeout=5, metadata=(("x-request-id", "abc"),)))
    assert failed.trailing["x-request-id"] == failed.info.metadata["request_id"] == "abc"
    assert failed.info.domain == "powerplan"


def test_reasons_are_those_of_the_contract() -> None:
    contract = {name.removeprefix("ERROR_REASON_") for name in v1.ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118
    assert set(Reason) == contract
    text = (Path(__file__).parents[2] / "docs" / "service.md").read_text(encoding="utf-8")
    assert not [reason for reason in Reason if f"`{reason}`" not in text]


def test_health_of_each_service(server: Running) -> None:
    assert server.health() == server.health("powerplan.v1.PlannerService") == 1
    assert failure(lambda: server.health("unknown")).code is grpc.StatusCode.NOT_FOUND


def test_client_made_from_reflection_plans(server: Running) -> None:
    """All that a caller needs to know it can ask the server: no generated code is used."""
    database = ProtoReflectionDescriptorDatabase(server.channel)
    assert "powerplan.v1.PlannerService" in database.get_services()
    pool = descriptor_pool.DescriptorPool(database)
    method = pool.FindServiceByName("powerplan.v1.PlannerService").FindMethodByName("Plan")
    request = GetMessageClass(method.input_type)()
    request.task.target.max_nmse = 0.5
    answer = server.channel.unary_unary(
        "/powerplan.v1.PlannerService/Plan",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )(request, timeout=5)
    assert answer.profile_plan.power_watts > 0


def test_server_info_has_the_limits_in_force(server: Running) -> None:
    info = server.stub.GetServerInfo(v1.GetServerInfoRequest(), timeout=5)
    assert info.limits.max_message_bytes == 4 * 2**20
    assert info.limits.max_nodes == server.config.max_nodes
    assert info.limits.max_run_seconds == server.config.max_solve_seconds


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_traces_to_this_machine_take_no_proxy(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would connect to its own loopback, and could read what it is sent."""
    asked: list[str] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    collector, proxy = (HTTPServer(("127.0.0.1", 0), Collector) for _ in range(2))
    for server in (collector, proxy):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.server_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    tracer = Tracer(f"http://{host}:{collector.server_port}/v1/traces", "1")
    with tracer.span("call"):
        pass
    tracer.close()
    for server in (collector, proxy):
        server.shutdown()
        server.server_close()
    assert asked == ["/v1/traces"], "a proxy is asked for a whole URL"


def test_spans_of_a_call() -> None:
    """A span for the call, child of the caller's, and one inside for the calculation."""
    exporter = InMemorySpanExporter()
    tracer = Tracer("", "1", exporter=exporter)
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with tracer.span("call", carrier={"traceparent": parent}, called=True), tracer.span("calculate", method="Plan"):
        pass
    tracer.close()
    inner, outer = exporter.get_finished_spans()
    assert (outer.name, inner.name) == ("call", "calculate")
    assert inner.parent is not None
    assert outer.parent is not None
    assert inner.parent.span_id == outer.context.span_id
    assert f"{outer.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
    assert threading.active_count() < 50


def test_a_trace_goes_on_into_the_worker(start: Callable[..., Running]) -> None:
    """The parts of a worker's work stand under the caller's span; those of a job under its submission."""
    spans: list[Span] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                spans.extend(span for scope in resource.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    collector = HTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    server = start(workers=1, otel_endpoint=f"http://127.0.0.1:{collector.server_port}/v1/traces")
    parents = {name: f"00-{name:0>32}-b7ad6b7169203331-01" for name in ("a1", "b2")}
    server.stub.Plan(plan_request(), timeout=5, metadata=(("traceparent", parents["a1"]),))
    submission = v1.SubmitPlanRequest(task=plan_request().task)
    job = server.stub.SubmitPlan(submission, timeout=5, metadata=(("traceparent", parents["b2"]),)).job
    list(server.stub.WatchPlanJob(v1.WatchPlanJobRequest(job_id=job.job_id), timeout=10))
    server.stop()
    collector.shutdown()
    collector.server_close()
    by_id = {span.span_id: span for span in spans}

    def way(span: Span) -> list[str]:
        above = by_id.get(span.parent_span_id)
        return [span.name.partition(" ")[0].rpartition("/")[2], *(way(above) if above is not None else [])]

    acting = {span.trace_id.hex().lstrip("0"): span for span in spans if span.name == "acting"}
    assert way(acting["a1"]) == ["acting", "worker", "calculate", "Plan"]
    assert way(acting["b2"]) == ["acting", "worker", "job", "SubmitPlan"]
    reading = next(span for span in spans if span.name == "reading")
    assert reading.start_time_unix_nano <= reading.end_time_unix_nano == acting["a1"].start_time_unix_nano


def test_metrics_take_few_threads(start: Callable[..., Running]) -> None:
    """Connections that say nothing hold at most a few threads; when they leave, the next one is answered."""
    server = start(metrics_listen="127.0.0.1:0")
    with contextlib.ExitStack() as silent:
        for _ in range(50):
            silent.enter_context(socket.create_connection(("127.0.0.1", server.server.metrics_port)))
        time.sleep(0.3)
        assert 1 <= sum("process_request" in thread.name for thread in threading.enumerate()) <= 8
    wait_for(lambda: b"powerplan_running" in _ask(server.server.metrics_port))


def _ask(port: int) -> bytes:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=2) as answer:
            return bytes(answer.read())
    except OSError:
        return b""


def test_stopping_does_not_wait_for_a_worker_that_hangs(tmp_path: Path) -> None:
    """Stopped workers and a stopped fork server: nobody answers, and SIGTERM still ends all of it."""
    server = Process.fake(tmp_path / "data", tmp_path / "log", "workers=2", "grace=0.5")
    children = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and _parent(p) == server.process.pid]
    grandchildren = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and _parent(p) in children]
    assert len(grandchildren) >= 2
    for pid in (*children, *grandchildren):
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    assert server.kill(signal.SIGTERM) in (0, 1)
    assert time.monotonic() - began < 15
    wait_for(lambda: not any(birth(pid) for pid in grandchildren))
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _parent(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0
