"""Accuracy of Gaussian outputs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from powerplan import InvalidInput
from powerplan.moments import accuracy
from powerplan.moments.accuracy import check_labels, gaussian_accuracy, gaussian_accuracy_with_error


def test_two_correlated_outputs() -> None:
    """P(y₁ > y₀) = Φ((μ₁ − μ₀)/√(Σ₀₀ + Σ₁₁ − 2Σ₀₁))."""
    mean = np.array([[0.0, 0.5]])
    covariance = np.array([[[1.0, 0.6], [0.6, 2.0]]])
    found = gaussian_accuracy(mean, covariance, [1], samples=100_000)
    assert found == pytest.approx(norm.cdf(0.5 / np.sqrt(1 + 2 - 1.2)), abs=4.5 * 0.5 / np.sqrt(100_000))


def test_one_output_is_a_sign() -> None:
    """P(y > 0) = Φ(μ/s)."""
    found = gaussian_accuracy(np.array([[0.3], [0.3]]), np.full((2, 1, 1), 0.25), [1, 0], samples=50_000)
    assert found == pytest.approx(0.5, abs=4.5 * 0.5 / np.sqrt(100_000))
    one = gaussian_accuracy(np.array([[0.3]]), np.full((1, 1, 1), 0.25), [1], samples=50_000)
    assert one == pytest.approx(norm.cdf(0.6), abs=4.5 * 0.5 / np.sqrt(50_000))


def test_without_noise_it_is_the_accuracy_of_the_mean() -> None:
    """Zero covariance: argmax of the mean."""
    mean = np.random.default_rng(0).normal(size=(40, 5))
    labels = np.arange(40) % 5
    assert gaussian_accuracy(mean, np.zeros((40, 5, 5)), labels, samples=3) == (mean.argmax(1) == labels).mean()


def test_singular_and_slightly_indefinite_covariances() -> None:
    """Perfectly correlated outputs never change order; rounding below zero does no harm."""
    covariance = np.ones((1, 3, 3)) - 1e-13 * np.eye(3)
    assert gaussian_accuracy(np.array([[0.0, 1.0, 0.5]]), covariance, [1], samples=5000) == 1.0


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The samples do not depend on the memory they are made in; equal seeds give equal results."""
    rng = np.random.default_rng(1)
    mean, root = rng.normal(size=(12, 4)), rng.normal(size=(12, 4, 4))
    arguments = (mean, root @ root.transpose(0, 2, 1), np.zeros(12, int))
    whole = gaussian_accuracy(*arguments, samples=50, seed=4)
    monkeypatch.setattr(accuracy, "_BLOCK", 3 * 50 * 4)
    assert gaussian_accuracy(*arguments, samples=50, seed=4) == whole
    assert gaussian_accuracy(*arguments, samples=50, seed=5) != whole


@pytest.mark.slow
def test_its_standard_error_is_that_of_its_samples_and_of_the_covariance() -> None:
    """Σ̂ = (1 + e n) Σ and fresh samples: the deviations from their mean are as large as stated."""
    rng = np.random.default_rng(2)
    mean, root, labels, e = rng.normal(size=(30, 4)), rng.normal(size=(30, 4, 4)), np.arange(30) % 4, 0.2
    covariance = root @ root.transpose(0, 2, 1)
    for relative_error in (0.0, e):
        estimates, errors = [], []
        for seed in range(200):
            scaled = (1 + relative_error * rng.standard_normal()) * covariance
            estimates.append(gaussian_accuracy(mean, scaled, labels, samples=100, seed=seed))
            errors.append(
                gaussian_accuracy_with_error(
                    mean, scaled, labels, samples=100, seed=seed, relative_error=relative_error
                )[1]
            )
        # 200 estimates know their standard deviation to 5 %
        assert np.std(estimates) == pytest.approx(np.mean(errors), rel=0.2)


@pytest.mark.parametrize(
    "labels",
    [[0, 1], [[0, 1, 2]], [0, 1, 3], [0, -1, 2], [0, 1.5, 2], [0, np.nan, 1], ["a", "b", "c"], None, [0, [1], 2]],
)
def test_refuses_labels(labels: object) -> None:
    """Labels are one class per input, numbered from 0."""
    with pytest.raises(InvalidInput, match="labels"):
        check_labels(labels, (3, 3))  # type: ignore[arg-type]


def test_accepts_whole_floats_and_booleans() -> None:
    """1.0 and True are class 1; one output has two classes."""
    np.testing.assert_array_equal(check_labels([0.0, 1.0], (2, 1)), [0, 1])
    np.testing.assert_array_equal(check_labels([False, True], (2, 1)), [0, 1])
    with pytest.raises(InvalidInput, match="from 0 to 1"):
        check_labels([0, 2], (2, 1))


@pytest.mark.parametrize(("samples", "seed"), [(0, 0), (10, -1), (float("nan"), 0)])
def test_refuses_options(samples: int, seed: int) -> None:
    """samples and seed are named."""
    with pytest.raises(InvalidInput, match=r"samples|seed"):
        gaussian_accuracy(np.zeros((1, 2)), np.zeros((1, 2, 2)), [0], samples=samples, seed=seed)
