"""Constraints that rise again with the gains, as an error does where large conductances drop voltage in wires."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from local_programs import LocalPrograms
from random_plans import small_network
from scipy import optimize

import powerplan as pp
from powerplan.moments.predictor import Moments, Predictor
from powerplan.planning.problem.measures import Constraint, Error, Power
from powerplan.planning.problem.problem import Problem, lowest_constraint, scale_onto
from powerplan.planning.problem.terms import Terms
from powerplan.planning.problem.variables import free_gains, hold
from powerplan.planning.solve.descent import Optimum, descend

#: quiet enough not to clip, so that noise adds an error ∝ 1/c² and no bias
HARDWARE = pp.Hardware(programming_noise_std=3e-7, clip_conductance=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class ErrorWithDrop(Error):
    """The error, and κ (P_l / 1 W)² for every layer: array power P_l ∝ c_l, so an error ∝ c_l² as a voltage drop
    adds."""

    drop: float

    def terms(self, predictor: Predictor, moments: Moments, part: slice) -> torch.Tensor:
        return torch.cat([super().terms(predictor, moments, part), self.drop * moments.array_power**2])


def problem_of(widths: tuple[int, ...], bound: float, drop: float, *, minimised: str = "power") -> Problem:
    network = small_network(2, widths, "identity")
    inputs = np.random.default_rng(2).uniform(0, 1, (8, widths[0]))
    held = hold(network, HARDWARE, inputs, None, None)
    free = free_gains(network, HARDWARE, inputs, granularity="layer", optimize=("conductance",), held_gains=held)
    error, power = ErrorWithDrop(drop=drop), Power()
    objective, bounded = (power, error) if minimised == "power" else (error, power)
    terms = Terms(
        Predictor.of(network, HARDWARE, inputs),
        free,
        objective=objective,
        constraints=(Constraint(measure=bounded, value=bound),),
    )
    return Problem(terms=terms, lower=free.lower, upper=free.upper)


def noise_and_drop(problem: Problem) -> tuple[float, float, float]:
    """A, B and p of the error A/c² + B c² and the power p c of one layer, c relative to its largest."""
    power, error = problem.terms.values(problem.upper)
    drop = float(error.terms[-1])
    return error.total - drop, drop, power.total


def solved(problem: Problem, start: np.ndarray, **options: object) -> Optimum:
    return descend(problem, start, tolerance=1e-9, max_iterations=60, stop_at=None, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("slack", [1.001, 1.1, 3.0])
def test_the_least_power_of_one_layer_is_the_closed_form(slack: float) -> None:
    """Least c with A/c² + B c² <= D: c² = (D − √(D² − 4AB)) / 2B, although the largest gain misses D by far."""
    noise, drop, power = noise_and_drop(problem_of((6, 4), 1.0, 1e6))
    kappa = 1e6 * 100 * noise / drop  # the drop is a hundred times the noise at the largest gain
    noise, drop, power = noise_and_drop(problem_of((6, 4), 1.0, kappa))
    bound = slack * 2 * np.sqrt(noise * drop)
    problem = problem_of((6, 4), bound, kappa)
    assert problem.excess(problem.upper) > 0.5
    start = scale_onto(problem, problem.upper)
    assert start is not None
    assert problem.excess(start) <= 0
    square = (bound - np.sqrt(bound**2 - 4 * noise * drop)) / (2 * drop)
    optimum = solved(problem, start)
    assert optimum.reason == "optimal"
    assert optimum.objective.total == pytest.approx(power * np.sqrt(square), rel=1e-9)


def test_the_least_error_of_one_layer_is_inside_its_limits_and_its_budget() -> None:
    """Least A/c² + B c² with power to spare: 2√(AB), at c⁴ = A/B; nothing binds."""
    noise, drop, power = noise_and_drop(problem_of((6, 4), 1.0, 1e6))
    kappa = 1e6 * 100 * noise / drop
    noise, drop, power = noise_and_drop(problem_of((6, 4), 1.0, kappa))
    problem = problem_of((6, 4), power, kappa, minimised="error")
    start = scale_onto(problem, problem.upper)
    assert start is not None
    optimum = solved(problem, start)
    assert optimum.reason == "optimal"
    assert optimum.objective.total == pytest.approx(2 * np.sqrt(noise * drop), rel=1e-9)
    assert optimum.theta == pytest.approx(problem.upper + 0.25 * np.log(noise / drop), abs=1e-6)
    assert optimum.certificate.dual == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("slack", [1.05, 2.0])
def test_the_plan_of_several_layers_is_the_best_of_many_by_slsqp_and_by_local_programs(slack: float) -> None:
    widths = (6, 8, 5, 3)
    _, error = (problem := problem_of(widths, 1.0, 1.0)).terms.values(problem.upper)
    kappa = 100 * float(error.terms[:-3].sum() / error.terms[-3:].sum())
    lowest = lowest_constraint(problem := problem_of(widths, 1.0, kappa), problem.upper)
    problem = problem_of(widths, slack * float(np.exp(problem.excess(lowest))), kappa)
    assert problem.excess(problem.upper) > 0.5
    start = scale_onto(problem, problem.upper)
    start = lowest if start is None else start
    optimum = solved(problem, start)
    assert optimum.reason == "optimal"
    assert problem.excess(optimum.theta) <= 1e-9
    rng, least = np.random.default_rng(0), np.inf
    for _ in range(5):
        answer = optimize.minimize(
            lambda x: (np.log((s := problem.terms.gradients(x)[0]).total), s.log_gradient),
            problem.upper - rng.uniform(0, 4, problem.upper.shape),
            jac=True,
            method="SLSQP",
            bounds=list(zip(problem.lower, problem.upper, strict=True)),
            constraints={
                "type": "ineq",
                "fun": lambda x: -problem.excess(x),
                "jac": lambda x: -problem.terms.gradients(x)[1].log_gradient,
            },
            options={"ftol": 1e-13, "maxiter": 300},
        )
        if problem.excess(answer.x) <= 1e-9:
            least = min(least, float(np.exp(answer.fun)))
    assert optimum.objective.total == pytest.approx(least, rel=1e-7)
    programs = solved(problem, start, step=LocalPrograms(problem))
    assert optimum.objective.total == pytest.approx(programs.objective.total, rel=1e-7)
