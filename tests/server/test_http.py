"""The service over HTTP: what gRPC answers, in JSON, to curl, Tcl and web pages."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from google.protobuf import json_format
from planner_fakes import plan_request
from planner_running import Running, failure, wait_for

from powerplan.errors import InvalidInput
from powerplan_client._generated import v1
from powerplan_server.config import ServeConfig

TOKEN = "token-of-alice-0123456789"
BEARER = {"authorization": f"Bearer {TOKEN}"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium", path="/usr/lib/chromium") or ""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server for gRPC and HTTP, with a token."""
    running = Running(
        tmp_path_factory.mktemp("data"), http_listen="127.0.0.1:0", http_origins="*", tokens=f"alice:{TOKEN}"
    )
    yield running
    running.stop()


def post(
    server: Running, method: str, body: Any, kind: str = "json", context: ssl.SSLContext | None = None, **headers: str
) -> tuple[int, bytes]:
    """Status and body of a call; a body that is not bytes goes as JSON."""
    port = server.server.http_port
    connection = (
        http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        if context is None
        else http.client.HTTPSConnection("localhost", port, timeout=20, context=context)
    )
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(
        "POST", f"/powerplan.v1.PlannerService/{method}", data, {"content-type": f"application/{kind}", **named}
    )
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def plan(what: str = "", salt: float = 1.0) -> dict[str, Any]:
    """A request for the fake Plan."""
    return {"task": {"target": {"maxMse": salt}, "network": {"graph": {"output": what}}}}


def frames(*messages: dict[str, Any]) -> bytes:
    """Messages of a stream."""
    bodies = [json.dumps(message).encode() for message in messages]
    return b"".join(struct.pack(">BI", 0, len(body)) + body for body in bodies)


def unframed(data: bytes) -> list[Any]:
    """What a stream brought."""
    found = []
    while data:
        size = struct.unpack(">I", data[1:5])[0]
        found.append(json.loads(data[5 : 5 + size]))
        data = data[5 + size :]
    return found


def test_one_answer_for_gRPC_and_http(served: Running) -> None:
    status, data = post(served, "Plan", plan(), **BEARER)
    assert status == 200
    binary, data_of_binary = post(served, "Plan", plan_request().SerializeToString(), "proto", **BEARER)
    by_grpc = served.stub.Plan(plan_request(), timeout=5, metadata=tuple(BEARER.items()))
    assert binary == 200
    assert by_grpc.info.cache_hit
    for answer in (json_format.Parse(data, v1.PlanResponse()), v1.PlanResponse.FromString(data_of_binary)):
        assert answer.profile_plan == by_grpc.profile_plan
    assert served.metric("powerplan_requests_total", method="/powerplan.v1.PlannerService/Plan", code="OK") >= 3


@pytest.mark.parametrize(
    ("what", "headers", "status"),
    [
        ("refuse 3", BEARER, 400),
        ("fail", BEARER, 500),
        ("crash SIGKILL", BEARER, 500),
        ("", {}, 401),
        ("", {"authorization": "Bearer wrong"}, 401),
    ],
)
def test_errors_are_those_of_gRPC(served: Running, what: str, headers: dict[str, str], status: int) -> None:
    given, data = post(served, "Plan", plan(what, salt=2.0), **headers)
    told = json.loads(data)
    expected = failure(lambda: served.stub.Plan(plan_request(what, salt=2.0), timeout=5, metadata=(*headers.items(),)))
    details = {detail["type"]: detail["debug"] for detail in told["details"]}
    assert given == status
    assert told["code"] == expected.code.name.lower()
    assert (told["message"] == expected.message) or "worker" in told["message"]  # which names its process
    assert details["google.rpc.ErrorInfo"]["reason"] == expected.reason
    violations = details.get("google.rpc.BadRequest", {}).get("fieldViolations", [])
    assert [v["field"] for v in violations] == [v.field for v in expected.bad.field_violations]


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        (b'{"task": {"target": {"maxMs": 1}}}', "task.target", "maxMs"),
        (b'{"task": ', "", "not JSON of a powerplan.v1.PlanRequest"),
        (b"[" * 90_000 + b"]" * 90_000, "", "not JSON"),
        (b'{"task":{"target":[' + b"{}," * 100_001 + b"{}]}}", "", "more than 100,000 elements"),
    ],
)
def test_json_that_is_no_request(served: Running, body: bytes, field: str, words: str) -> None:
    status, data = post(served, "Plan", body, **BEARER)
    violation = json.loads(data)["details"][1]["debug"]["fieldViolations"][0]
    assert (status, violation.get("field", "")) == (400, field)
    assert words in violation["description"]


def test_the_deadline_ends_the_calculation(served: Running) -> None:
    status, data = post(served, "Plan", plan("sleep 60"), connect_timeout_ms="200", **BEARER)
    assert (status, json.loads(data)["details"][0]["debug"]["reason"]) == (504, "DEADLINE_EXCEEDED")
    wait_for(lambda: served.server.admission.running == 0)


