"""Chips behind converters of few bits: their rounding follows from their values, and is in the stated error."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import powerplan as pp
from powerplan.examples import Example
from powerplan.hardware.converters import quantised
from powerplan.moments.chips.linear import LinearChips
from powerplan.moments.chips.rounding import widening
from powerplan.moments.predicting import make_predictor
from powerplan.moments.settings import PredictionSettings

FEW = pp.Hardware(programming_noise_std=1e-6, adc_bits=4)


def spreads(example: Example, hardware: pp.Hardware, inputs: np.ndarray) -> tuple[Any, Any]:
    """Predicted and simulated."""
    network = example.network
    gains = pp.Gains.full_range(network, hardware, inputs)
    prediction = pp.predict(network, hardware, gains, inputs, chip_spread=True)
    assert prediction.chips is not None
    return prediction.chips, pp.simulate(network, hardware, gains, inputs, draws=1500, seed=1).chips.mse


def test_chips_are_rounded_as_they_are() -> None:
    rng = np.random.default_rng(0)
    network = pp.Network.mlp([rng.normal(size=(4, 5)), rng.normal(size=(3, 4))], activation="relu")
    inputs = rng.normal(size=(6, 5))
    hardware = FEW.replace(dac_bits=5, clip_conductance=False)
    gains = pp.Gains.full_range(network, hardware, inputs)
    with torch.no_grad():
        predictor = make_predictor(network, hardware, inputs, PredictionSettings())
        chips = LinearChips.of(predictor, predictor.program(*predictor.gain_tensors(gains)))
        assert chips.sees_rounding
        generator = torch.Generator().manual_seed(0)
        normals = {
            source: torch.randn(2, *shape, generator=generator).double() for source, shape in chips.numbers.items()
        }
        _, *both = chips.pairs(normals)
        (_, trace), *_ = chips.traces
        for sign, errors in zip((1, -1), both, strict=True):
            value = torch.as_tensor(inputs).expand(2, -1, -1)
            for number, (node, gain) in enumerate(zip(network.reads.values(), gains.conductance, strict=True)):
                array = trace.array(node[0].name).array
                (channel,) = array.read_out.channels(array)
                std = 2**0.5 * hardware.programming_noise_std / gain
                weight = torch.tensor(np.array(node[0].op.matrix)) + sign * std * normals[node[0].name, 0][:, 0]
                value = quantised(value, hardware.voltage_max / array.v, hardware.dac_bits)
                value = quantised(value @ weight.mT, array.read_out.limits(array, channel), hardware.adc_bits)
                value = value.relu() if number == 0 else value
            torch.testing.assert_close(chips.bias + errors + predictor.ideal, value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("noise", [1e-6, 3e-6])
@pytest.mark.parametrize("fields", [{}, {"array_rows": 16}, {"read_noise_std": 2e-7}, {"dac_bits": 4}])
def test_the_stated_error_holds_with_few_bits(digits_example: Example, noise: float, fields: dict[str, Any]) -> None:
    """Without rounding on chips the standard deviation is told 13 to 40 % too small, with an error of 2 %."""
    ours, theirs = spreads(
        digits_example, FEW.replace(programming_noise_std=noise, **fields), digits_example.inputs[:24]
    )
    error = math.hypot(ours.mse.std_standard_error, theirs.std_standard_error)
    assert abs(ours.mse.std - theirs.std) < 3 * error
    assert ours.source.spectrum.linear.std < 0.92 * theirs.std
    if "array_rows" not in fields and "read_noise_std" not in fields:  # chips that are drawn tell it
        assert ours.mse.std_standard_error < 0.1 * ours.mse.std
        assert ours.mse.quantile(0.95) == pytest.approx(theirs.quantile(0.95), rel=0.06)


def test_many_bits_add_nothing(digits_example: Example) -> None:
    ours, _ = spreads(digits_example, FEW.replace(programming_noise_std=3e-6, adc_bits=10), digits_example.inputs[:24])
    assert ours.mse.std_standard_error < 0.03 * ours.mse.std


def test_the_widening_is_that_of_independent_errors() -> None:
    """Of b + e + r, e and r Gaussian and white with variances g and q."""
    rng = np.random.default_rng(0)
    bias, g, q, n = 0.3, 0.2, 0.4, 50
    drawn = bias + rng.normal(size=(40_000, n)) * math.sqrt(g)
    plain = (drawn**2).mean(1).var()
    assert plain == pytest.approx((2 * g**2 + 4 * g * bias**2) / n, rel=0.03)
    rounded = ((drawn + rng.normal(size=drawn.shape) * math.sqrt(q)) ** 2).mean(1).std()
    exact = (2 * g**2 + 4 * g * bias**2) / n
    assert math.sqrt(exact) * (1 + widening(q, g, bias**2, n, exact)) == pytest.approx(rounded, rel=0.02)
    assert widening(q, g, bias**2, n, 0.0) == 0
