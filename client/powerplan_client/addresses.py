"""Addresses of servers, as gRPC takes them, read in one place: for both clients, the command line and the server.

Why: docs/decisions/service.md [0282].
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Union

from powerplan_client.compat import dataclass

DEFAULT_PORT = 50051
#: what a client connects to, and what a server listens on
FORMS = "HOST:PORT, [IPv6]:PORT, dns:///HOST:PORT, ipv4:ADDRESS:PORT, ipv6:[ADDRESS]:PORT, unix:PATH"
LISTEN_FORMS = "HOST:PORT, [IPv6]:PORT, ipv4:ADDRESS:PORT, ipv6:[ADDRESS]:PORT, unix:PATH"
_EXAMPLE = f"localhost:{DEFAULT_PORT}"

#: names that gRPC resolves in ways of its own
_OPAQUE = ("xds", "vsock")
_SOCKETS = ("unix", "unix-abstract")
_SCHEMES = ("dns", "ipv4", "ipv6", *_SOCKETS, *_OPAQUE)
_LABELS = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?")
#: the last label of a name; a host whose last label is a number is an IPv4 address (as browsers have it), or a mistake
_NUMBER = re.compile(r"(.*\.)?(\d+|0[xX][0-9A-Fa-f]*)\.?")
_LONGEST_PATH = 107  # bytes of a socket's path on Linux

Literal = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]


class AddressError(ValueError):
    """What was given is no address. ``shown`` is what can be shown of it, ``reason`` and ``advice`` are sentences."""

    def __init__(self, shown: str, reason: str, advice: str) -> None:
        super().__init__(f"{reason} {advice}")
        self.shown = shown
        self.reason = reason
        self.advice = advice


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a server is.

    Attributes:
        text: as gRPC takes it.
        hosts: names and literals of the hosts it names, without brackets; none for sockets and opaque names.
        ports: one per host.
        is_socket: a Unix socket.
    """

    text: str
    hosts: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    is_socket: bool = False

    @property
    def is_loopback(self) -> bool:
        """Whether it can only be this machine: a socket, localhost, or loopback addresses alone."""
        return self.is_socket or (bool(self.hosts) and all(map(_is_loopback, self.hosts)))

    @property
    def is_literal(self) -> bool:
        """Whether it needs no look-up."""
        return self.is_socket or (bool(self.hosts) and None not in map(_literal, self.hosts))

    @property
    def is_this_machine(self) -> bool:
        """Loopback, or another name of this machine that needs no look-up."""
        return self.is_loopback or (bool(self.hosts) and all(map(_is_this_machine, self.hosts)))


def parse_address(text: object, *, to_listen: bool = False) -> Address:
    """The address that a text is, without the blanks around it.

    Args:
        text: one of :data:`FORMS`; to listen one of :data:`LISTEN_FORMS`, where port 0 picks a free one.

    Raises:
        AddressError: it is none.
    """
    if not isinstance(text, str):
        raise AddressError(repr(text)[:200], "An address is a text.", f"For example {_EXAMPLE!r}.")
    text = text.strip()
    try:
        return _parse(text, to_listen)
    except ValueError as error:
        raise AddressError(_shown(text), str(error), _advice(text, to_listen)) from None


def _parse(text: str, to_listen: bool) -> Address:
    """The address; a ValueError says what is wrong."""
    if not text:
        raise ValueError("Nothing is named.")
    if not text.isprintable() or " " in text:
        raise ValueError("An address has no blanks in it.")
    scheme, colon, rest = text.partition(":")
    scheme = scheme.lower()
    if not colon or scheme not in _SCHEMES:
        return _hosts(text, text, to_listen)
    target = f"{scheme}:{rest}"
    if scheme in _SOCKETS:
        return _unix(target, scheme, rest)
    if to_listen and scheme not in ("ipv4", "ipv6"):
        raise ValueError(f"A server cannot listen on {scheme}:.")
    if scheme in _OPAQUE:
        return Address(text=target)
    authority = ""
    if rest.startswith("//"):
        authority, _, rest = rest[2:].partition("/")
    if scheme == "dns":
        address = _hosts(target, rest, to_listen)
        # a name server of the caller's says what the name is, localhost too
        return Address(text=target) if authority else address
    if authority:
        raise ValueError(f"{scheme}: has no authority.")
    return _literals(target, scheme, rest, to_listen)


