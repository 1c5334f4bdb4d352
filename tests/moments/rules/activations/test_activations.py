"""Gaussian moments of every activation against quadrature, with their bounds and identities."""

from __future__ import annotations

import math

import mpmath as mp
import numpy as np
import pytest
import torch
from gaussian_quadrature import covariance, moments
from hypothesis import given, strategies as st

from powerplan.moments.rules import HERMITE_ORDER, propagate
from powerplan.moments.rules.activations import activation_rule
from powerplan.network.digital import activation_function
from powerplan.network.ops import ACTIVATIONS, Activation

RULES = {
    **{kind: Activation(kind=kind) for kind in ACTIVATIONS},
    "leaky_relu_steep": Activation(kind="leaky_relu", parameters={"negative_slope": 1.7}),
    "leaky_relu_abs": Activation(kind="leaky_relu", parameters={"negative_slope": -1.0}),
    "elu_steep": Activation(kind="elu", parameters={"alpha": 2.0}),
    "hard_tanh_relu6": Activation(kind="hard_tanh", parameters={"low": 0.0, "high": 6.0}),
}
#: where it is not 1
LIPSCHITZ = {
    "gelu": 1.13,
    "gelu_tanh": 1.13,
    "silu": 1.1,
    "mish": 1.09,
    "sigmoid": 0.25,
    "hard_sigmoid": 1 / 6,
    "hard_swish": 1.5,
    "selu": 1.0507009873554805 * 1.6732632423543773,
    "elu_steep": 2.0,
    "leaky_relu_steep": 1.7,
}
STDS = (1e-9, 1e-4, 0.05, 0.5, 1.0, 3.0, 20.0)
ALPHAS = (-30.0, -8.0, -2.0, -0.3, 0.0, 0.7, 3.0, 30.0)

kinds = st.sampled_from(sorted(RULES))
means = st.floats(-20, 20)
stds = st.floats(1e-6, 20)


def knots(op: Activation) -> tuple[float, ...]:
    if op.kind == "hard_tanh":
        return op.parameters["low"], op.parameters["high"]
    if op.kind in ("hard_sigmoid", "hard_swish"):
        return -3.0, 3.0
    return (0.0,) if "elu" in op.kind or op.kind == "softsign" else ()


def function(op: Activation):
    """The activation in numpy."""
    return lambda z: activation_function(op)(torch.as_tensor(z)).numpy()


def derivative(op: Activation):
    """Its derivative by automatic differentiation of the network's own function: independent of the rules."""

    def slope(z):
        x = torch.tensor(z, requires_grad=True)
        return torch.autograd.grad(activation_function(op)(x).sum(), x)[0].numpy()

    return slope


