"""Objective and constraints of a plan as sums of positive terms, with their derivatives in θ = log gains.

Power is split by layer (array, TIA, converters), an error by noise source plus the squared output bias. Near θ every
term is close to a monomial of the gains, which makes the local model of their sums a geometric program.

Why: docs/decisions/optimisation.md [0122].
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.digital_scales import Scales
from powerplan.moments.predictor import Predictor
from powerplan.planning import policy
from powerplan.planning.problem.measures import Constraint, Error, Measure, Power, Tilt
from powerplan.planning.problem.pieces import EVERYTHING, Piece, differentiable_pieces, is_expensive, parts
from powerplan.planning.problem.sums import Sum
from powerplan.planning.problem.variables import FreeGains
from powerplan.planning.problem.watch import Watch

#: the crossbars by corner at some gains
Programmed = Mapping[int, Sequence[ProgrammedArray]]


class Terms:
    """Evaluates (objective, constraint 1, ..., constraint R) at θ, counting evaluations.

    Args:
        predictor: the network on the nominal hardware; the objective is measured there.
        layout: the map between θ and gains.
        objective: what is minimised.
        objective_tilt: of the objective; None = none.
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
        objective_tilt: Tilt | None = None,
        constraints: Sequence[Constraint] | None = None,
        corners: Sequence[Predictor] = (),
        sample: Piece | None = None,
        watch: Watch | None = None,
    ) -> None:
        self.layout = layout
        self.watch = Watch() if watch is None else watch
        self.predictors = (predictor, *corners)
        self.objective = Power() if objective is None else objective
        self.objective_tilt = objective_tilt
        self.constraints = (Constraint(measure=Error(), value=1.0),) if constraints is None else tuple(constraints)
        self.bounds = np.array([constraint.bound for constraint in self.constraints])
        self.sample = EVERYTHING if sample is None else sample
        self.evaluations = 0
        self._seconds: dict[str, float] = {}
        self._known: dict[tuple[str, bytes], tuple[Sum, ...]] = {}

    def values(self, theta: np.ndarray) -> tuple[Sum, ...]:
        """(objective, *constraints) at θ (n,), without derivatives."""
        return self._evaluated("values", theta)

    def derivatives(self, theta: np.ndarray) -> tuple[Sum, ...]:
        """(objective, *constraints) at θ (n,), with the Jacobians of their terms."""
        return self._evaluated("derivatives", theta)

    def gradients(self, theta: np.ndarray) -> tuple[Sum, ...]:
        """(objective, *constraints) at θ (n,), each as one term with its gradient: 1 + R backward passes."""
        return self._evaluated("gradients", theta)

    def residuals(self, theta: np.ndarray, weights: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Jacobian (k, n) at θ of the residuals of objective and constraints, and the gradient (n,) of half the sum of
        their squares; each sum's squares are weighted with ``weights`` (1 + R,).

        Of more than ``most`` residuals, as many random combinations. No rows where the gains move no residual, and
        where a prediction is made in pieces or is expensive.
        """
        predictor = self.predictors[0]
        pieces = differentiable_pieces(predictor, self.sample)
        if len(pieces) > 1 or is_expensive(predictor):
            return np.zeros((0, len(theta))), np.zeros(len(theta))
        self.watch.begin(self.seconds("gradients"), first=False)
        self.evaluations += 1
        point = torch.tensor(theta, requires_grad=True)
        residuals = self._measured(point, self._programmed(*self.layout.tensors(point)), pieces[0], "residuals")
        weighted = torch.cat([r * float(np.sqrt(w)) for r, w in zip(residuals, weights, strict=True)])
        if not weighted.requires_grad or not len(weighted):
            return np.zeros((0, len(theta))), np.zeros(len(theta))
        gradient = Sum.differentiated(0.5 * weighted.square().sum()[None], point).jacobian[0]
        if len(weighted) > most:
            signs = np.random.default_rng(0).choice([-1.0, 1.0], (most, len(weighted)))
            weighted = torch.tensor(signs / np.sqrt(most)) @ weighted
        return Sum.differentiated(weighted, point).jacobian, gradient

    def forget(self) -> None:
        """Remember no values: what they depend on changed."""
        self._known.clear()

    def seconds(self, *kinds: str) -> float:
        """Seconds that evaluations of these kinds ("values", "gradients", "derivatives") take, as long as the last one
        of each took; derivatives that there were none of yet count as some predictions."""
        known = self._seconds
        unknown = policy.GRADIENT_COST * known.get("values", 0.0)
        return sum(known.get(kind, 0.0 if kind == "values" else unknown) for kind in kinds)

    def _evaluated(self, kind: str, theta: np.ndarray) -> tuple[Sum, ...]:
        """(objective, *constraints); not made again at one of the last points. Derivatives hold the values as well.

        Sums of all pieces, weighted with their share of inputs and directions; one piece is kept at a time.
        """
        point = np.array(theta, dtype=np.float64)
        for known in (kind, "gradients", "derivatives") if kind == "values" else (kind,):
            if (known, point.tobytes()) in self._known:
                return self._known[known, point.tobytes()]
        self.watch.begin(self.seconds(kind), first=not self.evaluations)
        self.evaluations += 1
        started = time.monotonic()
        predictor, has_derivatives = self.predictors[0], kind != "values"
        pieces = (differentiable_pieces if has_derivatives else parts)(predictor, self.sample)
        whole = self.sample.share(predictor)
        sums: list[Sum] = []
        own: list[Sum] = []
        before: Piece | None = None
        with torch.set_grad_enabled(has_derivatives):
            variable = torch.tensor(point, requires_grad=has_derivatives)
            programmed = self._programmed(*self.layout.tensors(variable))
            for piece in pieces:
                if sums:
                    self.watch.begin(0.0, first=self.evaluations == 1)
                terms = self._measured(variable, programmed, piece, "terms")
                if kind == "gradients":
                    terms = [each.sum()[None] for each in terms]
                if has_derivatives:
                    of_inputs = own if before is not None and before.part == piece.part else None
                    own = self._differentiated(terms, variable, every=len(pieces) > 1, known=of_inputs)
                else:
                    own = [Sum.of(each) for each in terms]
                share = piece.share(predictor) / whole
                shares = own if share == 1 else [each.times(share) for each in own]
                sums = shares if not sums else [total.plus(each) for total, each in zip(sums, shares, strict=True)]
                before = piece
                terms = []  # their graph goes before that of the next piece is made
        self._seconds[kind] = time.monotonic() - started
        if self.watch.seen is not None:
            self.watch.seen.note(self.layout, point, tuple(sums), self.bounds)
        if len(self._known) == policy.REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[kind, point.tobytes()] = tuple(sums)
        return tuple(sums)

    def _differentiated(
        self, terms: Sequence[Tensor], point: Tensor, *, every: bool, known: Sequence[Sum] | None
    ) -> list[Sum]:
        """Objective and constraints with derivatives: those of constraints where they could bind, else zeros; of all
        constraints if ``every``: what one piece says of them is not the whole. Costs are those ``known`` from other
        directions of the same inputs: they depend on no direction."""
        measures = (self.objective, *(constraint.measure for constraint in self.constraints))
        totals = np.array([float(each.detach().sum()) for each in terms[1:]])
        excesses = np.log(np.maximum(totals, np.finfo(float).tiny) / self.bounds)
        worst = np.argsort(-excesses, kind="stable")[: policy.MOST_GRADIENTS]
        near = {0, *(1 + int(r) for r in worst if not excesses[r] < excesses[worst[0]] - policy.OUT_OF_REACH)}
        sums = []
        for i, each in enumerate(terms):
            if known is not None and measures[i].rises:
                sums.append(known[i])
            elif every or i in near:
                sums.append(Sum.differentiated(each, point))
            else:
                sums.append(Sum(terms=each.detach().numpy(), jacobian=np.zeros((len(each), len(point)))))
        return sums

    def _programmed(self, conductance: Sequence[Tensor], voltage: Sequence[Tensor]) -> Programmed:
        """The crossbars of every corner with these gains: one graph for all pieces."""
        others = {c.corner for c in self.constraints} - {0}
        nominal = self.predictors[0].program(conductance, voltage)
        # there is one set of scales, that of the nominal hardware
        scales = Scales.of(nominal)
        return {0: nominal, **{k: self.predictors[k].program(conductance, voltage, scales) for k in others}}

    def _measured(self, point: Tensor, programmed: Programmed, piece: Piece, what: str) -> list[Tensor]:
        """``what``, "terms" or "residuals", of objective and constraints at θ (n,)."""
        measured: list[tuple[int, Measure, Tilt | None]] = [(0, self.objective, self.objective_tilt)]
        measured += ((c.corner, c.measure, c.tilt) for c in self.constraints)
        predictors, moments = {}, {}
        for corner, crossbars in programmed.items():
            predictors[corner] = predictor = piece.of(self.predictors[corner])
            full = any(m.needs_covariance for at, m, _ in measured if at == corner)
            moments[corner] = predictor.moments(crossbars, piece.part, full=full)
        values = []
        for corner, measure, tilt in measured:
            of_measure = measure.terms if what == "terms" else measure.residuals
            value = of_measure(predictors[corner], moments[corner], piece.part).double().cpu()
            if tilt is not None:
                value = value * (tilt.factor(point) if what == "terms" else tilt.factor(point).sqrt())
            values.append(value)
        return values
