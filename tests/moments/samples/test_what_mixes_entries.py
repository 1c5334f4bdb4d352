"""Operations that are not linear on several entries of one value get error samples: predictions are simulations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import powerplan as pp

#: behind two layers whose outputs err together, as what comes of one hidden layer does
_OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda y: y.softmax(1),
    "log_softmax": lambda y: y.log_softmax(1),
    "logsumexp": lambda y: y.logsumexp(1),
    "logcumsumexp": lambda y: y.logcumsumexp(1),
    "layer_norm": lambda y: F.layer_norm(y, (6,)),
    "rms_norm": lambda y: F.rms_norm(y, (6,)),
    "group_norm": lambda y: F.group_norm(y[:, :, None], 2)[:, :, 0],
    "norm": lambda y: y.norm(dim=1),
    "norm of any order": lambda y: y.norm(3, dim=1),
    "std": lambda y: y.std(1),
    "var": lambda y: y.var(1),
    "logarithm of a power": lambda y: torch.log(y.square().mean(1) + 0.1),
    "prod": lambda y: y[:, :3].prod(1),
    "cumprod": lambda y: y[:, :3].cumprod(1),
    "cummax": lambda y: y.cummax(1)[0],
    "sort": lambda y: y.sort(1)[0],
    "topk": lambda y: y.topk(2, 1)[0],
    "median": lambda y: y.median(1)[0],
    "amax": lambda y: y.amax(1),
    "hypot": lambda y: torch.hypot(y[:, :3], y[:, 3:]),
    "logaddexp": lambda y: torch.logaddexp(y[:, :3], y[:, 3:]),
    "maximum": lambda y: torch.maximum(y[:, :3], y[:, 3:]),
    "quotient": lambda y: y[:, :3] / (1 + y[:, 3:].square()),
    "bilinear": lambda y: F.bilinear(y[:, :3], y[:, 3:], torch.ones(2, 3, 3, dtype=y.dtype) / 3),
    "distances of a constant": lambda y: torch.cdist(y, torch.eye(6, dtype=y.dtype)[:2]),
    "logarithm of a softmax": lambda y: y.softmax(1).log(),
    "cosine_similarity": lambda y: F.cosine_similarity(y[:, :3], y[:, 3:]),
}


class Behind(nn.Module):
    """Two layers and a function of what comes of them."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 6))
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(2 * self.layers(x))


def network_of(function: Callable[[Tensor], Tensor]) -> tuple[pp.Network, np.ndarray]:
    torch.manual_seed(1)
    return pp.from_torch(Behind(function).double(), (8,)), np.random.default_rng(1).normal(size=(6, 8))


@pytest.mark.parametrize("name", _OPERATIONS)
def test_predictions_are_simulations(name: str) -> None:
    """Within 3 % at an NMSE of a few percent, of which the stated standard error is a part."""
    network, x = network_of(_OPERATIONS[name])
    hardware, gains = pp.Hardware(programming_noise_std=1e-6), pp.Gains.full_range(network, pp.Hardware(), x)
    least = pp.predict(network, hardware, gains, x, marginal_fields=0).nmse
    hardware = hardware.replace(programming_noise_std=1e-6 * min(8, (0.02 / least) ** 0.5))
    predicted = pp.predict(network, hardware, gains, x)
    simulated = pp.simulate(network, hardware, gains, x, draws=3000, seed=0)
    assert predicted.marginal_fields > 0
    assert predicted.mse_standard_error > 0
    error = np.hypot(predicted.mse_standard_error, simulated.mse_standard_error) / simulated.mse
    assert abs(predicted.mse / simulated.mse - 1) < 0.03 + 3 * error


class Siamese(nn.Module):
    """The cosine of what two branches make of close inputs: their errors cancel but for the second order."""

    def __init__(self) -> None:
        super().__init__()
        self.branch = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, x: Tensor) -> Any:
        return F.cosine_similarity(self.branch(x), self.branch(x + 1)).unsqueeze(1)


@pytest.mark.slow
def test_where_errors_cancel_the_sampled_outputs_count() -> None:
    """The sum of all sources is 1.5 times too large."""
    torch.manual_seed(0)
    network, x = pp.from_torch(Siamese().double(), (6,)), np.random.default_rng(2).normal(size=(4, 6))
    hardware = pp.Hardware(programming_noise_std=1.4e-5)
    gains = pp.Gains.full_range(network, hardware, x)
    predicted = pp.predict(network, hardware, gains, x, sampling_error=0.02)
    simulated = pp.simulate(network, hardware, gains, x, draws=6000, seed=1)
    assert 0.005 < predicted.nmse < 0.02
    error = np.hypot(predicted.mse_standard_error, simulated.mse_standard_error) / simulated.mse
    assert abs(predicted.mse / simulated.mse - 1) < 0.06 + 3 * error < 0.2


def test_samples_where_a_function_is_not_defined_keep_numbers() -> None:
    """Noise makes logarithms of what is near zero; a warning says so, and prediction and plan have numbers."""
    network, x = network_of(lambda y: torch.log(y.square()[:, :3].mul(0.3).add(1e-3)) * y[:, 3:])
    hardware = pp.Hardware(programming_noise_std=5e-6)
    with pytest.warns(pp.RangeWarning, match="does not hold"):
        predicted = pp.predict(network, hardware, pp.Gains.full_range(network, hardware, x), x)
    assert np.isfinite(predicted.mse)
    assert np.isfinite(predicted.mse_standard_error)
