"""Several constraints: joint local programs equal SLSQP, and certificates find every multiplier."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from powerplan.allocation import JointProgram, LocalProgram, certify
from powerplan.errors import InvalidInput

GAINS, TERMS, CONSTRAINTS = 3, 4, 3
PROGRAM = JointProgram(objective_terms=TERMS, constraint_terms=(TERMS,) * CONSTRAINTS, gains=GAINS)


def random_terms(seed: int) -> tuple[tuple[np.ndarray, np.ndarray], list[tuple[np.ndarray, np.ndarray]]]:
    """An objective that rises with the gains, constraints that fall with them; feasible within the box."""
    rng = np.random.default_rng(seed)
    objective = rng.normal(0, 1, TERMS), rng.uniform(0, 2, (TERMS, GAINS))
    constraints = [(rng.normal(-1.0, 0.7, TERMS), -rng.uniform(0, 3, (TERMS, GAINS))) for _ in range(CONSTRAINTS)]
    return objective, constraints


def value(terms: tuple[np.ndarray, np.ndarray], x: np.ndarray) -> float:
    return float(logsumexp(terms[0] + terms[1] @ x))


def gradient(terms: tuple[np.ndarray, np.ndarray], x: np.ndarray) -> np.ndarray:
    return np.asarray(softmax(terms[0] + terms[1] @ x) @ terms[1])


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_steps_are_proven_and_equal_slsqp(seed: int) -> None:
    """The certificate of the step, with multipliers found from the gradients alone, bounds the gap to the optimum."""
    objective, constraints = random_terms(seed)
    lower, upper = np.full(GAINS, -1.0), np.full(GAINS, 4.0)
    step = PROGRAM.solve(objective, constraints, lower, upper)
    assert step.x is not None
    proof = certify(
        gradient(objective, step.x),
        np.stack([gradient(c, step.x) for c in constraints]),
        np.array([value(c, step.x) for c in constraints]),
        step.x,
        lower,
        upper,
    )
    assert proof.duality_gap < 1e-5
    assert proof.constraint_violation < 1e-7
    assert (proof.duals >= 0).all()
    assert proof.dual == pytest.approx(proof.duals.sum())
    found = minimize(
        lambda x: value(objective, x),
        np.full(GAINS, 1.0),
        jac=lambda x: gradient(objective, x),
        bounds=list(zip(lower, upper, strict=True)),
        constraints=[
            {"type": "ineq", "fun": lambda x, c=c: -value(c, x), "jac": lambda x, c=c: -gradient(c, x)}
            for c in constraints
        ],
        method="SLSQP",
        options={"ftol": 1e-13, "maxiter": 300},
    )
    assert value(objective, step.x) <= found.fun + 1e-6


def test_one_constraint_equals_the_refined_program() -> None:
    objective, constraints = random_terms(3)
    lower, upper = np.full(GAINS, -1.0), np.full(GAINS, 4.0)
    joint = JointProgram(objective_terms=TERMS, constraint_terms=(TERMS,), gains=GAINS)
    step = joint.solve(objective, constraints[:1], lower, upper)
    refined = LocalProgram(objective_terms=TERMS, constraint_terms=TERMS, gains=GAINS).solve(
        *objective, *constraints[0], lower, upper
    )
    assert step.x is not None
    assert value(objective, step.x) == pytest.approx(value(objective, refined.x), abs=1e-7)


def test_a_box_that_cannot_meet_a_bound_gives_no_step_but_words() -> None:
    objective, constraints = random_terms(0)
    impossible = [(logs + 50.0, slopes) for logs, slopes in constraints]
    step = PROGRAM.solve(objective, impossible, np.full(GAINS, -0.1), np.full(GAINS, 0.1))
    assert step.x is None
    assert "infeasible" in step.solver_words


def test_multipliers_of_two_binding_constraints_are_recovered() -> None:
    """g = −2 h1 − 3 h2, a slack third constraint, a gain held at its upper limit."""
    h = np.array([[-1.0, 0.2, 0.0], [0.1, -1.0, 0.0], [-1.0, -1.0, -1.0]])
    g = -(2 * h[0] + 3 * h[1]) + np.array([0.0, 0.0, -0.7])
    at = np.zeros(3)
    proof = certify(g, h, np.array([0.0, 0.0, -1.0]), at, np.full(3, -5.0), np.array([5.0, 5.0, 0.0]))
    assert proof.duals == pytest.approx([2.0, 3.0, 0.0], abs=1e-12)
    assert proof.kkt_residual < 1e-12
    assert proof.limit_duals == pytest.approx([0.0, 0.0, 0.7])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"objective": (np.full(TERMS, np.nan), np.zeros((TERMS, GAINS)))}, "objective"),
        ({"objective": (np.zeros(TERMS), np.zeros((TERMS, GAINS + 1)))}, "objective"),
        ({"objective": (np.full(TERMS, -np.inf), np.zeros((TERMS, GAINS)))}, "objective"),
        ({"constraints": []}, "constraints"),
        ({"constraints": [(np.zeros(TERMS), np.full((TERMS, GAINS), np.inf))] * CONSTRAINTS}, r"constraints\[0\]"),
        ({"lower": np.full(GAINS, -np.inf)}, "lower"),
        ({"upper": np.zeros(GAINS + 1)}, "upper"),
    ],
)
def test_bad_terms_are_refused(change: dict[str, object], field: str) -> None:
    objective, constraints = random_terms(0)
    given_terms = {
        "objective": objective,
        "constraints": constraints,
        "lower": -np.ones(GAINS),
        "upper": np.ones(GAINS),
    }
    with pytest.raises(InvalidInput, match=field):
        PROGRAM.solve(**(given_terms | change))  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(2,), (2, 4), (3, 2)])
def test_gradients_of_a_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match="gradient_constraint"):
        certify(np.zeros(3), np.zeros(shape), np.zeros(2), np.zeros(3), -np.ones(3), np.ones(3))
