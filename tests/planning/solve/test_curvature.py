"""Curvature of plans with many gains: its inverse, its coordinates, the output bias in it, and what it buys."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from random_plans import small_network

import powerplan as pp
from powerplan.moments.predictor import Predictor
from powerplan.planning.problem.measures import Constraint, Error
from powerplan.planning.problem.terms import Terms
from powerplan.planning.problem.variables import free_gains, hold
from powerplan.planning.solve.curvature import Coordinates, Curvature


def terms_of(network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, error: Error) -> tuple[Terms, np.ndarray]:
    held = hold(network, hardware, inputs, None, None)
    free = free_gains(network, hardware, inputs, granularity="column", optimize=("conductance",), held_gains=held)
    terms = Terms(Predictor.of(network, hardware, inputs), free, constraints=(Constraint(measure=error, value=1.0),))
    return terms, free.upper - np.linspace(2.0, 3.0, free.count)


def bias_of(terms: Terms, theta: np.ndarray) -> float:
    """The bias term of the error."""
    return float(terms.values(theta)[1].terms[-1])


def test_without_pairs_the_inverse_is_that_of_diagonal_and_rows_on_the_free_gains() -> None:
    rng = np.random.default_rng(0)
    diagonal, rows, vectors = rng.uniform(0.5, 2, 9), rng.normal(size=(3, 9)), rng.normal(size=(2, 9))
    free = np.arange(9) % 4 > 0
    inverse = np.zeros((9, 9))
    inverse[np.ix_(free, free)] = np.linalg.inv((np.diag(diagonal) + rows.T @ rows)[np.ix_(free, free)])
    found = Curvature(diagonal=diagonal, rows=rows).solve(vectors, free)
    assert found == pytest.approx(vectors @ inverse, abs=1e-12)


def test_the_last_pair_holds_exactly() -> None:
    """The secant equation: B⁻¹ of the last change of the gradient is the last step."""
    rng = np.random.default_rng(1)
    factor = rng.normal(size=(9, 9))
    hessian, curvature = factor @ factor.T + np.eye(9), Curvature(diagonal=np.ones(9), rows=rng.normal(size=(2, 9)))
    for step in rng.normal(size=(4, 9)):
        curvature.learn(step, hessian @ step)
    everything = np.ones(9, dtype=bool)
    assert curvature.solve((hessian @ step)[None], everything)[0] == pytest.approx(step, rel=1e-9)


@pytest.mark.parametrize("reference", [None, np.array([1.0, -0.5, 0.0])])
def test_steps_and_logs_are_inverse_and_agree_to_first_order(reference: np.ndarray | None) -> None:
    coordinates, theta, logs = Coordinates(reference=reference), np.array([0.3, -1.0, -4.0]), np.array([0.5, -0.7, 1.0])
    assert coordinates.logs(theta, coordinates.steps(theta, logs)) == pytest.approx(logs, rel=1e-12)
    small = 1e-6 * logs
    assert coordinates.steps(theta, small) == pytest.approx(coordinates.per_log(theta) * small, rel=1e-5)


@pytest.mark.parametrize("weights", [None, np.array([0.7, 0.2, 0.1])])
def test_residuals_are_the_bias_term_and_its_derivatives(weights: np.ndarray | None) -> None:
    """Half the sum of the weighted squares is the bias term of the error, to its gradient by finite differences; the
    rows give the same gradient and, of random combinations, the same squares on average."""
    inputs = np.random.default_rng(3).uniform(0, 1, (6, 5))
    error = Error(weights=None if weights is None else torch.tensor(weights))
    terms, theta = terms_of(small_network(3, (5, 12, 3)), pp.Hardware(programming_noise_std=2e-6), inputs, error)
    rows, gradient = terms.residuals(theta, np.array([1.0, 2.0]), most=100)
    assert rows.shape == (18, len(theta))
    step = 1e-5 * np.eye(len(theta))
    numeric = np.array([(bias_of(terms, theta + s) - bias_of(terms, theta - s)) / 2e-5 for s in step])
    assert gradient == pytest.approx(numeric, rel=1e-4, abs=1e-6 * np.abs(numeric).max())
    few, same = terms.residuals(theta, np.array([1.0, 2.0]), most=8)
    assert few.shape == (8, len(theta))
    assert same == pytest.approx(gradient, rel=1e-12)
    assert np.square(few).sum() == pytest.approx(np.square(rows).sum(), rel=0.8)


def test_power_and_unshifted_means_have_no_residuals() -> None:
    """Without clipping the mean of a linear network is its ideal output at every gain."""
    inputs = np.random.default_rng(3).uniform(0, 1, (6, 5))
    exact = pp.Hardware(programming_noise_std=2e-6, clip_conductance=False)
    terms, theta = terms_of(small_network(3, (5, 12, 3), "identity"), exact, inputs, Error())
    rows, gradient = terms.residuals(theta, np.ones(2), most=100)
    assert rows.shape == (0, len(theta))
    assert not gradient.any()


@pytest.mark.slow
def test_a_thousand_columns_are_certified_in_few_predictions() -> None:
    """The bias of all outputs, far stiffer than a column, is known and need not be learnt."""
    inputs = np.random.default_rng(5).uniform(0, 1, (4, 4))
    hardware = pp.Hardware(programming_noise_std=1e-7)
    plan = pp.plan(
        small_network(5, (4, 1000, 2)), hardware, inputs, pp.MaxNMSE(0.03), granularity="column", tolerance=1e-7
    )
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
    assert plan.certificate is not None
    assert plan.certificate.kkt_residual < 1e-6
    assert plan.certificate.duality_gap < 1e-6
    assert plan.termination.predictions < 60
