"""Descents that get nowhere: where the curve of a device jumps or bends, no gradient leads on.

Why: docs/decisions/certificates.md [0257].
"""

from __future__ import annotations

from dataclasses import dataclass, field

from powerplan.planning import policy


@dataclass(kw_only=True)
class Stall:
    """Watches a descent: it stalls when over the last ``window`` points the objective has not changed by 1e-9 of itself
    and the KKT residual has not fallen to half."""

    window: int
    _points: list[tuple[float, float]] = field(default_factory=list)

    def seen(self, objective: float, residual: float) -> bool:
        """Note a point; True if the descent has stalled there."""
        self._points.append((objective, residual))
        if len(self._points) <= self.window:
            return False
        (before, far), *rest = self._points[-self.window - 1 :]
        still = all(abs(value / before - 1) <= policy.SAME_OBJECTIVE for value, _ in rest)
        return still and min(near for _, near in rest) > policy.HALVED * far
