"""Settings keep secrets; statuses are parsed without the package that ships their messages."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from planner_server import status_bytes

import powerplan_client as pc
from powerplan_client.rpc_status import StatusDetails, parse_status
from powerplan_client.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


def test_the_environment_names_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POWERPLAN_TARGET", raising=False)
    with pytest.raises(pc.InvalidRequest, match="POWERPLAN_TARGET"):
        Settings()
    monkeypatch.setenv("POWERPLAN_TARGET", "host:1")
    assert Settings().target == "host:1"
    assert Settings(target="other:2").target == "other:2"


@pytest.mark.parametrize(
    ("target", "plain"),
    [
        ("localhost:1", True),
        ("127.0.0.1:1", True),
        ("[::1]:1", True),
        ("unix:/tmp/socket", True),
        ("dns:///127.0.0.1:1", True),
        ("example.org:1", False),
        ("10.0.0.1:1", False),
        ("localhost.example.org:1", False),
    ],
)
def test_plain_text_is_for_loopback_unless_asked_for(target: str, plain: bool) -> None:
    assert Settings(target=target).is_plain is plain
    assert Settings(target=target, root_certificates=b"pem").is_plain is False
    assert Settings(target=target, insecure=True).is_plain is True


def test_a_token_is_not_sent_in_plain_text_nor_shown() -> None:
    with pytest.raises(pc.InvalidRequest, match="plain text") as caught:
        Settings(target="example.org:1", insecure=True, token="secret")
    assert "secret" not in str(caught.value)
    settings = Settings(target="example.org:1", token="secret", client_certificate=b"secret", client_key=b"secret")
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    "fields",
    [
        {"client_key": b"k"},
        {"insecure": True, "root_certificates": b"c"},
        {"token": "a\nb"},
        {"token": ""},
        {"timeout": 0},
    ],
)
def test_settings_that_contradict_are_refused(fields: dict) -> None:
    with pytest.raises(pc.InvalidRequest):
        Settings(target="localhost:1", **fields)


def test_a_status_is_parsed_as_the_official_messages_write_it() -> None:
    rpc = pytest.importorskip("google.rpc.error_details_pb2", reason="only checks against the official messages")
    from google.rpc import status_pb2

    status = status_pb2.Status(code=8, message="m")
    info = rpc.ErrorInfo(reason="QUEUE_FULL", domain="powerplan", metadata={"a": "b"})
    bad = rpc.BadRequest(field_violations=[rpc.BadRequest.FieldViolation(field="f", description="d")])
    retry = rpc.RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)
    for detail in (info, bad, retry, rpc.DebugInfo(detail="other")):
        status.details.add().Pack(detail)
    details = StatusDetails(reason="QUEUE_FULL", metadata={"a": "b"}, violations=(("f", "d"),), retry_after=1.5)
    assert parse_status(status.SerializeToString()) == details
    assert parse_status(status_bytes("X", [("f", "d")])).violations == (("f", "d"),)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_status_give_empty_details(data: bytes) -> None:
    assert isinstance(parse_status(data), StatusDetails)


def test_the_client_imports_neither_torch_nor_cvxpy_nor_the_engine() -> None:
    code = (
        "import sys, powerplan_client; "
        "bad = {'torch', 'cvxpy', 'scipy', 'powerplan', 'powerplan_server', 'google.rpc'} & set(sys.modules); "
        "sys.exit(' '.join(bad) or 0)"
    )
    assert subprocess.run([sys.executable, "-W", "error", "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_the_client_installs_alone_and_starts_quickly(tmp_path: Path) -> None:
    """Into an empty environment: three dependencies, and an import in under 0.4 s of a processor."""
    venv.create(tmp_path / "venv", with_pip=False)  # pip of this environment serves it
    python = tmp_path / "venv" / "bin" / "python"
    quiet = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONPATH": ""}
    pip = [sys.executable, "-m", "pip", "--python", python]
    subprocess.run([*pip, "install", "-q", ROOT / "client"], check=True, env=quiet)
    listed = subprocess.run([*pip, "list", "--format=freeze"], check=True, env=quiet, capture_output=True)
    names = {line.partition("==")[0] for line in listed.stdout.decode().split()}
    assert names - {"typing_extensions"} == {"powerplan-client", "numpy", "grpcio", "protobuf"}
    code = "import time; t = time.process_time(); import powerplan_client; print(time.process_time() - t)"
    times = [
        float(subprocess.run([python, "-c", code], check=True, env=quiet, capture_output=True).stdout) for _ in range(4)
    ]
    assert min(times) < 0.4
