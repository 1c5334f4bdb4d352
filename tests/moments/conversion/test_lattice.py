"""Values of converted columns, as converters of rows meet them."""

import numpy as np
import pytest
import torch
from torch import nn

import powerplan as pp
from powerplan.hardware.converters import quantised
from powerplan.moments.conversion.lattice import Between, Lattice, converted_from
from powerplan.moments.conversion.staircase import converted
from powerplan.network.ops import Activation, Add, Multiply, Scale

DRAWS = 60_000
MEANS = torch.linspace(-0.6, 1.1, 9, dtype=torch.float64).unsqueeze(0)
TOP, LIMIT = 31, torch.tensor(1.0, dtype=torch.float64)

RELU, TANH = (Between(Activation(kind=kind)) for kind in ("relu", "tanh"))
EXACT = (torch.linspace(-0.2, 0.1, 9, dtype=torch.float64).unsqueeze(0),)
#: what stands between the converters of columns and rows
BETWEEN = {
    "nothing": (),
    "ReLU": (RELU,),
    "tanh": (TANH,),
    "ReLU and a scale": (RELU, Between(Scale(scale=np.linspace(0.7, 0.9, 9), shift=np.full(9, -0.21)))),
    "a gate and a skip connection": (Between(Multiply(), (EXACT[0] + 0.7,)), Between(Add(), (), EXACT)),
}


class _Between(nn.Module):
    """A convolution and a linear layer with operations on single entries between them."""

    def __init__(self, between: str) -> None:
        super().__init__()
        self.between = between
        self.first, self.second = nn.Conv2d(2, 2, 3, padding=1), nn.Linear(72, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        y = torch.tanh(y) if self.between == "tanh" else y + x
        return self.second(y.flatten(1))


@pytest.mark.parametrize("noise", [0.0, 0.004, 0.03, 0.12])
@pytest.mark.parametrize(("bits", "between"), [*((6, name) for name in BETWEEN), (None, "nothing"), (None, "ReLU")])
def test_moments_are_those_of_samples(noise: float, bits: int | None, between: str) -> None:
    """Mean, variance and covariance of what two converters with about equal steps, or the second alone, make of a
    Gaussian, with a bias and digital operations in between, equal those of samples."""
    generator = torch.Generator().manual_seed(5)
    step = None if bits is None else torch.tensor(1.03 / TOP, dtype=torch.float64)
    offset = torch.tensor(0.0 if bits is None else 0.013, dtype=torch.float64)
    z = MEANS + noise * torch.randn(DRAWS, MEANS.numel(), generator=generator, dtype=torch.float64)
    x = z if step is None else ((z - offset) / step).round().clamp(-TOP, TOP) * step + offset
    spread = torch.full_like(MEANS, noise**2)
    lattice = Lattice(step=step, offset=offset, top=TOP, mean=MEANS, variance=spread, between=BETWEEN[between])
    x = lattice.value(x)
    q = quantised(x, LIMIT, 6)
    mean, variance = x.mean(0, keepdim=True), x.var(0, keepdim=True)
    found = converted_from(lattice, mean, variance, LIMIT, 6)
    # of a mean, five standard errors and what sampling leaves of a chance; of a variance, of two levels or more
    error = 5 * q.std(0) / DRAWS**0.5 + 1e-6
    assert ((found.mean - q.mean(0)).abs() <= error).all()
    total = found.slope**2 * variance + found.residual
    assert ((total - q.var(0)).abs() <= 0.03 * q.var(0) + 2e-6).all()
    product = ((x - mean) * (q - q.mean(0))).mean(0)
    assert ((found.slope * variance - product).abs() <= 0.03 * (variance * q.var(0)).sqrt() + 2e-6).all()


def test_any_value_is_converted_as_without_a_lattice() -> None:
    """Without levels and without a ReLU the moments are the closed forms of a Gaussian, to 1 % of a step."""
    for noise in (0.01, 0.05, 0.2):
        spread = torch.full_like(MEANS, noise**2)
        lattice = Lattice(step=None, offset=torch.zeros(1), top=0, mean=MEANS, variance=spread)
        found, plain = converted_from(lattice, MEANS, spread, LIMIT, 6), converted(MEANS, spread, LIMIT, 6)
        assert (found.mean - plain.mean).abs().max() < 0.01 / TOP
        assert (found.slope - plain.slope).abs().max() < 0.01
        assert (found.residual - plain.residual).abs().max() < 0.01 / TOP**2


@pytest.mark.slow
@pytest.mark.parametrize("between", ["tanh", "skip connection"])
def test_levels_are_followed_through_operations_on_single_entries(between: str) -> None:
    """Behind them the predicted MSE is within 3 % of simulation too; for Gaussian values it was 4 and 7 % off."""
    torch.manual_seed(1)
    network = pp.from_torch(_Between(between).eval(), (2, 6, 6))
    hardware = pp.Hardware(programming_noise_std=5e-7, dac_bits=7, adc_bits=7)
    inputs = np.random.default_rng(1).normal(size=(8, 2, 6, 6))
    gains = pp.Gains.full_range(network, hardware, inputs)
    simulated = pp.simulate(network, hardware, gains, inputs, draws=1500)
    predicted = pp.predict(network, hardware, gains, inputs)
    assert predicted.mse == pytest.approx(simulated.mse, rel=0.03)
    assert 3 * simulated.mse_standard_error < 0.03 * simulated.mse


def test_four_bit_converters_of_rows_and_columns() -> None:
    """Where the levels of columns meet those of rows, the predicted MSE is within 2 % of simulation."""
    rng = np.random.default_rng(2)
    network = pp.Network.mlp([rng.normal(size=shape) / shape[1] ** 0.5 for shape in ((24, 32), (20, 24), (6, 20))])
    hardware = pp.Hardware(
        conductance_min=1e-6,
        programming_noise_std=1e-6,
        dac_bits=4,
        adc_bits=4,
        feedback_tracking=True,
        adc_range=1.0,
    )
    inputs = rng.integers(0, 17, size=(12, 32)) / 16
    gains = pp.Gains.full_range(network, hardware, inputs)
    simulated = pp.simulate(network, hardware, gains, inputs, draws=1500)
    for method in ("linearized", "covariance"):
        predicted = pp.predict(network, hardware, gains, inputs, method=method)
        assert abs(predicted.mse - simulated.mse) < 0.02 * simulated.mse + 3 * simulated.mse_standard_error
