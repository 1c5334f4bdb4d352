"""Moments of programs of one value, jumps, kinks and roots included, against dense integration and closed forms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from gaussian_quadrature import Function as Curve, moments
from hypothesis import given, settings, strategies as st
from scipy.stats import norm

from powerplan.moments.rules import propagate
from powerplan.moments.rules.activations import activation_rule
from powerplan.moments.rules.activations.taking_apart import pieces
from powerplan.network.digital import digital
from powerplan.network.ops import Function

VALUE = {"value": 0}


def last(step: int = 0) -> dict[str, int]:
    return {"step": step}


def program(*steps: Sequence[Any]) -> Function:
    return Function(steps=tuple((name, tuple(rest), {}) for name, *rest in steps), inputs=((1,),), shape=(1,))


WHOLE = tuple(range(-60, 61))
HALVES = tuple(n + 0.5 for n in WHOLE)
#: program and the breaks that the reference is told of
CASES: dict[str, tuple[Function, tuple[float, ...]]] = {
    "abs": (program(("abs", VALUE)), (0.0,)),
    "root of magnitude": (program(("abs", VALUE), ("sqrt", last())), (0.0,)),
    "reciprocal root": (program(("mul", VALUE, VALUE), ("add", last(), 0.5), ("rsqrt", last(1))), ()),
    "exp": (program(("mul", VALUE, 0.3), ("exp", last())), ()),
    "expm1": (program(("mul", VALUE, 0.3), ("expm1", last())), ()),
    "log of magnitude": (program(("abs", VALUE), ("add", last(), 0.01), ("log", last(1))), (0.0,)),
    "log1p of square": (program(("mul", VALUE, VALUE), ("log1p", last())), ()),
    "sin": (program(("sin", VALUE)), ()),
    "fast cos": (program(("mul", VALUE, 20.0), ("cos", last())), ()),
    "tan of atan": (program(("atan", VALUE), ("tan", last())), ()),
    "asinh": (program(("asinh", VALUE)), ()),
    "sign": (program(("sign", VALUE)), (0.0,)),
    "sign of sin": (program(("sin", VALUE), ("sign", last())), tuple(n * math.pi for n in WHOLE)),
    "round": (program(("round", VALUE)), HALVES),
    "floor": (program(("floor", VALUE)), WHOLE),
    "ceil": (program(("ceil", VALUE)), WHOLE),
    "trunc": (program(("trunc", VALUE)), WHOLE),
    "frac": (program(("frac", VALUE)), WHOLE),
    "remainder": (program(("remainder", VALUE, 1.0)), WHOLE),
    "clamp from above": (program(("clamp", VALUE, None, 0.7)), (0.7,)),
    "clamp": (program(("clamp", VALUE, -0.2, 0.7)), (-0.2, 0.7)),
    "threshold": (program(("threshold", VALUE, 0.37, -2.0)), (0.37,)),
    "hardshrink": (program(("hardshrink", VALUE, 0.5)), (-0.5, 0.5)),
    "softshrink": (program(("softshrink", VALUE, 0.5)), (-0.5, 0.5)),
    "tanhshrink": (program(("tanh", VALUE), ("sub", VALUE, last())), ()),
    "celu": (program(("celu", VALUE, 0.5)), (0.0,)),
    "selu": (program(("selu", VALUE)), (0.0,)),
    "log_sigmoid": (program(("log_sigmoid", VALUE)), ()),
    "softsign": (program(("abs", VALUE), ("add", last(), 1.0), ("div", VALUE, last(1))), (0.0,)),
    "mish": (program(("mish", VALUE)), ()),
    "cube": (program(("pow", VALUE, 3.0)), ()),
    "broken power": (program(("abs", VALUE), ("pow", last(), 2.5)), (0.0,)),
    "erf": (program(("erf", VALUE)), ()),
    "bell": (program(("mul", VALUE, VALUE), ("add", last(), 1.0), ("reciprocal", last(1))), ()),
    "above": (program(("gt", VALUE, 0.2)), (0.2,)),
    "below or at": (program(("le", VALUE, 0.2)), (0.2,)),
    "where": (program(("gt", VALUE, 0.0), ("where", last(), VALUE, -1.0)), (0.0,)),
    "inside": (program(("abs", VALUE), ("lt", last(), 1.0), ("where", last(1), VALUE, 0.0)), (-1.0, 1.0)),
    "steep": (program(("mul", VALUE, 200.0), ("sigmoid", last())), ()),
}

names = st.sampled_from(sorted(CASES))
means = st.floats(-4, 4)
stds = st.floats(-6, 0.5).map(lambda exponent: 10.0**exponent)


def curve(op: Function) -> Curve:
    return lambda z: digital(op, torch.as_tensor(z).reshape(-1, 1)).reshape(np.shape(z)).numpy()


def tensor(*values: float, gradient: bool = False) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=gradient)


@pytest.mark.slow
@settings(max_examples=300)
@given(name=names, mean=means, std=stds)
def test_moments_are_those_of_dense_integration(name: str, mean: float, std: float) -> None:
    """Mean, variance and σ times the slope to 1e-7 of the function's own spread, at all noises; 1e-14 of its value is
    rounding, and what lies beyond 8.5 standard deviations."""
    op, knots = CASES[name]
    computed = activation_rule(op).moments(tensor(mean), tensor(std**2))
    first, spread, _, coefficients = moments(curve(op), lambda z: z, mean, std, knots=knots, order=1)
    size = math.sqrt(spread) + 1e-9 * std
    rounding = 1e-14 * (1 + abs(first))
    # a root's own integral is harder for the reference than for panels that end at it
    accuracy = 1e-5 if "root of" in name else 1e-7
    assert float(computed.mean) == pytest.approx(first, abs=accuracy * size + rounding)
    assert float(computed.variance) == pytest.approx(spread, abs=accuracy * size**2 + rounding * max(size, 0.1))
    assert std * float(computed.slope) == pytest.approx(coefficients[0], abs=accuracy * size + rounding)


@pytest.mark.parametrize("std", [1e-12, 1e-3, 0.5, 30.0])
@pytest.mark.parametrize("mean", [-1.0, 0.2, 0.2 + 1e-6, 3.0])
def test_a_step_in_closed_form(mean: float, std: float) -> None:
    """p = Φ((μ - κ)/σ), variance p (1 - p), slope φ/σ: also at the jump, and where noise hardly reaches it."""
    distance = (mean - 0.2) / std
    computed = activation_rule(CASES["above"][0]).moments(tensor(mean), tensor(std**2))
    assert float(computed.mean) == pytest.approx(norm.cdf(distance), abs=1e-9)
    assert float(computed.variance) == pytest.approx(norm.cdf(distance) * norm.sf(distance), abs=1e-9)
    assert float(computed.slope) * std == pytest.approx(norm.pdf(distance), abs=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_without_noise_it_is_the_function_itself(name: str) -> None:
    """f(μ) exactly, at jumps too; no variance; a slope and gradients that are numbers."""
    op, knots = CASES[name]
    places = [-3.3, -0.41, 0.0, 0.13, 1.7, *knots[:3]]
    mean, variance = tensor(*places, gradient=True), torch.zeros(len(places)).double().requires_grad_()
    computed = activation_rule(op).moments(mean, variance)
    np.testing.assert_array_equal(computed.mean.detach(), curve(op)(np.array(places)))
    assert (computed.variance == 0).all()
    for result in computed:
        gradients = torch.autograd.grad(result.sum(), (mean, variance), retain_graph=True)
        assert all(g.isfinite().all() for g in (result, *gradients))


@pytest.mark.parametrize("name", CASES)
def test_gradients_in_mean_and_variance(name: str) -> None:
    """Those of mean, variance and slope are finite differences of them, for jumps too."""
    rule = activation_rule(CASES[name][0])
    mean, variance = tensor(-1.3, 0.1, 0.8, gradient=True), tensor(0.4, 0.09, 1.2, gradient=True)
    assert torch.autograd.gradcheck(lambda m, v: tuple(rule.moments(m, v)), (mean, variance), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["abs", "sign", "round", "threshold", "sin"])
def test_covariance_of_two_entries(name: str) -> None:
    """Sampled: 1e6 pairs, five standard errors, and what the Hermite series leaves out (ρ = 0.5)."""
    op, _ = CASES[name]
    joint = torch.tensor([[0.5, 0.2], [0.2, 0.32]]).double()
    mean = tensor(0.3, -0.6)
    first, computed = propagate(op, mean[None], joint[None])
    draws = np.random.default_rng(0).multivariate_normal(mean.numpy(), joint.numpy(), size=1_000_000)
    values = curve(op)(draws)
    error = 5e-3 * values.std()
    np.testing.assert_allclose(first.mean[0], values.mean(0), atol=error)
    left_out = 0.5**7 * float(computed[0].diagonal().mean())
    np.testing.assert_allclose(computed[0], np.cov(values.T), atol=3 * error * values.std() + left_out)


def test_breaks_are_found_where_they_are() -> None:
    """To rounding, many of them, and none where there is none."""

    def breaks(name: str, half_range: float) -> list[float]:
        rule = activation_rule(CASES[name][0])
        return pieces(rule.function, half_range).breaks[1:-1].tolist()  # type: ignore[attr-defined]

    assert breaks("threshold", 16.0) == [0.37]
    assert breaks("clamp", 1024.0) == [-0.2, 0.7]
    assert breaks("inside", 16.0) == [-1.0, 1.0]
    np.testing.assert_allclose(breaks("round", 64.0), np.arange(-63.5, 64), atol=1e-12)
    roots = np.arange(-10, 11) * math.pi
    np.testing.assert_allclose(breaks("sign of sin", 32.0), roots, atol=1e-12)
    for name in ("erf", "mish", "tanhshrink", "bell", "cube", "fast cos"):
        assert breaks(name, 16.0) == []


@pytest.mark.parametrize(
    ("name", "steps", "pole"),
    [
        ("reciprocal", [("reciprocal", VALUE)], True),
        ("reciprocal root", [("abs", VALUE), ("rsqrt", last())], True),
        ("logarithm", [("log", VALUE)], True),  # of negative numbers it is none
        ("logarithm of magnitude", [("abs", VALUE), ("log", last())], False),
        ("root of magnitude", [("abs", VALUE), ("sqrt", last())], False),
        ("step", [("gt", VALUE, 0.0)], False),
    ],
)
def test_poles_in_reach_are_told(name: str, steps: list[Sequence[Any]], pole: bool) -> None:
    """Within 4.9 standard deviations; beyond, moments are finite, and those of what is seen in a million draws."""
    rule = activation_rule(program(*steps))
    assert rule.holds(tensor(1.0), tensor(0.3**2)) is not pole  # type: ignore[attr-defined]
    assert rule.holds(tensor(1.0), tensor(0.2**2))  # type: ignore[attr-defined]
    computed = rule.moments(tensor(1.0), tensor(0.15**2))
    draws = curve(program(*steps))(1.0 + 0.15 * np.random.default_rng(0).standard_normal(1_000_000))
    assert float(computed.mean) == pytest.approx(draws.mean(), abs=5e-3 * draws.std() + 1e-9)
    assert float(computed.variance) == pytest.approx(draws.var(), rel=0.03, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "part"), [("sign", 1.0), ("threshold", 2.37 / 6.0), ("floor", 1 / 8), ("abs", 0.0), ("erf", 0.0)]
)
def test_the_largest_jump_of_a_function(name: str, part: float) -> None:
    """As a part of its values between -4 and 4."""
    rule = activation_rule(CASES[name][0])
    assert rule.largest_jump == pytest.approx(part, abs=1e-7)  # type: ignore[attr-defined]
