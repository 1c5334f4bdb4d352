"""Column and signal plans: finer gains never cost more, gradients alone reach a certified optimum."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from local_programs import LocalPrograms
from random_plans import small_network
from scipy import optimize

import powerplan as pp
from powerplan.allocation import GeometricProgram, Posynomial, cvxpy_solve
from powerplan.examples import Example
from powerplan.moments.predictor import Predictor
from powerplan.planning.problem.measures import Constraint, Error
from powerplan.planning.problem.problem import Problem, scale_onto
from powerplan.planning.problem.terms import Terms
from powerplan.planning.problem.variables import free_gains, hold
from powerplan.planning.solve.descent import Optimum, descend

BOTH = ("conductance", "voltage")
READ = {"read_noise_std": 2e-7}


def assert_certified(plan: pp.Plan) -> None:
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
    assert plan.certificate is not None
    assert plan.certificate.kkt_residual < 1e-6
    assert plan.certificate.constraint_violation < 1e-9


def problem_of(
    network: pp.Network,
    hardware: pp.Hardware,
    inputs: np.ndarray,
    nmse: float,
    *,
    granularity: str = "layer",
    optimize: tuple[str, ...] = ("conductance",),
) -> Problem:
    held = hold(network, hardware, inputs, None, None)
    free = free_gains(network, hardware, inputs, granularity=granularity, optimize=optimize, held_gains=held)
    predictor = Predictor.of(network, hardware, inputs)
    bounded = Constraint(measure=Error(), value=nmse, unit=predictor.signal_power)
    terms = Terms(predictor, free, constraints=(bounded,))
    return Problem(terms=terms, lower=free.lower, upper=free.upper)


@pytest.mark.parametrize(
    ("seed", "nmse", "noise"),
    [
        (0, 0.004, {}),
        (1, 0.03, {"clip_conductance": False}),
        (2, 0.1, {"feedback_resistance": 1e4, "conductance_min": 1e-6}),
        (3, 0.3, {"programming_noise_polynomial": (3e-7, 1e-6, -5e-7), "programming_noise_std": 0.0}),
        (4, 0.02, {}),
    ],
)
def test_columns_cost_no_more_than_layers_and_these_no_more_than_one_gain(
    seed: int, nmse: float, noise: dict[str, object]
) -> None:
    """Every plan of a coarser granularity is a plan of the finer one."""
    network = small_network(seed, (5, 20, 9, 3))
    inputs = np.random.default_rng(seed).uniform(0, 1, (8, 5))
    hardware = pp.Hardware(programming_noise_std=5e-7).replace(**noise)
    plans = [
        pp.plan(network, hardware, inputs, pp.MaxNMSE(nmse), granularity=g) for g in ("network", "layer", "column")
    ]
    for coarse, fine in pairwise(plans):
        if coarse.termination.outcome is not pp.Outcome.INFEASIBLE:
            assert_certified(fine)
            assert fine.power <= coarse.power * (1 + 1e-7)
            assert fine.nmse <= nmse * (1 + 1e-9)


@pytest.mark.parametrize(
    ("seed", "nmse", "noise"),
    [
        (0, 0.01, {}),
        (1, 0.05, {"feedback_resistance": 1e4}),
        (2, 0.2, {"input_noise_std": 1e-3, "conductance_min": 1e-6}),
    ],
)
def test_columns_and_signals_cost_no_more_than_layers_with_both_gains_free(
    seed: int, nmse: float, noise: dict[str, object]
) -> None:
    network = small_network(seed, (5, 8, 6, 3))
    inputs = np.random.default_rng(seed).uniform(0, 1, (8, 5))
    hardware = pp.Hardware(programming_noise_std=5e-7, **READ).replace(**noise)
    layer, *finer = (
        pp.plan(network, hardware, inputs, pp.MaxNMSE(nmse), granularity=g, optimize=BOTH)
        for g in ("layer", "column", "signal")
    )
    if layer.termination.outcome is not pp.Outcome.INFEASIBLE:
        for plan in finer:
            assert_certified(plan)
            assert plan.power <= layer.power * (1 + 1e-7)
            plan.gains.check(network, hardware)


@pytest.mark.parametrize("nmse", [0.01, 0.1])
@pytest.mark.parametrize("minimised", ["power", "error"])
def test_gradients_alone_and_local_programs_find_the_same_plan(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, nmse: float, minimised: str
) -> None:
    problem = problem_of(network, hardware.replace(feedback_resistance=1e4), inputs, nmse)
    if minimised == "error":
        budget = by_both_steps(problem)[0].objective.total
        terms = Terms(
            problem.terms.predictors[0],
            problem.terms.layout,
            objective=Error(),
            constraints=(Constraint(measure=problem.terms.objective, value=budget),),
        )
        problem = Problem(terms=terms, lower=problem.lower, upper=problem.upper)
    learnt, programs = by_both_steps(problem)
    assert [learnt.reason, programs.reason] == ["optimal", "optimal"]
    assert learnt.objective.total == pytest.approx(programs.objective.total, rel=1e-9)
    assert learnt.theta == pytest.approx(programs.theta, abs=1e-5)
    assert learnt.certificate.dual == pytest.approx(programs.certificate.dual, rel=1e-5)


def by_both_steps(problem: Problem) -> tuple[Optimum, Optimum]:
    """The optimum by quasi-Newton steps, and that by local programs, which converge linearly."""
    learnt = descend(problem, _start(problem), tolerance=1e-9, max_iterations=60, stop_at=None)
    programs = descend(
        problem, _start(problem), tolerance=1e-6, max_iterations=60, stop_at=None, step=LocalPrograms(problem)
    )
    return learnt, programs


def _start(problem: Problem) -> np.ndarray:
    start = scale_onto(problem, problem.upper)
    assert start is not None
    return start


def test_several_constraints_by_gradients_alone(network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray) -> None:
    """Two hardware corners that both bind: same plan and prices as the local programs."""
    one = problem_of(network, hardware, inputs, 0.02)
    nominal = one.terms.predictors[0]
    corner = Predictor.of(network, hardware.replace(programming_noise_std=8e-7, read_noise_std=5e-7), inputs)
    bounds = [
        Constraint(measure=Error(), value=0.02, unit=p.signal_power, corner=i) for i, p in enumerate((nominal, corner))
    ]
    terms = Terms(nominal, one.terms.layout, constraints=bounds, corners=(corner,))
    problem = Problem(terms=terms, lower=one.lower, upper=one.upper)
    learnt, programs = by_both_steps(problem)
    assert [learnt.reason, programs.reason] == ["optimal", "optimal"]
    assert learnt.objective.total == pytest.approx(programs.objective.total, rel=1e-9)
    assert learnt.certificate.duals == pytest.approx(programs.certificate.duals, abs=1e-5)


def test_scaling_meets_the_constraint_in_few_predictions(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    for nmse in (0.003, 0.01, 0.1):
        problem = problem_of(network, hardware, inputs, nmse)
        theta = scale_onto(problem, problem.upper)
        assert theta is not None
        assert problem.terms.evaluations <= 12
        assert -1e-11 < problem.excess(theta) <= 0
        rough = problem_of(network, hardware, inputs, nmse)
        theta = scale_onto(replace(rough, accuracy=1e-4), rough.upper)
        assert theta is not None
        assert rough.terms.evaluations <= 7
        assert -1e-4 <= rough.excess(theta) <= 0


def geometric_program(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, mse: float
) -> tuple[GeometricProgram, np.ndarray]:
    """The plan of both gains of every layer of a linear network as a geometric program, from closed forms.

    Without activations, with constant noise and no clipping, the mean of every layer is its ideal value, and to
    first order in each noise the error is a posynomial; for a single layer it is one exactly. One layer, x = (c, v):
    MSE = 2 σ² Σ m / c² + σ_I² / (c v)²,  P = v² c Σ |W| m (G_min = 0), m = E[x_j²] averaged over the batch.
    """
    (node,) = network.crossbars
    weight = node.op.tensors()["weight"]
    square = (inputs**2).mean(0)
    power = Posynomial.from_coefficients(np.array([np.abs(weight).sum(0) @ square]), np.array([[1.0, 2.0]]))
    error = Posynomial.from_coefficients(
        np.array([2 * hardware.programming_noise_std**2 * square.sum(), hardware.read_noise_std**2]),
        np.array([[-2.0, 0.0], [-2.0, -2.0]]),
    )
    span = hardware.conductance_max
    upper = np.log([span / np.abs(weight).max(), hardware.voltage_max / np.abs(inputs).max()])
    return (
        GeometricProgram(objective=power, constraint=error, bound=mse, lower=upper - 12, upper=upper),
        upper,
    )


@pytest.mark.parametrize("mse", [0.02, 0.05, 0.3])
def test_both_gains_with_read_noise_equal_the_geometric_program(mse: float) -> None:
    """Where the problem is a geometric program, the plan's power is its optimum to 1e-6."""
    network, inputs = small_network(3, (6, 5)), np.random.default_rng(3).uniform(0, 1, (16, 6))
    hardware = pp.Hardware(programming_noise_std=1e-6, read_noise_std=3e-7, clip_conductance=False)
    program, _ = geometric_program(network, hardware, inputs, mse)
    exact = cvxpy_solve(program)
    assert exact.x is not None
    plan = pp.plan(network, hardware, inputs, pp.MaxMSE(mse), optimize=BOTH)
    assert_certified(plan)
    assert plan.power == pytest.approx(program.objective.value(exact.x), rel=1e-6)


