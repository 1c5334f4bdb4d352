"""Predicted power and error as sums of positive terms, with their derivatives in θ = log gains.

Power is split by layer (array and TIA), the MSE by noise source plus the squared output bias. Near θ every term is
close to a monomial of the gains, which makes the local model of their sums a geometric program.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from powerplan.moments.predictor import Predictor
from powerplan.planning.free_gains import FreeGains

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
    """Evaluates power [W] and MSE at θ, counting evaluations."""

    def __init__(self, predictor: Predictor, layout: FreeGains) -> None:
        self.predictor = predictor
        self.layout = layout
        self.evaluations = 0

    def values(self, theta: np.ndarray) -> tuple[Sum, Sum]:
        """(power, error) at θ (n,), without derivatives."""
        with torch.no_grad():
            power, error = self._terms(torch.tensor(theta, dtype=torch.float64))
        return tuple(Sum(terms=t.numpy(), jacobian=np.zeros((len(t), 0))) for t in (power, error))  # type: ignore[return-value]

    def derivatives(self, theta: np.ndarray) -> tuple[Sum, Sum]:
        """(power, error) at θ (n,), with their Jacobians."""
        point = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
        power, error = self._terms(point)
        return _differentiated(power, point), _differentiated(error, point)

    def gradients(self, theta: np.ndarray) -> tuple[Sum, Sum]:
        """(power, error) at θ (n,), each as one term with its gradient: two backward passes."""
        point = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
        power, error = self._terms(point)
        return _differentiated(power.sum()[None], point), _differentiated(error.sum()[None], point)

    def _terms(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        self.evaluations += 1
        conductance, voltage = self.layout.tensors(theta)
        predictor = self.predictor
        moments = predictor.moments(predictor.program(conductance, voltage))
        power = moments.array_power
        if predictor.hardware.feedback_resistance is not None:
            power = torch.cat([power, moments.tia_power])
        if predictor.method == "linearized":
            spread = [source.variance.mean() for source in moments.sources]
        else:
            spread = [moments.variance.mean()]
        bias = ((moments.mean - predictor.ideal) ** 2).mean()
        return power, torch.stack([*spread, bias])


def _differentiated(terms: Tensor, point: Tensor) -> Sum:
    rows = [
        torch.autograd.grad(term, point, retain_graph=True, allow_unused=True, materialize_grads=True)[0]
        for term in terms
    ]
    return Sum(terms=terms.detach().numpy(), jacobian=torch.stack(rows).numpy())
