"""Classification accuracy from the mean and covariance of the outputs.

For input b with label t, the chance of being right is P(argmax_k y_k = t), y ~ N(μ_b, Σ_b); with a single output it
is P(y > 0) for label 1 and P(y ≤ 0) for label 0. It is estimated by sampling y = μ + F n, F Fᵀ = Σ.

The estimate has two errors. That of n has the variance mean_b p_b (1 − p_b) / (B S), S samples for each of B inputs.
That of Σ, where it rests on error samples and the MSE has the relative standard error e, is half the difference between
the accuracies at Σ (1 + e) and Σ (1 − e), with the same n.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from powerplan.checks import Checker, class_array

#: an accuracy and its standard error, fractions
Accuracy = tuple[float, float]

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
    check = Checker()
    array = class_array(check, "labels", labels, allowed)
    if array is not None and array.shape != (batch,):
        check.fail("labels", array, allowed, f"Give one label per input, shape ({batch},).")
    elif array is not None and array.max() >= classes:
        check.fail("labels", array.max(), allowed, "Number the classes from 0, in the order of the outputs.")
    check.done()
    assert array is not None
    return array


def wanted_classes(ideal: np.ndarray, labels: npt.ArrayLike | None) -> np.ndarray:
    """(B,) class that every input should have: the labels, or without them that of the ideal outputs (B, K).

    Raises:
        InvalidInput: labels that are not (B,) classes.
    """
    if labels is not None:
        return check_labels(labels, ideal.shape)
    return np.asarray(ideal.argmax(1) if ideal.shape[1] > 1 else (ideal[:, 0] > 0).astype(int))


def ideal_accuracy(ideal: np.ndarray, labels: npt.ArrayLike) -> float:
    """Accuracy of the ideal outputs (B, K), a fraction.

    Raises:
        InvalidInput: labels that are not (B,) classes.
    """
    return float((wanted_classes(ideal, None) == check_labels(labels, ideal.shape)).mean())


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
        Mean over the inputs of the fraction of samples in the right class.

    Raises:
        InvalidInput: labels, samples or seed out of range.
    """
    return float(_right(output_mean, output_covariance, labels, samples, seed, (1.0,)).mean())


def gaussian_accuracy_with_error(
    output_mean: np.ndarray,
    output_covariance: np.ndarray,
    labels: npt.ArrayLike,
    *,
    samples: int = 2000,
    seed: int = 0,
    relative_error: float = 0.0,
) -> Accuracy:
    """What :func:`gaussian_accuracy` says with the same arguments, and its standard error.

    Args:
        output_mean, output_covariance, labels, samples, seed: see there.
        relative_error: standard error of the covariances, common to all, as a fraction of them; NaN gives NaN.

    Raises:
        InvalidInput: labels, samples or seed out of range.
    """
    changes = (1 + relative_error, max(0.0, 1 - relative_error)) if relative_error > 0 else ()
    right = _right(output_mean, output_covariance, labels, samples, seed, (1.0, *changes))
    variance = float((right[0] * (1 - right[0])).mean()) / (right.shape[1] * int(samples))
    of_covariance = 0.5 * float(right[1].mean() - right[2].mean()) if changes else relative_error  # 0 or NaN
    return float(right[0].mean()), math.hypot(math.sqrt(variance), of_covariance)


def gaussian_accuracy_input_error(
    output_mean: np.ndarray,
    output_covariance: np.ndarray,
    labels: npt.ArrayLike,
    *,
    samples: int = 2000,
    seed: int = 0,
) -> float:
    """The standard error over inputs of what :func:`gaussian_accuracy` says with the same arguments.

    Raises:
        InvalidInput: labels, samples or seed out of range.
    """
    return input_error(_right(output_mean, output_covariance, labels, samples, seed, (1.0,))[0])


def input_error(right: np.ndarray) -> float:
    """Standard error of the mean of (B,) chances of being right, of inputs that are a random sample; NaN from one."""
    return float(right.std(ddof=1)) / math.sqrt(len(right)) if len(right) > 1 else math.nan


def _right(
    mean: np.ndarray, covariance: np.ndarray, labels: npt.ArrayLike, samples: int, seed: int, scales: Sequence[float]
) -> np.ndarray:
    """(len(scales), B) fraction of the samples of each input that are in the right class, of scaled covariances."""
    known = check_labels(labels, mean.shape)
    check = Checker()
    check.number("samples", samples, at_least=1)
    check.number("seed", seed, at_least=0)
    check.done()
    batch, outputs = mean.shape
    rng = np.random.default_rng(int(seed))
    right = np.empty((len(scales), batch))
    step = max(1, _BLOCK // (int(samples) * outputs))
    for start in range(0, batch, step):
        part = slice(start, start + step)
        factor = _factor(covariance[part])
        errors = rng.standard_normal((len(factor), int(samples), outputs)) @ factor.transpose(0, 2, 1)
        for k, scale in enumerate(scales):
            y = mean[part, None] + math.sqrt(scale) * errors
            classes = y[:, :, 0] > 0 if outputs == 1 else y.argmax(axis=2)
            right[k, part] = (classes == known[part, None]).mean(1)
    return right


def _factor(covariance: np.ndarray) -> np.ndarray:
    """F with F Fᵀ = Σ; eigenvalues below zero, which only rounding makes, count as zero."""
    values, vectors = np.linalg.eigh(covariance)
    factor: np.ndarray = vectors * np.sqrt(np.clip(values, 0, None))[:, None, :]
    return factor
