"""Values of one number per input, of shape () inside a network, are predicted as those of shape (1,)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import powerplan as pp

HARDWARE = pp.Hardware(programming_noise_std=1e-6)
#: by name, with the part of the values that is taken and whether reductions keep their axis
FUNCTIONS: dict[str, Callable[[Tensor, Any, bool], Tensor]] = {
    "sigmoid": lambda y, first, keep: torch.sigmoid(y[:, first]),
    "relu of a sum": lambda y, first, keep: torch.relu(y.sum(1, keepdim=keep)),
    "product": lambda y, first, keep: torch.tanh(y[:, first]) * y.mean(1, keepdim=keep),
    "norm": lambda y, first, keep: y.norm(dim=1, keepdim=keep),
    "logarithm": lambda y, first, keep: y.exp().sum(1, keepdim=keep).log(),
}


class Reduced(nn.Module):
    """Two layers, and one number of what they give."""

    def __init__(self, function: Callable[[Tensor, Any, bool], Tensor], keep: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
        self.function, self.keep = function, keep

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.layers(x), slice(0, 1) if self.keep else 0, self.keep)


@pytest.mark.parametrize(
    "options", [{}, {"marginal_fields": 32}, {"method": "diagonal"}, {"method": "covariance"}], ids=str
)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_axis_is_an_axis_of_one(name: str, options: dict[str, Any]) -> None:
    x = np.random.default_rng(0).normal(size=(4, 6))
    without, one = (
        pp.predict(network, HARDWARE, pp.Gains.full_range(network, HARDWARE, x), x, **options)
        for network in (pp.from_torch(Reduced(FUNCTIONS[name], keep), (6,)) for keep in (False, True))
    )
    assert without.mse == pytest.approx(one.mse, rel=1e-9)
    assert without.mse_by_layer == pytest.approx(one.mse_by_layer, rel=1e-9)


def test_plans_of_one_number_meet_their_target() -> None:
    x = np.random.default_rng(0).normal(size=(4, 6))
    network = pp.from_torch(Reduced(FUNCTIONS["product"], keep=False), (6,))
    plan = pp.plan(network, HARDWARE, x, pp.MaxNMSE(0.02))
    assert plan.meets_target
    assert plan.termination.outcome is pp.Outcome.OPTIMAL
