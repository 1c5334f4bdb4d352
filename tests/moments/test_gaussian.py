"""Moments of rectified and clipped Gaussians against 40-digit quadrature, tails and zero variance included."""

from __future__ import annotations

import functools
import math

import mpmath as mp
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from powerplan.gaussian import clipped, rectified

ALPHAS = (-30.0, -20.0, -8.0, -3.0, -1.0, -0.1, 0.0, 0.1, 1.0, 3.0, 8.0, 20.0, 30.0)
STDS = (1e-12, 1e-6, 0.3, 1.0, 50.0)

means = st.floats(-50, 50)
stds = st.floats(1e-6, 1e3)


@functools.cache
def exact(alpha: float) -> tuple[float, float, float]:
    """Mean and variance of max(0, α + t), and P(α + t > 0), by quadrature."""
    with mp.workdps(40):
        a = mp.mpf(alpha)
        # from the kink on, in units of the largest density there: the quadrature stops at an absolute error
        start = -a
        peak = mp.npdf(max(start, 0))
        edges = [start, *(start + d for d in (1, 3, 8, 20, 40, 70) if start + d < 45)]
        p, first, second = (
            mp.quad(lambda t, k=k: (a + t) ** k * mp.npdf(t) / peak, edges) * peak  # type: ignore[misc]
            for k in (0, 1, 2)
        )
        return float(first), float(second - first**2), float(p)


def tensor(*values: float, gradient: bool = False) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=gradient)


@pytest.mark.slow
@pytest.mark.parametrize("std", STDS)
@pytest.mark.parametrize("alpha", ALPHAS)
def test_rectified_to_ten_digits(alpha: float, std: float) -> None:
    """Relative error below 1e-10 in mean, variance and slope, 30 standard deviations away too."""
    mean, variance, slope = exact(alpha)
    found = rectified(tensor(alpha * std), tensor(std**2))
    assert float(found.mean) == pytest.approx(mean * std, rel=1e-10, abs=0)
    assert float(found.variance) == pytest.approx(variance * std**2, rel=1e-10, abs=0)
    assert float(found.slope) == pytest.approx(slope, rel=1e-10, abs=0)


@pytest.mark.slow
@pytest.mark.parametrize("std", STDS)
@pytest.mark.parametrize("alpha", [a for a in ALPHAS if a >= 0])
def test_clipped_to_ten_digits(alpha: float, std: float) -> None:
    """A device programmed ``alpha`` standard deviations above zero and clipped there."""
    mean, variance, _ = exact(alpha)
    for spread in (tensor(std**2), torch.tensor(std**2, dtype=torch.float64)):
        first, second = clipped(tensor(alpha * std), spread)
        assert float(first) == pytest.approx(mean * std, rel=1e-10, abs=0)
        assert float(second) == pytest.approx(variance * std**2, rel=1e-10, abs=0)


def test_clipped_shifts_a_device_at_zero_by_forty_percent() -> None:
    """max(0, N(0, σ²)): mean σ/√(2π), variance σ²(1/2 − 1/(2π))."""
    first, second = clipped(tensor(0.0), tensor(4.0))
    assert float(first) == pytest.approx(2 / math.sqrt(2 * math.pi), rel=1e-14)
    assert float(second) == pytest.approx(4 * (0.5 - 1 / (2 * math.pi)), rel=1e-14)


def test_zero_variance_is_a_constant() -> None:
    """A constant is rectified like a number."""
    mean = tensor(-2.0, -0.0, 0.0, 3.0)
    found = rectified(mean, torch.zeros_like(mean))
    assert found.mean.tolist() == [0, 0, 0, 3]
    assert found.variance.tolist() == [0, 0, 0, 0]
    assert found.slope.tolist() == [0, 0, 0, 1]
    first, second = clipped(mean[2:], torch.zeros(2, dtype=torch.float64))
    np.testing.assert_allclose(first.numpy(), [0, 3], atol=1e-140)
    assert second.tolist() == [0, 0]


EXTREME_MEANS = (0.0, -0.0, 1e-300, -1e-300, 1e-8, -1e-8, 1.0, -1.0, 1e3, -1e3, 1e100, -1e100)
EXTREME_VARIANCES = (0.0, 5e-324, 1e-300, 1e-30, 1e-12, 1.0, 1e12, 1e100)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_no_nan_in_values_or_gradients(dtype: torch.dtype) -> None:
    """Every pair of extreme means and variances gives finite moments, variances >= 0 and finite gradients."""
    limit = 1e15 if dtype == torch.float32 else 1e101
    pairs = [(m, v) for m in EXTREME_MEANS for v in EXTREME_VARIANCES if abs(m) < limit and v < limit]
    for function in (rectified, clipped):
        # a conductance is not negative, and far from 1e100 S
        chosen = [(m, v) for m, v in pairs if function is rectified or 0 <= m < 1e6]
        mean, variance = (torch.tensor(c, dtype=dtype, requires_grad=True) for c in zip(*chosen, strict=True))
        found = function(mean, variance)
        for value in found:
            assert value.isfinite().all()
            assert (value >= 0).all()
            gradients = torch.autograd.grad(value.sum(), (mean, variance), retain_graph=True)
            assert not any(g.isnan().any() for g in gradients)