def test_a_caller_that_goes_away_ends_the_calculation(served: Running) -> None:
    with socket.create_connection(("127.0.0.1", served.server.http_port)) as connection:
        body = json.dumps(plan("sleep 60", salt=3.0))
        connection.sendall(
            f"POST /powerplan.v1.PlannerService/Plan HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
        )
        wait_for(lambda: served.server.admission.running == 1)
    wait_for(lambda: served.server.admission.running == 0)


def test_jobs_and_statistics(served: Running) -> None:
    _, data = post(served, "SubmitPlan", plan(salt=4.0), **BEARER)
    job = {"jobId": json.loads(data)["job"]["jobId"]}
    wait_for(lambda: json.loads(post(served, "GetPlanJob", job, **BEARER)[1])["job"]["state"].endswith("SUCCEEDED"))
    assert post(served, "DeletePlanJob", job, **BEARER) == (200, b"{}")
    assert post(served, "DeletePlanJob", job, **BEARER)[0] == 404
    _, data = post(served, "GetStatistics", {}, **BEARER)
    methods = {told["method"]: told for told in json.loads(data)["methods"]}
    assert methods["PlanJob"]["solve"] == {"count": "1", "seconds": 0.5}
    assert methods["DeletePlanJob"]["success"]["count"] == "1"


def test_streams_in_both_directions(served: Running) -> None:
    status, data = post(served, "Simulate", frames({}), "connect+json", **BEARER)
    *messages, end = unframed(data)
    assert (status, end) == (200, {})
    assert [message["estimate"]["drawsDone"] for message in messages[:3]] == ["1", "2", "3"]
    content = b"weights over http"
    blob = {"sha256": hashlib.sha256(content).hexdigest(), "sizeBytes": str(len(content))}
    chunk = {"chunk": base64.b64encode(content).decode()}
    for _ in range(2):  # the second time it is there already, and the chunk is not asked for
        status, data = post(served, "UploadBlob", frames({"start": {"blob": blob}}, chunk), "connect+json", **BEARER)
        assert unframed(data)[0]["status"]["complete"]
    status, data = post(served, "UploadBlob", frames(chunk), "connect+json", **BEARER)
    assert unframed(data)[-1]["error"]["code"] == "invalid_argument"


def test_a_body_is_not_taken_from_strangers_nor_beyond_the_limit(served: Running) -> None:
    body = b'{"task":"' + b"a" * served.config.max_message + b'"}'
    assert post(served, "Plan", body)[0] == 401
    status, data = post(served, "Plan", body, **BEARER)
    assert (status, json.loads(data)["code"], "details" in json.loads(data)) == (429, "resource_exhausted", False)


@pytest.mark.parametrize("kind", ["json", "proto", "connect+json"])
@pytest.mark.parametrize("method", ["Unplan", "plan", "", "../powerplan.v2.PlannerService/Plan"])
def test_an_unknown_method_is_refused_as_over_gRPC(served: Running, method: str, kind: str) -> None:
    status, data = post(served, method, frames({}) if "+" in kind else b"", kind, **BEARER)
    error = unframed(data)[-1]["error"] if "+" in kind else json.loads(data)
    assert (status, error["code"]) == (200 if "+" in kind else 501, "unimplemented")
    assert error["details"][0]["debug"]["reason"] == "FEATURE_UNAVAILABLE"
    assert method.rpartition("/")[2] in error["message"]
    assert "This server serves powerplan.v1.PlannerService" in error["message"]
    assert served.metric("powerplan_requests_total", method="unknown", code="UNIMPLEMENTED") >= 1


def test_strangers_are_not_told_which_methods_there_are(served: Running) -> None:
    """Once, since each refusal of a stranger takes twice as long as the one before."""
    refused, data = post(served, "Unplan", b"{}")
    assert (refused, json.loads(data)["code"]) == (401, "unauthenticated")


