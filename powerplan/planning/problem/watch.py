"""What a plan's evaluations mind: the time at which it must end, and the best gains seen until then.

Every prediction that planning makes is one of :class:`powerplan.planning.problem.terms.Terms`. Each is begun only if it
would end in time, as long as those before it took, and is noted when it is done. So no search, however many
predictions it takes, runs past the deadline by more than what is in progress, and at the deadline there is an answer.

Why: docs/decisions/optimisation.md [0330].
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from powerplan.planning import policy

if TYPE_CHECKING:
    from powerplan.planning.problem.sums import Sum
    from powerplan.planning.problem.variables import FreeGains


class OutOfTime(Exception):
    """A prediction would end after the deadline. Never leaves the planner."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Best:
    """A point that was evaluated: θ of the finest gains, objective, largest log(constraint / bound), whether that is
    met, all sums, and the gains that were free there."""

    theta: np.ndarray
    objective: float
    excess: float
    is_met: bool
    sums: tuple[Sum, ...]
    layout: FreeGains

    def beats(self, other: Best | None) -> bool:
        """Cheaper if both meet the constraints, else nearer to them."""
        if other is None or self.is_met != other.is_met:
            return other is None or self.is_met
        return self.objective < other.objective if self.is_met else self.excess < other.excess


class Seen:
    """The best points evaluated: of all, and of those on steps.

    Args:
        free: the gains of the plan; points of coarser ones are noted as theirs.
        levels: log steps of every free gain, None for a continuous one; None if no gain has steps.
        accuracy: log(constraint / bound) of a constraint that is met.
    """

    def __init__(self, free: FreeGains, levels: tuple[np.ndarray | None, ...] | None, accuracy: float) -> None:
        self._free, self._levels, self._accuracy = free, levels, accuracy
        self.best: Best | None = None
        self.on_steps: Best | None = None

    def note(self, layout: FreeGains, theta: np.ndarray, sums: tuple[Sum, ...], bounds: np.ndarray) -> None:
        """Note an evaluation of (objective, *constraints) at a θ of ``layout``, which may be a coarser one."""
        totals = np.maximum([s.total for s in sums[1:]], np.finfo(float).tiny)
        excess = float(np.log(totals / bounds).max())
        met = excess <= self._accuracy
        point = Best(theta=theta, objective=sums[0].total, excess=excess, is_met=met, sums=sums, layout=layout)
        if math.isnan(point.excess) or math.isnan(point.objective):
            return
        if layout is not self._free:
            if not point.beats(self.best):
                return
            same = self._free.theta_of(layout.gains(theta))
            if same is None:
                return
            point = replace(point, theta=same, sums=())
        if point.beats(self.best) or self._knows_more(point, self.best):
            self.best = point
        if self._is_on_steps(point.theta) and (point.beats(self.on_steps) or self._knows_more(point, self.on_steps)):
            self.on_steps = point

    def _knows_more(self, point: Best, known: Best | None) -> bool:
        """Whether it is the known point, with gradients."""
        gradients = bool(point.sums) and point.sums[0].jacobian.size > 0
        return known is not None and gradients and np.array_equal(point.theta, known.theta)

    def _is_on_steps(self, theta: np.ndarray) -> bool:
        if self._levels is None:
            return False
        pairs = zip(theta, self._levels, strict=True)
        return all(steps is None or np.abs(steps - x).min() < policy.SAME_STEP for x, steps in pairs)


class Watch:
    """The time at which evaluations end, and where they are noted.

    Attributes:
        stop_at: ``time.monotonic()`` value; None = never.
        reserved: seconds before it that are kept back for what follows.
        seen: where evaluations are noted; None = nowhere.
    """

    def __init__(self, stop_at: float | None = None, seen: Seen | None = None, reserved: float = 0.0) -> None:
        self.stop_at, self.seen, self.reserved = stop_at, seen, reserved

    def part(self, share: float) -> Watch:
        """The same for a part of the time that is left."""
        if self.stop_at is None:
            return self
        now = time.monotonic()
        return Watch(now + share * max(self.stop_at - self.reserved - now, 0.0), self.seen)

    def ends_before(self, seconds: float) -> bool:
        """Whether the time is over before so many seconds have passed."""
        return self.stop_at is not None and time.monotonic() + seconds + self.reserved > self.stop_at

    def begin(self, seconds: float, *, first: bool) -> None:
        """Begin what takes so long; the first evaluation is made in any case if there is no answer yet.

        Raises:
            OutOfTime: it would end too late.
        """
        needed = first and (self.seen is None or self.seen.best is None)
        if not needed and self.ends_before(seconds):
            raise OutOfTime
