"""How errors of single inputs and outputs are spread over chips: predictions against simulated chips."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import powerplan as pp
from powerplan.examples import Example
from powerplan.moments.chips import spectrum
from powerplan.network import Network
from powerplan.spread import Spread

CHIPS = 3000
PROGRAMMED = pp.Hardware(programming_noise_std=2e-6)


def check(ours: Spread, theirs: Spread) -> None:
    """Mean within 2 %, standard deviation within 5 %, quantiles within 4 %, three standard errors added."""
    assert abs(ours.mean / theirs.mean - 1) < 0.02 + 3 * theirs.std / theirs.mean / math.sqrt(CHIPS)
    allowed = 0.05 * theirs.std + 3 * math.hypot(theirs.std_standard_error, ours.std_standard_error)
    assert abs(ours.std - theirs.std) <= allowed
    for part in (0.5, 0.9, 0.95):
        low, high = theirs.quantile_interval(part)
        assert abs(ours.quantile(part) - theirs.quantile(part)) <= 0.04 * theirs.quantile(part) + 1.5 * (high - low) / 2


@pytest.mark.parametrize("fields", [{}, {"read_noise_std": 4e-7}])
def test_inputs(iris_example: Example, fields: dict[str, Any]) -> None:
    """As chips that read the input once: noise of the read is in it."""
    hardware, network = PROGRAMMED.replace(**fields), iris_example.network
    gains = pp.Gains.full_range(network, hardware, iris_example.inputs)
    prediction = pp.predict(network, hardware, gains, iris_example.inputs, chip_spread=True)
    spreads = prediction.chips_by_input()
    assert prediction.inputs is not None
    assert [spread.mean for spread in spreads] == pytest.approx(prediction.inputs.mse_by_input, rel=1e-6)
    for index in (0, 2, 22):  # two of them the worst
        alone = iris_example.inputs[index : index + 1]
        check(spreads[index], pp.simulate(network, hardware, gains, alone, draws=CHIPS, seed=index).chips.mse)


@pytest.mark.parametrize("formed", [True, False])
def test_outputs(formed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a network with each output alone, whose columns have devices of their own. Drawn where G is not formed."""
    rng = np.random.default_rng(5)
    weights = [rng.normal(size=(8, 5)), rng.normal(size=(3, 8)) * [[1.0], [2.0], [0.3]]]
    inputs = rng.normal(size=(24, 5))
    network = Network.mlp(weights)
    gains = pp.Gains.full_range(network, PROGRAMMED, inputs)
    if not formed:
        monkeypatch.setattr(spectrum, "MOST_EXACT", 0)
    prediction = pp.predict(network, PROGRAMMED, gains, inputs, chip_spread=True)
    spreads = prediction.chips_by_output()
    assert [spread.mean for spread in spreads] == pytest.approx(prediction.mse_by_output, rel=1e-6 if formed else 0.05)
    for k, spread in enumerate(spreads):
        alone = Network.mlp([weights[0], weights[1][k : k + 1]])
        check(spread, pp.simulate(alone, PROGRAMMED, gains, inputs, draws=CHIPS, seed=k).chips.mse)


def test_what_tells_no_single_outputs_is_refused(iris_example: Example) -> None:
    network, inputs = iris_example.network, iris_example.inputs
    gains = pp.Gains.full_range(network, PROGRAMMED, inputs)
    combined = pp.predict(network, PROGRAMMED, gains, inputs, chip_spread=True, output_combinations=2)
    mean = pp.predict(network, PROGRAMMED, gains, inputs)
    for method in ("chips_by_input", "chips_by_output"):
        with pytest.raises(pp.InvalidInput, match=r"output_combinations: got 2; allowed: 0 .*single inputs and single"):
            getattr(combined, method)()
        with pytest.raises(pp.InvalidInput, match=r"prediction\.chips: got None; allowed: .*chip_spread=True"):
            getattr(mean, method)()
