"""Who may call: bearer tokens, TLS and mutual TLS. Tokens are compared in constant time and never shown."""

from __future__ import annotations

import hashlib
import hmac
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import grpc

from powerplan.errors import InvalidInput
from powerplan_server.config import ServeConfig
from powerplan_server.errors import Reason, ServiceError

ANONYMOUS = "anonymous"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
_SHORTEST_TOKEN = 16
_SCHEME = "bearer "


class Tokens:
    """The bearer tokens that are accepted, each with the name of its tenant.

    Args:
        tokens: token by name. Only digests are kept, all of one length, so a comparison tells nothing about lengths.
    """

    def __init__(self, tokens: Iterable[tuple[str, str]]) -> None:
        self._digests = [(name, _digest(token)) for name, token in tokens]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def tenant(self, authorization: str | None) -> str:
        """Name of the tenant whose token an ``authorization`` header holds.

        Raises:
            ServiceError: UNAUTHENTICATED; says nothing about the token given.
        """
        scheme, token = (authorization or "")[: len(_SCHEME)], (authorization or "")[len(_SCHEME) :]
        digest = _digest(token)
        matching = ""
        for name, expected in self._digests:  # all of them, so that the time does not tell which one matched
            if hmac.compare_digest(digest, expected):
                matching = name
        if not matching or scheme.lower() != _SCHEME:
            raise ServiceError(
                grpc.StatusCode.UNAUTHENTICATED,
                Reason.UNAUTHENTICATED,
                "This server needs metadata 'authorization: Bearer TOKEN' with a valid token.",
            )
        return matching


def load_tokens(config: ServeConfig) -> Tokens:
    """The tokens of the token file and of the environment.

    Raises:
        InvalidInput: a line that is not ``name:token``, a name twice, a short token; none of them shows the token.
    """
    lines = [line.strip() for line in config.tokens.split(",")] if config.tokens else []
    if config.token_file:
        lines += _read(config.token_file, "token_file").decode("utf-8-sig", errors="replace").splitlines()
    pairs: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, colon, token = line.strip().partition(":")
        token = token.strip()
        if not colon or not _NAME.match(name) or name == ANONYMOUS or name in pairs or len(token) < _SHORTEST_TOKEN:
            raise InvalidInput.of(
                "serve.token_file",
                f"line {number} (not shown)",
                f"name:token; each name once; tokens of at least {_SHORTEST_TOKEN} characters",
                'Make a token with: python -c "import secrets; print(secrets.token_urlsafe(32))"',
            )
        pairs[name] = token
    if config.token_file and not pairs:
        raise InvalidInput.of("serve.token_file", config.token_file, "at least one name:token line", "Add one.")
    return Tokens(pairs.items())


def credentials(config: ServeConfig) -> grpc.ServerCredentials | None:
    """TLS credentials, with client certificates demanded if an authority for them is given; None without TLS.

    Raises:
        InvalidInput: files that cannot be read, or are no certificates and the key of the first.
    """
    if not config.tls_certificate:
        return None
    authority = _read(config.tls_client_ca, "tls_client_ca") if config.tls_client_ca else None
    pair = (_read(config.tls_key, "tls_key"), _read(config.tls_certificate, "tls_certificate"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with _refusing(
        "tls_certificate", config.tls_certificate, "PEM files of a certificate and of its key, not encrypted"
    ):
        context.load_cert_chain(config.tls_certificate, config.tls_key, password=lambda: "")
    with _refusing("tls_client_ca", config.tls_client_ca, "a PEM file of certificates"):
        if authority:
            context.load_verify_locations(config.tls_client_ca)
    return grpc.ssl_server_credentials([pair], root_certificates=authority, require_client_auth=bool(authority))


def certificate_tenant(auth_context: Mapping[str, Iterable[bytes]]) -> str | None:
    """A tenant name for a verified client certificate: its common name or else its first URI or DNS name.

    It is hashed to be safe as a file name. None: the certificate has no such name, or there is none.
    """
    for kind in ("x509_common_name", "peer_uri", "peer_dns"):
        for name in map(bytes, auth_context.get(kind, ())):
            if name:
                marked = name if kind == "x509_common_name" else kind.encode() + b":" + name
                return "cert-" + hashlib.sha256(marked).hexdigest()[:32]
    return None


@contextmanager
def _refusing(field: str, path: str, wanted: str) -> Iterator[None]:
    """What OpenSSL cannot read is the setting's fault; gRPC would only say that it cannot listen."""
    try:
        yield
    except ssl.SSLError as error:
        raise InvalidInput.of(f"serve.{field}", path, wanted, f"OpenSSL says: {error.reason or error}.") from error


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()


def _read(path: str, field: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InvalidInput.of(f"serve.{field}", path, "a readable file", f"{error.strerror}.") from error
