"""Local geometric programs: compiled once, exact to 1e-9, honest about boxes that cannot meet the bound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.optimize import minimize
from scipy.special import logsumexp

from powerplan.allocation import GeometricProgram, LocalProgram, Status, kkt_bisection
from powerplan.errors import InvalidInput

PROGRAMS = {n: LocalProgram(objective_terms=n, constraint_terms=n, gains=n) for n in (1, 4, 20)}


def random_terms(seed: int, n: int, coupling: float) -> dict[str, np.ndarray]:
    """Terms near c and c^-2 of one gain each, with slopes in the other gains of size ``coupling``."""
    rng = np.random.default_rng(seed)
    errors = rng.normal(0, 3, n)
    radius = rng.choice([0.1, 1.0, 3.0])
    return {
        "log_objective_terms": rng.normal(-20, 3, n),
        "objective_exponents": np.eye(n) + coupling * rng.normal(size=(n, n)),
        "log_constraint_terms": errors - logsumexp(errors) + rng.normal(0, 0.3),
        "constraint_exponents": -2 * np.eye(n) + coupling * rng.normal(size=(n, n)),
        "lower": np.full(n, -radius),
        "upper": np.where(rng.random(n) < 0.2, 0.0, radius),
    }


@pytest.mark.slow
@settings(max_examples=100)
@given(seed=st.integers(0, 2**32 - 1), n=st.sampled_from(sorted(PROGRAMS)), coupling=st.sampled_from([0.0, 0.1, 0.5]))
def test_answers_are_proven_to_1e_9(seed: int, n: int, coupling: float) -> None:
    terms = random_terms(seed, n, coupling)
    result = PROGRAMS[n].solve(**terms)
    assert result.status in (Status.OPTIMAL, Status.INFEASIBLE)
    assert result.certificate.kkt_residual < 1e-9
    assert result.certificate.duality_gap < 1e-9
    assert ((result.x >= terms["lower"]) & (result.x <= terms["upper"])).all()
    if result.status is Status.INFEASIBLE:
        assert result.constraint_value > 1
    else:
        assert result.certificate.worst < 1e-9


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), n=st.sampled_from(sorted(PROGRAMS)))
def test_uncoupled_steps_equal_kkt(seed: int, n: int) -> None:
    terms = random_terms(seed, n, 0.0)
    result = PROGRAMS[n].solve(**terms)
    program = GeometricProgram.separable(
        power_coefficients=np.exp(terms["log_objective_terms"])[:, None],
        power_exponents=[1.0],
        error_coefficients=np.exp(terms["log_constraint_terms"])[:, None],
        error_exponents=[2.0],
        bound=1.0,
        lower=terms["lower"],
        upper=terms["upper"],
    )
    exact = kkt_bisection(program)
    assert result.status is exact.status
    assert result.constraint_value == pytest.approx(exact.constraint_value, rel=1e-9)
    if exact.status is Status.OPTIMAL:
        assert result.objective == pytest.approx(exact.objective, rel=1e-9)
        assert result.dual == pytest.approx(exact.dual, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_coupled_steps_equal_slsqp(seed: int) -> None:
    terms = random_terms(seed, 4, 0.3)
    result = PROGRAMS[4].solve(**terms)

    def error(x: np.ndarray) -> float:
        return float(logsumexp(terms["log_constraint_terms"] + terms["constraint_exponents"] @ x))

    def power(x: np.ndarray) -> float:
        return float(logsumexp(terms["log_objective_terms"] + terms["objective_exponents"] @ x))

    bounds = list(zip(terms["lower"], terms["upper"], strict=True))
    if result.status is Status.INFEASIBLE:
        found = minimize(error, np.zeros(4), bounds=bounds, method="SLSQP", options={"ftol": 1e-14})
        assert np.log(result.constraint_value) == pytest.approx(found.fun, abs=1e-7)
    else:
        limit = {"type": "ineq", "fun": lambda x: -error(x)}
        found = minimize(
            power, result.x * 0.5, bounds=bounds, constraints=[limit], method="SLSQP", options={"ftol": 1e-14}
        )
        assert np.log(result.objective) == pytest.approx(found.fun, abs=1e-7)


def test_zero_terms_change_nothing() -> None:
    """A layer without noise has log F = -inf, and its slopes, whatever they are, do not count."""
    terms = random_terms(3, 4, 0.1)
    without = LocalProgram(objective_terms=4, constraint_terms=3, gains=4).solve(
        **(terms | {name: terms[name][1:] for name in ("log_constraint_terms", "constraint_exponents")})
    )
    terms["log_constraint_terms"][0] = -np.inf
    terms["constraint_exponents"][0] = np.nan
    with_zero = PROGRAMS[4].solve(**terms)
    assert with_zero.status is without.status
    np.testing.assert_allclose(with_zero.x, without.x, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"log_objective_terms": np.array([np.nan, 0, 0, 0])}, "log_objective_terms"),
        ({"log_constraint_terms": np.array([np.inf, 0, 0, 0])}, "log_constraint_terms"),
        ({"log_constraint_terms": np.full(4, -np.inf)}, "log_constraint_terms"),
        ({"log_objective_terms": np.zeros(3)}, "log_objective_terms"),
        ({"objective_exponents": np.zeros((4, 3))}, "objective_exponents"),
        ({"constraint_exponents": np.full((4, 4), np.nan)}, "constraint_exponents"),
        ({"lower": np.full(4, -np.inf)}, "lower"),
        ({"upper": np.zeros(3)}, "upper"),
        ({"lower": np.ones(4), "upper": np.zeros(4)}, "lower"),
    ],
)
def test_bad_terms_are_refused(change: dict, field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        PROGRAMS[4].solve(**(random_terms(0, 4, 0.1) | change))


@pytest.mark.parametrize("gains", [0, -1, 2.5, 10**9, "3"])
def test_absurd_sizes_are_refused(gains: object) -> None:
    with pytest.raises(InvalidInput, match="gains"):
        LocalProgram(objective_terms=1, constraint_terms=1, gains=gains)
