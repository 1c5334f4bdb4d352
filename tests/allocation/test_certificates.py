"""Certificates are proofs and shadow prices are derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from random_programs import LIMITS, mixed, random_program
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from powerplan.allocation import GeometricProgram, certificate_at, certify, cvxpy_solve, kkt_bisection
from powerplan.errors import InvalidInput

SEEDS = st.integers(0, 2**32 - 1)


def test_certificate_of_a_problem_solved_by_hand() -> None:
    """min c s.t. c^-2 <= 1/4: c = 2, λ = 1/2; the price of the bound is d log c / d log bound = -1/2."""
    program = GeometricProgram.separable(
        power_coefficients=[[1.0]],
        power_exponents=[1.0],
        error_coefficients=[[1.0]],
        error_exponents=[2.0],
        bound=0.25,
    )
    certificate = certificate_at(program, np.log([2.0]))
    assert certificate.dual == pytest.approx(0.5)
    assert certificate.worst < 1e-15
    # at c = 2.2: gradient of log P is 1 and of log E -2, so λ stays; the constraint's slack is 2 log 1.1
    slack = certificate_at(program, np.log([2.2]), dual=0.5)
    assert slack.kkt_residual == pytest.approx(0, abs=1e-15)
    assert slack.duality_gap == pytest.approx(np.log(1.1))
    assert slack.complementarity == pytest.approx(np.log(1.1))
    # at c = 1.8 the point is too cheap: it violates, and the certificate says by how much
    cheap = certificate_at(program, np.log([1.8]))
    assert cheap.constraint_violation == pytest.approx((2 / 1.8) ** 2 - 1)
    assert cheap.worst > 0.05


@pytest.mark.slow
@settings(max_examples=100)
@given(seed=SEEDS, gains=st.integers(1, 50), limits=st.sampled_from(LIMITS), size=st.floats(1e-6, 1.0))
def test_the_gap_bounds_the_distance_to_the_optimum(seed: int, gains: int, limits: str, size: float) -> None:
    """At any feasible point and for any multiplier, log objective - log optimum <= duality gap."""
    program = random_program(seed, gains, limits)
    optimum = kkt_bisection(program)
    rng = np.random.default_rng(seed)
    x = np.clip(optimum.x + size * rng.random(gains), program.lower, program.upper)
    if program.log_constraint(x) > 1e-12:
        return
    excess = program.objective.log_value(x) - np.log(optimum.objective)
    for dual in (None, optimum.dual * rng.uniform(0.5, 2)):
        certificate = certificate_at(program, x, dual=dual)
        assert certificate.duality_gap >= excess - 1e-9


@pytest.mark.slow
@settings(max_examples=12)
@given(seed=SEEDS, gains=st.integers(2, 6), size=st.floats(1e-4, 0.5))
def test_the_gap_is_a_bound_where_terms_hold_several_gains(seed: int, gains: int, size: float) -> None:
    program = random_program(seed, gains, "none")
    best = kkt_bisection(program).objective
    general = mixed(program, seed)
    x = cvxpy_solve(general).x + size * np.random.default_rng(seed).normal(size=gains)
    if general.log_constraint(x) > 0:
        return
    assert certificate_at(general, x).duality_gap >= general.objective.log_value(x) - np.log(best) - 1e-9


@pytest.mark.slow
@settings(max_examples=50)
@given(seed=SEEDS, gains=st.integers(1, 30), limits=st.sampled_from(["none", "some"]))
def test_the_dual_is_the_price_of_the_bound(seed: int, gains: int, limits: str) -> None:
    """d log objective* / d log bound = -dual, by central differences."""
    program = random_program(seed, gains, limits)
    step = 1e-5

    def at(shift: float) -> float:
        return float(np.log(kkt_bisection(_with(program, bound=program.bound * np.exp(shift))).objective))

    result = kkt_bisection(program)
    left, right = (at(0) - at(-step)) / step, (at(step) - at(0)) / step
    # convex in log bound: the dual lies between the one-sided slopes, which are close unless a limit begins to bind
    assert left - 1e-5 * max(1, result.dual) <= -result.dual <= right + 1e-5 * max(1, result.dual)
    assert right - left <= 1e-2 * max(1, result.dual)


@pytest.mark.slow
@settings(max_examples=25)
@given(seed=SEEDS, gains=st.integers(1, 12))
def test_limit_duals_are_the_prices_of_the_limits(seed: int, gains: int) -> None:
    """d log objective* / d limit = -limit dual, > 0 at upper limits, < 0 at lower ones, 0 where no limit binds."""
    program = random_program(seed, gains, "some")
    result = kkt_bisection(program)
    step = 1e-5
    for i in range(gains):
        for name in ("lower", "upper"):
            limit = getattr(program, name)
            active = result.limit_duals[i] != 0 and abs(result.x[i] - limit[i]) < 1e-9
            values = []
            for shift in (-step, step):
                moved = limit.copy()
                moved[i] += shift
                values.append(np.log(kkt_bisection(_with(program, **{name: moved})).objective))
            slope = (values[1] - values[0]) / (2 * step)
            wanted = -result.limit_duals[i] if active else 0.0
            assert slope == pytest.approx(wanted, rel=1e-3, abs=2e-5)
            if active:
                assert np.sign(result.limit_duals[i]) == (1 if name == "upper" else -1)


def test_infeasible_limit_duals_price_the_least_constraint() -> None:
    """Where the bound cannot be met, the limit duals say which limit to relax: d log E / d limit = -limit dual."""
    program = random_program(5, 4, "all")
    program = _with(program, bound=0.5 * program.constraint.value(program.upper))
    result = kkt_bisection(program)
    for i in range(4):
        moved = program.upper.copy()
        moved[i] += 1e-6
        slope = (program.constraint.log_value(moved) - program.constraint.log_value(program.upper)) / 1e-6
        assert -result.limit_duals[i] == pytest.approx(slope, abs=1e-5)


def test_a_wrong_point_is_not_certified() -> None:
    program = random_program(2, 20, "some")
    x = kkt_bisection(program).x
    rng = np.random.default_rng(0)
    assert certificate_at(program, np.clip(x + 1e-3 * rng.normal(size=20), program.lower, program.upper)).worst > 1e-6


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"at": np.zeros(3)}, "at"),
        ({"gradient_constraint": np.array([np.nan, 0.0])}, "gradient_constraint"),
        ({"at": np.array([np.inf, 0.0])}, "at"),
        ({"dual": -1.0}, "dual"),
    ],
)
def test_certify_refuses_bad_input(change: dict, field: str) -> None:
    values = {
        "gradient_objective": np.ones(2),
        "gradient_constraint": -np.ones(2),
        "log_constraint_value": 0.0,
        "at": np.zeros(2),
        "lower": -np.ones(2),
        "upper": np.ones(2),
    }
    with pytest.raises(InvalidInput, match=f"certify.{field}"):
        certify(**(values | change))


def _with(program: GeometricProgram, **changes: object) -> GeometricProgram:
    fields = {name: getattr(program, name) for name in ("objective", "constraint", "bound", "lower", "upper")}
    return GeometricProgram(**(fields | changes))


GAINS, TERMS, CONSTRAINTS = 3, 4, 3


def log_sum(terms: tuple[np.ndarray, np.ndarray], x: np.ndarray) -> float:
    return float(logsumexp(terms[0] + terms[1] @ x))


def gradient(terms: tuple[np.ndarray, np.ndarray], x: np.ndarray) -> np.ndarray:
    return np.asarray(softmax(terms[0] + terms[1] @ x) @ terms[1])


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_multipliers_of_several_constraints_are_found_at_the_optimum_of_slsqp(seed: int) -> None:
    """An objective that rises with the gains, constraints that fall with them; from their gradients alone."""
    rng = np.random.default_rng(seed)
    objective = rng.normal(0, 1, TERMS), rng.uniform(0, 2, (TERMS, GAINS))
    constraints = [(rng.normal(-1.0, 0.7, TERMS), -rng.uniform(0, 3, (TERMS, GAINS))) for _ in range(CONSTRAINTS)]
    lower, upper = np.full(GAINS, -1.0), np.full(GAINS, 4.0)
    x = minimize(
        lambda x: log_sum(objective, x),
        np.full(GAINS, 1.0),
        jac=lambda x: gradient(objective, x),
        bounds=list(zip(lower, upper, strict=True)),
        constraints=[
            {"type": "ineq", "fun": lambda x, c=c: -log_sum(c, x), "jac": lambda x, c=c: -gradient(c, x)}
            for c in constraints
        ],
        method="SLSQP",
        options={"ftol": 1e-13, "maxiter": 300},
    ).x
    proof = certify(
        gradient(objective, x),
        np.stack([gradient(c, x) for c in constraints]),
        np.array([log_sum(c, x) for c in constraints]),
        x,
        lower,
        upper,
    )
    assert proof.duality_gap < 1e-5
    assert proof.constraint_violation < 1e-7
    assert (proof.duals >= 0).all()
    assert proof.dual == pytest.approx(proof.duals.sum())


def test_multipliers_of_two_binding_constraints_are_recovered() -> None:
    """g = −2 h1 − 3 h2, a slack third constraint, a gain held at its upper limit."""
    h = np.array([[-1.0, 0.2, 0.0], [0.1, -1.0, 0.0], [-1.0, -1.0, -1.0]])
    g = -(2 * h[0] + 3 * h[1]) + np.array([0.0, 0.0, -0.7])
    at = np.zeros(3)
    proof = certify(g, h, np.array([0.0, 0.0, -1.0]), at, np.full(3, -5.0), np.array([5.0, 5.0, 0.0]))
    assert proof.duals == pytest.approx([2.0, 3.0, 0.0], abs=1e-12)
    assert proof.kkt_residual < 1e-12
    assert proof.limit_duals == pytest.approx([0.0, 0.0, 0.7])


@pytest.mark.parametrize("shape", [(2,), (2, 4), (3, 2)])
def test_gradients_of_a_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match="gradient_constraint"):
        certify(np.zeros(3), np.zeros(shape), np.zeros(2), np.zeros(3), -np.ones(3), np.ones(3))
