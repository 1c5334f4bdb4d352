"""How errors are spread over chips: predictions against simulated chips."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import powerplan as pp
from benchmarks.accuracy import noise_for_nmse
from powerplan.examples import Example
from powerplan.moments.chips import spectrum
from powerplan.moments.chips.linear import LinearChips
from powerplan.moments.chips.predicted import PredictedChips, PredictedSpread

CHIPS = 4000


def predicted_and_simulated(example: Example, nmse: float, **fields: Any) -> tuple[pp.Prediction, pp.Simulation]:
    hardware = noise_for_nmse(example, nmse, pp.Hardware(**fields))
    gains = pp.Gains.full_range(example.network, hardware, example.inputs)
    predicted = pp.predict(example.network, hardware, gains, example.inputs, chip_spread=True)
    return predicted, pp.simulate(example.network, hardware, gains, example.inputs, draws=CHIPS, seed=1)


def check(predicted: pp.Prediction, simulated: pp.Simulation) -> None:
    """Standard deviation within 5 %, q90, q95 and q99 within 2, 2.5 and 4 %, three standard errors added."""
    assert predicted.chips is not None
    ours, theirs = predicted.chips.mse, simulated.chips.mse
    assert ours.mean == pytest.approx(predicted.mse, rel=1e-9)
    allowed = 0.05 * theirs.std + 3 * math.hypot(theirs.std_standard_error, ours.std_standard_error)
    assert abs(ours.std - theirs.std) <= allowed
    for probability, bound in ((0.9, 0.02), (0.95, 0.025), (0.99, 0.04)):
        low, high = theirs.quantile_interval(probability)
        allowed = bound * theirs.quantile(probability) + 1.5 * (high - low) / 2
        assert abs(ours.quantile(probability) - theirs.quantile(probability)) <= allowed
    for bound in np.quantile(simulated.mse_by_draw, [0.1, 0.5, 0.9]):
        low, high = theirs.yield_interval(bound)
        assert abs(ours.yield_at(bound) - theirs.yield_at(bound)) <= 0.015 + 1.5 * (high - low) / 2


@pytest.mark.parametrize("nmse", [0.01, 0.1])
def test_iris(iris_example: Example, nmse: float) -> None:
    check(*predicted_and_simulated(iris_example, nmse))


@pytest.mark.slow
@pytest.mark.parametrize("nmse", [0.01, 0.1])
def test_digits(digits_example: Example, nmse: float) -> None:
    check(*predicted_and_simulated(digits_example, nmse))


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields",
    [
        {"weight_mapping": "offset"},
        {"adc_bits": 8, "dac_bits": 8},
        {"column_gain_std": 0.02},
        {"read_noise_std": 2e-7},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_other_hardware(iris_example: Example, fields: dict[str, Any]) -> None:
    check(*predicted_and_simulated(iris_example, 0.02, **fields))


def test_products_tell_what_the_matrix_does(digits_example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    hardware = pp.Hardware(programming_noise_std=2e-6)
    gains = pp.Gains.full_range(digits_example.network, hardware, digits_example.inputs)

    def spread() -> PredictedSpread:
        predicted = pp.predict(digits_example.network, hardware, gains, digits_example.inputs, chip_spread=True)
        assert predicted.chips is not None
        return predicted.chips.mse

    monkeypatch.setattr(spectrum, "stretch", lambda *_: (1.0, 0.0))
    sketched = spread()
    monkeypatch.setattr(spectrum, "MOST_EXACT", 10_000)
    exact = spread()
    assert exact.std_standard_error == 0
    assert 0 < sketched.std_standard_error < 0.03 * exact.std
    assert abs(sketched.std - exact.std) < 4 * sketched.std_standard_error
    assert sketched.quantile(0.95) == pytest.approx(exact.quantile(0.95), rel=0.01)


def test_random_combinations_of_the_outputs_take_products_only(
    digits_example: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    """26 of them, one less than vectors, and no walk for the trace; the spread is that of every output by itself."""
    network, inputs = digits_example.network, digits_example.inputs[:32]
    hardware = pp.Hardware(programming_noise_std=2e-6)
    gains = pp.Gains.full_range(network, hardware, inputs)
    vectors: list[int] = []
    product = LinearChips.gram_times
    monkeypatch.setattr(LinearChips, "gram_times", lambda self, v: (vectors.append(len(v)), product(self, v))[1])
    monkeypatch.setattr(spectrum, "stretch", lambda *_: (1.0, 0.0))
    every = pp.predict(network, hardware, gains, inputs, chip_spread=True)
    assert sum(vectors) == 26
    monkeypatch.setattr(LinearChips, "mean_square", None)
    combined = pp.predict(network, hardware, gains, inputs, chip_spread=True, output_combinations=4)
    assert isinstance(every.chips, PredictedChips)
    assert isinstance(combined.chips, PredictedChips)
    assert combined.chips.mse.mean == pytest.approx(combined.mse, rel=1e-9)
    assert combined.chips.mse.std == pytest.approx(every.chips.mse.std, rel=1e-4)
    exact, estimated = (each.source.spectrum.remainder for each in (every.chips, combined.chips))
    assert estimated == pytest.approx(exact, rel=0.15)


def test_rare_errors_are_refused_with_the_reason(iris_example: Example) -> None:
    hardware = pp.Hardware(programming_noise_std=1e-6, stuck_on_fraction=1e-3)
    gains = pp.Gains.full_range(iris_example.network, hardware, iris_example.inputs)
    with pytest.raises(pp.InvalidInput, match=r"chip_spread: got True.*rare and large.*Simulate"):
        pp.predict(iris_example.network, hardware, gains, iris_example.inputs, chip_spread=True)
    noisy = hardware.replace(stuck_on_fraction=0.0)
    with pytest.raises(pp.InvalidInput, match=r"chip_spread: got True; allowed: False with method 'diagonal'"):
        pp.predict(iris_example.network, noisy, gains, iris_example.inputs, chip_spread=True, method="diagonal")
