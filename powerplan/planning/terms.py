"""Objective and constraints of a plan as sums of positive terms, with their derivatives in θ = log gains.

Power is split by layer (array and TIA), an error by noise source plus the squared output bias. Near θ every term is
close to a monomial of the gains, which makes the local model of their sums a geometric program.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
        with torch.no_grad():
            groups = self._terms(torch.tensor(theta, dtype=torch.float64))
        return tuple(Sum(terms=t.numpy(), jacobian=np.zeros((len(t), 0))) for t in groups)

    def derivatives(self, theta: np.ndarray) -> tuple[Sum, ...]:
        """(objective, *constraints) at θ (n,), with their Jacobians; constraints far from binding as one term."""
        point = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
        objective, *constraints = self._terms(point)
        near = self._nearest(constraints, _AS_ONE_TERM, _MOST_TERMS)
        whole = [terms if r in near else terms.sum()[None] for r, terms in enumerate(constraints)]
        return _differentiated(objective, point), *self._within_reach(whole, point)

    def gradients(self, theta: np.ndarray) -> tuple[Sum, ...]:
        """(objective, *constraints) at θ (n,), each as one term with its gradient: 1 + R backward passes."""
        point = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
        objective, *constraints = (terms.sum()[None] for terms in self._terms(point))
        return _differentiated(objective, point), *self._within_reach(constraints, point)

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

    def _terms(self, theta: Tensor) -> tuple[Tensor, ...]:
        self.evaluations += 1
        conductance, voltage = self.layout.tensors(theta)
        measured: list[tuple[int, Measure]] = [(0, self.objective), *((c.corner, c.measure) for c in self.constraints)]
        moments = {}
        for corner in {corner for corner, _ in measured}:
            predictor = self.predictors[corner]
            full = any(m.needs_covariance for at, m in measured if at == corner)
            moments[corner] = predictor.moments(predictor.program(conductance, voltage), full=full)
        return tuple(measure.terms(self.predictors[corner], moments[corner]) for corner, measure in measured)


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