def test_gradients_match_finite_differences() -> None:
    """gradcheck around and away from zero; of clipped with one variance for all devices as well."""
    mean = tensor(-3.0, -0.5, 0.0, 0.5, 3.0, 9.0, gradient=True)
    variance = tensor(0.5, 1.0, 2.0, 0.1, 1.0, 4.0, gradient=True)
    assert torch.autograd.gradcheck(lambda m, v: tuple(rectified(m, v)), (mean, variance))
    above = tensor(0.05, 0.5, 1.0, 3.0, gradient=True)
    assert torch.autograd.gradcheck(clipped, (above, tensor(0.5, 1.0, 2.0, 0.1, gradient=True)))
    one = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(clipped, (above, one))


def test_clipped_gradient_without_noise_that_vanishes_at_zero() -> None:
    """Proportional noise at target zero: variance (ρG)² and its slope vanish together, the gradient stays finite."""
    target = tensor(0.0, 1.0, gradient=True)
    first, second = clipped(target, (0.1 * target) ** 2)
    for value in (first, second):
        (gradient,) = torch.autograd.grad(value.sum(), target, retain_graph=True)
        assert gradient.isfinite().all()


@pytest.mark.slow
@given(mean=means, std=stds)
def test_positive_and_negative_parts_make_the_whole(mean: float, std: float) -> None:
    """max(0, z) − max(0, −z) = z: means and slopes add up; with E[max(0,z) max(0,−z)] = 0 so do variances."""
    plus, minus = (rectified(tensor(sign * mean), tensor(std**2)) for sign in (1, -1))
    scale = abs(mean) + std
    assert float(plus.mean - minus.mean) == pytest.approx(mean, abs=1e-13 * scale)
    assert float(plus.slope + minus.slope) == pytest.approx(1, abs=1e-14)
    total = plus.variance + minus.variance + 2 * plus.mean * minus.mean
    assert float(total) == pytest.approx(std**2, rel=1e-12)


@pytest.mark.slow
@given(mean=means, std=stds, factor=st.floats(1e-6, 1e6))
def test_scale_equivariance(mean: float, std: float, factor: float) -> None:
    """Scaling z scales mean by the factor, variance by its square, and leaves the slope."""
    one = rectified(tensor(mean), tensor(std**2))
    scaled = rectified(tensor(factor * mean), tensor((factor * std) ** 2))
    # the argument itself is rounded: a tail at distance α changes by a fraction α² eps
    rel = 1e-12 * (1 + min((mean / std) ** 2, 1e4))
    assert float(scaled.mean) == pytest.approx(factor * float(one.mean), rel=rel, abs=1e-290)
    assert float(scaled.variance) == pytest.approx(factor**2 * float(one.variance), rel=rel, abs=1e-290)
    assert float(scaled.slope) == pytest.approx(float(one.slope), rel=rel, abs=1e-290)


@given(mean=means, std=stds)
def test_bounds(mean: float, std: float) -> None:
    """0 <= variance <= σ², mean >= max(0, μ) (Jensen), 0 <= slope <= 1; clipping agrees with rectifying."""
    found = rectified(tensor(mean), tensor(std**2))
    assert 0 <= float(found.variance) <= std**2 * (1 + 1e-14)
    assert float(found.mean) >= max(0.0, mean)
    assert 0 <= float(found.slope) <= 1
    if mean >= 0:
        first, second = clipped(tensor(mean), tensor(std**2))
        assert float(first) == pytest.approx(float(found.mean), rel=1e-13)
        assert float(second) == pytest.approx(float(found.variance), rel=1e-11)


def test_clipped_works_in_blocks() -> None:
    """Large, strided and broadcast arguments give what single elements give."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.rand(300, 200, generator=generator, dtype=torch.float64).T * 4
    spread = torch.rand(200, 1, generator=generator, dtype=torch.float64)
    first, second = clipped(mean, spread)
    for i, j in ((0, 0), (57, 3), (199, 299)):
        one, two = clipped(mean[i, j], spread[i, 0])
        assert float(first[i, j]) == float(one)
        assert float(second[i, j]) == float(two)
