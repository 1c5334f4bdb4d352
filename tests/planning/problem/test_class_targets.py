"""Targets on classes: the predicted rate of wrong classes, and plans that meet an accuracy or a flip rate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import optimize, stats

import powerplan as pp
from powerplan.examples import Example
from powerplan.moments.accuracy import gaussian_accuracy
from powerplan.planning.problem.error_rate import ErrorRate


def outputs(batch: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ideal outputs (B, K), means (B, K) near them and covariances (B, K, K)."""
    rng = np.random.default_rng(seed)
    ideal = rng.normal(size=(batch, classes))
    factor = rng.normal(size=(batch, classes, classes)) * 0.5
    mean = ideal + 0.1 * rng.normal(size=ideal.shape)
    return tuple(torch.as_tensor(a) for a in (ideal, mean, factor @ factor.transpose(0, 2, 1)))  # type: ignore[return-value]


def test_two_classes_have_the_closed_form() -> None:
    """With one rival, P(wrong) = Φ(−m/√S): no sampling is left."""
    ideal, mean, covariance = outputs(50, 2)
    rate = ErrorRate.of(ideal, None)
    own = ideal.argmax(1).numpy()
    m = mean.numpy()[np.arange(50), own] - mean.numpy()[np.arange(50), 1 - own]
    s = covariance.numpy()
    spread = s[:, 0, 0] + s[:, 1, 1] - 2 * s[:, 0, 1]
    assert rate.wrong(mean, covariance).numpy() == pytest.approx(stats.norm.cdf(-m / np.sqrt(spread)), rel=1e-6)


def test_one_output_is_its_sign() -> None:
    ideal, mean, covariance = outputs(50, 1)
    rate = ErrorRate.of(ideal, [1] * 50)
    expected = stats.norm.cdf(-mean.numpy()[:, 0] / np.sqrt(covariance.numpy()[:, 0, 0]))
    assert rate.wrong(mean, covariance).numpy() == pytest.approx(expected, rel=1e-6)
    assert rate.ideal == pytest.approx(float((ideal <= 0).double().mean()))


@pytest.mark.parametrize("classes", [3, 10, 16])
def test_the_rate_equals_sampling_of_the_same_gaussian(classes: int) -> None:
    """Within five standard errors of 20 000 samples per input, plus 0.1 % for the fixed points."""
    batch, samples = 60, 20_000
    ideal, mean, covariance = outputs(batch, classes, seed=classes)
    labels = np.random.default_rng(1).integers(0, classes, batch)
    rate = 1 - float(ErrorRate.of(ideal, labels.tolist()).wrong(mean, covariance).mean())
    sampled = gaussian_accuracy(mean.numpy(), covariance.numpy(), labels, samples=samples, seed=3)
    assert abs(rate - sampled) < 5 * 0.5 / np.sqrt(batch * samples) + 1e-3


def test_a_singular_covariance_and_no_noise_at_all_are_fine() -> None:
    ideal, mean, _ = outputs(20, 4)
    rate = ErrorRate.of(ideal, None)
    shared = torch.ones(20, 4, 4, dtype=torch.float64)  # the same error on all outputs changes no class
    for covariance in (torch.zeros(20, 4, 4, dtype=torch.float64), shared):
        wrong = rate.wrong(mean, covariance).numpy()
        changed = (mean.argmax(1) != ideal.argmax(1)).numpy()
        assert wrong == pytest.approx(changed.astype(float), abs=1e-4)


def test_derivatives_equal_finite_differences_even_far_in_the_tails() -> None:
    ideal, mean, covariance = outputs(12, 5)
    rate = ErrorRate.of(ideal, np.arange(12).clip(max=4).tolist())
    for scale in (1.0, 1e-1, 1e-2):
        size = torch.tensor(np.log(scale), requires_grad=True)
        value = torch.log(rate.wrong(mean, covariance * size.exp()).mean())
        (slope,) = torch.autograd.grad(value, size)
        with torch.no_grad():
            up, down = (float(torch.log(rate.wrong(mean, covariance * (size + s).exp()).mean())) for s in (1e-5, -1e-5))
        assert torch.isfinite(slope)
        assert float(slope) == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-8)


@pytest.fixture(scope="module")
def labels(network: pp.Network, inputs: np.ndarray) -> np.ndarray:
    """The network's own classes, a tenth of them changed: its accuracy is below 1."""
    ideal = pp.simulate(
        network, pp.Hardware(), pp.Gains.uniform(network, pp.Hardware(), inputs=inputs), inputs, draws=1
    )
    classes = np.array(ideal.ideal_output.argmax(1))
    classes[::10] = (classes[::10] + 1) % 3
    return classes


