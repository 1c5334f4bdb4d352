"""Modules that use weights several times become arrays with several reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch_modules import agree, kinds, trained

import powerplan as pp
from powerplan import Network, UnsupportedOperation, from_torch


def counts(network: Network) -> dict[str, int]:
    """Number of reads by array."""
    return {name: len(nodes) for name, nodes in network.reads.items()}


class Branches(nn.Module):
    """f(left) - f(right), with a norm in f that folds into its convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv1d(1, 3, 3, bias=False), nn.BatchNorm1d(3), nn.Linear(12, 2)

    def branch(self, x: torch.Tensor) -> torch.Tensor:
        z: torch.Tensor = self.fc(torch.relu(self.norm(self.conv(x))).flatten(1))
        return z

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.branch(x[:, :1]) - self.branch(x[:, 1:])


class Tied(nn.Module):
    """One encoder layer, applied several times."""

    def __init__(self, times: int = 4) -> None:
        super().__init__()
        self.layer, self.head, self.times = (
            nn.TransformerEncoderLayer(8, 2, 12, batch_first=True),
            nn.Linear(8, 3),
            times,
        )

    def forward(self, x: torch.Tensor) -> Any:
        for _ in range(self.times):
            x = self.layer(x)
        return self.head(x.mean(1))


class SharedWeight(nn.Module):
    """Two layers of one weight, with a bias each."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 5), nn.Linear(5, 5)
        self.b.weight = self.a.weight

    def forward(self, x: torch.Tensor) -> Any:
        return self.b(torch.relu(self.a(x)))


class Unrolled(nn.Module):
    """A cell in a loop."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.cell, self.head = getattr(nn, kind)(3, 5), nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> Any:
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


class Recurrent(nn.Module):
    """A recurrent layer, and a head on its last value and its last state."""

    def __init__(self, kind: str, **options: Any) -> None:
        super().__init__()
        self.rnn = getattr(nn, kind)(3, 5, **options)
        width = (options.get("proj_size") or 5) * (1 + options.get("bidirectional", False))
        self.head, self.first = nn.Linear(width, 2), options.get("batch_first", False)

    def forward(self, x: torch.Tensor) -> Any:
        values, state = self.rnn(x if self.first else x.transpose(0, 1))
        last = values[:, -1] if self.first else values[-1]
        hidden = state[0] if isinstance(state, tuple) else state
        return self.head(torch.tanh(last)) + hidden[-1][:, :2]


class Continued(nn.Module):
    """A recurrence that begins where another ended, and one with a constant beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.GRU(3, 4, batch_first=True), nn.LSTM(3, 4, batch_first=True)

    def forward(self, x: torch.Tensor) -> Any:
        _, state = self.encoder(x, x.new_full((1, x.shape[0], 4), 0.3))
        values, _ = self.decoder(x, (state, torch.zeros_like(state)))
        return values[:, -1]


def test_branches_read_the_same_arrays() -> None:
    module = trained(Branches())
    network = from_torch(module, (2, 6))
    assert counts(network) == {"conv": 2, "fc": 2}
    assert kinds(network).count("scale") == 1, "the minus is left; the norm is folded into both reads at once"
    agree(network, module)
    separate = from_torch(module, (2, 6), reads="separate")
    assert set(counts(separate).values()) == {1}
    agree(separate, module)
    with pytest.raises(pp.InvalidInput, match="reads"):
        from_torch(module, (2, 6), reads="other")


@pytest.mark.slow
def test_a_tied_layer_has_one_array_per_matrix() -> None:
    module = trained(Tied())
    network = from_torch(module, (4, 8))
    projections = ("q_proj", "k_proj", "v_proj", "out_proj")
    wanted = dict.fromkeys([*(f"layer.self_attn.{p}" for p in projections), "layer.linear1", "layer.linear2"], 4)
    assert counts(network) == {**wanted, "head": 1}
    agree(network, module)


@pytest.mark.slow
def test_layers_of_equal_but_separate_weights_have_arrays_of_their_own() -> None:
    """As torch's encoder copies its layers when it is made."""
    module = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), 2, enable_nested_tensor=False
    )
    assert set(counts(from_torch(module, (4, 8))).values()) == {1}


