"""Descents that get nowhere: where the curve of a device jumps or bends, no gradient leads on.

Why: docs/decisions/certificates.md [0257].
"""

from __future__ import annotations

from dataclasses import dataclass, field

from powerplan.planning import policy


@dataclass(kw_only=True)
class Stall:
    """Watches a descent: it stalls when over the last ``window`` points the objective has not changed by 1e-9 of itself
    and the KKT residual has not fallen to half; or, as where steps creep along a jump, when over twice as many the
    objective has not changed by 1e-4 and the residual has not fallen by a tenth."""

    window: int
    _points: list[tuple[float, float]] = field(default_factory=list)

    def seen(self, objective: float, residual: float) -> bool:
        """Note a point; True if the descent has stalled there."""
        self._points.append((objective, residual))
        stands = self._is_within(policy.SAME_OBJECTIVE, policy.HALVED, self.window)
        return stands or self._is_within(policy.HOVERING, policy.HARDLY_LESS, 2 * self.window)

    def _is_within(self, change: float, part: float, window: int) -> bool:
        """Whether over the window the objective kept within a change, and the residual above a part, of the first."""
        if len(self._points) <= window:
            return False
        (before, far), *rest = self._points[-window - 1 :]
        return all(abs(value / before - 1) <= change and near > part * far for value, near in rest)
