"""Objective and constraints of a plan as sums of positive terms, with their derivatives in θ = log gains.

Power is split by layer (array, TIA, converters), an error by noise source plus the squared output bias. Near θ every
term is close to a monomial of the gains, which makes the local model of their sums a geometric program.

Why: docs/decisions/optimisation.md [0122].
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.predictor import Moments, Predictor
from powerplan.planning.problem.measures import Constraint, Error, Measure, Power
from powerplan.planning.problem.variables import FreeGains
from powerplan.planning.problem.watch import Watch

#: constraints so far (in log) below the worst one, and those beyond so many, are taken as one term; and without
#: derivatives, because they cannot bind here
_AS_ONE_TERM, _MOST_TERMS = 1.0, 24
_OUT_OF_REACH, _MOST_GRADIENTS = 4.0, 64
#: points whose values are remembered: a step's last prediction is the next one's first
_REMEMBERED = 4
#: tensors of the size of all values kept for every input and direction until its backward pass, about
_KEPT = 4
#: entries of all adjoints of a prediction beyond which it is dear: some seconds with its gradients
DEAR = 30_000_000
#: a term below this fraction of its sum counts as constant
_NEGLIGIBLE = 1e-18
#: predictions that the first one with gradients is taken to cost
_GRADIENT = 3.0

#: the crossbars by corner at some gains
Programmed = Mapping[int, Sequence[ProgrammedArray]]


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
        sample: the inputs and directions that are evaluated; None = all.
        watch: ends evaluations at a deadline and notes them; None = neither.
    """

    def __init__(
        self,
        predictor: Predictor,
        layout: FreeGains,
        *,
        objective: Measure | None = None,
        constraints: Sequence[Constraint] | None = None,
        corners: Sequence[Predictor] = (),
        sample: Piece | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.layout = layout
        self.watch = Watch() if watch is None else watch
        self.predictors = (predictor, *corners)
        self.objective = Power() if objective is None else objective
        self.constraints = (Constraint(measure=Error(), value=1.0),) if constraints is None else tuple(constraints)
        self.sample = EVERYTHING if sample is None else sample
        self.evaluations = 0
        self._seconds: dict[str, float] = {}
        self._known: dict[tuple[str, bytes], tuple[Sum, ...]] = {}

    def values(self, theta: np.ndarray) -> tuple[Sum, ...]:
        """(objective, *constraints) at θ (n,), without derivatives."""
        return self._remembered("values", theta, self._values)

    def derivatives(self, theta: np.ndarray) -> tuple[Sum, ...]:
        """(objective, *constraints) at θ (n,), with their Jacobians; constraints far from binding as one term."""
        return self._remembered("derivatives", theta, lambda point: self._differentiated(point, by_term=True))

    def gradients(self, theta: np.ndarray) -> tuple[Sum, ...]:
        """(objective, *constraints) at θ (n,), each as one term with its gradient: 1 + R backward passes."""
        return self._remembered("gradients", theta, lambda point: self._differentiated(point, by_term=False))

    def residuals(self, theta: np.ndarray, weights: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Jacobian (k, n) at θ of the residuals of objective and constraints, and the gradient (n,) of half the sum of
        their squares; each sum's squares are weighted with ``weights`` (1 + R,).

        Of more than ``most`` residuals, as many random combinations. None where the gains move no residual, and where
        a prediction is made in pieces or is dear.
        """
        predictor = self.predictors[0]
        pieces = differentiable_pieces(predictor, self.sample)
        if len(pieces) > 1 or is_dear(predictor):
            return np.zeros((0, len(theta))), np.zeros(len(theta))
        self.watch.begin(self.seconds("gradients"), first=False)
        self.evaluations += 1
        point = torch.tensor(theta, requires_grad=True)
        found = self._measured(self._programmed(point), pieces[0], lambda measure: measure.residuals)
        weighted = torch.cat([r * float(np.sqrt(w)) for r, w in zip(found, weights, strict=True)])
        if not weighted.requires_grad or not len(weighted):
            return np.zeros((0, len(theta))), np.zeros(len(theta))
        gradient = _differentiated(0.5 * weighted.square().sum()[None], point).jacobian[0]
        if len(weighted) > most:
            signs = np.random.default_rng(0).choice([-1.0, 1.0], (most, len(weighted)))
            weighted = torch.tensor(signs / np.sqrt(most)) @ weighted
        return _differentiated(weighted, point).jacobian, gradient

    def forget(self) -> None:
        """Remember no values: what they depend on changed."""
        self._known.clear()

    def seconds(self, *kinds: str) -> float:
        """Seconds that evaluations of these kinds ("values", "gradients", "derivatives") take, as long as the last one
        of each took; derivatives that there were none of yet count as some predictions."""
        known = self._seconds
        unknown = _GRADIENT * known.get("values", 0.0)
        return sum(known.get(kind, 0.0 if kind == "values" else unknown) for kind in kinds)

    def _remembered(
        self, kind: str, theta: np.ndarray, evaluate: Callable[[np.ndarray], tuple[Sum, ...]]
    ) -> tuple[Sum, ...]:
        """The evaluation; not made again at one of the last points. Derivatives hold the values as well."""
        point = np.array(theta, dtype=np.float64)
        for known in (kind, "gradients", "derivatives") if kind == "values" else (kind,):
            if (known, point.tobytes()) in self._known:
                return self._known[known, point.tobytes()]
        self.watch.begin(self.seconds(kind), first=not self.evaluations)
        self.evaluations += 1
        started = time.monotonic()
        found = evaluate(point)
        self._seconds[kind] = time.monotonic() - started
        self._note(point, found)
        if len(self._known) == _REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[kind, point.tobytes()] = found
        return found

    def _note(self, theta: np.ndarray, sums: tuple[Sum, ...]) -> None:
        if self.watch.seen is not None:
            self.watch.seen.note(self.layout, theta, sums, np.array([c.bound for c in self.constraints]))

    def _values(self, theta: np.ndarray) -> tuple[Sum, ...]:
        with torch.no_grad():
            programmed = self._programmed(torch.tensor(theta))
            return self._added(
                (piece, [Sum(terms=t.numpy(), jacobian=np.zeros((len(t), 0))) for t in self._terms(programmed, piece)])
                for piece in parts(self.predictors[0], self.sample)
            )

    def _differentiated(self, theta: np.ndarray, *, by_term: bool) -> tuple[Sum, ...]:
        pieces = differentiable_pieces(self.predictors[0], self.sample)
        point = torch.tensor(theta, requires_grad=True)
        programmed = self._programmed(point)
        return self._added(
            (piece, self._of_piece(point, programmed, piece, by_term, len(pieces) > 1)) for piece in pieces
        )

    def _of_piece(self, point: Tensor, programmed: Programmed, piece: Piece, by_term: bool, every: bool) -> list[Sum]:
        """Derivatives for a piece; of all constraints if ``every``: what one piece says of them is not the whole."""
        objective, *constraints = self._terms(programmed, piece)
        near = set(range(len(constraints))) if every else self._nearest(constraints, _AS_ONE_TERM, _MOST_TERMS)
        parted = [terms if by_term and r in near else terms.sum()[None] for r, terms in enumerate(constraints)]
        first = _differentiated(objective if by_term else objective.sum()[None], point)
        if every:
            return [first, *(_differentiated(terms, point) for terms in parted)]
        return [first, *self._within_reach(parted, point)]

    def _added(self, found: Iterable[tuple[Piece, list[Sum]]]) -> tuple[Sum, ...]:
        """Sums of all pieces, weighted with their share of inputs and directions; one piece is kept at a time."""
        predictor = self.predictors[0]
        whole = self.sample.share(predictor)
        total: list[Sum] = []
        for count, (piece, sums) in enumerate(found):
            if count:
                self.watch.begin(0.0, first=self.evaluations == 1)
            share = piece.share(predictor) / whole
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

    def _programmed(self, theta: Tensor) -> Programmed:
        """The crossbars of every corner at θ: one graph for all pieces."""
        conductance, voltage = self.layout.tensors(theta)
        used = {0, *(c.corner for c in self.constraints)}
        return {corner: self.predictors[corner].program(conductance, voltage) for corner in used}

    def _terms(self, programmed: Programmed, piece: Piece) -> tuple[Tensor, ...]:
        return self._measured(programmed, piece, lambda measure: measure.terms)

    def _measured(
        self,
        programmed: Programmed,
        piece: Piece,
        what: Callable[[Measure], Callable[[Predictor, Moments, slice], Tensor]],
    ) -> tuple[Tensor, ...]:
        """Terms or residuals of objective and constraints."""
        measured: list[tuple[int, Measure]] = [(0, self.objective), *((c.corner, c.measure) for c in self.constraints)]
        predictors, moments = {}, {}
        for corner, crossbars in programmed.items():
            predictors[corner] = predictor = piece.of(self.predictors[corner])
            full = any(m.needs_covariance for at, m in measured if at == corner)
            moments[corner] = predictor.moments(crossbars, piece.part, full=full)
        return tuple(
            what(measure)(predictors[corner], moments[corner], piece.part).double().cpu()
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


EVERYTHING = Piece(part=slice(None))


def parts(predictor: Predictor, sample: Piece = EVERYTHING) -> list[Piece]:
    """The sample a part of its inputs at a time, as :attr:`Predictor.parts` divides them."""
    inputs = range(len(predictor.inputs))
    within = inputs[sample.part]
    cut = (range(max(p.start, within.start), min(p.stop, within.stop)) for p in predictor.parts)
    return [replace(sample, part=slice(r.start, r.stop)) for r in cut if r]


def differentiable_pieces(predictor: Predictor, sample: Piece = EVERYTHING) -> list[Piece]:
    """Pieces of the sample whose values, all kept for the backward passes, fit the predictor's memory limit; at least
    one input and one direction each."""
    shapes = predictor.network.shapes
    values = sum(math.prod(shapes[node.name]) for node in predictor.network.nodes)
    inputs = range(len(predictor.inputs))[sample.part]
    directions = range(predictor.directions.shape[1])[sample.directions or slice(None)]
    room = max(1, predictor.memory_limit // (_KEPT * values * predictor.inputs.element_size()) - 1)
    together = len(directions) if predictor.is_exact else min(len(directions), room)
    some = max(1, room // together)
    if some >= len(inputs) and together == len(directions):
        return [sample]
    return [
        Piece(
            part=slice(i, min(i + some, inputs.stop)),
            directions=sample.directions
            if together == len(directions)
            else slice(d, min(d + together, directions.stop)),
        )
        for i in range(inputs.start, inputs.stop, some)
        for d in range(directions.start, directions.stop, together)
    ]


def is_dear(predictor: Predictor) -> bool:
    """Whether a prediction is so dear that none is spent on what is of little use."""
    return work_of(predictor) > DEAR


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