def test_biases_of_a_shared_weight_are_added_behind_its_reads() -> None:
    module = trained(SharedWeight())
    network = from_torch(module, (5,))
    assert counts(network) == {"a.weight": 2}
    assert kinds(network) == ["linear", "scale", "relu", "linear", "scale"]
    agree(network, module)


OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("LSTM", {}),
    ("LSTM", {"num_layers": 2, "bidirectional": True, "batch_first": True}),
    ("LSTM", {"bias": False}),
    ("LSTM", {"proj_size": 4, "batch_first": True}),
    ("GRU", {"batch_first": True}),
    ("GRU", {"num_layers": 2, "bias": False}),
    ("GRU", {"bidirectional": True}),
    ("RNN", {"num_layers": 2, "dropout": 0.5}),
    ("RNN", {"nonlinearity": "relu", "bidirectional": True, "batch_first": True}),
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize(("kind", "options"), OPTIONS, ids=str)
def test_recurrent_layers(kind: str, options: dict[str, Any]) -> None:
    module = trained(Recurrent(kind, **options))
    network = from_torch(module, (4, 3))
    agree(network, module)
    layers, directions = options.get("num_layers", 1), 1 + options.get("bidirectional", False)
    names = [f"rnn.{m}_l{k}{end}" for m in ("ih", "hh") for k in range(layers) for end in ("", "_reverse")[:directions]]
    by_array = counts(network)
    assert set(names) <= set(by_array)
    assert {by_array[name] for name in names if ".hh" in name} == {3}, "hidden values of the first step are zero"
    assert {by_array[name] for name in names if ".ih" in name} == {1}


@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell", "RNNCell"])
def test_cells_in_loops(kind: str) -> None:
    module = trained(Unrolled(kind))
    network = from_torch(module, (4, 3))
    assert counts(network) == {"cell.ih": 4, "cell.hh": 3, "head": 1}
    agree(network, module)


def test_states_that_are_given() -> None:
    module = trained(Continued())
    network = from_torch(module, (4, 3))
    assert counts(network) == {"encoder.ih_l0": 1, "encoder.hh_l0": 4, "decoder.ih_l0": 1, "decoder.hh_l0": 4}
    agree(network, module)


@pytest.mark.slow
def test_sequences_whose_steps_are_the_batch_are_refused() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.RNN(3, 4)  # the batch second

        def forward(self, x: torch.Tensor) -> Any:
            return self.rnn(x)[0]

    with pytest.raises(UnsupportedOperation, match="batch"):
        from_torch(Mixed(), (4, 3))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "tied", "branches"])
def test_predictions_of_imported_networks_are_those_of_simulations(kind: str) -> None:
    """MSE within 3 % of a simulation to 1 %."""
    module, shape = {
        "LSTM": (Recurrent("LSTM", batch_first=True), (4, 3)),
        "GRU": (Recurrent("GRU", batch_first=True), (4, 3)),
        "tied": (Tied(3), (4, 8)),
        "branches": (Branches(), (2, 6)),
    }[kind]
    network = from_torch(trained(module), shape)
    inputs = np.random.default_rng(0).normal(size=(6, *shape))
    if kind == "branches":  # nearly equal
        inputs[:, 1] = inputs[:, 0] + 0.1 * inputs[:, 1]
    hardware = pp.Hardware(conductance_min=1e-6, conductance_max=1e-4, programming_noise_std=2e-6, read_noise_std=1e-8)
    gains = pp.Gains.full_range(network, hardware, inputs)
    simulated = pp.simulate(network, hardware, gains, inputs, draws=40_000, relative_standard_error=0.01)
    predicted = pp.predict(network, hardware, gains, inputs)
    assert simulated.mse_standard_error <= 0.01 * simulated.mse
    assert predicted.mse == pytest.approx(simulated.mse, rel=0.03)
    assert predicted.power == pytest.approx(simulated.power, rel=0.01)