def _literals(target: str, scheme: str, rest: str, to_listen: bool) -> Address:
    """An address after ipv4: or ipv6:, which a server does not bind: they say nothing that the rest does not."""
    address = _hosts(rest if to_listen else target, rest, to_listen, many=not to_listen)
    for host in address.hosts:
        literal = _literal(host)
        if literal is None or literal.version != int(scheme[-1]):
            raise ValueError(f"{host!r} is no {scheme} address.")
    return address


def _unix(target: str, scheme: str, rest: str) -> Address:
    path = rest.removeprefix("//") if scheme == "unix" else rest
    if not path or (path != rest and not path.startswith("/")):
        raise ValueError("A socket needs a path: unix:PATH, or unix:///ABSOLUTE/PATH.")
    if len(path.encode()) > _LONGEST_PATH:
        raise ValueError(f"The path of a socket has at most {_LONGEST_PATH} bytes, this one has {len(path.encode())}.")
    return Address(text=target, is_socket=True)


def _hosts(target: str, text: str, to_listen: bool, *, many: bool = False) -> Address:
    """An address with hosts and ports."""
    if "://" in text:
        raise ValueError("An address has no scheme such as http:// or grpc://; certificates choose TLS.")
    if "@" in text:
        raise ValueError("An address has no user and password; a server knows its callers by tokens or certificates.")
    if any(mark in text for mark in "/?#"):
        raise ValueError("An address has no path.")
    if "," in text and not many:
        raise ValueError("It names several addresses.")
    hosts, ports = zip(*(_host_and_port(part, to_listen) for part in text.split(",")))
    return Address(text=target, hosts=hosts, ports=ports)


def _host_and_port(text: str, to_listen: bool) -> tuple[str, int]:
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        literal = _literal(host)
        if not bracket or literal is None or literal.version != 6:
            raise ValueError("Brackets hold an IPv6 address.")
    else:
        host, _, port = text.partition(":")
        port = port and ":" + port
        if port.count(":") > 1:
            raise ValueError("There are too many colons; an IPv6 address stands in brackets.")
        if not host:
            raise ValueError("The host is missing.")
        if _LABELS.fullmatch(host) is None or (_NUMBER.fullmatch(host) and _literal(host) is None):
            raise ValueError(f"{host!r} is neither a host name (ASCII letters, digits, '-', '.') nor an IP address.")
    if not port or port == ":":
        raise ValueError("The port is missing.")
    least = 0 if to_listen else 1
    digits = port[1:]
    if port[0] != ":" or not (digits.isascii() and digits.isdigit() and least <= int(digits[:6]) < 2**16):
        raise ValueError(f"The port is not a number from {least} to 65535.")
    return host, int(digits)


def _literal(host: str) -> Literal | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    literal = _literal(host)
    if literal is None:
        return host.lower().removesuffix(".") == "localhost"
    return (getattr(literal, "ipv4_mapped", None) or literal).is_loopback


def _is_this_machine(host: str) -> bool:
    literal = _literal(host)
    if literal is not None:
        return _is_loopback(host) or literal.is_unspecified
    name = host.lower().removesuffix(".")
    return name.split(".")[-1] == "localhost" or name == socket.gethostname().lower()


def _shown(text: str) -> str:
    """The text as it may be shown, without user and password."""
    return re.sub(r"[^/]*@", "***@", text)[:200]


def _advice(text: str, to_listen: bool) -> str:
    """The address that was most likely meant, if there is one."""
    if text.lower().startswith(_SOCKETS):
        return "For example 'unix:/run/powerplan.sock'."
    bare = re.sub(r"^[A-Za-z][A-Za-z0-9+.-]*://", "", text)
    bare = re.split("[/?#,]", bare.rpartition("@")[2])[0]
    head, _, port = bare.rpartition(":")
    for likely in (bare, f"[{head}]:{port}", f"{bare.rstrip(':')}:{DEFAULT_PORT}", f"[{bare}]:{DEFAULT_PORT}"):
        try:
            _parse(likely, to_listen)
        except ValueError:
            continue
        return f"Did you mean {likely!r}?"
    return f"For example {_EXAMPLE!r}."