def test_flip_rates_are_met_and_cost_less_the_looser_they_are(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    plans = [pp.plan(network, hardware, inputs, pp.MaxFlipRate(rate), verify_draws=0) for rate in (0.01, 0.03, 0.1)]
    for plan in plans:
        assert plan.termination.outcome is pp.Outcome.OPTIMAL
        assert plan.certificate is not None
        assert plan.certificate.kkt_residual < 1e-6
        assert plan.reached == pytest.approx(plan.target.value, rel=1e-9)
    powers = [plan.power for plan in plans]
    assert powers == sorted(powers, reverse=True)


def test_the_simulated_flip_rate_and_accuracy_meet_the_target(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, labels: np.ndarray
) -> None:
    for target in (pp.MaxFlipRate(0.02), pp.MaxAccuracyDrop(0.02, labels)):
        plan = pp.plan(network, hardware, inputs, target, verify_draws=6000, calibrate=False)
        check = plan.verification
        assert check is not None
        assert abs(check.ratio - 1) * 0.02 < 0.003 + 5 * check.ratio_standard_error * 0.02
        simulation = pp.simulate(network, hardware, plan.gains, inputs, draws=6000, seed=0)
        ideal = simulation.ideal_output.argmax(1)
        wanted = ideal if isinstance(target, pp.MaxFlipRate) else labels
        drop = (ideal == wanted).mean() - simulation.accuracy(wanted)
        assert check.ratio == pytest.approx(drop / 0.02)


def test_calibration_moves_the_simulated_drop_onto_the_target(
    network: pp.Network, inputs: np.ndarray, labels: np.ndarray
) -> None:
    """At high noise the prediction is off; one corrected re-solve removes most of it."""
    hardware = pp.Hardware(programming_noise_std=2e-6)
    tuned = pp.plan(
        network, hardware, inputs, pp.MaxAccuracyDrop(0.15, labels), verify_draws=6000, calibrate=True, seed=5
    )
    assert tuned.verification is not None
    assert tuned.verification.calibrated
    error = tuned.verification.ratio_standard_error
    assert abs(tuned.verification.ratio - 1) < 0.02 + 5 * error


@pytest.mark.filterwarnings("ignore::powerplan.PlausibilityWarning")
def test_no_plan_of_the_mse_family_meets_the_accuracy_for_less(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, labels: np.ndarray
) -> None:
    """Bisection of the NMSE target on the predicted drop spends at least as much as the direct plan."""
    plan = pp.plan(network, hardware, inputs, pp.MaxAccuracyDrop(0.03, labels), verify_draws=0)
    rate = ErrorRate.of(torch.as_tensor(np.array(plan.prediction.ideal_output)), labels.tolist())

    def along(log_nmse: float) -> pp.Plan:
        return pp.plan(network, hardware, inputs, pp.MaxNMSE(float(np.exp(log_nmse))))

    def excess(log_nmse: float) -> float:
        prediction = along(log_nmse).prediction
        mean, covariance = (
            torch.as_tensor(np.array(a)) for a in (prediction.output_mean, prediction.output_covariance)
        )
        return float(rate.wrong(mean, covariance).mean()) - rate.ideal - 0.03

    found = optimize.brentq(excess, np.log(plan.nmse) - 1, np.log(plan.nmse) + 1, xtol=1e-4)
    assert plan.power <= along(found).power * (1 + 1e-4)


def simulated_drop(
    example: Example, hardware: pp.Hardware, plan: pp.Plan, inputs: np.ndarray, labels: np.ndarray, draws: int
) -> float:
    simulation = pp.simulate(example.network, hardware, plan.gains, inputs, draws=draws, seed=17)
    return float((simulation.ideal_output.argmax(1) == labels).mean() - simulation.accuracy(labels))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "count", "draws", "drops"),
    [("digits", 128, 1000, (0.01, 0.02, 0.05)), ("mnist", 64, 120, (0.01,))],
)
def test_accuracy_plans_meet_their_target_and_cost_no_more_than_bisection_on_simulated_accuracy(
    example: Callable[[str], Example],
    name: str,
    count: int,
    draws: int,
    drops: tuple[float, ...],
) -> None:
    """Simulated drop within 0.3 points; power within 5 % of the cheapest NMSE plan that meets the drop simulated."""
    chosen = example(name)
    hardware = pp.Hardware(programming_noise_std=1.5e-6)
    rows = np.random.default_rng(0).choice(len(chosen.test_labels), count, replace=False)
    inputs, labels = chosen.test_inputs[rows], chosen.test_labels[rows]
    targets = [pp.MaxAccuracyDrop(drop, labels) for drop in drops]
    plans = pp.frontier(chosen.network, hardware, inputs, targets=targets, verify_draws=draws, tolerance=1e-4)
    for plan, drop in zip(plans, drops, strict=True):
        assert plan.termination.outcome is pp.Outcome.OPTIMAL
        assert simulated_drop(chosen, hardware, plan, inputs, labels, draws) < drop + 0.003
    nmses = np.geomspace(0.6 * plans[0].nmse, 1.6 * plans[-1].nmse, 4)
    family = pp.frontier(
        chosen.network, hardware, inputs, targets=[pp.MaxNMSE(float(n)) for n in nmses], tolerance=1e-4
    )
    simulated = [simulated_drop(chosen, hardware, p, inputs, labels, draws) for p in family]
    for plan, drop in zip(plans, drops, strict=True):
        least = np.exp(np.interp(drop, np.maximum.accumulate(simulated), [np.log(p.power) for p in family]))
        assert plan.power <= 1.05 * least


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.0, 2.0, float("nan"), float("inf"), "1%", None, True])
def test_fractions_are_between_0_and_1(fraction: object) -> None:
    with pytest.raises(pp.InvalidInput, match="MaxFlipRate"):
        pp.MaxFlipRate(fraction)  # type: ignore[arg-type]
    with pytest.raises(pp.InvalidInput, match="MaxAccuracyDrop"):
        pp.MaxAccuracyDrop(fraction, [0, 1])  # type: ignore[arg-type]