def test_both_gains_with_read_noise_are_within_1e_4_of_multistart_slsqp(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    noisy = hardware.replace(**READ)
    plan = pp.plan(network, noisy, inputs, pp.MaxNMSE(0.05), optimize=BOTH)
    assert_certified(plan)
    problem = problem_of(network, noisy, inputs, 0.05, optimize=BOTH)
    rng, best = np.random.default_rng(0), np.inf
    for _ in range(4):
        found = optimize.minimize(
            lambda x: (np.log((s := problem.terms.gradients(x)[0]).total), s.log_gradient),
            problem.upper - rng.uniform(0, 2, problem.upper.shape),
            jac=True,
            method="SLSQP",
            bounds=list(zip(problem.lower, problem.upper, strict=True)),
            constraints=[
                {
                    "type": "ineq",
                    "fun": lambda x: -problem.excess(x),
                    "jac": lambda x: -problem.terms.gradients(x)[1].log_gradient,
                }
            ],
            options={"ftol": 1e-12, "maxiter": 200},
        )
        if problem.excess(found.x) <= 1e-6:
            best = min(best, float(np.exp(found.fun)))
    assert np.isfinite(best)
    assert plan.power <= best * (1 + 1e-4)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"granularity": "column", "optimize": ("voltage",)}, "costs no accuracy and the best one is zero"),
        ({"granularity": "signal", "optimize": BOTH}, "costs no accuracy and the best one is zero"),
        ({"granularity": "signal"}, "stored weights are lowered: free both"),
        ({"granularity": "rows"}, "'signal'"),
    ],
)
def test_free_voltages_without_read_noise_are_refused_with_the_reason(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, options: dict[str, object], reason: str
) -> None:
    with pytest.raises(pp.InvalidInput, match=reason):
        pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02), **options)


