"""The map from a chip's random numbers to its errors: its faces agree with each other and with predictions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import powerplan as pp
from powerplan.moments.chips.linear import LinearChips
from powerplan.moments.predicting import make_predictor
from powerplan.moments.sampling import corrected
from powerplan.moments.settings import PredictionSettings


class Joined(nn.Module):
    """Shared kernels, a join, pooling and a softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.last = nn.Linear(36, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.first(x))
        y = torch.max_pool2d(torch.relu(y + self.second(y)), 2)
        return torch.softmax(self.last(y.flatten(1)), 1)


def chips(hardware: pp.Hardware, *, module: type[nn.Module] = Joined, **settings: Any) -> LinearChips:
    torch.manual_seed(0)
    network = pp.from_torch(module().double(), (1, 6, 6))
    if module is Siamese:
        nodes = [replace(node, array="branch") if node.name.startswith("branch") else node for node in network.nodes]
        network = pp.Network(input_shape=(1, 6, 6), nodes=tuple(nodes))
    inputs = np.random.default_rng(0).normal(size=(4, 1, 6, 6))
    with torch.no_grad():
        predictor = make_predictor(network, hardware, inputs, PredictionSettings(**settings))
        gains = pp.Gains.full_range(network, hardware, inputs)
        programmed = predictor.program(*predictor.gain_tensors(gains))
        return LinearChips.of(corrected(predictor, programmed), programmed)


HARDWARE = {
    "programming": {},
    "proportional": {"programming_noise_proportional": 0.1},
    "offset": {"weight_mapping": "offset"},
    "unrolled": {"mapping": "unrolled", "column_gain_std": 0.02},
    "column gain": {"column_gain_std": 0.02, "array_rows": 8},
    "converters": {"adc_bits": 6, "dac_bits": 6},
    "read noise": {"read_noise_std": 1e-7, "input_noise_std": 1e-3, "bandwidth": 1e6},
    "divider": {"read_out": "divider", "load_conductance": 1e-3, "array_rows": 16},
    "divider, unrolled": {"read_out": "divider", "load_conductance": 1e-3, "array_rows": 16, "mapping": "unrolled"},
}


@pytest.mark.slow
@pytest.mark.parametrize("fields", HARDWARE.values(), ids=HARDWARE)
def test_gram_is_push_after_pull(fields: dict[str, Any]) -> None:
    some = chips(pp.Hardware(programming_noise_std=1e-6, **fields))
    directions = torch.randn(5, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gram = some.gram().reshape(12, 12)
    torch.testing.assert_close(
        some.push(some.pull(directions)).flatten(1), directions.flatten(1) @ gram, rtol=1e-10, atol=1e-12 * gram.max()
    )
    torch.testing.assert_close(
        some.gram_times(directions).flatten(1), directions.flatten(1) @ gram, rtol=1e-5, atol=1e-6 * float(gram.max())
    )
    assert some.mean_square() == pytest.approx(float(gram.diagonal().mean()), rel=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("fields", HARDWARE.values(), ids=HARDWARE)
def test_pull_is_the_transpose_of_push(fields: dict[str, Any]) -> None:
    some = chips(pp.Hardware(programming_noise_std=1e-6, **fields))
    generator = torch.Generator().manual_seed(1)
    directions = torch.randn(2, 4, 3, dtype=torch.float64, generator=generator)
    pulled = some.pull(directions)
    normals = {name: torch.randn(value.shape, dtype=value.dtype, generator=generator) for name, value in pulled.items()}
    pushed = (directions * some.push(normals)).flatten(1).sum(1)
    inner = sum((pulled[name] * normals[name]).flatten(1).sum(1) for name in pulled)
    torch.testing.assert_close(pushed, inner, rtol=1e-10, atol=1e-14)


def test_parts_of_the_inputs_make_no_difference() -> None:
    hardware = pp.Hardware(programming_noise_std=1e-6, column_gain_std=0.01)
    whole, parts = chips(hardware, marginal_fields=0), chips(hardware, memory_limit=1, marginal_fields=0)
    assert len(parts.traces) == 4
    directions = torch.randn(3, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(parts.push(parts.pull(directions)), whole.push(whole.pull(directions)))
    assert parts.mean_square() == pytest.approx(whole.mean_square())


def test_of_a_linear_layer_the_gram_matrix_is_known() -> None:
    """Σ_ij V (A Aᵀ) ∘ (X Xᵀ), with A = 1: outputs of one layer have no devices in common."""
    rng = np.random.default_rng(2)
    weight, inputs = rng.normal(size=(3, 5)), rng.normal(size=(4, 5))
    network = pp.Network.mlp([weight])
    hardware = pp.Hardware(programming_noise_std=1e-6, clip_conductance=False)
    gains = pp.Gains.full_range(network, hardware, inputs)
    with torch.no_grad():
        predictor = make_predictor(network, hardware, inputs, PredictionSettings())
        gram = LinearChips.of(predictor, predictor.program(*predictor.gain_tensors(gains))).gram().numpy()
    variance = 2 * 1e-12 / float(gains.conductance[0]) ** 2
    wanted = variance * np.einsum("aj,bj,km->akbm", inputs, inputs, np.eye(3))
    assert gram == pytest.approx(wanted, rel=1e-9, abs=1e-15)


class Siamese(nn.Module):
    """One array read twice, its outputs subtracted, and a last one."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Linear(18, 5)
        self.last = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = x.flatten(1)[:, :18], x.flatten(1)[:, 18:]
        return self.last(torch.tanh(self.branch(first)) - torch.tanh(self.branch(second)))


@pytest.mark.parametrize("name", ["programming", "column gain", "divider"])
def test_of_an_array_that_is_read_twice(name: str) -> None:
    """The numbers of its devices are one block, and the Gram matrix knows of both reads."""
    some = chips(pp.Hardware(programming_noise_std=1e-6, **HARDWARE[name]), module=Siamese)
    directions = torch.randn(5, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    gram, pulled = some.gram().reshape(12, 12), some.pull(directions)
    assert len({array for array, _ in pulled}) == 2
    torch.testing.assert_close(
        some.push(pulled).flatten(1), directions.flatten(1) @ gram, rtol=1e-10, atol=1e-12 * gram.max()
    )
    assert some.mean_square() == pytest.approx(float(gram.diagonal().mean()), rel=1e-10)