@pytest.mark.parametrize("labels", [None, [], "abc", [0.5], [-1], [float("nan")], [[0, 1]], 3, [2**40], [None], ["0"]])
def test_labels_are_classes(labels: object) -> None:
    with pytest.raises(pp.InvalidInput, match="labels"):
        pp.MaxAccuracyDrop(0.01, labels)  # type: ignore[arg-type]


@pytest.mark.parametrize("labels", [[0] * 23, [0] * 25, [0] * 23 + [3]])
def test_labels_that_do_not_fit_inputs_or_outputs_are_refused(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, labels: list[int]
) -> None:
    with pytest.raises(pp.InvalidInput, match="labels"):
        pp.plan(network, hardware, inputs, pp.MaxAccuracyDrop(0.01, labels))


@pytest.mark.filterwarnings("ignore::powerplan.PlausibilityWarning")
def test_a_drop_beyond_the_accuracy_and_weights_are_refused(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, labels: np.ndarray
) -> None:
    with pytest.raises(pp.InvalidInput, match="accuracy of the ideal network"):
        pp.plan(network, hardware, inputs, pp.MaxAccuracyDrop(0.95, labels))
    for target in (pp.MaxFlipRate(0.01), pp.MaxAccuracyDrop(0.01, labels)):
        with pytest.raises(pp.InvalidInput, match="output_weights"):
            pp.plan(network, hardware, inputs, target, output_weights=[1, 1, 1])


def test_tied_ideal_outputs_set_a_floor_that_is_reported(hardware: pp.Hardware, inputs: np.ndarray) -> None:
    """Two equal rows of the last layer: with independent noise half of the inputs change class whatever the gains."""
    row = np.random.default_rng(0).normal(size=6)
    network = pp.Network.mlp([np.stack([row, row])])
    plan = pp.plan(network, hardware, inputs, pp.MaxFlipRate(0.1), verify_draws=0)
    assert plan.termination.outcome is pp.Outcome.INFEASIBLE
    assert plan.reached == pytest.approx(0.5, abs=1e-6)
    assert "changed classes" in plan.termination.message


def test_one_output_is_planned_by_its_sign(hardware: pp.Hardware, inputs: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    network = pp.Network.mlp([rng.normal(size=(8, 6)), rng.normal(size=(1, 8))])
    plan = pp.plan(network, hardware, inputs, pp.MaxFlipRate(0.05), verify_draws=4000, calibrate=False)
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
    assert plan.verification is not None
    assert abs(plan.verification.ratio - 1) < 0.1 + 5 * plan.verification.ratio_standard_error


def test_targets_on_classes_with_corners_bind_in_the_worst(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    worse = hardware.replace(programming_noise_std=1.3e-6)
    both = pp.plan(network, hardware, inputs, pp.MaxFlipRate(0.03), corners=[worse], verify_draws=0)
    alone = pp.plan(network, worse, inputs, pp.MaxFlipRate(0.03), verify_draws=0)
    assert both.binding_corners == (1,)
    assert both.reached == pytest.approx(0.03, rel=1e-9)
    nominal = pp.predict(network, hardware, alone.gains, inputs)
    assert both.power <= nominal.power * (1 + 1e-9), "the power that is least is the nominal hardware's"
    assert both.power == pytest.approx(nominal.power, rel=0.01)


def test_the_diagonal_method_predicts_a_rate_too(
    network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray
) -> None:
    for method in ("diagonal", "covariance"):
        plan = pp.plan(network, hardware, inputs, pp.MaxFlipRate(0.03), method=method, verify_draws=0)
        assert plan.termination.outcome is pp.Outcome.OPTIMAL


@pytest.mark.parametrize("kind", ["flips", "drop"])
def test_rates_with_both_gains_free_are_optimal(kind: str, digits_example: Example) -> None:
    """And no dearer than what plans of least power for an NMSE need for the same predicted rate."""
    x, labels = digits_example.test_inputs[:60], digits_example.test_labels[:60]
    hardware = pp.Hardware(conductance_min=1e-6, programming_noise_std=1e-6, read_noise_std=1e-7)
    target = pp.MaxFlipRate(0.02) if kind == "flips" else pp.MaxAccuracyDrop(0.02, labels)
    both = ("conductance", "voltage")
    plan = pp.plan(digits_example.network, hardware, x, target, optimize=both, verify_draws=0)
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
    assert plan.certificate is not None
    assert plan.certificate.kkt_residual < 1e-6
    near = pp.plan(digits_example.network, hardware, x, pp.MaxNMSE(plan.nmse), optimize=both)
    assert plan.power <= near.power * 1.001