def test_signal_gains_keep_every_row_within_its_limits(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    """Row voltages of the plan meet V_max row by row and the stored conductances G_max, and the plan verifies."""
    from powerplan.hardware.gains import row_voltage_limits

    noisy = hardware.replace(**READ)
    plan = pp.plan(network, noisy, inputs, pp.MaxNMSE(0.05), granularity="signal", optimize=BOTH, verify_draws=400)
    assert_certified(plan)
    for volts, limit in zip(plan.gains.voltage, row_voltage_limits(network, noisy, inputs), strict=True):
        assert np.shape(volts) == limit.shape
        assert (np.asarray(volts) <= limit * (1 + 1e-9)).all()
    plan.gains.check(network, noisy)
    assert plan.verification is not None
    assert plan.verification.ratio == pytest.approx(1, abs=0.08)


def test_prices_of_columns_are_finite_differences(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    """The price of a column's limit is what the least power loses when that limit alone is lowered."""
    at_most = pp.predict(network, hardware, pp.Gains.uniform(network, hardware, inputs=inputs), inputs).nmse
    nmse = 0.9 * at_most
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(nmse), granularity="column")
    assert plan.shadow_prices is not None
    prices = sorted((p for p in plan.shadow_prices.limits if p.limit == "conductance_max"), key=lambda p: p.price)
    assert prices
    assert prices[0].column is not None
    problem = problem_of(network, hardware, inputs, nmse, granularity="column")
    layer = network.layer_names.index(prices[0].layer)
    entry = sum(node.op.n_out for node in network.crossbars[:layer]) + prices[0].column
    step = 1e-3
    powers = []
    for sign in (1, -1):
        upper = problem.upper + sign * step * (np.arange(len(problem.upper)) == entry)
        moved = Problem(terms=problem.terms, lower=problem.lower, upper=upper)
        found = descend(moved, _start(moved), tolerance=1e-10, max_iterations=60, stop_at=None)
        powers.append(np.log(found.objective.total))
    assert (powers[0] - powers[1]) / (2 * step) == pytest.approx(prices[0].price, rel=1e-3)


def test_a_deadline_or_few_iterations_still_give_a_feasible_plan(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    options = {"granularity": "column", "tolerance": 1e-13}
    short = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02), max_iterations=1, **options)
    assert short.termination.outcome is pp.Outcome.ITERATION_LIMIT
    late = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02), deadline=1e-6, **options)
    assert late.termination.outcome is pp.Outcome.DEADLINE
    for plan in (short, late):
        assert plan.nmse <= 0.02 * (1 + 1e-9)
        assert plan.baseline_power is not None
        assert plan.power <= plan.baseline_power * (1 + 1e-9)


