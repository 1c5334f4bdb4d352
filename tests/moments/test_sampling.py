"""Rounds of error samples: their standard error is right, small on request, and stated."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import stats

import powerplan as pp
from powerplan.moments.predictor import Predictor
from powerplan.moments.samples.corrections import Corrections, Saturation
from powerplan.moments.sampling import corrected
from powerplan.moments.walks.lowered import Place

SEEDS = 16


def mlp(seed: int, *sizes: int, batch: int = 12) -> tuple[pp.Network, np.ndarray]:
    rng = np.random.default_rng(seed)
    weights = [rng.standard_normal((after, before)) * np.sqrt(2 / before) for before, after in pairwise(sizes)]
    return pp.Network.mlp(weights), rng.standard_normal((batch, sizes[0]))


def pooled(seed: int) -> tuple[pp.Network, np.ndarray]:
    torch.manual_seed(seed)
    layers = (torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten())
    network = pp.from_torch(torch.nn.Sequential(*layers, torch.nn.Linear(36, 4)).eval(), (1, 8, 8))
    return network, np.random.default_rng(seed).uniform(size=(8, 1, 8, 8))


STUCK = pp.Hardware(programming_noise_std=1e-6, stuck_on_fraction=5e-4, stuck_off_fraction=5e-3)
CASES = {
    "rare stuck devices": (*mlp(3, 20, 24, 16, 5), STUCK),
    "stuck devices, offset mapping": (
        *mlp(4, 40, 60, 10, batch=16),
        pp.Hardware(programming_noise_std=2e-7, conductance_min=2e-6, weight_mapping="offset", stuck_off_fraction=2e-3),
    ),
    "converters that saturate alike": (
        *mlp(6, 16, 12, 6),
        pp.Hardware(programming_noise_std=2e-6, conductance_min=2e-6, weight_mapping="offset", adc_bits=8, dac_bits=8),
    ),
    "shared devices": (*pooled(0), pp.Hardware(programming_noise_std=5e-6)),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_predictions_scatter_over_seeds_as_they_say(case: str) -> None:
    """The deviations from their mean, each divided by its own standard error, have variance 1: within the 99.9 %
    interval of the chi-square distribution, which is widened below by Student's factor in the standard errors."""
    network, inputs, hardware = CASES[case]
    gains = pp.Gains.full_range(network, hardware, inputs)
    predictions = [
        pp.predict(network, hardware, gains, inputs, seed=seed, sampling_error=0.04) for seed in range(SEEDS)
    ]
    low, high = (stats.chi2.ppf(q, SEEDS - 1) / (SEEDS - 1) for q in (0.0005, 0.9995))
    for name in ("mse", "power", "mse_by_output"):
        values, errors = (np.array([getattr(p, name + end) for p in predictions]) for end in ("", "_standard_error"))
        scores = ((values - values.mean(0)) / errors) ** 2
        assert low / 2 < np.mean(scores.sum(0)) / (SEEDS - 1) < 1.2 * high, name
    labels = network(inputs).argmax(1)
    accuracies = [p.accuracy(labels, seed=seed) for seed, p in enumerate(predictions)]
    errors = [p.accuracy_standard_error(labels, seed=seed) for seed, p in enumerate(predictions)]
    assert (
        low / 2 < np.var(accuracies, ddof=1) / np.mean(np.square(errors)) < 2 * high
    )  # Σ errs by one scale only nearly
    assert not any(p.sampling_limited for p in predictions)
    assert all(p.mse_standard_error <= 0.0401 * p.mse for p in predictions)


@pytest.mark.slow
def test_more_samples_are_taken_until_the_error_is_small() -> None:
    network, inputs, hardware = CASES["rare stuck devices"]
    gains = pp.Gains.full_range(network, hardware, inputs)
    rough, fine = (pp.predict(network, hardware, gains, inputs, sampling_error=e) for e in (0.1, 0.006))
    assert fine.mse_standard_error <= 0.006 * fine.mse < rough.mse_standard_error <= 0.1 * rough.mse
    assert fine.marginal_fields > 2 * rough.marginal_fields
    assert fine.nmse_standard_error == pytest.approx(fine.mse_standard_error / fine.signal_power)
    assert not rough.sampling_limited
    few = pp.predict(network, hardware, gains, inputs, marginal_fields=64)
    assert few.marginal_fields == 64
    assert few.sampling_limited
    assert few.mse_standard_error > 0.01 * few.mse


def test_too_few_samples_tell_no_error_and_none_have_none() -> None:
    network, inputs, hardware = CASES["shared devices"]
    gains = pp.Gains.full_range(network, hardware, inputs)
    one = pp.predict(network, hardware, gains, inputs, marginal_fields=1)
    assert np.isnan([one.mse_standard_error, one.power_standard_error, one.nmse_standard_error]).all()
    none = pp.predict(network, hardware, gains, inputs, marginal_fields=0)
    assert none.mse_standard_error == none.power_standard_error == 0
    assert not none.mse_by_output_standard_error.any()


