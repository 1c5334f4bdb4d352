"""Moments of large arrays are made where they are read: the same predictions and derivatives, and nothing kept."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

import powerplan as pp
from powerplan.moments import predictor as predictors
from powerplan.moments.array import weights
from powerplan.moments.array.held import Kept, LastMade, MadeAgain
from powerplan.moments.predictor import Predictor
from powerplan.network import Add, Node
from powerplan.network.ops import Activation, Conv, Flatten, Linear

RNG = np.random.default_rng(3)
SIZES = (30, 40, 40, 5)
MLP = pp.Network.mlp([RNG.normal(size=(n, m)) / m**0.5 for m, n in pairwise(SIZES)], activation="tanh")
LAYER = Linear(weight=RNG.normal(size=(30, 30)) / 6, bias=RNG.normal(size=30))
TIED = pp.Network(
    input_shape=(4, 30),
    nodes=(
        Node(name="first", op=LAYER, inputs=("input",), array="layer"),
        Node(name="relu", op=Activation(kind="relu"), inputs=("first",)),
        Node(name="second", op=LAYER, inputs=("relu",), array="layer"),
        Node(name="sum", op=Add(), inputs=("relu", "second")),
    ),
)
PIXELS = pp.Network(
    input_shape=(3, 6, 6),
    nodes=(
        Node(name="conv", op=Conv(weight=RNG.normal(size=(8, 3, 3, 3)) / 5), inputs=("input",)),
        Node(name="relu", op=Activation(kind="relu"), inputs=("conv",)),
        Node(name="flat", op=Flatten(), inputs=("relu",)),
        Node(name="out", op=Linear(weight=RNG.normal(size=(5, 128)) / 11), inputs=("flat",)),
    ),
)
HARDWARE = {
    "clipped": pp.Hardware(programming_noise_std=2e-6),
    "not clipped": pp.Hardware(programming_noise_std=2e-6, clip_conductance=False),
    "everything": pp.Hardware(
        programming_noise_std=1e-6,
        read_noise_std=1e-8,
        input_noise_std=1e-3,
        column_gain_std=0.01,
        feedback_resistance=1e4,
    ),
    "offset": pp.Hardware(programming_noise_std=2e-6, weight_mapping="offset", bias_mapping="row"),
}


def predicted(network: pp.Network, hardware: pp.Hardware) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """MSE terms and power of every layer, and the derivatives of a combination of them in the gains."""
    inputs = np.random.default_rng(1).normal(size=(2, *network.input_shape))
    predictor = Predictor.of(network, hardware, inputs, marginal_fields=0)
    gains = pp.Gains.full_range(network, hardware, inputs)
    conductance = [0.5 * torch.tensor(c, dtype=torch.float64) for c in gains.conductance]
    voltage = [torch.tensor(v, dtype=torch.float64) for v in gains.voltage]
    for gain in (*conductance, *voltage):
        gain.requires_grad_()
    moments = predictor.moments(predictor.program(conductance, voltage))
    error = ((moments.mean - predictor.ideal) ** 2).mean() + moments.variance.mean()
    values = torch.cat([error[None], moments.array_power, moments.tia_power])
    weighted = values @ torch.linspace(1, 2, len(values), dtype=torch.float64)
    return values.detach(), list(torch.autograd.grad(weighted, (*conductance, *voltage)))


@pytest.mark.filterwarnings("ignore:without error samples:powerplan.RangeWarning")
@pytest.mark.parametrize("name", HARDWARE)
@pytest.mark.parametrize("network", [MLP, TIED, PIXELS], ids=["mlp", "tied", "convolution"])
def test_made_again_is_the_same(network: pp.Network, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = predicted(network, HARDWARE[name])
    monkeypatch.setattr(predictors, "_LIMITS_FOR_WEIGHTS", 0)
    monkeypatch.setattr(weights, "_KEPT_SLOPES", 0)
    for computed, expected in zip(predicted(network, HARDWARE[name]), wanted, strict=True):
        torch.testing.assert_close(computed, expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize("name", ["clipped", "not clipped"])
def test_a_backward_pass_keeps_no_weights(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing as large as the weights of a layer is saved: neither their moments nor their squares."""
    saved: list[int] = []
    pack: Callable[[LastMade, torch.Tensor], Any] = LastMade.pack

    def noted(self: LastMade, tensor: torch.Tensor) -> Any:
        packed = pack(self, tensor)
        saved.append(packed.numel() if isinstance(packed, torch.Tensor) else 0)
        return packed

    monkeypatch.setattr(LastMade, "pack", noted)
    predicted(MLP, HARDWARE[name])
    assert not saved, "small networks keep what they have made"
    monkeypatch.setattr(predictors, "_LIMITS_FOR_WEIGHTS", 0)
    monkeypatch.setattr(weights, "_KEPT_SLOPES", 0)
    predicted(MLP, HARDWARE[name])
    assert 0 < max(saved) < 30 * 40


def test_how_much_is_kept() -> None:
    """Mean, its square and variance of all weights may take two memory limits; with derivatives more is kept."""
    inputs, weights = np.zeros((1, 30)), sum(m * n for m, n in pairwise(SIZES))
    gains = pp.Gains.full_range(MLP, pp.Hardware(), inputs)
    for limit, kept in ((12 * weights, True), (12 * weights - 1, False)):
        predictor = Predictor.of(MLP, pp.Hardware(), inputs, memory_limit=limit)
        tensors = predictor.gain_tensors(gains)
        with torch.no_grad():
            assert all(isinstance(array.held, Kept) == kept for array in predictor.program(*tensors))
        assert not any(isinstance(array.held, Kept) for array in predictor.program(*tensors))


@pytest.mark.parametrize("with_derivatives", [False, True])
def test_nothing_outlives_the_arrays(with_derivatives: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrays made is free as soon as they are, without a search for circles: plans evaluate dozens of gains."""
    monkeypatch.setattr(predictors, "_LIMITS_FOR_WEIGHTS", 0)
    hardware = HARDWARE["clipped"]
    inputs = np.random.default_rng(1).normal(size=(2, *MLP.input_shape))
    predictor = Predictor.of(MLP, hardware, inputs, marginal_fields=0)
    gains = pp.Gains.full_range(MLP, hardware, inputs)
    made: list[weakref.ref[LastMade]] = []

    def evaluate() -> None:
        conductance, voltage, _ = predictor.gain_tensors(gains)
        for gain in conductance:
            gain.requires_grad_(with_derivatives)
        programmed = predictor.program(conductance, voltage)
        made.extend(weakref.ref(array.held.last) for array in programmed if isinstance(array.held, MadeAgain))
        variance = predictor.moments(programmed).variance.sum()
        if with_derivatives:
            torch.autograd.grad(variance, conductance)

    gc.collect()
    gc.disable()
    try:
        with torch.set_grad_enabled(with_derivatives):
            evaluate()
    finally:
        gc.enable()
    assert len(made) == len(MLP.crossbars)
    assert [each() for each in made] == [None] * len(made)
