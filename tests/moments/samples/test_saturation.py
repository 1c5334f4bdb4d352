"""Converters under errors that are not Gaussian, or that all columns have in common."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import powerplan as pp
from powerplan.moments.conversion.staircase import Converted, converted
from powerplan.moments.samples.converters import ConverterSamples, saturated, saturation_of
from powerplan.moments.samples.count import needs_corrections

FINE = {"programming_noise_std": 2e-7, "conductance_min": 1e-6}
STUCK = {**FINE, "stuck_on_fraction": 0.002}
DIVIDER = {"read_out": "divider", "load_conductance": 1e-2}


def gaussian(limit: float) -> tuple[ConverterSamples, Converted, torch.Tensor, torch.Tensor]:
    """Fields of a Gaussian, held within ± a limit, with the closed form."""
    mean = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)
    variance = torch.full_like(mean, 0.3)
    before = variance.sqrt().unsqueeze(1) * torch.randn(
        3, 20_000, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    behind = (mean.unsqueeze(1) + before).clamp(-limit, limit) - mean.unsqueeze(1)
    found = converted(mean, variance, torch.tensor(limit, dtype=torch.float64), None)
    return ConverterSamples(before, behind, True), found, mean, variance


@pytest.mark.parametrize("limit", [0.8, 100.0])
def test_a_gaussian_needs_no_correction(limit: float) -> None:
    """Slope, residual and shift of the closed form are those of 20 000 samples, within 2 %; exactly so if nothing is
    held."""
    found = saturation_of(*gaussian(limit))
    slack = 0.02 if limit < 1 else 1e-9
    assert abs(float(found.slope) - 1) < slack
    assert found.residual.min() > 1 - 2 * slack
    assert found.added.max() < slack
    assert found.shift.abs().max() < slack


def test_a_corrected_converter_has_the_moments_of_its_samples() -> None:
    """Of values that hardly move, but for a few that go far beyond the limit: mean, and variance on average to 20 %
    (one slope for all values, whether they are beyond the limit or not)."""
    _, closed, mean, variance = gaussian(0.8)
    generator = torch.Generator().manual_seed(1)
    rare = torch.rand(3, 20_000, 4, generator=generator, dtype=torch.float64) < 0.01
    before = rare * (0.3 / 0.01) ** 0.5 * (1.0 - 2 * (torch.rand(rare.shape, generator=generator) < 0.5).double())
    behind = (mean.unsqueeze(1) + before).clamp(-0.8, 0.8) - mean.unsqueeze(1)
    samples = ConverterSamples(before, behind, True)
    found = saturation_of(samples, closed, mean, variance)
    conversion = found.apply(closed, variance)
    after = behind.var(1)
    assert closed.variance(variance).mean() > 5 * after.mean()  # what a Gaussian would do
    assert conversion.variance(variance).mean() == pytest.approx(float(after.mean()), rel=0.2)
    assert (conversion.mean - mean - behind.mean(1)).abs().max() < 0.02
    part = saturated(samples, closed, found, variance)
    assert abs(float((part.linear * (part.whole - part.linear)).mean())) < 1e-3 * float(after.mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "alone"),
    [
        ({**STUCK, "array_rows": 16, "dac_bits": 6, "adc_bits": 6}, 0.05),
        ({**STUCK, **DIVIDER, "array_rows": 16, "dac_bits": 6}, 0.03),
        ({**FINE, "weight_mapping": "offset", "input_noise_std": 3e-3, "adc_bits": 8, "bias_mapping": "row"}, 0.1),
    ],
    ids=["stuck, tiles", "stuck, divider", "noise of all columns"],
)
def test_converters_of_what_is_not_gaussian(
    fields: dict[str, object], alone: float, digits_example: pp.Example
) -> None:
    """MSE within 2 % of the simulation; Gaussian and independent from column to column it is 5 to 15 % off here."""
    network, x = digits_example.network, digits_example.inputs[:24]
    hardware = pp.Hardware(**fields)  # type: ignore[arg-type]
    gains = pp.Gains.full_range(network, hardware, x)
    found = pp.predict(network, hardware, gains, x)
    simulated = pp.simulate(network, hardware, gains, x, draws=20_000, relative_standard_error=0.01, dtype="float32")
    error = simulated.mse_standard_error / simulated.mse
    assert abs(found.mse / simulated.mse - 1) < 0.02 + 3 * error
    assert abs(pp.predict(network, hardware, gains, x, marginal_fields=0).mse / simulated.mse - 1) > alone
    assert found.power == pytest.approx(simulated.power, rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("mapping", ["shared", "unrolled"])
def test_converters_of_kernels_with_stuck_devices(mapping: str) -> None:
    """Row tiles and an ADC for devices that serve several positions, or an array for each of them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        module = torch.nn.Sequential(
            *(torch.nn.Conv2d(2, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(16, 12, 3), torch.nn.ReLU()),
            *(torch.nn.AvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(48, 4)),
        )
    network, x = pp.from_torch(module, (2, 6, 6)), np.random.default_rng(3).uniform(size=(6, 2, 6, 6))
    hardware = pp.Hardware(**STUCK, mapping=mapping, array_rows=40, dac_bits=8, adc_bits=8)  # type: ignore[arg-type]
    gains = pp.Gains.full_range(network, hardware, x)
    simulated = pp.simulate(
        network, hardware, gains, x, draws=4000, relative_standard_error=0.025, seed=1, dtype="float32"
    )
    assert simulated.mse_standard_error < 0.03 * simulated.mse
    found = pp.predict(network, hardware, gains, x, sampling_error=0.02)
    error = np.hypot(simulated.mse_standard_error, found.mse_standard_error) / simulated.mse
    assert abs(found.mse / simulated.mse - 1) < 0.02 + 3 * error


@pytest.mark.slow
def test_errors_that_all_columns_have_in_common_get_samples(digits_example: pp.Example) -> None:
    """One device per weight and converters of the columns; not without one of them."""
    alike = pp.Hardware(weight_mapping="offset", adc_bits=8)
    network = digits_example.network
    assert needs_corrections(network, alike)
    for change in ({"weight_mapping": "differential"}, {"adc_bits": None}):
        assert not needs_corrections(network, alike.replace(**change))


@pytest.mark.slow
def test_plans_with_such_converters_meet_their_target(digits_example: pp.Example) -> None:
    """The prediction at the plan's gains is on the bound, or below where levels of converters do not allow it."""
    network, x = digits_example.network, digits_example.inputs[:8]
    hardware = pp.Hardware(**STUCK, dac_bits=8, adc_bits=8, adc_energy=1e-13)  # type: ignore[arg-type]
    least = pp.predict(network, hardware, pp.Gains.full_range(network, hardware, x), x).nmse
    plan = pp.plan(network, hardware, x, pp.MaxNMSE(1.5 * least))
    assert plan.termination.outcome in (pp.Outcome.OPTIMAL, pp.Outcome.STALLED)
    assert 0.97 * 1.5 * least < pp.predict(network, hardware, plan.gains, x).nmse < 1.01 * 1.5 * least
