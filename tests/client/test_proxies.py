"""An HTTP proxy of the environment sees nothing of what goes to this machine, and nothing in plain text."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

import powerplan_client as pc


class Proxy:
    """A proxy that notes the first line of what it is asked, and refuses; or just a server that hangs up."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):  # it ends with the socket
            while True:
                peer, _ = self.socket.accept()
                with peer, suppress(ConnectionError):
                    self.seen.append(peer.recv(4096).split(b"\r\n")[0].decode(errors="replace"))
                    peer.sendall(b"HTTP/1.1 502 no\r\n\r\n")


def _proxy() -> Iterator[Proxy]:
    proxy = Proxy()
    yield proxy
    proxy.socket.close()


proxy = pytest.fixture(_proxy, name="proxy")
listener = pytest.fixture(_proxy, name="listener")


def ask(target: str, **options: object) -> str:
    """Ask for the server's description with both clients; returns what they say."""

    async def later() -> None:
        async with pc.AsyncPlannerClient(target, retries=False, **options) as client:  # type: ignore[arg-type]
            await client.server_info(timeout=0.5)

    with pc.PlannerClient(target, retries=False, **options) as client, pytest.raises(pc.PlannerError) as now:  # type: ignore[arg-type]
        client.server_info(timeout=0.5)
    with pytest.raises(pc.PlannerError):
        asyncio.run(later())
    return str(now.value)


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy", "GRPC_ADDRESS_HTTP_PROXY"])
def test_no_proxy_sees_what_goes_to_this_machine(
    proxy: Proxy, listener: Proxy, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    address = f"127.0.0.1:{proxy.port}"
    monkeypatch.setenv(variable, address if variable.startswith("GRPC") else f"http://{address}")
    monkeypatch.setenv("GRPC_ADDRESS_HTTP_PROXY_ENABLED_ADDRESSES", "127.0.0.0/8")
    for host in ("localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "ipv4:127.0.0.1", "dns:///localhost"):
        ask(f"{host}:{listener.port}", token="0123456789abcdef")
    ask(f"localhost:{listener.port}", insecure=False)
    ask(f"0.0.0.0:{listener.port}", insecure=False)
    ask(f"{socket.gethostname()}:{listener.port}", insecure=True)  # resolves to this machine, where it resolves at all
    assert proxy.seen == []
    assert listener.seen


def test_no_proxy_sees_plain_text(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    ask("planner.invalid:50051", insecure=True)
    assert proxy.seen == []


def test_tls_to_other_machines_takes_the_proxy(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
    said = ask("planner.invalid:50051", token="0123456789abcdef")
    assert proxy.seen == ["CONNECT planner.invalid:50051 HTTP/1.1"] * 2
    assert "no_proxy" in said
    monkeypatch.setenv("no_proxy", "planner.invalid")
    ask("planner.invalid:50051")
    assert len(proxy.seen) == 2
