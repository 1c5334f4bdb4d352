"""What the spread over chips is beyond the linearised network."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

import powerplan as pp
from powerplan.moments.chips import beyond
from powerplan.moments.chips.linear import LinearChips
from powerplan.moments.predicting import make_predictor
from powerplan.moments.settings import PredictionSettings

HARDWARE = pp.Hardware(programming_noise_std=4e-6, clip_conductance=False)


def network_and_inputs(*widths: int, activation: str) -> tuple[pp.Network, np.ndarray]:
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(o, n)) * (2 / n) ** 0.5 for n, o in pairwise(widths)]
    return pp.Network.mlp(weights, activation=activation), rng.normal(size=(6, widths[0]))


def test_chips_pass_the_network_itself() -> None:
    network, inputs = network_and_inputs(5, 4, 3, activation="tanh")
    gains = pp.Gains.full_range(network, HARDWARE, inputs)
    with torch.no_grad():
        predictor = make_predictor(network, HARDWARE, inputs, PredictionSettings())
        chips = LinearChips.of(predictor, predictor.program(*predictor.gain_tensors(gains)))
        generator = torch.Generator().manual_seed(0)
        normals = {
            source: torch.randn(2, *shape, generator=generator).double() for source, shape in chips.numbers.items()
        }
        linear, *both = chips.pairs(normals)
    torch.testing.assert_close(linear, chips.push(normals))
    for sign, errors in zip((1, -1), both, strict=True):
        value = np.broadcast_to(inputs, (2, *inputs.shape))
        for number, (node, gain) in enumerate(zip(network.reads.values(), gains.conductance, strict=True)):
            std = 2**0.5 * HARDWARE.programming_noise_std / gain
            weight = node[0].op.matrix + sign * std * normals[node[0].name, 0][:, 0].numpy()
            value = value @ weight.transpose(0, 2, 1)
            value = np.tanh(value) if number == 0 else value
        assert (chips.bias + errors + predictor.ideal).numpy() == pytest.approx(value, rel=1e-9)


def test_they_tell_what_the_linearised_network_misses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beyond, "_UNSHARED", (256, 1 << 30))
    network, inputs = network_and_inputs(8, 8, 8, 8, 4, activation="relu")
    gains = pp.Gains.full_range(network, HARDWARE, inputs)
    prediction = pp.predict(network, HARDWARE, gains, inputs, chip_spread=True)
    simulated = pp.simulate(network, HARDWARE, gains, inputs, draws=8000, seed=1).chips.mse
    assert prediction.chips is not None
    predicted, linear = prediction.chips.mse, prediction.chips.source.spectrum.linear
    assert predicted.mean == pytest.approx(prediction.mse)
    assert linear.std < 0.92 * simulated.std
    assert abs(predicted.std - simulated.std) < 3 * np.hypot(predicted.std_standard_error, simulated.std_standard_error)
    assert predicted.quantile(0.95) == pytest.approx(simulated.quantile(0.95), rel=0.03)
