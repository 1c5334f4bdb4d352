"""Objective and constraints of a plan as sums of positive terms, with their derivatives in θ = log gains.

Power is split by layer (array, TIA, converters), an error by noise source plus the squared output bias. Near θ every
term is close to a monomial of the gains, which makes the local model of their sums a geometric program.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from powerplan.moments.predictor import Predictor
from powerplan.planning.free_gains import FreeGains
from powerplan.planning.measures import Constraint, Error, Measure, Power

#: constraints so far (in log) below the worst one, and those beyond so many, are taken as one term; and without
#: derivatives, because they cannot bind here
_AS_ONE_TERM, _MOST_TERMS = 1.0, 24
_OUT_OF_REACH, _MOST_GRADIENTS = 4.0, 64
#: tensors of the size of all values kept for every input and direction until its backward pass, about
_KEPT = 4
#: a term below this fraction of its sum counts as constant
_NEGLIGIBLE = 1e-18


@dataclass(frozen=True, kw_only=True, eq=False)
class Sum:
    """A sum of positive terms at a point.

    Attributes:
        terms: (T,) values.
        jacobian: (T, n) derivatives of the terms in θ; empty (T, 0) if not asked for.
    """

    terms: np.ndarray
    jacobian: np.ndarray

    def plus(self, other: Sum) -> Sum:
        """Term by term."""
        return Sum(terms=self.terms + other.terms, jacobian=self.jacobian + other.jacobian)

    @property
    def total(self) -> float:
        """The sum."""
        return float(self.terms.sum())

    @property
    def log_gradient(self) -> np.ndarray:
        """∂ log total / ∂θ, (n,)."""
        return self.jacobian.sum(0) / self.total if self.total > 0 else np.zeros(self.jacobian.shape[1])

    def monomials(self) -> tuple[np.ndarray, np.ndarray]:
        """log terms (T,) and exponents ∂ log term/∂θ (T, n); negligible terms become constants."""
        floor = max(self.total, np.finfo(float).tiny) * _NEGLIGIBLE
        kept = self.terms > floor
        safe = np.where(kept, self.terms, floor)
        return np.log(safe), np.where(kept[:, None], self.jacobian / safe[:, None], 0.0)


class Terms:
    """Evaluates (objective, constraint 1, ..., constraint R) at θ, counting evaluations.

    Args:
        predictor: the network on the nominal hardware; the objective is measured there.
        layout: the map between θ and gains.
        objective: what is minimised.
        constraints: what is bounded; a constraint names the corner it holds in.
        corners: the network on further hardware, corners 1, 2, ... (corner 0 is ``predictor``).
    """

    def __init__(
        self,
        predictor: Predictor,
        layout: FreeGains,
        *,
        objective: Measure | None = None,
        constraints: Sequence[Constraint] | None = None,
        corners: Sequence[Predictor] = (),
    ) -> None:
        self.layout = layout
        self.predictors = (predictor, *corners)
        self.objective = Power() if objective is None else objective
        self.constraints = (Constraint(measure=Error(), value=1.0),) if constraints is None else tuple(constraints)
        self.evaluations = 0

    def values(self, theta: np.ndarray) -> tuple[Sum, ...]:
        """(objective, *constraints) at θ (n,), without derivatives."""
        self.evaluations += 1
        pieces = [Piece(part=part) for part in self.predictors[0].parts]
        with torch.no_grad():
            return self._added(
                (
                    piece,
                    [
                        Sum(terms=t.numpy(), jacobian=np.zeros((len(t), 0)))
                        for t in self._terms(torch.tensor(theta, dtype=torch.float64), piece)
                    ],
                )
                for piece in pieces
            )

    def derivatives(self, theta: np.ndarray) -> tuple[Sum, ...]:
        """(objective, *constraints) at θ (n,), with their Jacobians; constraints far from binding as one term."""
        return self._differentiated(theta, by_term=True)

    def gradients(self, theta: np.ndarray) -> tuple[Sum, ...]:
        """(objective, *constraints) at θ (n,), each as one term with its gradient: 1 + R backward passes."""
        return self._differentiated(theta, by_term=False)

    def _differentiated(self, theta: np.ndarray, *, by_term: bool) -> tuple[Sum, ...]:
        self.evaluations += 1
        pieces = differentiable_pieces(self.predictors[0])
        return self._added((piece, self._of_piece(theta, piece, by_term, len(pieces) > 1)) for piece in pieces)

    def _of_piece(self, theta: np.ndarray, piece: Piece, by_term: bool, every: bool) -> list[Sum]:
        """Derivatives for a piece; of all constraints if ``every``: what one piece says of them is not the whole."""
        point = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
        objective, *constraints = self._terms(point, piece)
        near = set(range(len(constraints))) if every else self._nearest(constraints, _AS_ONE_TERM, _MOST_TERMS)
        parted = [terms if by_term and r in near else terms.sum()[None] for r, terms in enumerate(constraints)]
        first = _differentiated(objective if by_term else objective.sum()[None], point)
        if every:
            return [first, *(_differentiated(terms, point) for terms in parted)]
        return [first, *self._within_reach(parted, point)]

    def _added(self, found: Iterable[tuple[Piece, list[Sum]]]) -> tuple[Sum, ...]:
        """Sums of all pieces, weighted with their share of inputs and directions; one piece is kept at a time."""
        predictor = self.predictors[0]
        total: list[Sum] = []
        for piece, sums in found:
            share = piece.share(predictor)
            if share == 1:
                return tuple(sums)
            weighted = [Sum(terms=share * s.terms, jacobian=share * s.jacobian) for s in sums]
            total = weighted if not total else [t.plus(w) for t, w in zip(total, weighted, strict=True)]
        return tuple(total)

    def _within_reach(self, constraints: Sequence[Tensor], point: Tensor) -> list[Sum]:
        """The constraints with derivatives where they could bind, else with a Jacobian of zeros."""
        near = self._nearest(constraints, _OUT_OF_REACH, _MOST_GRADIENTS)
        return [
            _differentiated(terms, point)
            if r in near
            else Sum(terms=terms.detach().numpy(), jacobian=np.zeros((len(terms), len(point))))
            for r, terms in enumerate(constraints)
        ]

    def _nearest(self, constraints: Sequence[Tensor], reach: float, most: int) -> set[int]:
        """Constraints at most ``reach`` (in log value over bound) below the worst one, and at most so many."""
        totals = np.array([float(terms.detach().sum()) for terms in constraints])
        bounds = np.array([constraint.bound for constraint in self.constraints])
        excesses = np.log(np.maximum(totals, np.finfo(float).tiny) / bounds)
        worst = np.argsort(-excesses, kind="stable")[:most]
        return {int(r) for r in worst if not excesses[r] < excesses[worst[0]] - reach}

    def _terms(self, theta: Tensor, piece: Piece) -> tuple[Tensor, ...]:
        conductance, voltage = self.layout.tensors(theta)
        measured: list[tuple[int, Measure]] = [(0, self.objective), *((c.corner, c.measure) for c in self.constraints)]
        predictors, moments = {}, {}
        for corner in {corner for corner, _ in measured}:
            predictors[corner] = predictor = piece.of(self.predictors[corner])
            full = any(m.needs_covariance for at, m in measured if at == corner)
            moments[corner] = predictor.moments(predictor.program(conductance, voltage), piece.part, full=full)
        return tuple(
            measure.terms(predictors[corner], moments[corner], piece.part).double().cpu()
            for corner, measure in measured
        )


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a prediction that is made by itself: inputs, and (of random combinations) directions; None = all."""

    part: slice
    directions: slice | None = None

    def of(self, predictor: Predictor) -> Predictor:
        """The predictor with this piece's directions."""
        if self.directions is None:
            return predictor
        return replace(predictor, directions=predictor.directions[:, self.directions])

    def share(self, predictor: Predictor) -> float:
        """Its share of inputs × directions."""
        inputs, directions = len(predictor.inputs), predictor.directions.shape[1]
        share = len(range(inputs)[self.part]) / inputs
        return share if self.directions is None else share * len(range(directions)[self.directions]) / directions


