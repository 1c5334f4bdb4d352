"""Trials of changed hardware: what a target bounds, predicted at the best gains there."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np

from powerplan.errors import InvalidInput
from powerplan.hardware import Hardware
from powerplan.moments.predicting import report
from powerplan.moments.prediction import Prediction
from powerplan.moments.predictor import Predictor
from powerplan.planning import policy
from powerplan.planning.problem.requirement import requirement
from powerplan.planning.session import Session
from powerplan.planning.targets import Target


@dataclass(kw_only=True)
class Trials:
    """Predicts the target's quantity at the best gains of changed hardware.

    Attributes:
        search_by, stop_at: ``time.monotonic()`` values after which nothing else is looked for, or confirmed.
        deadline: of the plan; predictions get fewer error samples only for its sake, so that a busy machine does not
            change what is found.
        is_sampled: some prediction rested on random samples.
    """

    session: Session
    target: Target
    theta: np.ndarray
    search_by: float
    stop_at: float
    deadline: float | None
    count: int = 0
    is_sampled: bool = False

    @property
    def met(self) -> float:
        """Log excess from which on the target counts as met."""
        return policy.MET_BY_SIMULATION if self.target.is_verified else policy.MET_IN_TRIAL

    @property
    def late(self) -> bool:
        return self.count >= policy.MOST_TRIED or time.monotonic() > self.search_by

    def at(self, changed: Callable[[Hardware], Hardware]) -> tuple[float, float] | None:
        """Log excess over the bound and the quantity itself; None if the hardware is not allowed or time is up."""
        if self.late:
            return None
        self.count += 1
        return self.known(changed)

    def known(self, changed: Callable[[Hardware], Hardware]) -> tuple[float, float] | None:
        """As :meth:`at`, also in the time that is kept to confirm."""
        return None if time.monotonic() > self.stop_at else self._best(self._session(changed), seed=0)

    def confirmed(self, changed: Callable[[Hardware], Hardware], most: float = math.inf) -> tuple[float, float] | None:
        """As :meth:`at` by independent samples: the log excess that hardly any have, and the mean of the quantity.

        One with a log excess above ``most`` is the answer.
        """
        session = None if time.monotonic() > self.stop_at else self._session(changed)
        trials: list[tuple[float, float]] = []
        for seed in range(1, 1 + (policy.CONFIRMING_SEEDS if self.is_sampled else 1)):
            trial = None if time.monotonic() > self.stop_at else self._best(session, seed)
            if trial is None or trial[0] > most:
                return trial
            trials.append(trial)
        excess, reached = np.array(trials).T
        ratio = np.exp(excess)
        worst = ratio.max() + policy.DEVIATIONS * ratio.std()
        return math.log(worst), float(reached.mean())

    @property
    def _turns(self) -> bool:
        """Whether wires make errors rise again with the gains."""
        return any(p.hardware.has_wires for p in self.session.predictors)

    def _session(self, changed: Callable[[Hardware], Hardware]) -> Session | None:
        """The session on changed hardware; None if it is not allowed."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                session = self.session.again([changed(p.hardware) for p in self.session.predictors])
        except (InvalidInput, ArithmeticError):
            return None
        self.is_sampled |= session.has_samples
        return session

    def _best(self, session: Session | None, seed: int) -> tuple[float, float] | None:
        """Log excess and quantity at the best gains, by the samples of a seed beyond that of the plan."""
        if session is None:
            return None
        free, old = session.free, self.session.free
        end = free.lower if self.target.is_budget else free.upper
        # as far from the limits as the best gains were
        relative = np.clip(free.upper + self.theta - old.upper, free.lower, free.upper)
        points = [end, relative]
        if self._turns:
            # the best gains are the same, or between those and the largest
            same = np.clip(self.theta, free.lower, free.upper)
            points += [same, 0.5 * (relative + end), 0.5 * (same + relative)]
        if session.levels is not None:
            step = 0 if self.target.is_budget else -1
            points = [np.array([x if s is None else s[step] for x, s in zip(end, session.levels, strict=True)])]
        points = list({point.tobytes(): point for point in points}.values())
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                sampled = replace(session, predictors=tuple(_sampled(p, seed) for p in session.predictors))
                gains = free.gains(points[0])
                corrected = sampled.corrected_at(gains, self.deadline)
                predictions: list[Prediction] = []
                if corrected.needs_spread(self.target):
                    tells = self.target.chips is not None
                    predictions = [report(predictor, gains, chips=tells) for predictor in corrected.predictors]
                    corrected = corrected.with_spread(predictions, self.target)
                wanted = requirement(self.target, corrected.predictors, corrected.weights)
                problem = corrected.problem(wanted, free, exact=True)
                excess, best = min(((problem.excess(point), point) for point in points), key=itemgetter(0))
                if not self.target.has_steps:
                    return excess, problem.reached(best)
                room = math.exp(excess - problem.excess(points[0]))
                return excess, corrected.reached_by(self.target, predictions, room)
        except (InvalidInput, ArithmeticError):
            return None


def _sampled(predictor: Predictor, seed: int) -> Predictor:
    """The predictor with samples of its own, few in the search: their scatter is seen when it is confirmed."""
    sampling = predictor.sampling and predictor.sampling.quick(1.0 if seed else policy.SEARCH_SAMPLES)
    return replace(predictor, seed=predictor.seed + seed, sampling=sampling)
