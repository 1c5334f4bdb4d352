"""Functions of one value from torch: however they are written, one operation whose moments are not first order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import powerplan as pp

SIMPLE = (
    "abs exp exp2 expm1 sin cos tan atan sinh cosh asinh sign sgn round floor ceil trunc frac erf erfc reciprocal sinc"
)
LAYERS = "hardtanh hardshrink softshrink tanhshrink celu selu elu logsigmoid softsign mish hardswish hardsigmoid relu6"
USUAL: dict[str, Callable[[Tensor], Tensor]] = {
    "heaviside": lambda x: torch.heaviside(x, torch.zeros((), dtype=x.dtype)),
    "maximum": lambda x: torch.maximum(x, torch.tensor(0.1)),
    "rrelu": F.rrelu,
    "softsign": lambda x: x / (1 + x.abs()),
}
MORE: dict[str, Callable[[Tensor], Tensor]] = {
    **{name: getattr(torch, name) for name in SIMPLE.split()},
    **{name: getattr(F, name) for name in LAYERS.split()},
    "threshold": lambda x: F.threshold(x, 0.1, 0.0),
    "clamp from below": lambda x: x.clamp(min=0.1),
    "clamp from above": lambda x: x.clamp(max=0.3),
    "cube": lambda x: x**3,
    "exponential": lambda x: 2**x,
    "comparison": lambda x: (x > 0).to(x.dtype),
    "comparison times value": lambda x: (x > 0.3) * x,
    "both": lambda x: ((x > 0) & (x < 1)).to(x.dtype),
    "where": lambda x: torch.where(x > 0, x, -x - 1),
    "remainder": lambda x: x % 1.0,
    "floor division": lambda x: x // 0.5,
    "root of magnitude": lambda x: x.abs().sqrt(),
    "steep swish": lambda x: x * torch.sigmoid(2 * x),
    "filled": lambda x: x.masked_fill(x < 0, 0.0),
    "steep softplus": lambda x: F.softplus(x, 2.0),
    "smaller": lambda x: torch.minimum(x, x**2),
    "rounded": lambda x: torch.round(x * 8).clamp(-8, 7) / 8,
}


class Between(nn.Module):
    """A function between two layers."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last, self.function = nn.Linear(4, 6), nn.Linear(6, 3), function

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))


@pytest.mark.parametrize(
    "name", [*USUAL, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE if name not in USUAL)]
)
def test_a_function_between_two_layers(name: str) -> None:
    """One node at most but for scales, exact as imported, and predicted as simulated."""
    module = Between((MORE | USUAL)[name]).double()
    network = pp.from_torch(module, (4,))
    between = [node.op.type for node in network.nodes if node.op.type not in ("linear", "scale")]
    assert between in (["function"], ["activation"])
    inputs = np.random.default_rng(0).normal(size=(6, 4))
    with torch.no_grad():
        wanted = module(torch.tensor(inputs)).numpy()
    np.testing.assert_allclose(network(inputs), wanted, rtol=1e-9, atol=1e-9)
    if name == "reciprocal":
        return  # of values near zero the variance is infinite
    hardware = pp.Hardware(programming_noise_std=1e-6)
    gains = pp.Gains.full_range(network, hardware, inputs)
    predicted = pp.predict(network, hardware, gains, inputs)
    simulated = pp.simulate(network, hardware, gains, inputs, draws=4000, seed=0)
    assert predicted.first_order == ()
    assert predicted.mse == pytest.approx(simulated.mse, abs=0.03 * simulated.mse + 3 * simulated.mse_standard_error)
