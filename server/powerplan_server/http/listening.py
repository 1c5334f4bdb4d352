"""The socket that HTTP listens on: so many connections, dead ones noticed.

Why: docs/decisions/service.md [0625].
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from powerplan.errors import InvalidInput
from powerplan_client.addresses import parse_address

_PROBES = 3  # unanswered ones after which a connection is dead


class Listening(socket.socket):
    """A listening socket that holds a bounded number of connections; further ones are closed at once.

    A connection whose other side is gone without a word is closed by the system, which asks it now and then.
    """

    @classmethod
    def at(cls, address: str, *, most: int, keepalive: float, keepalive_timeout: float) -> Listening:
        """Listen at ``HOST:PORT``.

        Args:
            most: connections held at once.
            keepalive: seconds of silence after which a connection is asked for life.
            keepalive_timeout: seconds without an answer after which it is closed.

        Raises:
            InvalidInput: the address is not of this machine, or in use.
        """
        where = parse_address(address, to_listen=True)
        family = socket.AF_INET6 if ":" in where.hosts[0] else socket.AF_INET
        try:
            made = socket.create_server((where.hosts[0], where.ports[0]), family=family)
        except OSError as error:
            allowed = "an address of this machine that is not in use"
            raise InvalidInput.of("serve.http_listen", address, allowed, f"{error.strerror}.") from error
        listening = cls(made.family, made.type, made.proto, fileno=made.detach())
        listening._most = most
        listening._open = {}
        listening._alive = {
            "TCP_KEEPIDLE": max(round(keepalive), 1),
            "TCP_KEEPINTVL": max(round(keepalive_timeout / _PROBES), 1),
            "TCP_KEEPCNT": _PROBES,
        }
        return listening

    _most: int
    _open: dict[tuple[str, int], _Connection]  # by the address of the other side
    _alive: dict[str, int]

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection.

        Raises:
            BlockingIOError: there is none, or there is no room for it.
        """
        plain, address = super().accept()
        if len(self._open) >= self._most:
            plain.close()
            raise BlockingIOError
        connection = _Connection(plain.family, plain.type, plain.proto, fileno=plain.detach())
        connection.listening, connection.peer = self, address[:2]
        self._open[connection.peer] = connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in self._alive.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        return connection, address

    def ended(self, peer: tuple[str, int]) -> None:
        """Forget a connection that has been closed."""
        self._open.pop(peer, None)

    @contextmanager
    def calling(self, peer: tuple[str, int] | None) -> Iterator[None]:
        """While a call on the connection from there goes on."""
        connection = self._open.get(peer) if peer is not None else None
        if connection is None:
            yield
            return
        connection.calls += 1
        try:
            yield
        finally:
            connection.calls -= 1
            connection.since = time.monotonic()

    def hang_up(self, *, silent_for: float | None = None) -> None:
        """End every connection, or those without a call for so long [s]."""
        now = time.monotonic()
        for connection in list(self._open.values()):
            if silent_for is None or (not connection.calls and now - connection.since > silent_for):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Connection(socket.socket):
    listening: Listening | None = None
    peer: tuple[str, int] = ("", 0)
    calls: int = 0

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.since = time.monotonic()  # when it came, or its last call ended

    def close(self) -> None:
        """Close it, and make room for another."""
        super().close()
        listening, self.listening = self.listening, None
        if listening is not None:
            listening.ended(self.peer)