def test_a_message_that_does_not_arrive_ends_its_call(start: Callable[..., Running]) -> None:
    server = start(workers=1, http_listen="127.0.0.1:0", message_timeout=0.2)
    with socket.create_connection(("127.0.0.1", server.server.http_port), timeout=10) as connection:
        head = "POST /powerplan.v1.PlannerService/Plan HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        connection.sendall(f"{head}content-length: 100\r\n\r\n{{".encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 504 ")


def test_connections_are_bounded_and_end_if_they_say_nothing(start: Callable[..., Running]) -> None:
    """One beyond the limit is closed at once; half a request is not waited for; then there is room again."""
    server = start(workers=1, http_listen="127.0.0.1:0", max_connections=3, keepalive_timeout=0.5)
    address = ("127.0.0.1", server.server.http_port)
    held = [socket.create_connection(address, timeout=5) for _ in range(3)]
    held[0].sendall(b"POST /powerplan.v1.PlannerService/Plan HT")
    with socket.create_connection(address, timeout=5) as another:
        assert another.recv(1) == b""
    assert [connection.recv(1) for connection in held[1:]] == [b"", b""]
    assert b"HTTP/1.1 200" not in held[0].recv(1000)
    for connection in held:
        connection.close()
    wait_for(lambda: post(server, "Plan", plan())[0] == 200)


def test_stopping_hangs_up_on_strangers(start: Callable[..., Running], caplog: pytest.LogCaptureFixture) -> None:
    server = start(workers=1, http_listen="127.0.0.1:0", max_connections=20)
    held = [socket.create_connection(("127.0.0.1", server.server.http_port), timeout=5) for _ in range(10)]
    for connection in held:
        connection.sendall(b"POST /powerplan.v1.PlannerService/Plan HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{")
    post(server, "Plan", plan())
    server.stop()
    for connection in held:
        connection.close()
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_what_else_http_has_holds_no_connection(
    start: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    """HTTP/2 without a call, with and without one before; a web socket."""
    server = start(workers=1, http_listen="127.0.0.1:0", keepalive_timeout=0.2)
    head = "GET /powerplan.v1.PlannerService/Plan HTTP/1.1\r\nhost: x\r\n"
    upgrade = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n"
    web_socket = (
        "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: eA==\r\n\r\n"
    )
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
    for sent in (preface, f"{head}{upgrade}".encode(), f"{head}{web_socket}".encode()):
        with socket.create_connection(("127.0.0.1", server.server.http_port), timeout=5) as connection:
            connection.sendall(sent)
            while connection.recv(10_000):
                pass
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.slow
def test_a_watcher_is_not_cut_off(start: Callable[..., Running]) -> None:
    """It says nothing for longer than a direct call may take."""
    server = start(
        workers=1, http_listen="127.0.0.1:0", max_solve_seconds=0.05, message_timeout=0.1, keepalive_timeout=0.2
    )
    job = server.stub.SubmitPlan(v1.SubmitPlanRequest(task=plan_request("sleep 1.5").task), timeout=5).job
    status, data = post(server, "WatchPlanJob", frames({"jobId": job.job_id}), "connect+json")
    assert (status, unframed(data)[-2]["state"]) == (200, "PLAN_JOB_STATE_SUCCEEDED")


def test_tls_as_gRPC_has_it(start: Callable[..., Running], tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    files = {"tls_certificate": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    certificate.cert_chain_pems[0].write_to_path(str(files["tls_certificate"]))
    certificate.private_key_pem.write_to_path(str(files["tls_key"]))
    server = start(workers=1, http_listen="127.0.0.1:0", **{name: str(path) for name, path in files.items()})
    context = ssl.create_default_context()
    authority.configure_trust(context)
    assert post(server, "Plan", plan(), context=context)[0] == 200


@pytest.mark.parametrize(
    "settings",
    [
        {"http_listen": "0.0.0.0:8080"},
        {"http_listen": "unix:/tmp/x"},
        {"http_listen": "localhost:1", "tls_certificate": "a", "tls_key": "b", "tls_client_ca": "c"},
    ],
)
def test_settings_that_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(InvalidInput, match="http_listen"):
        ServeConfig(**settings)  # type: ignore[arg-type]


# Callers that may not be on a machine. Each is told by name where it is missing.


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_curl_plans(served: Running) -> None:
    url = f"http://127.0.0.1:{served.server.http_port}/powerplan.v1.PlannerService/Plan"
    headers = ["-H", "content-type: application/json", "-H", f"authorization: Bearer {TOKEN}"]
    command = ["curl", "--silent", "--fail-with-body", *headers, "--data", json.dumps(plan()), url]
    done = subprocess.run(command, capture_output=True, check=True, timeout=20)
    assert json.loads(done.stdout)["profilePlan"]["powerWatts"] > 0


@pytest.mark.skipif(not shutil.which("tclsh"), reason="tclsh is not installed")
def test_tcl_plans(served: Running, tmp_path: Path) -> None:
    script = tmp_path / "plan.tcl"
    script.write_text(
        f"""package require http
set call [http::geturl http://127.0.0.1:{served.server.http_port}/powerplan.v1.PlannerService/Plan \\
  -type application/json -query {{{json.dumps(plan())}}} -headers {{Authorization {{Bearer {TOKEN}}}}}]
puts [http::ncode $call]
puts [http::data $call]
"""
    )
    done = subprocess.run(["tclsh", str(script)], capture_output=True, check=True, timeout=20)
    status, answer = done.stdout.splitlines()
    assert status == b"200"
    assert json.loads(answer)["profilePlan"]["powerWatts"] > 0


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")
def test_a_web_page_plans(served: Running, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        f"""<p id=answer></p><script>
fetch("http://127.0.0.1:{served.server.http_port}/powerplan.v1.PlannerService/Plan", {{
  method: "POST", body: JSON.stringify({json.dumps(plan())}),
  headers: {{"content-type": "application/json", authorization: "Bearer {TOKEN}"}}
}}).then(async answer => {{
  document.getElementById("answer").textContent = answer.headers.get("x-request-id").length + " " + answer.status
}})
</script>"""
    )
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--dump-dom", "--virtual-time-budget=10000", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert '<p id="answer">16 200</p>' in done.stdout
