"""How to reach a server.

Why: docs/decisions/service.md [0280, 0281].
"""

from __future__ import annotations

import json
import os
from dataclasses import field
from typing import Any

from powerplan_client import values
from powerplan_client.addresses import FORMS, Address, AddressError, parse_address
from powerplan_client.compat import dataclass
from powerplan_client.errors import invalid

TARGET_VARIABLE = "POWERPLAN_TARGET"
SERVICE = "powerplan.v1.PlannerService"

#: neither the proxy of http_proxy and its kin, nor the one by address of GRPC_ADDRESS_HTTP_PROXY
_NO_PROXY = (("grpc.enable_http_proxy", 0), ("grpc.address_http_proxy_enabled_addresses", ""))
#: calls that may be sent twice: they change nothing, or only once for one request id
_RETRIED = (
    "Plan", "Predict", "Simulate", "Frontier", "GetBlobStatus", "SubmitPlan", "GetPlanJob", "WatchPlanJob",
    "CancelPlanJob", "ListPlanJobs", "GetServerInfo", "GetStatistics",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to reach a server. Secrets are not shown in ``repr``.

    Attributes:
        target: where the server is, see :data:`powerplan_client.addresses.FORMS`; None = the environment variable
            POWERPLAN_TARGET.
        insecure: plain text; None = for loopback addresses without certificates only.
        root_certificates: PEM of the authorities to trust; None = the system's.
        client_certificate, client_key: PEM, for mutual TLS; both or none.
        token: bearer token; sent in plain text to loopback addresses only.
        timeout: seconds for a call that names none; None or infinite = no limit.
        retries: try idempotent calls again when the server is unavailable or full.
        inline_bytes: larger arrays and files are uploaded once and then referred to.
        message_bytes: largest request message.
        chunk_bytes: of an upload.
        address: what ``target`` says.

    Raises:
        InvalidRequest: no address, values of another type, a token that would travel in plain text, or settings that
            contradict each other.
    """

    target: str | None = None
    insecure: bool | None = None
    root_certificates: bytes | None = field(default=None, repr=False)
    client_certificate: bytes | None = field(default=None, repr=False)
    client_key: bytes | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    timeout: float | None = 300.0
    retries: bool = True
    inline_bytes: int = 256 * 1024
    message_bytes: int = 3 * 2**20
    chunk_bytes: int = 2**20
    address: Address = field(init=False, repr=False)

    def __post_init__(self) -> None:
        target = os.environ.get(TARGET_VARIABLE, "") if self.target is None else self.target
        try:
            address = parse_address(target)
        except AddressError as error:
            source = f" ({TARGET_VARIABLE} in the environment)" if self.target is None else ""
            raise invalid(
                "target", f"got {error.shown!r}{source}: {error.reason} Allowed: {FORMS}. {error.advice}"
            ) from None
        object.__setattr__(self, "address", address)
        object.__setattr__(self, "target", address.text)
        object.__setattr__(self, "timeout", values.seconds("timeout", self.timeout))
        values.flag("insecure", self.insecure)
        values.flag("retries", self.retries)
        values.whole("inline_bytes", self.inline_bytes, at_least=0)
        self._check_certificates()
        self._check_token()

    def _check_certificates(self) -> None:
        for name in ("root_certificates", "client_certificate", "client_key"):
            content = getattr(self, name)
            if content is not None and not (isinstance(content, bytes) and content):
                kind = "empty" if content in (b"", "") else f"of type {type(content).__name__}"
                raise invalid(name, f"is {kind}; allowed: the bytes of a PEM file, as Path('ca.pem').read_bytes()")
        if (self.client_certificate is None) != (self.client_key is None):
            raise invalid("client_key", "allowed: client_certificate and client_key together")
        if self.insecure and (self.root_certificates is not None or self.client_certificate is not None):
            raise invalid("insecure", "allowed: insecure or certificates, not both")

    def _check_token(self) -> None:
        token = self.token
        if token is None:
            return
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable() or " " in token:
            raise invalid("token", "allowed: printable ASCII characters without blanks or line ends; it is not shown")
        if self.is_plain and not self.address.is_loopback:
            raise invalid("token", "would be sent in plain text; allowed: with TLS, or to a loopback address")

    @property
    def is_plain(self) -> bool:
        """Whether the connection is in plain text."""
        if self.insecure is not None:
            return self.insecure
        return self.root_certificates is None and self.client_certificate is None and self.address.is_loopback

    @property
    def takes_proxy(self) -> bool:
        """Whether the connection may go through the HTTP proxy that the environment names (as gRPC reads it).

        Only with TLS, whose bytes a proxy cannot read, and never to this machine: the proxy would connect to its own.
        """
        return not (self.is_plain or self.address.is_this_machine)

    def metadata(self, request_id: str) -> tuple[tuple[str, str], ...]:
        """Metadata of a call."""
        identity = (("x-request-id", request_id),)
        return identity if self.token is None else (*identity, ("authorization", f"Bearer {self.token}"))

    def channel_options(self) -> list[tuple[str, Any]]:
        """Options of the channel: proxy, message sizes, keepalive, retries while a server is away.

        What a full server answers is retried in :mod:`powerplan_client.calls`: the status code alone does not tell
        whether another try can help.
        """
        policy = {
            "maxAttempts": 5,
            "initialBackoff": "0.2s",
            "maxBackoff": "5s",
            "backoffMultiplier": 2.0,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        config = {
            "loadBalancingConfig": [{"round_robin": {}}],
            "methodConfig": [
                {"name": [{"service": SERVICE, "method": name} for name in _RETRIED], "retryPolicy": policy}
            ],
        }
        return [
            *(() if self.takes_proxy else _NO_PROXY),
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.enable_retries", int(self.retries)),
            ("grpc.per_rpc_retry_buffer_size", 2 * self.message_bytes),
            ("grpc.service_config", json.dumps(config if self.retries else {})),
        ]
