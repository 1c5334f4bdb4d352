"""Sampled devices have the moments of the (clipped) Gaussian."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import norm

import powerplan as pp
from powerplan import Hardware
from powerplan.hardware.devices import Devices, programming_variance
from powerplan.montecarlo.streams import Streams, _mix

DRAWS = 40_000


@pytest.mark.parametrize("clip", [True, False])
def test_moments(clip: bool) -> None:
    """Clipped: E = μΦ(α) + sφ(α), E[G²] = (μ²+s²)Φ(α) + μsφ(α), α = μ/s; else μ and s²."""
    hardware = Hardware(programming_noise_std=2e-6, programming_noise_proportional=0.05, clip_conductance=clip)
    target = torch.tensor([0.0, 1e-6, 3e-6, 2e-5, 1e-4], dtype=torch.float64)
    std = programming_variance(hardware, target).sqrt()
    normals = torch.empty(DRAWS, 5).normal_(generator=torch.Generator().manual_seed(7))
    devices = Devices.prepare(hardware, target, torch.ones(5, dtype=torch.float64))
    out = torch.empty(DRAWS, 5, dtype=torch.float64)
    sample = devices.sample(lambda: normals, lambda: normals, out).numpy()
    mu, s = target.numpy(), std.numpy()
    alpha = mu / s
    mean, square = mu, mu**2 + s**2
    if clip:
        mean = mu * norm.cdf(alpha) + s * norm.pdf(alpha)
        square = (mu**2 + s**2) * norm.cdf(alpha) + mu * s * norm.pdf(alpha)
        assert sample.min() == 0
    variance = square - mean**2
    assert (np.abs(sample.mean(0) - mean) < 4.5 * np.sqrt(variance / DRAWS)).all()
    fourth = ((sample - mean) ** 4).mean(0)
    assert (np.abs(sample.var(0) - variance) < 4.5 * np.sqrt((fourth - variance**2) / DRAWS)).all()


def test_streams_are_distinct_and_independent() -> None:
    """No two draws share a stream; neighbouring draws and seeds are uncorrelated; the numbers are normal."""
    words = {_mix(k) for k in range(100_000)}
    assert len(words) == 100_000
    samples = []
    for seed in (0, 1):
        streams = Streams(seed, torch.device("cpu"))
        streams.start(range(64))
        samples.append(streams.normal_(torch.empty(64, 2000)).double())
    both = torch.cat(samples)
    correlation = torch.corrcoef(both) - torch.eye(128)
    assert correlation.abs().max() < 5.5 / 2000**0.5
    n = both.numel()
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((both**power).mean() - moment) < 4.5 * (variance / n) ** 0.5


def test_a_stream_does_not_depend_on_its_neighbours() -> None:
    """Draw 5 is the same alone and among others, and continues the same."""
    together, alone = Streams(3, torch.device("cpu")), Streams(3, torch.device("cpu"))
    together.start(range(2, 9))
    alone.start([5])
    for shape in ((4, 5), (3,), (100,)):
        a = together.normal_(torch.empty(7, *shape))[3]
        assert torch.equal(a, alone.normal_(torch.empty(1, *shape))[0])


@pytest.mark.parametrize("fields", [{}, {"weight_mapping": "offset"}, {"device_gain_std": 0.05}])
def test_stuck_devices_are_the_same_in_both_precisions(fields: dict[str, Any]) -> None:
    """The chance to be stuck is drawn beside the normal that decides a device, not over it."""
    rng = np.random.default_rng(0)
    network = pp.Network.mlp([rng.normal(size=(5, 8))])
    inputs = rng.normal(size=(4, 8))
    hardware = Hardware(stuck_on_fraction=0.02, stuck_off_fraction=0.1, conductance_min=1e-6, **fields)
    gains = pp.Gains.full_range(network, hardware, inputs)
    single, double = (
        pp.simulate(network, hardware, gains, inputs, draws=200, seed=1, dtype=dtype)
        for dtype in ("float32", "float64")
    )
    assert single.mse == pytest.approx(double.mse, rel=1e-3)
    assert single.power == pytest.approx(double.power, rel=1e-4)
    predicted = pp.predict(network, hardware, gains, inputs)
    assert double.mse == pytest.approx(predicted.mse, abs=4.5 * double.mse_standard_error)
