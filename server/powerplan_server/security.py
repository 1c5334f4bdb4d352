"""Who may call: tokens, compared in constant time and never shown, and the names of client certificates."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping

import grpc

from powerplan.errors import InvalidInput
from powerplan_server.certificates import read
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

    def __len__(self) -> int:
        return len(self._digests)

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
        lines += read(config.token_file, "token_file").decode("utf-8-sig", errors="replace").splitlines()
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


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
