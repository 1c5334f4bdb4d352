"""Programs without an optimum: the answer says why, and proves it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from random_programs import random_program

from powerplan.allocation import (
    AllocationResult,
    GeometricProgram,
    Posynomial,
    Status,
    cvxpy_solve,
    kkt_bisection,
    solve,
)

GOOD = {
    "power_coefficients": [[1.0], [2.0]],
    "power_exponents": [1.0],
    "error_coefficients": [[1.0], [3.0]],
    "error_exponents": [2.0],
    "bound": 1.0,
}
SOLVERS = pytest.mark.parametrize("solver", [kkt_bisection, cvxpy_solve])
Solver = Callable[[GeometricProgram], AllocationResult]


@pytest.mark.slow
@SOLVERS
def test_unreachable_bound(solver: Solver) -> None:
    """With c <= 1 the error cannot fall below 1 + 3, and both limits are to blame, the second three times as much."""
    result = solver(GeometricProgram.separable(**GOOD, upper=0.0))
    assert result.status is Status.INFEASIBLE
    assert result.constraint_value == pytest.approx(4, rel=1e-9)
    np.testing.assert_allclose(result.x, 0, atol=1e-9)
    np.testing.assert_allclose(result.limit_duals, [0.5, 1.5], rtol=1e-9)
    assert result.certificate.duality_gap < 1e-9
    assert "Loosen the bound" in result.advice


@SOLVERS
@pytest.mark.parametrize("constant", [1.0, 2.0])
def test_constant_error_at_or_above_the_bound(solver: Solver, constant: float) -> None:
    """No gain helps; without upper limits the infimum is the constant itself, and it is proven."""
    result = solver(GeometricProgram.separable(**GOOD, constant_error=constant))
    assert result.status is Status.INFEASIBLE
    assert result.constraint_value == pytest.approx(constant, rel=1e-9)
    assert np.isfinite(result.x).all()
    assert result.certificate.duality_gap < 1e-6


@pytest.mark.slow
@settings(max_examples=200)
@given(seed=st.integers(0, 2**32 - 1), gains=st.integers(1, 100), share=st.floats(0.01, 0.999))
def test_infeasible_programs_reach_their_least_error(seed: int, gains: int, share: float) -> None:
    program = random_program(seed, gains, "some")
    least = program.constraint.value(program.upper)
    tight = GeometricProgram(
        objective=program.objective,
        constraint=program.constraint,
        bound=share * least,
        lower=program.lower,
        upper=program.upper,
    )
    result = kkt_bisection(tight)
    assert result.status is Status.INFEASIBLE
    assert result.constraint_value == pytest.approx(least, rel=1e-12)


@SOLVERS
@pytest.mark.parametrize(
    ("change", "runaway"),
    [
        # a gain that costs nothing, and one that does nothing
        ({"power_coefficients": [[1.0], [0.0]]}, np.inf),
        ({"error_coefficients": [[1.0], [0.0]]}, -np.inf),
    ],
)
def test_gains_that_run_away(solver: Solver, change: dict, runaway: float) -> None:
    result = solver(GeometricProgram.separable(**(GOOD | change)))
    assert result.status is Status.UNBOUNDED
    assert result.x[1] == runaway
    assert np.isfinite(result.x[0])
    assert result.certificate is None
    assert "limit" in result.advice


@SOLVERS
def test_a_gain_without_power_goes_to_its_upper_limit_and_one_without_error_to_its_lower(solver: Solver) -> None:
    program = GeometricProgram.separable(
        **(GOOD | {"power_coefficients": [[1.0], [0.0], [5.0]], "error_coefficients": [[1.0], [3.0], [0.0]]}),
        lower=-2.0,
        upper=3.0,
    )
    result = solver(program)
    assert result.status is Status.OPTIMAL
    np.testing.assert_allclose(result.x[1:], [3, -2], atol=1e-9)
    assert result.gains[0] == pytest.approx((1 - 3 * np.exp(-6)) ** -0.5, rel=1e-9)


@SOLVERS
def test_a_bound_that_does_not_bind(solver: Solver) -> None:
    """At the lower limits the error is met already: the price of the bound is zero."""
    result = solver(GeometricProgram.separable(**GOOD, lower=2.0))
    assert result.status is Status.OPTIMAL
    assert result.dual == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(result.x, 2, atol=1e-9)
    np.testing.assert_allclose(result.limit_duals, [-1 / 3, -2 / 3], rtol=1e-9)


def test_a_voltage_that_no_noise_holds_back_runs_away() -> None:
    """Terms of several gains: power c v², error c^-2 only: the voltage falls for ever."""
    program = GeometricProgram(
        objective=Posynomial.from_coefficients([1.0], [[1.0, 2.0]]),
        constraint=Posynomial.from_coefficients([1.0], [[-2.0, 0.0]]),
        bound=0.1,
        lower=-np.inf,
        upper=np.inf,
    )
    result = solve(program)
    assert result.status is Status.UNBOUNDED
    assert result.x[1] == -np.inf
