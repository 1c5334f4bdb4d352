"""What goes with every answer."""

from __future__ import annotations

from powerplan_client.compat import dataclass


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Where the time of a call went [s]; ``total`` from receipt to answer."""

    queue: float
    decode: float
    solve: float
    verify: float
    total: float


@dataclass(frozen=True, kw_only=True)
class CallInfo:
    """What goes with every answer.

    Attributes:
        request_id: of the call.
        server_version: of the server.
        cache_hit: the answer was computed before and kept.
        timings: where the time went.
        warnings: for a person, for example inputs beyond voltage_max.
    """

    request_id: str
    server_version: str
    cache_hit: bool
    timings: Timings
    warnings: tuple[str, ...] = ()
