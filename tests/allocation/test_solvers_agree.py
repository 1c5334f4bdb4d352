"""Closed form, KKT bisection and cvxpy give the same power wherever two of them apply."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from random_programs import LIMITS, mixed, monomial_program, random_program

from powerplan.allocation import (
    AllocationResult,
    GeometricProgram,
    Status,
    closed_form,
    closed_form_covers,
    cvxpy_solve,
    kkt_bisection,
    solve,
)
from powerplan.errors import InvalidInput

SEEDS = st.integers(0, 2**32 - 1)
SIZES = st.one_of(st.integers(1, 10), st.integers(1, 60), st.integers(1, 1000))


def assert_same(*results: AllocationResult) -> None:
    """All proven optimal, objectives within 1e-6."""
    for result in results:
        certificate = result.certificate
        assert result.status is Status.OPTIMAL, result.solver_words
        assert certificate is not None
        assert certificate.kkt_residual < 1e-6
        assert certificate.duality_gap < 1e-6
        assert certificate.constraint_violation < 1e-9
        assert result.objective == pytest.approx(results[0].objective, rel=1e-6)


@pytest.mark.slow
@settings(max_examples=200)
@given(seed=SEEDS, gains=SIZES)
def test_closed_form_equals_kkt(seed: int, gains: int) -> None:
    program = monomial_program(seed, gains)
    exact, found = closed_form(program), kkt_bisection(program)
    assert_same(exact, found)
    assert found.objective == pytest.approx(exact.objective, rel=1e-10)
    np.testing.assert_allclose(found.x, exact.x, atol=1e-8)
    assert found.dual == pytest.approx(exact.dual, rel=1e-6)


@pytest.mark.slow
@settings(max_examples=200)
@given(seed=SEEDS, gains=SIZES, limits=st.sampled_from(LIMITS))
def test_kkt_proves_every_answer(seed: int, gains: int, limits: str) -> None:
    """The certificate, recomputed from the point alone, is a proof that needs no second solver."""
    program = random_program(seed, gains, limits)
    result = kkt_bisection(program)
    assert_same(result)
    assert result.certificate.worst < 1e-9
    if limits == "all":
        # a gain may stay inside its limits only as far as its error is lost in rounding
        distance = np.minimum(result.x - program.lower, program.upper - result.x)
        assert np.abs(program.constraint.gradient(result.x)) @ distance < 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("limits", LIMITS)
@pytest.mark.parametrize("simple_powers", [True, False])
def test_cvxpy_equals_kkt_with_1000_gains(limits: str, simple_powers: bool) -> None:
    program = random_program(7, 1000, limits, simple_powers=simple_powers)
    assert_same(kkt_bisection(program), cvxpy_solve(program))


@pytest.mark.slow
@settings(max_examples=100)
@given(seed=SEEDS, gains=st.integers(1, 100))
def test_error_under_a_power_budget_is_the_same_trade(seed: int, gains: int) -> None:
    """min E s.t. P <= P* reaches the bound again, at the inverse price."""
    program = random_program(seed, gains, "none")
    power = kkt_bisection(program)
    error = kkt_bisection(program.reversed(power.objective))
    assert_same(error)
    assert error.objective == pytest.approx(program.bound, rel=1e-9)
    assert error.dual * power.dual == pytest.approx(1, rel=1e-6)


def test_closed_form_is_the_textbook_formula() -> None:
    """c_i = (k_i/p_i)^{1/(s+t)} (S/D)^{1/s}, P* = S^{(s+t)/s} D^{-t/s}; a constant error is taken off D."""
    p, k, s, t, bound, constant = np.array([1e-6, 2e-3, 5.0]), np.array([3.0, 1e-4, 0.2]), 2.0, 1.0, 1e-2, 4e-3
    program = GeometricProgram.separable(
        power_coefficients=p[:, None],
        power_exponents=[t],
        error_coefficients=k[:, None],
        error_exponents=[s],
        bound=bound,
        constant_error=constant,
    )
    room = bound - constant
    total = (k ** (t / (s + t)) * p ** (s / (s + t))).sum()
    result = closed_form(program)
    np.testing.assert_allclose(result.gains, (k / p) ** (1 / (s + t)) * (total / room) ** (1 / s), rtol=1e-12)
    assert result.objective == pytest.approx(total ** ((s + t) / s) * room ** (-t / s), rel=1e-12)
    assert_same(result, kkt_bisection(program), cvxpy_solve(program))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"upper": 0.0}, "limits"),
        ({"power_coefficients": [[1, 1], [2, 1]], "power_exponents": [1, 2]}, "one term"),
        ({"error_coefficients": [[1], [0]]}, "one term"),
        ({"constant_error": 2.0}, "constant"),
    ],
)
def test_closed_form_says_what_it_does_not_cover(change: dict, words: str) -> None:
    base = {
        "power_coefficients": [[1.0], [2.0]],
        "power_exponents": [1.0],
        "error_coefficients": [[1.0], [3.0]],
        "error_exponents": [2.0],
        "bound": 1.0,
    }
    program = GeometricProgram.separable(**(base | change))
    assert not closed_form_covers(program)
    with pytest.raises(InvalidInput, match=words):
        closed_form(program)
    assert solve(program).solver_words != "closed form"


def test_kkt_refuses_terms_of_several_gains() -> None:
    program = mixed(random_program(0, 3, "none"), 0)
    with pytest.raises(InvalidInput, match="several gains"):
        kkt_bisection(program)
    assert solve(program).status is Status.OPTIMAL


def test_solve_dispatches_and_refuses_unknown_methods() -> None:
    program = monomial_program(1, 5)
    assert_same(*(solve(program, method) for method in ("auto", "closed_form", "kkt", "cvxpy")))
    assert solve(program).solver_words == "closed form"
    with pytest.raises(InvalidInput, match="closed_form"):
        solve(program, "closedform")


def test_100_000_gains_are_solved_to_rounding() -> None:
    result = kkt_bisection(random_program(3, 100_000, "some"))
    assert_same(result)
    assert result.certificate.worst < 1e-9