def test_an_unreachable_target_counts_the_columns_at_their_limits(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(1e-7), granularity="column")
    assert plan.termination.outcome is pp.Outcome.INFEASIBLE
    assert "linear3: conductance_max (3 of 3 columns)" in plan.termination.binding_limits
    assert "of 12 columns" in plan.termination.message


@pytest.mark.slow
def test_mnist_columns_are_certified(mnist_example: Example) -> None:
    network, inputs = mnist_example.network, mnist_example.inputs[:3]
    plan = pp.plan(network, pp.Hardware(programming_noise_std=5e-7), inputs, pp.MaxNMSE(0.01), granularity="column")
    assert_certified(plan)
    assert plan.certificate is not None
    assert plan.certificate.duality_gap < 1e-5


@pytest.mark.slow
def test_20_000_columns_are_certified() -> None:
    """KKT residual and duality gap below 1e-6, in tens of predictions."""
    network = small_network(5, (4, 20_000, 2), "identity")
    inputs = np.random.default_rng(5).uniform(0, 1, (4, 4))
    hardware = pp.Hardware(programming_noise_std=1e-7)
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.01), granularity="column", tolerance=1e-7)
    assert sum(np.size(g) for g in plan.gains.conductance) > 20_000
    assert_certified(plan)
    assert plan.certificate is not None
    assert plan.certificate.duality_gap < 1e-6
    assert plan.termination.predictions < 60


@pytest.mark.slow
def test_columns_and_voltages_with_stuck_devices_and_an_adc_are_certified(digits_example: pp.Example) -> None:
    """The last steps bend the constraint by 1e-4: a descent once ended there at a KKT residual of 1.3."""
    network, x = digits_example.network, digits_example.inputs[:24]
    hardware = pp.Hardware(
        programming_noise_std=1e-6,
        conductance_min=1e-6,
        device_gain_std=0.1,
        stuck_off_fraction=0.002,
        read_noise_std=1e-8,
        array_rows=16,
        adc_bits=8,
    )
    plan = pp.plan(network, hardware, x, pp.MaxNMSE(0.0256), granularity="column", optimize=BOTH)
    assert_certified(plan)
