"""The socket that HTTP listens on: so many connections, dead ones noticed.

Why: docs/decisions/service.md [0625].
"""

from __future__ import annotations

import socket
from contextlib import suppress
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
        listening._open = set()
        listening._alive = {
            "TCP_KEEPIDLE": max(round(keepalive), 1),
            "TCP_KEEPINTVL": max(round(keepalive_timeout / _PROBES), 1),
            "TCP_KEEPCNT": _PROBES,
        }
        return listening

    _most: int
    _open: set[socket.socket]
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
        connection.listening = self
        self._open.add(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in self._alive.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        return connection, address

    def ended(self, connection: socket.socket) -> None:
        """Forget a connection that has been closed."""
        self._open.discard(connection)

    def hang_up(self) -> None:
        """End every connection."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Connection(socket.socket):
    listening: Listening | None = None

    def close(self) -> None:
        """Close it, and make room for another."""
        super().close()
        listening, self.listening = self.listening, None
        if listening is not None:
            listening.ended(self)
