"""What powerplan has no model of is kept as a digital torch operation if asked for, in this process only."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch_modules import agree, trained

import powerplan as pp
from powerplan import InvalidInput, UnsupportedOperation, from_torch
from powerplan.network import to_parts
from powerplan_client.networks import network_message


class Spectral(nn.Module):
    """The eigenvalues of a matrix, between linear layers: an operation that has no rule."""

    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = nn.Parameter(torch.eye(6))

        def forward(self, x: torch.Tensor) -> Any:
            return torch.linalg.eigvalsh(x.mT @ x / 20 + self.shift), x

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.part, self.head = nn.Linear(4, 6), self.Part(), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> Any:
        values, _ = self.part(self.fc(x))
        return self.head(values)


class Branching(nn.Module):
    """Control flow that depends on values, inside a part of the network."""

    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor([1.5]))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.scale if bool(torch.isfinite(x).all()) else torch.zeros_like(x)

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.part, self.fc2 = nn.Linear(4, 6), self.Part(), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> Any:
        return self.fc2(self.part(self.fc1(x)))


@pytest.mark.slow
@pytest.mark.parametrize(("build", "shape", "kept"), [(Spectral, (5, 4), "part"), (Branching, (4,), "part")])
def test_modules_are_kept_as_a_whole(build: type[nn.Module], shape: tuple[int, ...], kept: str) -> None:
    """Modules with an operation without a rule, or with control flow on values, become one node of their name."""
    module = trained(build())
    with pytest.raises(UnsupportedOperation, match=f"'{kept}'.*unsupported='digital'"):
        from_torch(module, shape)
    network = from_torch(module, shape, unsupported="digital")
    assert [node.name for node in network.nodes if node.op.type == "torch_call"] == [kept]
    agree(network, module)


@pytest.mark.slow
def test_prediction_takes_kept_calls_at_first_order() -> None:
    """At small noise the linearised error of a kept call is that of the simulation (standard error about 3 %)."""
    network = from_torch(trained(Spectral()), (3, 4), unsupported="digital")
    hardware = pp.Hardware(programming_noise_std=0.3e-6, clip_conductance=False)
    gains = pp.Gains.uniform(network, hardware, conductance=10e-6, voltage=0.02)
    inputs = np.random.default_rng(0).standard_normal((2, 3, 4))
    simulated = pp.simulate(network, hardware, gains, inputs, draws=1000, seed=0)
    predicted = pp.predict(network, hardware, gains, inputs)
    assert predicted.mse == pytest.approx(simulated.mse, abs=5 * simulated.mse_standard_error + 0.02 * simulated.mse)


@pytest.mark.slow
def test_kept_calls_stay_in_this_process() -> None:
    """They are code: neither a file, nor a message, nor another process can have them."""
    network = from_torch(trained(Spectral()), (5, 4), unsupported="digital")
    sent: tuple[Callable[[], object], ...] = (
        lambda: network.save(io.BytesIO()),
        lambda: to_parts(network),
        lambda: pickle.dumps(network),
    )
    for send in sent:
        with pytest.raises(InvalidInput, match="part"):
            send()


@pytest.mark.slow
def test_messages_refuse_kept_calls() -> None:
    from powerplan_client.errors import PlannerError

    network = from_torch(trained(Spectral()), (5, 4), unsupported="digital")
    with pytest.raises(PlannerError, match="part"):
        network_message(network)


@pytest.mark.slow
def test_digests_tell_kept_calls_apart() -> None:
    one, other = (from_torch(trained(Spectral(), seed), (5, 4), unsupported="digital") for seed in (0, 1))
    assert one.digest != other.digest
    again = from_torch(trained(Spectral(), 0), (5, 4), unsupported="digital")
    assert one.digest == again.digest


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: x - x.mean(0) if bool(x.isfinite().all()) else x, "mixes the inputs of a batch"),
        (lambda x: F.dropout(x, 0.5) if bool(x.isfinite().all()) else x, "mixes the inputs of a batch, or is random"),
        (lambda x: x > 0 if bool(x.isfinite().all()) else x, "no tensor of floats"),
    ],
)
def test_what_cannot_be_kept_is_refused(function: Callable[[torch.Tensor], Any], reason: str) -> None:
    class Part(nn.Module):
        def forward(self, x: torch.Tensor) -> Any:
            return function(x)

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.part, self.out = nn.Linear(4, 4), Part(), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> Any:
            return self.out(1.0 * self.part(self.fc(x)))

    with pytest.raises(InvalidInput, match=reason):
        from_torch(trained(Whole()), (3, 4), unsupported="digital")
    with pytest.raises(UnsupportedOperation, match="decisions by values") as refusal:
        from_torch(trained(Whole()), (3, 4))
    assert "unsupported=" not in str(refusal.value)  # it is offered only where it works


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "only"),
    [
        (lambda x: torch.searchsorted(torch.linspace(-1, 1, 5), x).float(), True),
        (lambda x: F.one_hot(x.argmax(-1), 6).float(), True),
        (lambda x: torch.fft.fft(x).abs(), False),
    ],
)
def test_the_offer_says_what_can_be_done_with_such_a_network(
    function: Callable[[torch.Tensor], torch.Tensor], only: bool
) -> None:
    """Predictions take kept calls that follow their derivative; others are simulated."""

    class Part(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return function(x)

    module = nn.Sequential(nn.Linear(4, 6), Part(), nn.Linear(6, 3))
    with pytest.raises(UnsupportedOperation, match="unsupported='digital'") as refusal:
        from_torch(module, (4,))
    assert ("only be simulated" in str(refusal.value)) is only
    network, hardware = from_torch(module, (4,), unsupported="digital"), pp.Hardware(programming_noise_std=1e-6)
    inputs = np.random.default_rng(0).normal(size=(3, 4))
    gains = pp.Gains.full_range(network, hardware, inputs)
    assert pp.simulate(network, hardware, gains, inputs, draws=2).mse > 0
    if only:
        with pytest.raises(UnsupportedOperation, match="it jumps"):
            pp.predict(network, hardware, gains, inputs)
    else:
        assert pp.predict(network, hardware, gains, inputs).mse > 0


def test_what_torch_prints_of_a_refused_graph_is_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnsupportedOperation):
        from_torch(trained(Branching.Part()), (4,))
    assert capfd.readouterr().err == ""


def test_the_choice_is_checked() -> None:
    with pytest.raises(InvalidInput, match="'error', 'digital'"):
        from_torch(nn.Linear(4, 2), (4,), unsupported="ignore")
