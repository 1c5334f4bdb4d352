"""Who may call: tokens, TLS, mutual TLS; and nothing secret in the logs."""

from __future__ import annotations

import datetime as dt
import hashlib
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from planner_fakes import plan_request
from planner_running import Process, Running, failure, outcome

from powerplan.errors import InvalidInput
from powerplan_client._generated import v1
from powerplan_client._generated.planner_service_pb2_grpc import PlannerServiceStub
from powerplan_server.config import ServeConfig
from powerplan_server.security import load_tokens

TOKEN, OTHER = "token-of-alice-0123456789", "token-of-bob-9876543210"
TOKENS = f"alice:{TOKEN},bob:{OTHER}"


def _bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        _bearer("wrong"),
        _bearer(TOKEN + "x"),
        _bearer(TOKEN[:-1]),
        (("authorization", TOKEN),),
        (("authorization", f"Basic {TOKEN}"),),
        (("authorization", "Bearer"),),
    ],
)
def test_wrong_or_missing_token(start: Callable[..., Running], metadata: tuple[tuple[str, str], ...]) -> None:
    server = start(tokens=TOKENS, workers=1)
    failed = failure(lambda: server.stub.Plan(plan_request(), timeout=5, metadata=metadata))
    assert (failed.code, failed.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
    assert server.health() == 1


def test_tenants_have_their_own_uploads_jobs_and_answers(start: Callable[..., Running]) -> None:
    server = start(tokens=TOKENS, workers=1)
    alice, bob = _bearer(TOKEN), _bearer(OTHER)
    content = b"weights"
    blob = v1.BlobRef(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
    parts = [v1.UploadBlobRequest(start=v1.UploadStart(blob=blob)), v1.UploadBlobRequest(chunk=content)]
    server.stub.UploadBlob(iter(parts), timeout=5, metadata=alice)
    request = plan_request(blob=blob.sha256)
    assert server.stub.Plan(request, timeout=5, metadata=alice).profile_plan.power_watts == 7
    assert failure(lambda: server.stub.Plan(request, timeout=5, metadata=bob)).reason == "BLOB_NOT_FOUND"
    job = server.stub.SubmitPlan(v1.SubmitPlanRequest(request_id="mine"), timeout=5, metadata=alice).job
    for call in (
        lambda: server.stub.GetPlanJob(v1.GetPlanJobRequest(job_id=job.job_id), timeout=5, metadata=bob),
        lambda: server.stub.CancelPlanJob(v1.CancelPlanJobRequest(job_id=job.job_id), timeout=5, metadata=bob),
        lambda: server.stub.WatchPlanJob(v1.WatchPlanJobRequest(job_id=job.job_id), timeout=5, metadata=bob),
    ):
        assert failure(call).reason == "JOB_NOT_FOUND"
    assert not server.stub.ListPlanJobs(v1.ListPlanJobsRequest(), timeout=5, metadata=bob).jobs
    assert not server.stub.SubmitPlan(v1.SubmitPlanRequest(request_id="mine"), timeout=5, metadata=bob).existing


def test_token_is_never_logged(tmp_path: Path) -> None:
    """Neither the right ones nor a wrong one appear in the log of a server that logs everything."""
    (tmp_path / "tokens").write_text(f"# tokens\nalice:{TOKEN}\n\nbob: {OTHER}\n")
    server = Process.fake(tmp_path / "data", tmp_path / "log", f"token_file={tmp_path / 'tokens'}", "log_level=debug")
    for token in (TOKEN, OTHER, "wrong-token-0123456789"):
        metadata = (*_bearer(token), ("x-request-id", f"for-{token[9:12]}"))
        for method in (server.stub.Plan, server.stub.GetServerInfo):
            request = plan_request("fail") if method is server.stub.Plan else v1.GetServerInfoRequest()
            call = partial(method, request, timeout=5, metadata=metadata)
            assert token not in outcome(call)[1]
    assert server.kill(15) == 0
    log = (tmp_path / "log").read_text()
    assert log.count('"message": "call"') >= 6
    assert '"tenant": "alice"' in log
    assert not any(token in log for token in (TOKEN, OTHER, "wrong-token-0123456789"))


@pytest.mark.parametrize("line", ["alice", "alice:short", "al/ice:" + TOKEN, "anonymous:" + TOKEN, ":" + TOKEN])
def test_bad_token_lines_are_refused_without_showing_them(tmp_path: Path, line: str) -> None:
    (tmp_path / "tokens").write_text(f"bob:{OTHER}\n{line}\n")
    with pytest.raises(InvalidInput, match="line 2") as refused:
        load_tokens(ServeConfig(token_file=str(tmp_path / "tokens")))
    assert TOKEN not in str(refused.value)


class _Certificates:
    """A certificate authority and files made with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        (folder / "ca.pem").write_bytes(self.authority.cert_pem.bytes())

    def pair(self, name: str, *, expired: bool = False, authority: trustme.CA | None = None) -> tuple[bytes, bytes]:
        """Key and certificate chain."""
        now = dt.datetime.now(dt.UTC)
        ends = now - dt.timedelta(hours=1) if expired else now + dt.timedelta(hours=1)
        issued = (authority or self.authority).issue_cert(
            name, common_name=name, not_before=now - dt.timedelta(hours=2), not_after=ends
        )
        chain = b"".join(part.bytes() for part in issued.cert_chain_pems)
        return issued.private_key_pem.bytes(), chain

    def settings(self, **options: bool) -> dict[str, str]:
        """Settings of a server with a certificate for localhost."""
        for name, content in zip(("key", "certificate"), self.pair("localhost", **options), strict=True):
            (self.folder / name).write_bytes(content)
        return {"tls_key": str(self.folder / "key"), "tls_certificate": str(self.folder / "certificate")}

    def client(self, pair: tuple[bytes, bytes] | None = None) -> grpc.ChannelCredentials:
        """Credentials that trust the authority."""
        key, chain = pair or (None, None)
        return grpc.ssl_channel_credentials(self.authority.cert_pem.bytes(), key, chain)


@pytest.fixture
def certificates(tmp_path: Path) -> _Certificates:
    return _Certificates(tmp_path)


def _call(server: Running, credentials: grpc.ChannelCredentials | None) -> v1.PlanResponse:
    with server.connect(credentials) as channel:
        answer: v1.PlanResponse = PlannerServiceStub(channel).Plan(plan_request(), timeout=3)
        return answer


def test_tls(start: Callable[..., Running], certificates: _Certificates) -> None:
    server = start(workers=1, **certificates.settings())
    assert _call(server, certificates.client()).HasField("profile_plan")
    stranger = grpc.ssl_channel_credentials(trustme.CA().cert_pem.bytes())
    for credentials in (stranger, None):  # another authority; plain text to the TLS port
        assert failure(lambda c=credentials: _call(server, c)).code is grpc.StatusCode.UNAVAILABLE
    assert _call(server, certificates.client()).HasField("profile_plan")


def test_expired_certificate_of_the_server_is_not_trusted(
    start: Callable[..., Running], certificates: _Certificates
) -> None:
    server = start(workers=1, **certificates.settings(expired=True))
    assert failure(lambda: _call(server, certificates.client())).code is grpc.StatusCode.UNAVAILABLE


def test_mutual_tls(start: Callable[..., Running], certificates: _Certificates) -> None:
    """A certificate of the right authority is needed; its common name is the tenant."""
    server = start(workers=1, tls_client_ca=str(certificates.folder / "ca.pem"), **certificates.settings())
    good, other = (certificates.client(certificates.pair(name)) for name in ("alice", "bob"))
    first, again = _call(server, good), _call(server, good)
    assert (first.info.cache_hit, again.info.cache_hit) == (False, True)
    assert not _call(server, other).info.cache_hit
    refused = [
        certificates.client(),
        certificates.client(certificates.pair("alice", expired=True)),
        certificates.client(certificates.pair("alice", authority=trustme.CA())),
    ]
    for credentials in refused:
        assert failure(lambda c=credentials: _call(server, c)).code is grpc.StatusCode.UNAVAILABLE
    assert _call(server, good).info.cache_hit


def test_a_renewed_certificate_is_used_without_a_restart(
    start: Callable[..., Running], certificates: _Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    """Over gRPC and HTTP; files that do not fit together are refused, and the ones before them serve on."""
    server = start(workers=1, http_listen="127.0.0.1:0", **certificates.settings())
    ports = (server.server.port, server.server.http_port)
    old = [ssl.get_server_certificate(("127.0.0.1", port)) for port in ports]
    assert len(set(old)) == 1
    (certificates.folder / "key").write_bytes(certificates.pair("localhost")[0])
    assert [ssl.get_server_certificate(("127.0.0.1", port)) for port in ports] == old
    assert "the old one stays" in caplog.text
    certificates.settings()
    new = [ssl.get_server_certificate(("127.0.0.1", port)) for port in ports]
    assert len({*new, *old}) == 2
    assert _call(server, certificates.client()).HasField("profile_plan")


def test_unknown_methods_and_versions_are_unimplemented(server: Running) -> None:
    for method in (
        "/powerplan.v2.PlannerService/Plan",
        "/powerplan.v1.PlannerService/Nothing",
        "/x/y",
        "/powerplan.v1.PlannerService/plan",
    ):
        failed = failure(lambda method=method: server.channel.unary_unary(method)(b"", timeout=5))
        assert (failed.code, failed.reason) == (grpc.StatusCode.UNIMPLEMENTED, "FEATURE_UNAVAILABLE")
        assert "powerplan.v1.PlannerService" in failed.message


def test_files_that_are_no_certificates_are_named(certificates: _Certificates, start: Callable[..., Any]) -> None:
    good = certificates.settings()
    garbage = certificates.folder / "garbage.pem"
    garbage.write_text("no PEM")
    for wrong, field in (
        ({"tls_certificate": str(garbage)}, "serve.tls_certificate"),
        ({"tls_key": str(garbage)}, "serve.tls_certificate"),
        ({"tls_key": good["tls_certificate"]}, "serve.tls_certificate"),
        ({"tls_client_ca": str(garbage)}, "serve.tls_client_ca"),
    ):
        with pytest.raises(InvalidInput) as refused:
            start(workers=1, **good | wrong)
        assert refused.value.violations[0].field == field