def test_random_combinations_and_samples_add_up() -> None:
    network, inputs, hardware = CASES["shared devices"]
    gains = pp.Gains.full_range(network, hardware, inputs)
    exact = pp.predict(network, hardware, gains, inputs)
    combined = pp.predict(network, hardware, gains, inputs, output_combinations=2)
    alone = pp.predict(network, hardware, gains, inputs, output_combinations=2, marginal_fields=0)
    assert 0 < exact.mse_standard_error < combined.mse_standard_error
    # what combinations leave is known to a few percent from samples of other variance
    expected = np.hypot(alone.mse_standard_error, exact.mse_standard_error)
    assert combined.mse_standard_error == pytest.approx(expected, rel=0.2)


def test_no_round_is_begun_past_the_deadline() -> None:
    network, inputs, hardware = CASES["rare stuck devices"]
    predictor = Predictor.of(network, hardware, inputs, sampling_error=1e-6)
    programmed = predictor.program(*predictor.gain_tensors(pp.Gains.full_range(network, hardware, inputs)))
    hurried = corrected(predictor, programmed, time.monotonic()).corrections
    assert hurried.error.limited
    assert hurried.samples == 2 * predictor.sampling.samples
    assert 0 < hurried.error.mse < 1


@pytest.mark.slow
@pytest.mark.parametrize("fraction", [5e-324, 1e-300, 1e-12])
def test_errors_that_never_occur_are_no_error(fraction: float) -> None:
    network, inputs, _ = CASES["rare stuck devices"]
    hardware = pp.Hardware(programming_noise_std=1e-6, stuck_on_fraction=fraction)
    gains = pp.Gains.full_range(network, hardware, inputs)
    without = pp.predict(network, hardware.replace(stuck_on_fraction=0.0), gains, inputs)
    rare = pp.predict(network, hardware, gains, inputs)
    assert abs(rare.mse - without.mse) < 0.02 * without.mse + 4 * rare.mse_standard_error


@pytest.mark.parametrize("value", [0, -1, float("nan"), "small"])
def test_an_impossible_error_is_refused_by_name(value: object) -> None:
    network, inputs, hardware = CASES["shared devices"]
    with pytest.raises(pp.InvalidInput, match="sampling_error"):
        pp.predict(network, hardware, pp.Gains.full_range(network, hardware, inputs), inputs, sampling_error=value)


def test_corrections_pool_by_the_number_of_samples() -> None:
    saturation = Saturation(
        shift=torch.tensor([1.0]), slope=torch.tensor(0.5), residual=torch.tensor([1.0]), added=torch.tensor([0.0]),
        rounded=True,
    )  # fmt: skip
    array, rows = Place("a", "array"), Place("a", "rows")
    one = Corrections(factors={array: torch.tensor([1.0, 2.0])}, converters={rows: saturation}, samples=10)
    steeper = replace(saturation, slope=torch.tensor(0.9))
    other = Corrections(factors={array: torch.tensor([3.0, 2.0])}, converters={rows: steeper}, samples=30)
    both = one.pooled_with(other)
    assert both.samples == 40
    torch.testing.assert_close(both.factors[array], torch.tensor([2.5, 2.0]))
    torch.testing.assert_close(both.converters[rows].slope, torch.tensor(0.8))
    assert both.converters[rows].rounded


def by_input(result: pp.Prediction | pp.Simulation) -> np.ndarray:
    bias = np.asarray(result.output_mean) - np.asarray(result.ideal_output)
    return (bias**2 + np.diagonal(result.output_covariance, axis1=1, axis2=2)).mean(1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "fields", "batch_off", "one_off"),
    [
        (6, {"programming_noise_std": 2e-6, "weight_mapping": "offset", "adc_bits": 8, "dac_bits": 8}, 0.02, 0.05),
        (5, {"programming_noise_std": 2e-7, "stuck_on_fraction": 2e-3, "adc_bits": 6, "dac_bits": 6}, 0.05, 0.6),
    ],
)
def test_the_mean_over_inputs_is_better_known_than_one_input(
    seed: int, fields: dict[str, object], batch_off: float, one_off: float
) -> None:
    """The bounds are those of docs/decisions/error-samples.md [0242], with room for 6000 draws."""
    network, inputs = mlp(seed, 32, 24, 24, 6)
    hardware = pp.Hardware(conductance_min=1e-6, array_rows=16 if "stuck_on_fraction" in fields else None, **fields)
    gains = pp.Gains.full_range(network, hardware, inputs)
    prediction = pp.predict(network, hardware, gains, inputs)
    simulation = pp.simulate(network, hardware, gains, inputs, draws=6000)
    assert abs(prediction.mse / simulation.mse - 1) < batch_off
    assert np.abs(by_input(prediction) / by_input(simulation) - 1).max() < one_off
