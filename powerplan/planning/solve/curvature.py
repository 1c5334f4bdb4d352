"""What planning with many gains knows of the curvature of its Lagrangian, and the coordinates in which it steps.

Of a gain c = exp θ the noise adds an error ∝ 1/c² and, where devices are clipped, a bias ∝ 1/c. In the coordinate
x = −1/c both are simple: noise adds a square, and the output bias β, (m,) for all inputs and outputs, is nearly linear.
With prices λ, and power P_i ∝ c^t, the Lagrangian log P + λ log F, F = noise + Σ β², has in x (times dθ/dx²) about the
Hessian

    B = diag((t + 1) |g| + λ |h − h_β|) + (2λ/F) JᵀJ,    g = ∇log P, h = ∇log F, h_β = ∇(Σ β²)/F, J = ∂β/∂θ:

the diagonal of gains that have power and noise of their own, and the Gauss-Newton matrix of the bias, of low rank, in
which all gains act together: with many columns it is hundreds of times stiffer. What is missing is learnt from changes
of the gradient by limited-memory BFGS (Nocedal, Math. Comp. 35, 1980), which only ever applies B⁻¹ to vectors.

Where nothing is known of the bias, steps are made in θ with B = diag(t |g| + 2 λ |h|).

Why: docs/decisions/many-gains.md [0238, 0239].
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from powerplan.planning import policy


@dataclass(frozen=True, kw_only=True, eq=False)
class Coordinates:
    """x = −exp(reference − θ), the negative reciprocal of the gain; without a reference x = θ."""

    reference: np.ndarray | None

    def per_log(self, theta: np.ndarray) -> np.ndarray:
        """dx/dθ (n,) > 0."""
        return np.ones_like(theta) if self.reference is None else np.exp(self.reference - theta)

    def steps(self, theta: np.ndarray, logs: np.ndarray) -> np.ndarray:
        """The steps in x that change θ by ``logs``."""
        return logs if self.reference is None else -np.expm1(-logs) * self.per_log(theta)

    def logs(self, theta: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """What steps in x change θ by."""
        return steps if self.reference is None else -np.log1p(-steps / self.per_log(theta))


@dataclass(kw_only=True, eq=False)
class Curvature:
    """B⁻¹ by limited-memory BFGS around diag(``diagonal``) + JᵀJ.

    Attributes:
        diagonal: (n,).
        rows: J (k, n); may be empty.
        pairs: steps and changes of the gradient, oldest first.
    """

    diagonal: np.ndarray
    rows: np.ndarray
    pairs: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    def learn(self, step: np.ndarray, change: np.ndarray) -> None:
        """The Lagrangian's gradient changed by ``change`` over ``step``."""
        self.pairs = [*self.pairs[1 - policy.MEMORY :], (step, change)]

    def solve(self, vectors: np.ndarray, free: np.ndarray) -> np.ndarray:
        """B⁻¹ applied to rows (k, n), restricted to the free gains; pairs without positive curvature there are left
        out."""
        rows = self.rows * free
        flat = rows / self.diagonal
        small = np.eye(len(rows)) + rows @ flat.T

        def start(q: np.ndarray) -> np.ndarray:
            return np.asarray(q / self.diagonal - np.linalg.solve(small, flat @ q.T).T @ flat)

        used = []
        for step, change in self.pairs:
            s, y = step * free, change * free
            curvature = float(s @ y)
            if curvature > policy.LEAST_CURVATURE * float(np.sqrt((s * self.diagonal @ s) * (y / self.diagonal @ y))):
                used.append((s, y, curvature))
        q = vectors * free
        passed = []
        for s, y, curvature in reversed(used):
            amount = q @ s / curvature
            passed.append(amount)
            q = q - np.outer(amount, y)
        q = start(q)
        if used and not len(rows):
            _, y, curvature = used[-1]
            q *= curvature / float(y / self.diagonal @ y)
        for (s, y, curvature), amount in zip(used, reversed(passed), strict=True):
            q = q + np.outer(amount - q @ y / curvature, s)
        return np.asarray(q * free)
