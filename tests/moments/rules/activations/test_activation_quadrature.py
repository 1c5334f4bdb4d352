"""Quadrature of activations where it is hard: wide distributions, large tensors, single precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gaussian_quadrature import moments

from powerplan.moments.rules.activations import activation_rule, quadrature
from powerplan.network.digital import activation_function
from powerplan.network.ops import ACTIVATIONS, Activation

KINDS = [k for k in ACTIVATIONS if isinstance(activation_rule(Activation(kind=k)), quadrature.Quadrature)]


def function(op: Activation):
    return lambda z: activation_function(op)(torch.as_tensor(z)).numpy()


def derivative(op: Activation):
    def slope(z):
        x = torch.tensor(z, requires_grad=True)
        return torch.autograd.grad(activation_function(op)(x).sum(), x)[0].numpy()

    return slope


@pytest.mark.parametrize("std", [60.0, 300.0, 1000.0])
@pytest.mark.parametrize("kind", KINDS)
def test_wide_distributions(kind: str, std: float) -> None:
    """Far wider than the activation itself: mean, variance and slope still to 1e-8 of σ, σ² and 1."""
    op = Activation(kind=kind)
    mean = torch.tensor([-2.0, -0.3, 0.0, 1.1], dtype=torch.float64) * std
    found = activation_rule(op).moments(mean, torch.full_like(mean, std**2))
    for i, mu in enumerate(mean.tolist()):
        exact = moments(function(op), derivative(op), mu, std, knots=range(-40, 41), order=1)
        assert float(found.mean[i]) == pytest.approx(exact[0], abs=1e-8 * std)
        assert float(found.variance[i]) == pytest.approx(exact[1], abs=1e-8 * std**2)
        assert float(found.slope[i]) == pytest.approx(exact[2], abs=1e-8)


@pytest.mark.parametrize("kind", ["tanh", "elu"])
def test_blocks_change_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and derivatives of a tensor worked off in blocks of 7 entries are those of the whole."""
    rule = activation_rule(Activation(kind=kind))
    rng = np.random.default_rng(0)
    results = []
    for block in (1000, 7):
        monkeypatch.setattr(quadrature, "_BLOCK", block)
        mean = torch.tensor(rng.normal(size=(5, 4)) if not results else results[0][0], requires_grad=True)
        variance = torch.full_like(mean, 0.5).requires_grad_()
        found = [*rule.moments(mean, variance), *rule.hermite(mean, variance, 3)]
        total = sum(((i + 1) * value**2).sum() for i, value in enumerate(found))
        gradients = torch.autograd.grad(total, (mean, variance))
        results.append([mean.detach().numpy(), *(v.detach().numpy() for v in (*found, *gradients))])
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_single_precision(kind: str) -> None:
    """float32 with its fewer nodes is within 2e-6 of σ, σ² and 1 of float64."""
    rule = activation_rule(Activation(kind=kind))
    grid = [(m, s) for m in (-3.0, -0.4, 0.0, 0.7, 2.5) for s in (0.01, 0.3, 1.0, 5.0, 30.0)]
    mean, std = (torch.tensor(column, dtype=torch.float64) for column in zip(*grid, strict=True))
    double = rule.moments(mean, std**2)
    single = rule.moments(mean.float(), std.float() ** 2)
    size = mean.abs() * 1e-6 / 2
    assert ((single.mean - double.mean).abs() <= 2e-6 * std + size).all()
    assert ((single.variance - double.variance).abs() <= 4e-6 * std**2 + size * std).all()
    assert ((single.slope - double.slope).abs() <= 4e-6).all()
