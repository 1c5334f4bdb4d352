"""Sums of weighted χ² against closed forms and against draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats

from powerplan.moments.chips.quadratic_form import QuadraticForm


def single(freedom: float, offset: float = 0.0, *, weight: float = 1.0, constant: float = 0.0) -> QuadraticForm:
    return QuadraticForm(
        weights=np.array([weight]), freedom=np.array([freedom]), offsets=np.array([offset]), constant=constant
    )


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    freedom=st.floats(1, 2000),
    offset=st.floats(0, 300) | st.just(0.0),
    weight=st.floats(1e-9, 1e9),
    probability=st.floats(1e-6, 1 - 1e-6) | st.just(0.5),
)
def test_one_term_is_a_scaled_chi_square(freedom: float, offset: float, weight: float, probability: float) -> None:
    known = stats.ncx2(freedom, offset) if offset > 1e-6 else stats.chi2(freedom)
    form = single(freedom, offset if offset > 1e-6 else 0.0, weight=weight)
    value = weight * known.ppf(probability)
    assert form.cdf(value) == pytest.approx(known.cdf(known.ppf(probability)), abs=5e-7)
    assert form.mean == pytest.approx(weight * known.mean(), rel=1e-12)
    assert form.std == pytest.approx(weight * known.std(), rel=1e-12)


@pytest.mark.parametrize("probability", [1e-3, 0.05, 0.5, 0.95, 0.999])
def test_quantiles_invert_the_distribution(probability: float) -> None:
    form = QuadraticForm(
        weights=np.array([1.0, 0.3, 0.01]), freedom=np.array([1.0, 5.0, 70.5]), offsets=np.array([0.4, 3.0, 0.0])
    )
    assert form.cdf(form.quantile(probability)) == pytest.approx(probability, abs=1e-7)
    assert form.scaled(4.0).quantile(probability) == pytest.approx(4 * form.quantile(probability), rel=1e-7)


@pytest.mark.slow
def test_many_terms_are_those_of_draws() -> None:
    rng = np.random.default_rng(0)
    weights, means = np.exp(2 * rng.normal(size=40)), rng.normal(size=40)
    form = QuadraticForm(weights=weights, freedom=np.ones(40), offsets=means**2, constant=3.0)
    draws = 3.0 + (weights * (rng.normal(size=(200_000, 40)) + means) ** 2).sum(1)
    for value in np.quantile(draws, [0.02, 0.2, 0.5, 0.9, 0.99]):
        share = (draws <= value).mean()
        assert form.cdf(value) == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / len(draws)))
    assert form.mean == pytest.approx(draws.mean(), abs=4 * draws.std() / np.sqrt(len(draws)))


def test_cumulants_are_those_of_a_gamma() -> None:
    form, known = single(7.0, weight=0.5), stats.gamma(3.5)
    mean, variance, skew, kurtosis = known.stats("mvsk")
    assert form.cumulant(2) == pytest.approx(variance)
    assert form.cumulant(3) == pytest.approx(skew * variance**1.5)
    assert form.cumulant(4) == pytest.approx(kurtosis * variance**2)
    assert form.cumulant(1) == pytest.approx(mean)


def test_what_does_not_vary_is_a_step() -> None:
    none = np.array([])
    form = QuadraticForm(weights=none, freedom=none, offsets=none, constant=2.0)
    assert (form.std, form.quantile(0.3), form.cdf(1.9), form.cdf(2.0)) == (0.0, 2.0, 0.0, 1.0)
    assert single(3.0, constant=1.0).cdf(0.5) == 0.0
    hardly = QuadraticForm(
        weights=np.array([3e-94, 5e-106]), freedom=np.ones(2), offsets=np.array([6e93, 0.0]), constant=2.0
    )
    assert hardly.quantile(0.9) == hardly.mean == pytest.approx(3.8)
    assert (hardly.cdf(3.7), hardly.cdf(3.9)) == (0.0, 1.0)
