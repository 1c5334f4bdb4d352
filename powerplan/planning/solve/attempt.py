"""An attempt at a target: what is planned with the corrections that a session holds, and since when."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from powerplan.planning import policy
from powerplan.planning.problem.measures import ArrayEnergy
from powerplan.planning.problem.problem import Problem
from powerplan.planning.problem.requirement import Requirement, requirement
from powerplan.planning.problem.watch import Seen, Watch
from powerplan.planning.session import Options, Session
from powerplan.planning.solve.starts import Baseline
from powerplan.planning.targets import Target


@dataclass(kw_only=True, eq=False)
class Attempt:
    """A target with the problems that stand for it.

    Attributes:
        exact: with rounding at the very gains; what the plan says is evaluated here, and its watch knows the best
            gains seen.
        problem: what is optimised: with rounding averaged over some gains; ``exact`` where nothing rounds.
        by_layer: the exact problem of the baseline.
        baseline: None if it misses the target, or before it was made.
        started: ``time.monotonic()`` value.
    """

    session: Session
    target: Target
    options: Options
    wanted: Requirement
    exact: Problem
    problem: Problem
    by_layer: Problem
    started: float
    baseline: Baseline | None = None

    @classmethod
    def of(cls, session: Session, target: Target, options: Options) -> Attempt:
        """The attempt at a target, begun now."""
        wanted = requirement(target, session.predictors, session.weights)
        if target.is_budget:
            wanted = replace(wanted, constraints=(*wanted.constraints, *session.energy_limits))
        elif (seconds := session.read_times) is not None:
            wanted = replace(wanted, objective=ArrayEnergy(seconds=seconds))
        tolerance = session.settings.tolerance
        seen = Seen(session.free, session.levels, max(policy.SETTLED_CONSTRAINT, session.accuracy(tolerance)))
        watch = Watch(options.stop_at, seen)
        exact = session.problem(wanted, session.free, tolerance=tolerance, exact=True, watch=watch)
        problem = by_layer = exact
        if session.averaged:
            own = Watch(options.stop_at, Seen(session.free, None, max(policy.SETTLED_CONSTRAINT, exact.accuracy)))
            problem = session.problem(wanted, session.free, tolerance=tolerance, watch=own)
        if session.baseline is not session.free:
            by_layer = session.problem(wanted, session.baseline, tolerance=tolerance, exact=True, watch=watch)
        return cls(
            session=session,
            target=target,
            options=options,
            wanted=wanted,
            exact=exact,
            problem=problem,
            by_layer=by_layer,
            started=time.monotonic(),
        )

    @property
    def is_averaged(self) -> bool:
        """Whether what is optimised is not what the plan is evaluated by."""
        return self.problem is not self.exact

    @property
    def predictions(self) -> int:
        """Predictions made so far."""
        return self.exact.terms.evaluations + (self.problem.terms.evaluations if self.is_averaged else 0)

    @property
    def seconds(self) -> float:
        """Since it was begun."""
        return time.monotonic() - self.started

    def keep_time(self) -> None:
        """Keep back what the report takes, as long as the baseline's, and what it takes to fit gains to converters."""
        reserved = 0.0 if self.baseline is None else len(self.session.predictors) * self.baseline.seconds
        self.exact.terms.watch.reserved = reserved
        if self.is_averaged:
            self.problem.terms.watch.reserved = reserved + policy.FITTING_PREDICTIONS * self.exact.terms.seconds(
                "values"
            )
