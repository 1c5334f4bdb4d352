"""What comes before a request is a request: unknown senders, unfinished and hostile messages, many at once."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from hypothesis import given, strategies as st
from planner_fakes import plan_request
from planner_running import Process, Running, failure

from powerplan_client._generated import v1
from powerplan_server.arrivals import Arrivals
from powerplan_server.callers import host
from powerplan_server.errors import ServiceError
from powerplan_server.security import certificate_tenant
from powerplan_server.wire.scanning import TooManyElements, UnknownField, look_at

TOKEN = "0123456789abcdef0123"
PLAN = "/powerplan.v1.PlannerService/Plan"


@pytest.fixture
def silence() -> Iterator[Iterator[bytes]]:
    """A stream of requests that brings nothing until the test is over."""
    over = threading.Event()

    def requests() -> Iterator[bytes]:
        over.wait(30)
        yield from ()

    yield requests()
    over.set()


def test_unknown_sender_is_refused_before_a_message_arrives(start: Callable[..., Running], silence) -> None:
    server = start(tokens=f"alice:{TOKEN}")
    failed = failure(lambda: server.channel.stream_unary(PLAN)(silence, timeout=10))
    assert failed.reason == "UNAUTHENTICATED"
    assert server.metric("powerplan_unauthenticated_total") == 1


def test_message_that_does_not_arrive_ends_its_call(start: Callable[..., Running], silence) -> None:
    server = start(message_timeout=0.2)
    failed = failure(lambda: server.channel.stream_unary(PLAN)(silence, timeout=10))
    assert (failed.code, failed.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    assert "No whole message arrived" in failed.message
    assert failure(lambda: server.channel.stream_unary(PLAN)(iter(()), timeout=10)).reason == "INVALID_REQUEST"


def test_guessing_tokens_becomes_slow(start: Callable[..., Running]) -> None:
    server = start(tokens=f"alice:{TOKEN}")
    times = []
    for _ in range(5):
        began = time.monotonic()
        failure(lambda: server.stub.Plan(plan_request(), metadata=(("authorization", "Bearer wrong"),), timeout=10))
        times.append(time.monotonic() - began)
    assert times[4] >= 0.8  # 0.05 s doubled four times
    began = time.monotonic()
    server.stub.Plan(plan_request(), metadata=(("authorization", f"Bearer {TOKEN}"),), timeout=10)
    assert time.monotonic() - began < 0.8


@pytest.mark.slow
def test_unfinished_messages_without_a_token_hold_no_memory(tmp_path: Path) -> None:
    """200 calls that announce 4 MiB each, and send all they may."""
    server = Process.fake(tmp_path / "data", tmp_path / "log", "workers=1", f"tokens=alice:{TOKEN}")
    try:
        before = _resident(server.process.pid)
        connections = [_Http2(server.port) for _ in range(2)]
        for connection in connections:
            connection.send_unfinished(calls=100, announced=4 * 2**20 - 1000, seconds=3.0)
        assert _resident(server.process.pid) - before < 150 * 2**20  # 800 MiB were announced
        answer = server.stub.Plan(plan_request(), metadata=(("authorization", f"Bearer {TOKEN}"),), timeout=10)
        assert answer.HasField("profile_plan")
        for connection in connections:
            connection.socket.close()
    finally:
        server.kill(9)


def _resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class _Http2:
    """As much of HTTP/2 as it takes to send calls that do not end, within the windows that the server grants."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self._frame(4, 0, 0, b""))
        self.windows = {0: 65535}
        self.initial = 65535
        self.buffer = b""

    @staticmethod
    def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        return struct.pack("!I", len(payload))[1:] + bytes((kind, flags)) + struct.pack("!I", stream) + payload

    def send_unfinished(self, *, calls: int, announced: int, seconds: float) -> None:
        headers = {
            ":method": "POST", ":scheme": "http", ":path": PLAN, ":authority": "x",
            "content-type": "application/grpc", "te": "trailers",
        }  # fmt: skip
        block = b"".join(
            b"\0" + bytes((len(part[0]),)) + part[0].encode() + bytes((len(part[1]),)) + part[1].encode()
            for part in headers.items()
        )
        left = {}
        for number in range(calls):
            stream = 2 * number + 1
            self.socket.sendall(self._frame(1, 4, stream, block))
            self._data(stream, b"\0" + announced.to_bytes(4, "big"))
            left[stream] = announced - 1000
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for stream in left:
                size = min(self.windows[0], self.windows.get(stream, 0), 16384, left[stream])
                if size > 0:
                    self._data(stream, bytes(size))
                    left[stream] -= size
            self._listen()

    def _data(self, stream: int, content: bytes) -> None:
        self.windows.setdefault(stream, self.initial)
        self.windows[0] -= len(content)
        self.windows[stream] -= len(content)
        self.socket.sendall(self._frame(0, 0, stream, content))

    def _listen(self) -> None:
        self.socket.settimeout(0.05)
        try:
            self.buffer += self.socket.recv(65536)
        except TimeoutError:
            return
        while len(self.buffer) >= 9:
            size = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + size:
                return
            kind, stream = self.buffer[3], int.from_bytes(self.buffer[5:9], "big")
            payload, self.buffer = self.buffer[9 : 9 + size], self.buffer[9 + size :]
            if kind == 8:
                self.windows[stream] = self.windows.get(stream, self.initial) + int.from_bytes(payload, "big")
            elif kind == 3:
                self.windows[stream] = -(2**40)  # reset: nothing more is sent


