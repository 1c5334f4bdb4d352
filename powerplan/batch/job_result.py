"""How one job ended, as an executor tells it to the runner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """How one job ended: with a plan (as plain values), or with the code and message of a failure.

    Attributes:
        plan: the plan; None for a failure.
        seconds: wall time.
        code, message: as in :class:`powerplan.batch.Failure`; empty for a plan.
    """

    plan: Mapping[str, Any] | None = None
    seconds: float = 0.0
    code: str = ""
    message: str = ""
