"""Gaussian moments of converters: against integrals, in limits that are known, and their derivatives."""

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from powerplan.hardware.converters import quantised, top_level
from powerplan.moments.conversion.staircase import converted, converted_exact, converted_on_average

LIMIT = torch.tensor(1.5, dtype=torch.float64)
NODES = torch.linspace(-9, 9, 400_001, dtype=torch.float64)
WEIGHTS = torch.exp(-0.5 * NODES**2)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def by_integration(mean: float, std: float, bits: int | None) -> tuple[float, float, float]:
    """Mean, slope Cov(x, Q)/s² and residual of Q by a fine sum over the Gaussian."""
    q = quantised(mean + std * NODES, LIMIT, bits)
    first = (WEIGHTS * q).sum()
    slope = (WEIGHTS * q * NODES).sum() / std
    return float(first), float(slope), float((WEIGHTS * (q - first) ** 2).sum() - slope**2 * std**2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bits", "ratio"),
    [(b, r) for b in (2, 3, 5, 8, None) for r in (0.02, 0.1, 0.29, 0.31, 0.5, 1.0, 3.0) if 5 * r < top_level(b or 6)],
)
def test_moments_are_those_of_the_staircase(bits: int | None, ratio: float) -> None:
    """Within the limits mean, slope and residual are exact, wherever the mean lies between two levels."""
    step = float(LIMIT) / top_level(bits or 6)
    std = ratio * step
    for mean in np.linspace(-1, 1, 13) * (float(LIMIT) - 5 * std):
        expected = by_integration(mean, std, bits)
        at = (torch.tensor([v], dtype=torch.float64) for v in (mean, std**2))
        found = converted(*at, LIMIT, bits)
        scale = (step, 1.0, step**2)
        for value, wanted, unit in zip(found, expected, scale, strict=True):
            assert float(value) == pytest.approx(wanted, abs=3e-3 * unit)


@pytest.mark.parametrize("bits", [4, 8, None])
@pytest.mark.parametrize("std", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("mean", [0.0, 1.2, 1.5, -2.5])
def test_saturation(bits: int | None, std: float, mean: float) -> None:
    """Where values saturate, total moments hold within a small part of the variance of the value."""
    expected = by_integration(mean, std, bits)
    at = [torch.tensor([v], dtype=torch.float64) for v in (mean, std**2)]
    for found in (converted(*at, LIMIT, bits), converted_on_average(*at, LIMIT, bits) if std > 0.2 else None):
        if found is not None:
            assert float(found.mean) == pytest.approx(expected[0], abs=0.02 * std)
            total = expected[1] ** 2 * std**2 + expected[2]
            mine = float(found.slope) ** 2 * std**2 + float(found.residual)
            assert mine == pytest.approx(total, abs=0.03 * std**2)


@given(
    mean=st.floats(-3, 3),
    variance=st.one_of(st.just(0.0), st.floats(1e-300, 1e3)),
    limit=st.floats(1e-6, 1e6),
    bits=st.one_of(st.none(), st.integers(2, 32)),
)
def test_values_stay_within_the_limits(mean: float, variance: float, limit: float, bits: int | None) -> None:
    """The mean lies within the limits, the residual is no less than 0, and all is finite, gradients too."""
    tensors = [torch.tensor([v], dtype=torch.float64, requires_grad=True) for v in (mean, variance, limit)]
    for rule in (converted, converted_on_average):
        found = rule(*tensors, bits)
        assert abs(float(found.mean.detach())) <= limit * (1 + 1e-9)
        assert float(found.residual.detach()) >= -1e-9 * (variance + limit**2)
        gradients = torch.autograd.grad(sum(found), tensors, allow_unused=True)
        assert all(bool(g.isfinite().all()) for g in gradients if g is not None)


def test_a_value_without_error_is_converted_exactly() -> None:
    """Variance 0 gives the level itself, the one that a converter of a simulation gives."""
    x = torch.linspace(-2, 2, 101, dtype=torch.float64) + 1e-4
    found = converted(x, torch.zeros_like(x), LIMIT, 4)
    torch.testing.assert_close(found.mean, quantised(x, LIMIT, 4))
    torch.testing.assert_close(converted_exact(x, LIMIT, 4), quantised(x, LIMIT, 4))
    assert float(found.residual.abs().max()) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_levels(dtype: torch.dtype) -> None:
    """2^b − 1 levels, 0 one of them; middles go away from 0 in either precision."""
    limit = torch.tensor(7.0, dtype=dtype)
    x = torch.linspace(-9, 9, 1001, dtype=dtype)
    assert sorted(set(quantised(x, limit, 4).tolist())) == list(range(-7, 8))
    middles = torch.arange(-6.5, 7, 1, dtype=dtype) * (0.3 / 7)
    away = torch.sign(middles) * (middles.abs() * 7 / 0.3 + 0.5).round() * 0.3 / 7
    torch.testing.assert_close(quantised(middles, torch.tensor(0.3, dtype=dtype), 4), away)


def test_derivatives_follow_the_trend() -> None:
    """With the step, the error of rounding grows in proportion and its variance with the square, without ripple."""
    x = torch.linspace(0.01, 0.7, 50, dtype=torch.float64)
    limit = torch.tensor(1.0, dtype=torch.float64, requires_grad=True)
    error = ((converted_exact(x, limit, 5) - x) ** 2).sum()
    (slope,) = torch.autograd.grad(error, limit)
    assert float(slope) == pytest.approx(2 * float(error.detach()))
    variance = torch.full_like(x, 1e-4)
    found = converted(x, variance, limit, 5)
    error = ((found.mean - x) ** 2 + found.residual).sum()
    (slope,) = torch.autograd.grad(error, limit)
    assert float(slope) == pytest.approx(2 * float(error.detach()), rel=1e-6)


def test_rounding_is_uniform_on_average() -> None:
    """Averaged over where the mean lies, the squared error is Δ²/12 whatever the noise."""
    step = float(LIMIT) / top_level(6)
    x = torch.arange(0, 1, 1 / 64, dtype=torch.float64) * step + 10 * step
    for ratio in (0.0, 0.05, 0.2, 0.4, 1.0):
        s2 = torch.full_like(x, (ratio * step) ** 2)
        found = converted(x, s2, LIMIT, 6)
        error = (found.mean - x) ** 2 + (found.slope - 1) ** 2 * s2 + found.residual
        assert float(error.mean()) == pytest.approx(step**2 / 12, rel=2e-3)
