"""Sums of positive terms at a point: what objective and constraints are to a descent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Sum:
    """A sum of positive terms at a point.

    Attributes:
        terms: (T,) values.
        jacobian: (T, n) derivatives of the terms in θ; empty (T, 0) if not asked for.
    """

    terms: np.ndarray
    jacobian: np.ndarray

    @classmethod
    def of(cls, terms: Tensor) -> Sum:
        """The values of terms (T,), without derivatives."""
        return cls(terms=terms.detach().numpy(), jacobian=np.zeros((len(terms), 0)))

    @classmethod
    def differentiated(cls, terms: Tensor, theta: Tensor) -> Sum:
        """Terms (T,) with their derivatives in θ (n,), by one backward pass each."""
        rows = torch.zeros(len(terms), len(theta), dtype=theta.dtype)
        # errors that no gain changes (converters alone) have no graph
        for row, term in zip(rows, terms, strict=True) if terms.requires_grad else ():
            row[:] = torch.autograd.grad(term, theta, retain_graph=True, allow_unused=True, materialize_grads=True)[0]
        return cls(terms=terms.detach().numpy(), jacobian=rows.numpy())

    def plus(self, other: Sum) -> Sum:
        """Term by term."""
        return Sum(terms=self.terms + other.terms, jacobian=self.jacobian + other.jacobian)

    def times(self, factor: float) -> Sum:
        """Every term multiplied."""
        return Sum(terms=factor * self.terms, jacobian=factor * self.jacobian)

    @property
    def total(self) -> float:
        """The sum."""
        return float(self.terms.sum())

    @property
    def log_total(self) -> float:
        """Its logarithm; that of the smallest positive number where it is 0."""
        return float(np.log(max(self.total, np.finfo(float).tiny)))

    @property
    def log_gradient(self) -> np.ndarray:
        """∂ log total / ∂θ, (n,)."""
        return self.jacobian.sum(0) / self.total if self.total > 0 else np.zeros(self.jacobian.shape[1])