def test_too_many_arriving_cost_the_sender_with_the_most() -> None:
    async def scenario() -> None:
        arrivals = Arrivals(most=3, seconds=5.0)
        never = asyncio.Event()

        async def stream(*messages: bytes) -> AsyncIterator[bytes]:
            for message in messages:
                yield message
            await never.wait()

        async def first(sender: str, *messages: bytes) -> bytes:
            return await anext(arrivals.messages(sender, stream(*messages)))

        flood = [asyncio.create_task(first("flood")) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert await first("other", b"whole") == b"whole"
        await asyncio.sleep(0.01)
        assert [task.done() for task in flood] == [True, False, False]
        with pytest.raises(ServiceError, match="More than 3 messages are arriving"):
            await flood[0]
        for task in flood[1:]:
            task.cancel()
        await asyncio.gather(*flood, return_exceptions=True)
        assert len(arrivals) == 0

    asyncio.run(scenario())


def test_unknown_fields_are_refused_by_their_place(server: Running) -> None:
    request = plan_request().SerializeToString()
    task = v1.PlanRequest.FromString(request).task.SerializeToString() + b"\xf8\x3f\x01"  # field 1023
    changed = b"\x0a" + bytes((len(task),)) + task
    call = server.channel.unary_unary(PLAN)
    failed = failure(lambda: call(changed, timeout=5))
    assert failed.reason == "INVALID_REQUEST"
    assert failed.bad.field_violations[0].field == "task"
    assert "field number 1023" in failed.message


def test_size_is_told_before_parsing() -> None:
    network = v1.NetworkGraph()
    for _ in range(50):
        network.nodes.add()
    request = v1.PlanRequest(task=v1.PlanTask(network=v1.Network(graph=network))).SerializeToString()
    look_at(request, v1.PlanRequest, most=53)
    with pytest.raises(TooManyElements, match=r"task\.network\.graph\.nodes"):
        look_at(request, v1.PlanRequest, most=52)


@given(st.binary(max_size=200))
def test_any_bytes_are_looked_at_without_another_error(data: bytes) -> None:
    with suppress(TooManyElements, UnknownField):
        look_at(data, v1.PlanRequest)


def test_names_of_certificates() -> None:
    """A common name, or else a URI, or else a DNS name; an empty one is none."""
    named = certificate_tenant({"x509_common_name": [b"a"], "peer_dns": [b"b"]})
    assert named == certificate_tenant({"x509_common_name": [b"a"]})
    uri = certificate_tenant({"x509_common_name": [b""], "peer_uri": [b"b"], "peer_dns": [b"c"]})
    dns = certificate_tenant({"peer_dns": [b"b"]})
    assert len({named, uri, dns, None}) == 4
    assert certificate_tenant({"x509_common_name": [b""]}) is None


@pytest.mark.parametrize(
    ("peer", "wanted"), [("ipv4:1.2.3.4:50", "ipv4:1.2.3.4"), ("ipv6:[::1]:5", "ipv6:[::1]"), ("unix:", "unix:")]
)
def test_host_of_a_peer(peer: str, wanted: str) -> None:
    assert host(peer) == wanted
