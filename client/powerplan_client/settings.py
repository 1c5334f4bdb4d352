"""How to reach a server."""

from __future__ import annotations

import ipaddress
import json
import os
from dataclasses import dataclass, field
from typing import Any

from powerplan_client.errors import invalid

TARGET_VARIABLE = "POWERPLAN_TARGET"
SERVICE = "powerplan.v1.PlannerService"
DEFAULT_PORT = 50051

#: calls that may be sent twice: they change nothing, or only once for one request id
_RETRIED = (
    "Plan", "Predict", "Simulate", "Frontier", "GetBlobStatus", "SubmitPlan", "GetPlanJob", "WatchPlanJob",
    "CancelPlanJob", "ListPlanJobs", "GetServerInfo",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to reach a server. Secrets are not shown in ``repr``.

    Attributes:
        target: "host:port"; None = the environment variable POWERPLAN_TARGET.
        insecure: plain text; None = for loopback addresses without certificates only.
        root_certificates: PEM of the authorities to trust; None = the system's.
        client_certificate, client_key: PEM, for mutual TLS; both or none.
        token: bearer token; sent in plain text to loopback addresses only.
        timeout: seconds for a call that names none; None = no limit.
        retries: try idempotent calls again when the server is unavailable or full.
        inline_bytes: larger arrays and files are uploaded once and then referred to.
        message_bytes: largest request message.
        chunk_bytes: of an upload.
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

    def __post_init__(self) -> None:
        target = self.target or os.environ.get(TARGET_VARIABLE, "")
        if not target:
            raise invalid("target", f"allowed: host:port; give target=... or set {TARGET_VARIABLE}")
        object.__setattr__(self, "target", target)
        if (self.client_certificate is None) != (self.client_key is None):
            raise invalid("client_key", "allowed: client_certificate and client_key together")
        if self.timeout is not None and not self.timeout > 0:
            raise invalid("timeout", f"got {self.timeout}; allowed: seconds > 0, or None")
        certificates = self.root_certificates is not None or self.client_certificate is not None
        if self.insecure and certificates:
            raise invalid("insecure", "allowed: insecure or certificates, not both")
        if self.token is not None and (not self.token or not self.token.isascii() or not self.token.isprintable()):
            raise invalid("token", "allowed: printable ASCII characters")
        if self.token is not None and self.is_plain and not self.is_loopback:
            raise invalid("token", "would be sent in plain text; allowed: with TLS, or to a loopback address")

    @property
    def is_loopback(self) -> bool:
        """Whether the target is this machine."""
        target = str(self.target)
        if target.startswith("unix:"):
            return True
        host = target.rpartition("/")[2]
        host = host[1:].partition("]")[0] if host.startswith("[") else host.rpartition(":")[0] or host
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    @property
    def is_plain(self) -> bool:
        """Whether the connection is in plain text."""
        if self.insecure is not None:
            return self.insecure
        return self.root_certificates is None and self.client_certificate is None and self.is_loopback

    def metadata(self, request_id: str) -> tuple[tuple[str, str], ...]:
        """Metadata of a call."""
        identity = (("x-request-id", request_id),)
        return identity if self.token is None else (*identity, ("authorization", f"Bearer {self.token}"))

    def channel_options(self) -> list[tuple[str, Any]]:
        """Options of the channel: message sizes, keepalive, retries by service config (server pushback is honoured)."""
        policy = {
            "maxAttempts": 5,
            "initialBackoff": "0.2s",
            "maxBackoff": "5s",
            "backoffMultiplier": 2.0,
            "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
        }
        config = {
            "loadBalancingConfig": [{"round_robin": {}}],
            "methodConfig": [
                {"name": [{"service": SERVICE, "method": name} for name in _RETRIED], "retryPolicy": policy}
            ],
        }
        return [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.enable_retries", int(self.retries)),
            ("grpc.per_rpc_retry_buffer_size", 2 * self.message_bytes),
            ("grpc.service_config", json.dumps(config if self.retries else {})),
        ]
