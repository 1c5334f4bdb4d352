"""What answers is no planning server, or not in this way: the error says why, and what to do."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import trustme
from planner_server import FakePlanner, status_bytes

import powerplan_client as pc
from powerplan_client._generated.planner_service_pb2_grpc import add_PlannerServiceServicer_to_server

AUTHORITY = trustme.CA()
TRUSTED = AUTHORITY.cert_pem.bytes()


def pair() -> tuple[bytes, bytes]:
    certificate = AUTHORITY.issue_cert("localhost", "127.0.0.1")
    return certificate.private_key_pem.bytes(), b"".join(part.bytes() for part in certificate.cert_chain_pems)


@contextmanager
def tls_server(*, client_certificates: bool = False) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    add_PlannerServiceServicer_to_server(FakePlanner(), server)
    roots = TRUSTED if client_certificates else None
    port = server.add_secure_port(
        "127.0.0.1:0", grpc.ssl_server_credentials([pair()], roots, require_client_auth=client_certificates)
    )
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


@contextmanager
def http_server() -> Iterator[str]:
    class Quiet(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def other_service() -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def said(address: str, **options: Any) -> str:
    with pc.PlannerClient(address, retries=False, **options) as client, pytest.raises(pc.PlannerError) as caught:
        client.server_info(timeout=5)
    return str(caught.value)


def test_tls_and_plain_text_do_not_meet(address: str) -> None:
    assert "does not speak TLS" in said(address, root_certificates=TRUSTED)
    with tls_server() as secure:
        assert "If it speaks TLS, give root_certificates" in said(secure)
        assert "signed by a trusted authority" in said(secure, insecure=False)
        assert "certificates cannot be used" in said(secure, root_certificates=b"no PEM")
        with pc.PlannerClient(secure, root_certificates=TRUSTED) as client:
            assert client.server_info().server_version
    with tls_server(client_certificates=True) as mutual:
        assert "give client_certificate" in said(mutual, root_certificates=TRUSTED)
        key, chain = pair()
        with pc.PlannerClient(mutual, root_certificates=TRUSTED, client_certificate=chain, client_key=key) as client:
            assert client.server_info().server_version


def test_other_servers_are_no_planning_servers() -> None:
    with http_server() as address:
        assert "no planning server" in said(address)
    with other_service() as address:
        assert "no planning server" in said(address)


def test_nobody_is_there(tmp_path: Path) -> None:
    with socket.socket() as bound:  # and does not listen
        bound.bind(("127.0.0.1", 0))
        assert "powerplan serve" in said(f"127.0.0.1:{bound.getsockname()[1]}")
    assert "no such socket" in said(f"unix:{tmp_path / 'no.sock'}")
    assert "host name has no address" in said("planner.invalid:50051", insecure=True)


DYING = """
import os, sys, grpc
from concurrent.futures import ThreadPoolExecutor
def die(request, context):
    os._exit(1)
server = grpc.server(ThreadPoolExecutor(1))
handlers = {"Plan": grpc.unary_unary_rpc_method_handler(die)}
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("powerplan.v1.PlannerService", handlers),))
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
"""


def test_a_server_that_dies_during_a_call(weights: list[np.ndarray], inputs: np.ndarray) -> None:
    with subprocess.Popen([sys.executable, "-c", DYING], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with pc.PlannerClient(f"127.0.0.1:{port}", retries=False) as client:
            with pytest.raises(pc.Unavailable, match="broke during the call"):
                client.plan(weights, None, inputs, pc.MaxNMSE(0.1))
            process.wait()
            # a call that comes before the client has seen the end breaks like the first one
            for _ in range(5):
                with pytest.raises(pc.Unavailable, match=r"broke during the call|Nothing listens") as caught:
                    client.plan(weights, None, inputs, pc.MaxNMSE(0.1))
                if "Nothing listens" in str(caught.value):
                    break
            assert "Nothing listens" in str(caught.value)


EXHAUSTED = {
    "out of memory": ("OUT_OF_MEMORY", {}, (), 1),
    "over the quota": ("QUOTA_EXCEEDED", {}, (), 1),
    "what the transport says": ("", {}, (), 1),
    "full": ("QUEUE_FULL", {}, (), 3),
    "full for a second": ("QUEUE_FULL", {"retry_seconds": 1}, (), 3),
    "full, says a pushback": ("QUEUE_FULL", {}, (("grpc-retry-pushback-ms", "1"),), 3),
    "full, and no use in trying": ("QUEUE_FULL", {}, (("grpc-retry-pushback-ms", "-1"),), 1),
    "full, and speechless": ("QUEUE_FULL", {}, (("grpc-retry-pushback-ms", "soon"),), 1),
}


@pytest.mark.parametrize("kind", EXHAUSTED)
@pytest.mark.parametrize("rpc", ["Plan", "Frontier", "SubmitPlan"])
def test_only_a_server_that_is_full_for_now_is_asked_again(
    planner: FakePlanner, address: str, weights: list[np.ndarray], inputs: np.ndarray, kind: str, rpc: str
) -> None:
    reason, details, trailing, tries = EXHAUSTED[kind]
    fault = (grpc.StatusCode.RESOURCE_EXHAUSTED, status_bytes(reason, **details), trailing)
    planner.faults[rpc] = [fault, fault]
    with pc.PlannerClient(address) as client:
        calls = {
            "Plan": lambda: client.plan(weights, None, inputs, pc.MaxNMSE(0.1), validate_only=True),
            "Frontier": lambda: list(client.frontier(weights, None, inputs, [pc.MaxNMSE(0.1)])),
            "SubmitPlan": lambda: client.submit(weights, None, inputs, pc.MaxNMSE(0.1)),
        }
        if tries == 1:
            with pytest.raises(pc.ResourceExhausted) as caught:
                calls[rpc]()
            assert not caught.value.temporary
        else:
            calls[rpc]()
    assert planner.count(rpc) == tries


def test_a_server_that_is_full_for_longer_than_the_timeout_is_not_waited_for(
    planner: FakePlanner, address: str, weights: list[np.ndarray], inputs: np.ndarray
) -> None:
    status = status_bytes("QUEUE_FULL", retry_seconds=60)
    planner.faults["Plan"] = [(grpc.StatusCode.RESOURCE_EXHAUSTED, status, ())]
    with pc.PlannerClient(address) as client, pytest.raises(pc.ResourceExhausted) as caught:
        client.plan(weights, None, inputs, pc.MaxNMSE(0.1), timeout=5)
    assert caught.value.temporary
    assert caught.value.retry_after == 60
