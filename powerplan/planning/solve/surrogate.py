"""Planning on a surrogate of the prediction where the whole is expensive.

A *surrogate* predicts from a few of the inputs and of the random combinations of outputs. What it lacks is corrected at
the last point θ_k where the whole is known: with f the logs of objective and constraints,

    f̃(θ) = f_surrogate(θ) + [f(θ_k) − f_surrogate(θ_k)] + [∇f(θ_k) − ∇f_surrogate(θ_k)]·(θ − θ_k),

so that f̃ has the values and gradients of the whole at θ_k and the surrogate's curvature everywhere (first-order model
management: Alexandrov, Dennis, Lewis and Torczon, Structural Optimization 15, 1998). A KKT point of the corrected
surrogate is the next θ_k: each costs one prediction of the whole with its gradients. At the start values alone are
corrected.

Why: docs/decisions/many-gains.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from powerplan.moments.predictor import Predictor
from powerplan.planning import policy
from powerplan.planning.problem.pieces import Piece, is_expensive
from powerplan.planning.problem.problem import Problem
from powerplan.planning.problem.sums import Sum
from powerplan.planning.problem.terms import Programmed, Terms
from powerplan.planning.problem.watch import Watch
from powerplan.planning.solve.descent import descend
from powerplan.planning.solve.point import Point


def sample_for(predictor: Predictor) -> Piece | None:
    """The inputs and directions of a surrogate; None where the whole is cheap or cannot be divided enough."""
    inputs, directions = len(predictor.inputs), predictor.directions.shape[1]
    few = math.ceil(inputs / (policy.FEWER_EXACT if predictor.is_exact else policy.FEWER))
    fewer = directions if predictor.is_exact else math.ceil(directions / policy.FEWER)
    sample = Piece(part=slice(0, few), directions=None if fewer == directions else slice(0, fewer))
    return sample if is_expensive(predictor) and sample.share(predictor) * policy.FEWER <= 1 else None


class Surrogate(Terms):
    """Terms of a sample, corrected so that they agree with the whole's at a point."""

    def __init__(self, whole: Terms, sample: Piece) -> None:
        super().__init__(
            whole.predictors[0],
            whole.layout,
            objective=whole.objective,
            objective_tilt=whole.objective_tilt,
            constraints=whole.constraints,
            corners=whole.predictors[1:],
            sample=sample,
            watch=Watch(whole.watch.stop_at, reserved=whole.watch.reserved),  # what it evaluates is no answer
        )
        self._whole = whole
        self._scales: tuple[Tensor, ...] | None = None
        self._at = np.zeros(whole.layout.count)
        self._offsets = np.zeros(1 + len(self.constraints))
        self._slopes = np.zeros((len(self._offsets), whole.layout.count))

    def scale(self, theta: np.ndarray) -> None:
        """Make every term agree with the whole's at θ (n,)."""
        pairs = zip(self._whole.values(theta), super().values(theta), strict=True)
        self._scales = tuple(torch.tensor(_ratio(whole.terms, own.terms)) for whole, own in pairs)
        self.forget()

    def tilt(self, theta: np.ndarray) -> None:
        """Make values and gradients agree with the whole's at θ (n,)."""
        pairs = list(zip(self._whole.gradients(theta), super().gradients(theta), strict=True))
        self._at = np.array(theta)
        self._offsets = np.array([whole.log_total - own.log_total for whole, own in pairs])
        self._slopes = np.stack([whole.log_gradient - own.log_gradient for whole, own in pairs])

    def values(self, theta: np.ndarray) -> tuple[Sum, ...]:
        """See :class:`Terms`."""
        return self._corrected(theta, super().values(theta))

    def gradients(self, theta: np.ndarray) -> tuple[Sum, ...]:
        """See :class:`Terms`."""
        return self._corrected(theta, super().gradients(theta))

    def _measured(self, point: Tensor, programmed: Programmed, piece: Piece, what: str) -> list[Tensor]:
        terms = super()._measured(point, programmed, piece, what)
        if what != "terms" or self._scales is None:
            return terms
        return [each * scale for each, scale in zip(terms, self._scales, strict=True)]

    def _corrected(self, theta: np.ndarray, sums: Sequence[Sum]) -> tuple[Sum, ...]:
        factors = np.exp(self._offsets + self._slopes @ (theta - self._at))
        return tuple(_scaled(*each) for each in zip(sums, factors, self._slopes, strict=True))


def plan_on_surrogates(
    problem: Problem, start: np.ndarray, sample: Piece, *, tolerance: float, stop_at: float | None
) -> np.ndarray:
    """A θ near the optimum of the problem, from a start on its constraint: the best of those where the whole was
    evaluated with gradients.

    Args:
        tolerance: KKT residual at which no further point is looked for.
        stop_at: ``time.monotonic()`` value beyond which nothing is begun that would not be done by then.
    """
    surrogate = Surrogate(problem.terms, sample)
    surrogate.scale(start)
    theta, best, least, asked = start, start, np.inf, policy.FIRST_SURROGATE
    for _ in range(policy.MOST_SURROGATES):
        asked = max(asked, policy.LAST_SURROGATE * tolerance)
        simpler = replace(problem, terms=surrogate, accuracy=max(problem.accuracy, policy.SURROGATE_CONSTRAINT * asked))
        optimum = descend(simpler, theta, tolerance=asked, max_iterations=policy.SURROGATE_ITERATIONS, stop_at=stop_at)
        if problem.late(stop_at, "gradients"):
            break
        theta = optimum.theta
        unsettled = Point.at(problem, theta).unsettled
        if unsettled < least:
            best = theta
        if unsettled <= tolerance or unsettled > policy.LEAST_GAIN * least:
            break
        least, asked = unsettled, policy.NEXT_SURROGATE * unsettled
        surrogate.tilt(theta)
    return best


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    if len(above) != len(below):  # one of them was remembered as one term
        above, below = above.sum(keepdims=True), below.sum(keepdims=True)
    positive = (above > 0) & (below > 0)
    return np.where(positive, above / np.where(positive, below, 1.0), 1.0)


def _scaled(terms: Sum, factor: float, slope: np.ndarray) -> Sum:
    scaled = terms.times(factor)
    if not scaled.jacobian.shape[1]:
        return scaled
    return replace(scaled, jacobian=scaled.jacobian + np.outer(scaled.terms, slope))
