"""Posynomials compute what they say; bad programs are refused with field, value, what is allowed and what to do."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import sparse

from powerplan.allocation import GeometricProgram, Posynomial
from powerplan.errors import InvalidInput

GOOD = {
    "power_coefficients": [[1.0], [2.0]],
    "power_exponents": [1.0],
    "error_coefficients": [[1.0], [3.0]],
    "error_exponents": [2.0],
    "bound": 1.0,
}


@pytest.mark.slow
@settings(max_examples=50)
@given(seed=st.integers(0, 2**32 - 1))
def test_posynomial_value_and_gradient(seed: int) -> None:
    rng = np.random.default_rng(seed)
    coefficients, exponents, x = rng.uniform(0.1, 3, 6), rng.normal(size=(6, 3)), rng.normal(size=3)
    f = Posynomial.from_coefficients(coefficients, exponents)
    terms = coefficients * np.exp(exponents @ x)
    np.testing.assert_allclose(f.term_values(x), terms, rtol=1e-12)
    assert f.value(x) == pytest.approx(terms.sum(), rel=1e-12)
    assert f.log_value(x) == pytest.approx(np.log(terms.sum()), abs=1e-12)
    np.testing.assert_allclose(f.gradient(x), terms @ exponents / terms.sum(), rtol=1e-10, atol=1e-12)


def test_zero_terms_are_dropped_and_constants_have_no_gain() -> None:
    f = Posynomial.from_coefficients([0.0, 2.0, 3.0], sparse.csr_array([[1.0, 0], [0, 0], [0, -2]]))
    assert f.terms == 2
    assert list(f.variables) == [-1, 1]
    assert f.value(np.zeros(2)) == pytest.approx(5)


def test_separable_is_the_sum_it_says() -> None:
    program = GeometricProgram.separable(**GOOD, constant_error=0.25, constant_power=4.0)
    c = np.array([0.5, 3.0])
    assert program.objective.value(np.log(c)) == pytest.approx(4 + 0.5 + 6)
    assert program.constraint.value(np.log(c)) == pytest.approx(0.25 + 4 + 3 / 9)
    assert program.is_separable
    assert program.reversed(7.0).bound == 7
    assert program.reversed(7.0).objective is program.constraint


def test_values_are_frozen() -> None:
    program = GeometricProgram.separable(**GOOD)
    with pytest.raises(ValueError, match="read-only"):
        program.lower[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        program.objective.exponents.data[0] = 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"power_coefficients": [[np.nan], [1.0]]}, "power_coefficients"),
        ({"error_coefficients": [[np.inf], [1.0]]}, "error_coefficients"),
        ({"power_coefficients": [[-1.0], [1.0]]}, r"power_coefficients\[0, 0\]"),
        ({"error_coefficients": [[1.0], [-2.0]]}, r"error_coefficients\[1, 0\]"),
        ({"power_coefficients": [[0.0], [0.0]]}, "power_coefficients.*nothing to trade"),
        ({"error_coefficients": [[0.0], [0.0]]}, "error_coefficients.*nothing to trade"),
        ({"power_coefficients": np.zeros((0, 1))}, "power_coefficients"),
        ({"power_coefficients": [1.0, 2.0]}, "power_coefficients.*2 axes"),
        ({"power_coefficients": [["a"], ["b"]]}, "power_coefficients"),
        ({"error_coefficients": [[1.0], [1.0], [1.0]]}, "one row per gain"),
        ({"power_exponents": [1.0, 2.0]}, "power_exponents.*one entry per column"),
        ({"power_exponents": [-1.0]}, "power_exponents"),
        ({"error_exponents": [0.0]}, "error_exponents"),
        ({"error_exponents": [np.nan]}, "error_exponents"),
        ({"error_exponents": [1e6]}, "exponents"),
        ({"bound": 0.0}, "bound"),
        ({"bound": -1.0}, "bound"),
        ({"bound": np.nan}, "bound"),
        ({"bound": np.inf}, "bound"),
        ({"bound": "1"}, "bound"),
        ({"lower": 1.0, "upper": 0.0}, r"lower\[0\].*upper\[0\]"),
        ({"lower": [0.0, np.nan]}, "lower"),
        ({"lower": np.inf}, "lower"),
        ({"upper": -np.inf}, "upper"),
        ({"upper": [1.0, 2.0, 3.0]}, "upper"),
        ({"upper": "high"}, "upper"),
        ({"constant_error": -1.0}, "constant_error"),
        ({"constant_power": np.nan}, "constant_power"),
    ],
)
def test_bad_programs_are_refused(change: dict, field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        GeometricProgram.separable(**(GOOD | change))


@pytest.mark.parametrize(
    ("logs", "exponents", "field"),
    [
        ([np.nan], [[1.0]], "log_coefficients"),
        ([1e9], [[1.0]], "log_coefficients"),
        ([0.0], [[np.nan]], "exponents"),
        ([0.0], [[np.inf]], "exponents"),
        ([0.0], [["x"]], "exponents"),
        ([0.0, 0.0], [[1.0]], "exponents.*one row"),
        ([], np.zeros((0, 1)), "at least one term"),
        ([0.0], sparse.csr_array((1, 10**9)), "at most 10,000,000"),
        ([0.0], None, "exponents"),
    ],
)
def test_bad_posynomials_are_refused(logs: list, exponents: object, field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        Posynomial(log_coefficients=np.array(logs), exponents=exponents)


def test_posynomials_of_different_gains_are_refused() -> None:
    f, g = Posynomial.from_coefficients([1.0], [[1.0]]), Posynomial.from_coefficients([1.0], [[1.0, 2.0]])
    with pytest.raises(InvalidInput, match="the same gains"):
        GeometricProgram(objective=f, constraint=g, bound=1.0, lower=0.0, upper=1.0)
    constant = Posynomial(log_coefficients=np.zeros(1), exponents=sparse.csr_array((1, 0)))
    with pytest.raises(InvalidInput, match="at least one gain"):
        GeometricProgram(objective=constant, constraint=constant, bound=1.0, lower=0.0, upper=1.0)


@pytest.mark.slow
def test_importing_the_package_does_not_import_cvxpy_or_torch() -> None:
    code = "import sys, powerplan.allocation; print([m for m in ('cvxpy', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
