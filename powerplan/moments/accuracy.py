"""Classification accuracy from the mean and covariance of the outputs.

For input b with label t, the chance of being right is P(argmax_k y_k = t), y ~ N(μ_b, Σ_b); with a single output it
is P(y > 0) for label 1 and P(y ≤ 0) for label 0. It is estimated by sampling y = μ + F n, F Fᵀ = Σ.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from powerplan.checks import Checker
from powerplan.errors import InvalidInput

#: numbers sampled at a time (32 MiB of doubles)
_BLOCK = 1 << 22


def check_labels(labels: npt.ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """Labels as (B,) integers.

    Args:
        labels: one class per input.
        shape: (B, K) of the outputs; classes are 0 to K − 1, or 0 and 1 with a single output.

    Raises:
        InvalidInput: wrong shape, no integers, or classes out of range.
    """
    batch, outputs = shape
    classes = max(outputs, 2)
    allowed = f"({batch},) integer classes from 0 to {classes - 1}"
    try:
        array = np.asarray(labels)
        good = array.dtype.kind in "iu" or (array.dtype.kind in "fb" and bool((array == np.floor(array)).all()))
    except (TypeError, ValueError):
        good = False
    if not good:
        raise InvalidInput.of("labels", labels, allowed, "Number the classes from 0.")
    if array.shape != (batch,):
        raise InvalidInput.of("labels", array, allowed, f"Give one label per input, shape ({batch},).")
    if array.min() < 0 or array.max() >= classes:
        worst = array.min() if array.min() < 0 else array.max()
        raise InvalidInput.of("labels", worst, allowed, "Number the classes from 0, in the order of the outputs.")
    return array.astype(np.int64)


def gaussian_accuracy(
    output_mean: np.ndarray,
    output_covariance: np.ndarray,
    labels: npt.ArrayLike,
    *,
    samples: int = 2000,
    seed: int = 0,
) -> float:
    """Expected classification accuracy of Gaussian outputs, by sampling.

    Args:
        output_mean: (B, K).
        output_covariance: (B, K, K), symmetric; singular ones are fine, eigenvalues below zero count as zero.
        labels: (B,) classes, see :func:`check_labels`.
        samples: per input, >= 1.
        seed: of the random numbers, >= 0.

    Returns:
        Mean over the inputs of the fraction of samples in the right class; its standard error is at most
        0.5 / sqrt(B · samples).

    Raises:
        InvalidInput: labels, samples or seed out of range.
    """
    known = check_labels(labels, output_mean.shape)
    check = Checker()
    check.number("samples", samples, at_least=1)
    check.number("seed", seed, at_least=0)
    check.done()
    batch, outputs = output_mean.shape
    rng = np.random.default_rng(int(seed))
    right = 0
    step = max(1, _BLOCK // (int(samples) * outputs))
    for start in range(0, batch, step):
        part = slice(start, start + step)
        mean, factor = output_mean[part], _factor(output_covariance[part])
        normals = rng.standard_normal((len(mean), int(samples), outputs))
        y = mean[:, None] + normals @ factor.transpose(0, 2, 1)
        classes = y[:, :, 0] > 0 if outputs == 1 else y.argmax(axis=2)
        right += int((classes == known[part, None]).sum())
    return float(right / (batch * int(samples)))


def _factor(covariance: np.ndarray) -> np.ndarray:
    """F with F Fᵀ = Σ; eigenvalues below zero, which only rounding makes, count as zero."""
    values, vectors = np.linalg.eigh(covariance)
    factor: np.ndarray = vectors * np.sqrt(np.clip(values, 0, None))[:, None, :]
    return factor