def tensor(*values: float, gradient: bool = False) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=gradient)


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [-30.0, -2.0, 0.3, 30.0])
@pytest.mark.parametrize(
    ("kind", "exact"),
    [("tanh", mp.tanh), ("softplus", lambda z: mp.log1p(mp.exp(z))), ("gelu", lambda z: z * mp.ncdf(z))],
)
def test_the_reference_itself(kind: str, exact, alpha: float) -> None:
    """The quadrature of these tests agrees with mpmath's at 30 digits."""
    std = 1.5
    with mp.workdps(30):
        edges = [-14, -6, -3, -1, 0, 1, 3, 6, 14]

        def expect(g):
            return mp.quad(lambda t: g(exact(mp.mpf(alpha * std) + mp.mpf(std) * t), t) * mp.npdf(t), edges)

        mean = expect(lambda f, t: f)
        variance = expect(lambda f, t: (f - mean) ** 2)
        second = expect(lambda f, t: (f - mean) * (t**2 - 1))
    found = moments(function(RULES[kind]), derivative(RULES[kind]), alpha * std, std)
    assert found[0] == pytest.approx(float(mean), rel=1e-12, abs=1e-13)
    assert found[1] == pytest.approx(float(variance), rel=1e-11, abs=1e-13)
    assert found[3][1] == pytest.approx(float(second), rel=1e-11, abs=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("std", STDS)
@pytest.mark.parametrize("kind", RULES)
def test_moments_and_hermite_coefficients(kind: str, std: float) -> None:
    """Mean, variance, slope and a_1 ... a_6 to 1e-8 of σ, σ², 1 and σ, up to |μ| = 30 σ.

    Beside it only the rounding of z itself is allowed, eps |μ|.
    """
    op = RULES[kind]
    rule = activation_rule(op)
    mean = tensor(*(alpha * std for alpha in ALPHAS), *(1.0, -1.0))
    variance = torch.full_like(mean, std**2)
    found, coefficients = rule.moments(mean, variance), rule.hermite(mean, variance, HERMITE_ORDER)
    for i, mu in enumerate(mean.tolist()):
        exact = moments(function(op), derivative(op), mu, std, knots=knots(op), order=HERMITE_ORDER)
        eps = 1e-15 * (abs(mu) + 1)
        assert float(found.mean[i]) == pytest.approx(exact[0], abs=1e-8 * std + eps), (mu, "mean")
        assert float(found.variance[i]) == pytest.approx(exact[1], abs=1e-8 * std**2 + eps * std), (mu, "variance")
        assert float(found.slope[i]) == pytest.approx(exact[2], abs=1e-8 + eps), (mu, "slope")
        for k, (a, b) in enumerate(zip(coefficients, exact[3], strict=True), start=1):
            tolerance = (1e-8 * std + eps) * math.sqrt(math.factorial(k))
            assert float(a[i]) == pytest.approx(b, abs=tolerance), (mu, "hermite", k)


@pytest.mark.parametrize("kind", RULES)
def test_zero_variance_is_the_function_itself(kind: str) -> None:
    """A constant z: f(z), no variance, f'(z), no Hermite coefficients; gradients without NaN."""
    op = RULES[kind]
    rule = activation_rule(op)
    mean = tensor(-40.0, -1.3, -0.2, 0.4, 2.0, 7.0, 40.0, gradient=True)
    variance = torch.zeros_like(mean, requires_grad=True)
    found = rule.moments(mean, variance)
    z = mean.detach().numpy()
    np.testing.assert_allclose(found.mean.detach().numpy(), function(op)(z), rtol=1e-14)
    np.testing.assert_allclose(found.variance.detach().numpy(), 0, atol=1e-30)
    # torch differentiates its hard sigmoid with 1/6 in single precision
    close = 1e-7 if kind == "hard_sigmoid" else 1e-12
    np.testing.assert_allclose(found.slope.detach().numpy(), derivative(op)(z), rtol=close, atol=1e-13)
    coefficients = rule.hermite(mean, variance, HERMITE_ORDER)
    assert all((a == 0).all() for a in coefficients)
    for value in (*found, *coefficients):
        if value.requires_grad:
            gradients = torch.autograd.grad(value.sum(), (mean, variance), retain_graph=True, materialize_grads=True)
            assert all(g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", RULES)
def test_no_nan_at_extremes(kind: str, dtype: torch.dtype) -> None:
    """Extreme means and variances, at the knots too: finite values and gradients, variances not negative."""
    grid = [
        (m, v)
        for m in (0.0, -0.0, 1.0, -1.0, 6.0, 1e-30, -1e-8, 1e4, -1e4)
        for v in (0.0, 1e-300, 1e-40, 1e-30, 1e-12, 1.0, 1e4)
    ]
    mean, variance = (torch.tensor(column, dtype=dtype, requires_grad=True) for column in zip(*grid, strict=True))
    rule = activation_rule(RULES[kind])
    found = rule.moments(mean, variance)
    assert (found.variance >= 0).all()
    for value in (*found, *rule.hermite(mean, variance, HERMITE_ORDER)):
        assert value.isfinite().all()
        if value.requires_grad:
            gradients = torch.autograd.grad(value.sum(), (mean, variance), retain_graph=True, materialize_grads=True)
            assert all(g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("kind", RULES)
def test_gradients_match_finite_differences(kind: str) -> None:
    """gradcheck of mean, variance and slope in μ and σ²."""
    rule = activation_rule(RULES[kind])
    mean, variance = tensor(-2.5, -0.4, 0.3, 1.1, 4.0, gradient=True), tensor(0.3, 1.0, 2.0, 0.1, 0.7, gradient=True)
    # the slope of the identity is a constant: autograd rightly has no gradient for it
    assert torch.autograd.gradcheck(
        lambda m, v: tuple(value + 0 * (m + v) for value in rule.moments(m, v)), (mean, variance)
    )


@given(kind=kinds, mean=means, std=stds)
def test_parseval(kind: str, mean: float, std: float) -> None:
    """Σ a_k²/k! <= variance, and a_1 = σ E[f']."""
    rule = activation_rule(RULES[kind])
    mu, v = tensor(mean), tensor(std**2)
    found = rule.moments(mu, v)
    coefficients = rule.hermite(mu, v, HERMITE_ORDER)
    kept = sum(float(a) ** 2 / math.factorial(k) for k, a in enumerate(coefficients, start=1))
    assert kept <= float(found.variance) * (1 + 1e-9) + 1e-15 * std * (abs(mean) + 1)
    assert float(coefficients[0]) == pytest.approx(std * float(found.slope), rel=1e-12, abs=1e-300)


@given(kind=kinds, mean=means, std=stds)
def test_variance_bounds(kind: str, mean: float, std: float) -> None:
    """0 <= Var f <= L² σ² for f with Lipschitz constant L; |E f'| <= L."""
    lipschitz = LIPSCHITZ.get(kind, 1.0)
    found = activation_rule(RULES[kind]).moments(tensor(mean), tensor(std**2))
    assert 0 <= float(found.variance) <= lipschitz**2 * std**2 * (1 + 1e-9) + 1e-15 * std * (abs(mean) + 1)
    assert abs(float(found.slope)) <= lipschitz * (1 + 1e-12)


@given(mean=means, std=stds, slope=st.floats(-2, 2))
def test_leaky_relu_is_a_sum_of_two_rectifiers(mean: float, std: float, slope: float) -> None:
    """leaky(z) = relu(z) − slope · relu(−z), hence its mean and slope."""
    leaky = activation_rule(Activation(kind="leaky_relu", parameters={"negative_slope": slope}))
    relu = activation_rule(Activation(kind="relu"))
    found = leaky.moments(tensor(mean), tensor(std**2))
    plus, minus = (relu.moments(tensor(sign * mean), tensor(std**2)) for sign in (1, -1))
    assert float(found.mean) == pytest.approx(float(plus.mean - slope * minus.mean), abs=1e-12 * (abs(mean) + std))
    assert float(found.slope) == pytest.approx(float(plus.slope + slope * minus.slope), abs=1e-13)


@given(
    kind=st.sampled_from(["relu", "leaky_relu", "leaky_relu_abs"]), mean=means, std=stds, factor=st.floats(0.01, 100)
)
def test_scale_equivariance(kind: str, mean: float, std: float, factor: float) -> None:
    """f(az) = a f(z), a > 0: mean scales by a, variance by a²."""
    rule = activation_rule(RULES[kind])
    one = rule.moments(tensor(mean), tensor(std**2))
    scaled = rule.moments(tensor(factor * mean), tensor((factor * std) ** 2))
    size = factor * (abs(mean) + std)
    assert float(scaled.mean) == pytest.approx(factor * float(one.mean), abs=1e-12 * size)
    assert float(scaled.variance) == pytest.approx(factor**2 * float(one.variance), abs=1e-12 * (factor * std) ** 2)


@pytest.mark.parametrize("kind", ["tanh", "sigmoid", "hard_tanh"])
def test_odd_symmetry(kind: str) -> None:
    """f(−z) = const − f(z): variance and slope are even in μ."""
    rule = activation_rule(RULES[kind])
    mean, variance = tensor(0.1, 1.0, 3.0, 12.0), tensor(0.2, 1.0, 5.0, 2.0)
    plus, minus = rule.moments(mean, variance), rule.moments(-mean, variance)
    np.testing.assert_allclose(plus.variance, minus.variance, rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(plus.slope, minus.slope, rtol=1e-10, atol=1e-15)


PAIRS = [((0.4, -0.7), (0.8, 1.3)), ((0.0, 0.0), (1.0, 0.5)), ((-1.5, 2.0), (1.0, 1.0))]


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [-0.5, 0.3, 0.6])
@pytest.mark.parametrize("kind", RULES)
def test_products_by_the_mehler_series(kind: str, correlation: float) -> None:
    """Cov(f(z₁), f(z₂)) = Σ a_k b_k ρ^k / k! to 1e-8 with enough terms, against quadrature in the plane."""
    op = RULES[kind]
    rule = activation_rule(op)
    order = 26
    for mean, std in PAIRS:
        exact = covariance(function(op), mean, std, correlation, knots=knots(op))
        first, second = (rule.hermite(tensor(mu), tensor(sigma**2), order) for mu, sigma in zip(mean, std, strict=True))
        series = sum(
            float(a) * float(b) * correlation**k / math.factorial(k)
            for k, (a, b) in enumerate(zip(first, second, strict=True), start=1)
        )
        assert series == pytest.approx(exact, abs=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("correlation", [-0.9, -0.4, 0.2, 0.7, 0.95])
@pytest.mark.parametrize("kind", RULES)
def test_carried_covariance_is_within_the_rest_of_the_series(kind: str, correlation: float) -> None:
    """With HERMITE_ORDER terms the covariance is off by at most |ρ|^(order+1) √(rest₁ rest₂); variances are exact."""
    op = RULES[kind]
    rule = activation_rule(op)
    for mean, std in PAIRS:
        mu, sigma = tensor(*mean), np.array(std)
        joint = torch.tensor(np.outer(sigma, sigma) * [[1, correlation], [correlation, 1]])
        first, found = propagate(op, mu[None], joint[None])
        marginal = rule.moments(mu, tensor(*std) ** 2)
        np.testing.assert_allclose(first.mean[0], marginal.mean, rtol=1e-13)
        np.testing.assert_allclose(found[0].diagonal(), marginal.variance, rtol=1e-12)
        kept = sum(
            a**2 / math.factorial(k) for k, a in enumerate(rule.hermite(mu, tensor(*std) ** 2, HERMITE_ORDER), start=1)
        )
        rest = float((marginal.variance - kept).clamp(min=0).prod().sqrt())
        exact = covariance(function(op), mean, std, correlation, knots=knots(op))
        bound = abs(correlation) ** (HERMITE_ORDER + 1) * rest
        assert float(found[0, 0, 1]) == pytest.approx(exact, abs=bound + 1e-9)
        assert np.linalg.eigvalsh(found[0].numpy()).min() >= -1e-14


@given(kind=kinds, seed=st.integers(0, 10_000), rank=st.integers(1, 5))
def test_carried_covariance_is_never_indefinite(kind: str, seed: int, rank: int) -> None:
    """Of random means and singular covariances too, and symmetric."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(6, rank)) * 10 ** rng.uniform(-3, 0.5, (6, 1))
    joint = torch.tensor(root @ root.T)[None]
    _, found = propagate(RULES[kind], torch.tensor(rng.normal(size=(1, 6)) * 2), joint)
    values = np.linalg.eigvalsh(found[0].numpy())
    assert values.min() >= -1e-12 * max(values.max(), 1e-30)
    np.testing.assert_allclose(found, found.mT, rtol=1e-13, atol=1e-300)
