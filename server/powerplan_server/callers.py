"""Who calls: the tenant behind a token or a certificate. Wrong tokens are counted, and answered ever more slowly."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict

import grpc

from powerplan_server.errors import Reason, ServiceError
from powerplan_server.metrics import Metrics
from powerplan_server.security import ANONYMOUS, Tokens, certificate_tenant

_FIRST_DELAY, _LONGEST_DELAY = 0.05, 2.0  # seconds that a wrong token waits for its answer; doubled each time
_FORGIVEN = 60.0  # seconds after the last wrong token of a host
_MOST_HOSTS, _MOST_DELAYED = 10_000, 100


class Callers:
    """Tells the tenant of a call.

    Args:
        tokens: those that are accepted; none: no token is needed.
        certificates: clients must have certificates, whose names are the tenants.
        metrics: counts wrong tokens.
    """

    def __init__(self, tokens: Tokens, *, certificates: bool, metrics: Metrics) -> None:
        self._tokens = tokens
        self._certificates = certificates
        self._metrics = metrics
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()  # by host: how many, and when the last
        self._delayed = 0

    async def tenant(self, metadata: dict[str, str], context: grpc.aio.ServicerContext) -> str:
        """The tenant of a call, from its metadata and certificate; nothing else of it has been read.

        Raises:
            ServiceError: UNAUTHENTICATED.
        """
        try:
            if self._tokens:
                return self._tokens.tenant(metadata.get("authorization"))
            named = certificate_tenant(context.auth_context())
            if named is None and self._certificates:
                raise ServiceError(
                    grpc.StatusCode.UNAUTHENTICATED,
                    Reason.UNAUTHENTICATED,
                    "The client certificate names nobody: it needs a common name, or a subject alternative name of "
                    "kind URI or DNS.",
                )
            return named or ANONYMOUS
        except ServiceError:
            self._metrics.refused.inc()
            await self._slow_down(host(context.peer()))
            raise

    async def _slow_down(self, peer: str) -> None:
        times, last = self._wrong.pop(peer, (0, 0.0))
        now = time.monotonic()
        times = times + 1 if now - last < _FORGIVEN else 1
        self._wrong[peer] = (times, now)
        if len(self._wrong) > _MOST_HOSTS:
            self._wrong.popitem(last=False)
        if self._delayed < _MOST_DELAYED:
            self._delayed += 1
            try:
                await asyncio.sleep(min(_FIRST_DELAY * 2 ** min(times - 1, 10), _LONGEST_DELAY))
            finally:
                self._delayed -= 1


def host(peer: str) -> str:
    """The host of a peer as gRPC names it: "ipv4:127.0.0.1:50051" without its port."""
    return peer.rpartition(":")[0] if peer.startswith(("ipv4:", "ipv6:")) else peer
