"""Descents that get nowhere: where the curve of a device jumps or bends, no gradient leads on.

Why: docs/decisions/certificates.md [0257].
"""

from __future__ import annotations

from dataclasses import dataclass, field

#: relative change of the objective that counts as none; part of itself to which the KKT residual must fall meanwhile
_NO_CHANGE, _HALVED = 1e-9, 0.5


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
        still = all(abs(value / before - 1) <= _NO_CHANGE for value, _ in rest)
        return still and min(near for _, near in rest) > _HALVED * far