def differentiable_pieces(predictor: Predictor) -> list[Piece]:
    """Pieces whose values, all kept for the backward passes, fit the predictor's memory limit; at least one input and
    one direction each."""
    shapes = predictor.network.shapes
    values = sum(math.prod(shapes[node.name]) for node in predictor.network.nodes)
    inputs, directions = len(predictor.inputs), predictor.directions.shape[1]
    room = max(1, predictor.memory_limit // (_KEPT * values * predictor.inputs.element_size()) - 1)
    together = directions if predictor.is_exact else min(directions, room)
    some = max(1, room // together)
    if some >= inputs and together == directions:
        return [Piece(part=slice(None))]
    return [
        Piece(part=slice(i, i + some), directions=None if together == directions else slice(d, d + together))
        for i in range(0, inputs, some)
        for d in range(0, directions, together)
    ]


def work_of(predictor: Predictor) -> int:
    """Entries of all adjoints of a prediction: inputs × directions × values of all nodes."""
    shapes = predictor.network.shapes
    values = sum(math.prod(shapes[node.name]) for node in predictor.network.nodes)
    return len(predictor.inputs) * predictor.directions.shape[1] * values


def _differentiated(terms: Tensor, point: Tensor) -> Sum:
    rows = [
        torch.autograd.grad(term, point, retain_graph=True, allow_unused=True, materialize_grads=True)[0]
        for term in terms
    ]
    return Sum(terms=terms.detach().numpy(), jacobian=torch.stack(rows).numpy())
