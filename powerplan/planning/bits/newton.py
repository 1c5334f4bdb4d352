"""Least sums of exponentials in a box, many at once: what a local model of a plan takes."""

from __future__ import annotations

import numpy as np

from powerplan.planning import policy


def least_in_box(
    weights: np.ndarray, exponents: np.ndarray, lower: np.ndarray, upper: np.ndarray, start: np.ndarray
) -> np.ndarray:
    """Minimisers (N, m) of Σ_k weights_nk exp(exponents_k · y), by Newton's method with entries held at their limits.

    Args:
        weights: (N, K) >= 0.
        exponents: (K, m).
        lower, upper: limits of y (m,).
        start: (N, m) within them.
    """
    y, m = start.copy(), len(lower)
    products = (exponents[:, :, None] * exponents[:, None, :]).reshape(len(exponents), m * m)
    for _ in range(policy.MODEL_STEPS):
        terms = weights * np.exp(y @ exponents.T)
        slope = terms @ exponents
        curved = (terms @ products).reshape(-1, m, m)
        size = np.einsum("nii->ni", curved)
        held = (y <= lower) & (slope > 0) | (y >= upper) & (slope < 0) | (size <= 0)
        curved = np.where(held[:, :, None] | held[:, None, :], 0.0, curved)
        curved[:, range(m), range(m)] = np.where(held, 1.0, size * (1 + policy.MODEL_RIDGE))
        step = np.linalg.solve(curved, np.where(held, 0.0, -slope)[:, :, None])[:, :, 0]
        moved = np.clip(y + np.clip(step, -policy.LARGEST_STEP, policy.LARGEST_STEP), lower, upper)
        change = np.abs(moved - y).max(initial=0.0)
        y = moved
        if change < policy.SAME_MODEL_STEP:
            break
    return y
