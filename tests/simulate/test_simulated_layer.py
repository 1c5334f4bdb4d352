"""A linear layer has closed forms for everything the simulator estimates.

With Gaussian devices (not clipped), D± = c_i (column gains), m_j = mean_b x_bj², V = v x:
    z − y* has mean 0 and, for one input, variance
        Σ_j (s²(G⁺_ij) + s²(G⁻_ij)) x_j² / c_i²  +  σ_I²/(c_i v)²  +  (σ_V/v)² Σ_j (W_ij² + (s⁺² + s⁻²)/c_i²)
    and outputs (columns) share only the row noise: Cov(z_i, z_k) = (σ_V/v)² Σ_j W_ij W_kj.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from random_networks import batch, mlp

import powerplan as pp

DRAWS = 6000

BASE = {"clip_conductance": False, "programming_noise_std": 2e-6}
CASES = {
    "constant": BASE,
    "conductance_min": {**BASE, "conductance_min": 10e-6},
    "proportional": {**BASE, "programming_noise_std": 0.0, "programming_noise_proportional": 0.1},
    "polynomial": {**BASE, "conductance_min": 5e-6, "programming_noise_polynomial": (1e-6, 5e-6, -3e-6)},
    "read_noise": {**BASE, "read_noise_std": 4e-7},
    "input_noise": {**BASE, "input_noise_std": 2e-2},
    "tia": {**BASE, "feedback_resistance": 2e4},
    "everything": {
        **BASE,
        "conductance_min": 4e-6,
        "programming_noise_proportional": 0.05,
        "read_noise_std": 2e-7,
        "input_noise_std": 1e-2,
        "feedback_resistance": 1e4,
    },
}


@dataclass(frozen=True)
class Truth:
    mean: np.ndarray
    covariance: np.ndarray
    power: float


def truth(network: pp.Network, hardware: pp.Hardware, gains: pp.Gains, x: np.ndarray) -> Truth:
    """The closed forms, written independently of the simulator."""
    weight, bias = (network.crossbars[0].op.tensors()[key] for key in ("weight", "bias"))
    c = np.broadcast_to(np.asarray(gains.conductance[0]), weight.shape[0])[:, None]
    v = gains.voltage[0]
    sigma_v = hardware.input_noise_std
    target = np.stack([hardware.conductance_min + c * np.maximum(sign * weight, 0) for sign in (1, -1)])
    polynomial = sum(
        a * (target / hardware.polynomial_reference) ** k
        for k, a in enumerate(hardware.programming_noise_polynomial or ())
    )
    s2 = (
        hardware.programming_noise_std**2
        + (hardware.programming_noise_proportional * target) ** 2
        + np.maximum(polynomial, 0) ** 2
    )
    voltage2 = v**2 * x**2 + sigma_v**2  # E[V²], (B, n_in)
    per_output = voltage2 @ s2.sum(0).T / (c[:, 0] * v) ** 2 + (hardware.read_noise_std / (c[:, 0] * v)) ** 2
    covariance = np.stack([np.diag(q) for q in per_output]) + (sigma_v / v) ** 2 * weight @ weight.T
    power = (target.sum(0) * voltage2.mean(0)).sum()
    if hardware.feedback_resistance:
        mean_current2 = ((v * x) @ target.transpose(0, 2, 1)) ** 2
        current2 = mean_current2 + voltage2 @ s2.transpose(0, 2, 1) + sigma_v**2 * (target**2).sum(2)[:, None]
        power += hardware.feedback_resistance * current2.mean(1).sum()
    return Truth(mean=x @ weight.T + bias, covariance=covariance, power=float(power))


@pytest.mark.parametrize("columns", [False, True], ids=["layer_gain", "column_gains"])
@pytest.mark.parametrize("case", CASES)
def test_matches_closed_forms(case: str, columns: bool) -> None:
    """MSE, mean, covariance and power agree within 4.5 standard errors, and those errors are small."""
    network, x = mlp(7, 5), batch(6, 7)
    hardware = pp.Hardware(**CASES[case])
    gains = pp.Gains.full_range(network, hardware, x)
    if columns:
        gains = pp.Gains(conductance=(gains.conductance[0] * np.linspace(0.4, 1, 5),), voltage=gains.voltage)
    exact = truth(network, hardware, gains, x)
    result = pp.simulate(network, hardware, gains, x, draws=DRAWS, seed=3)

    variance = np.einsum("bkk->bk", exact.covariance)
    assert result.mse_standard_error < 0.02 * result.mse
    assert abs(result.mse - variance.mean()) < 4.5 * result.mse_standard_error
    np.testing.assert_allclose(result.ideal_output, exact.mean, rtol=1e-12)
    assert (np.abs(result.output_mean - exact.mean) < 4.5 * np.sqrt(variance / DRAWS)).all()
    # standard error of a Gaussian sample covariance
    error = np.sqrt((variance[:, :, None] * variance[:, None, :] + exact.covariance**2) / DRAWS)
    assert (np.abs(result.output_covariance - exact.covariance) < 4.5 * error).all()
    by_output = np.abs(result.mse_by_output - variance.mean(0))
    assert (by_output < 4.5 * result.mse_by_output_standard_error).all()
    assert result.power_standard_error < 0.01 * result.power
    assert abs(result.power - exact.power) < 4.5 * result.power_standard_error
    assert result.energy == pytest.approx(result.power * hardware.read_time)


def test_layer_moments_of_the_last_layer_are_those_of_the_output() -> None:
    """One linear layer: its decoded output is the network's output."""
    network, x = mlp(7, 5), batch(6, 7)
    hardware = pp.Hardware()
    gains = pp.Gains.full_range(network, hardware, x)
    result = pp.simulate(network, hardware, gains, x, draws=300, layer_moments="covariance")
    (layer,) = result.layers
    assert layer.name == network.layer_names[0]
    np.testing.assert_array_equal(layer.mean, result.output_mean)
    np.testing.assert_array_equal(layer.covariance, result.output_covariance)
    np.testing.assert_array_equal(layer.variance, np.einsum("bkk->bk", layer.covariance))


def test_layer_variance_needs_no_covariance() -> None:
    """ "variance" gives the diagonal of "covariance", in every layer."""
    network, x = mlp(7, 6, 5), batch(6, 7)
    hardware = pp.Hardware()
    gains = pp.Gains.full_range(network, hardware, x)
    both = [
        pp.simulate(network, hardware, gains, x, draws=200, layer_moments=m).layers for m in ("variance", "covariance")
    ]
    for lean, full in zip(*both, strict=True):
        assert lean.covariance is None
        np.testing.assert_allclose(lean.variance, full.variance, rtol=1e-9)
        np.testing.assert_allclose(lean.mean, full.mean, rtol=1e-12)
