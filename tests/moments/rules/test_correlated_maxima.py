"""Max-pooling over windows whose entries are correlated."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from powerplan.moments.rules import linearize
from powerplan.moments.rules.maxima import correlated_maxima, window_correlation
from powerplan.network import ops
from powerplan.network.digital import digital

POOL = ops.MaxPool(kernel=(2, 2))


def correlated(rho: float, mean: torch.Tensor, std: torch.Tensor, draws: int) -> torch.Tensor:
    """Draws (N, C, h, w) of Gaussians with a common part by image."""
    generator = torch.Generator().manual_seed(0)
    own = torch.randn(draws, *mean.shape[1:], generator=generator, dtype=torch.float64)
    common = torch.randn(draws, 1, 1, 1, generator=generator, dtype=torch.float64)
    return mean + std * (np.sqrt(rho) * common + np.sqrt(1 - rho) * own)


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    return torch.tensor(rng.normal(size=(1, 2, 4, 4))), torch.tensor(rng.uniform(0.6, 0.8, (1, 2, 4, 4)))


@pytest.mark.parametrize("pool", [POOL, ops.MaxPool(kernel=(3, 3), stride=(1, 1)), ops.AdaptiveMaxPool(size=(2, 2))])
@pytest.mark.parametrize("rho", [0.0, 0.4, 0.8, 1.0])
def test_moments_against_simulation(rho: float, pool: ops.MaxPool | ops.AdaptiveMaxPool) -> None:
    """Mean within 5 % of a standard deviation and variance within 15 % at every correlation."""
    mean, std = inputs()
    values = digital(pool, correlated(rho, mean, std, 40_000))
    found = correlated_maxima(pool, mean, std**2, torch.tensor(rho, dtype=torch.float64))
    spread = values.std(0)
    assert ((found.mean[0] - values.mean(0)).abs() <= 0.05 * spread).all()
    np.testing.assert_allclose(found.variance[0], spread**2, rtol=0.15)


def test_no_correlation_is_the_rule_itself() -> None:
    mean, std = inputs()
    found = correlated_maxima(POOL, mean, std**2, torch.zeros(2, 1, 1, dtype=torch.float64))
    plain = linearize(POOL, [mean], [std**2])
    np.testing.assert_array_equal(found.mean, plain.mean)
    np.testing.assert_allclose(found.variance, plain.variance)


def test_correlation_from_samples() -> None:
    """By channel, within 0.02 of the truth; a window of one entry has none."""
    mean, std = torch.zeros(1, 1, 6, 6, dtype=torch.float64), torch.ones(1, 1, 6, 6, dtype=torch.float64)
    errors = torch.cat([correlated(rho, mean, std, 4000) for rho in (0.0, 0.3, 0.9, 1.0)], 1)
    found = window_correlation(POOL, errors)
    assert found.shape == (4, 1, 1)
    np.testing.assert_allclose(found.flatten(), [0.0, 0.3, 0.9, 1.0], atol=0.02)
    assert (window_correlation(ops.MaxPool(kernel=(1, 1)), errors) == 0).all()
    assert window_correlation(ops.AdaptiveMaxPool(size=(1, 1)), errors)[1] == pytest.approx(0.3, abs=0.03)
    assert (window_correlation(POOL, 0 * errors) == 0).all()


def test_derivatives() -> None:
    """gradcheck of mean and variance in means and variances; finite without noise."""
    mean, std = inputs()
    arguments = mean.requires_grad_(), (std**2).requires_grad_()
    rho = torch.tensor(0.5, dtype=torch.float64)

    def moments(m: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = correlated_maxima(POOL, m, v, rho)
        return found.mean, found.variance

    assert torch.autograd.gradcheck(moments, arguments)
    still = torch.zeros_like(mean).requires_grad_()
    gradients = torch.autograd.grad(sum(m.sum() for m in moments(mean, still)), (mean, still))
    assert all(g.isfinite().all() for g in gradients)
