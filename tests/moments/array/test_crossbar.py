"""One programmed crossbar: closed forms, and Monte Carlo over devices drawn here, independently of the simulator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

import powerplan as pp
from powerplan.hardware.devices import device_moments
from powerplan.moments.array.constants import ArrayConstants
from powerplan.moments.array.power import array_power, tia_power
from powerplan.moments.array.program import program
from powerplan.moments.array.programmed import ProgrammedArray
from powerplan.moments.array.reading import Reading
from powerplan.moments.sources import errors_of

RNG = np.random.default_rng(5)
WEIGHT = RNG.normal(size=(4, 6)) * [[1.0], [0.5], [2.0], [1.0]]
WEIGHT[1, 2] = WEIGHT[3, 0] = 0.0
BIAS = np.array([0.3, -0.2, 0.0, 1.0])
NETWORK = pp.Network.mlp([WEIGHT], [BIAS])
MEAN = RNG.normal(size=(3, 6))
ROOT = 0.4 * RNG.normal(size=(3, 6, 6))
COVARIANCE = ROOT @ ROOT.transpose(0, 2, 1)
VARIANCE = np.einsum("bii->bi", COVARIANCE)
SQUARE = MEAN**2 + VARIANCE
C = 100e-6 / np.abs(WEIGHT).max() * 0.8
COLUMNS = C * np.array([1.0, 1.2, 0.7, 0.3])
V = 0.05


def reading(
    array: ProgrammedArray, mean: torch.Tensor, variance: torch.Tensor, covariance: torch.Tensor | None = None
) -> Reading:
    return Reading(array=array, mean=mean, variance=variance, covariance=covariance)


def injected(array: ProgrammedArray, mean: torch.Tensor, variance: torch.Tensor, *kinds: str) -> torch.Tensor:
    """Variance that sources of these kinds add to the outputs, (B, n)."""
    found = [e.output_variance for e in errors_of(reading(array, mean, variance), array.whole) if e.kind in kinds]
    return sum(found, torch.zeros(len(mean), array.map.n_out, dtype=mean.dtype))


def at(hardware: pp.Hardware, conductance: float | np.ndarray = C, network: pp.Network = NETWORK) -> ProgrammedArray:
    (crossbar,) = ArrayConstants.all_of(network, hardware, torch.float64)
    gain = torch.tensor(conductance, dtype=torch.float64)
    return program(crossbar, hardware, gain, torch.tensor(V, dtype=torch.float64))


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.tensor(array, dtype=torch.float64)


@pytest.mark.parametrize("gain", [C, COLUMNS], ids=["layer_gain", "column_gains"])
def test_constant_noise(gain: float | np.ndarray) -> None:
    """q_i = 2σ² Σ_j m_j / c_i²: the factor 2 is the differential pair; the mean weights are the weights."""
    hardware = pp.Hardware(programming_noise_std=3e-6, clip_conductance=False)
    found = at(hardware, gain)
    q = 2 * 3e-6**2 * SQUARE.sum(1)[:, None] / np.broadcast_to(gain, 4) ** 2
    np.testing.assert_allclose(injected(found, tensor(MEAN), tensor(VARIANCE), "programming"), q, rtol=1e-13)
    np.testing.assert_array_equal(found.mean_weight, WEIGHT)
    np.testing.assert_allclose(found.mean(tensor(MEAN)), MEAN @ WEIGHT.T + BIAS, rtol=1e-13)


@pytest.mark.parametrize("gain", [C, COLUMNS], ids=["layer_gain", "column_gains"])
def test_read_noise(gain: float | np.ndarray) -> None:
    """σ_I²/(c_i v)² at every output, whatever the input."""
    found = at(pp.Hardware(programming_noise_std=0, read_noise_std=2e-8), gain)
    moments = tensor(MEAN), tensor(VARIANCE)
    read = np.broadcast_to((2e-8 / (np.broadcast_to(gain, 4) * V)) ** 2, (3, 4))
    np.testing.assert_allclose(injected(found, *moments, "read"), read, rtol=1e-13)
    np.testing.assert_array_equal(injected(found, *moments, "programming"), 0)


def test_row_noise() -> None:
    """σ_V²/v² on every input: it passes through the mean weights, and through the devices' own noise."""
    hardware = pp.Hardware(programming_noise_std=1e-6, clip_conductance=False, input_noise_std=4e-3)
    found = at(hardware)
    np.testing.assert_allclose(found.row_noise, np.full((1, 6), (4e-3 / V) ** 2), rtol=1e-14)
    squares = (WEIGHT**2 + 2 * 1e-6**2 / C**2).sum(1)
    row = np.broadcast_to(squares * (4e-3 / V) ** 2, (3, 4))
    np.testing.assert_allclose(injected(found, tensor(MEAN), tensor(VARIANCE), "row"), row, rtol=1e-13)


def test_proportional_noise() -> None:
    """s = ρG without clipping and with G_min = 0: q_i = ρ² Σ_j W_ij² m_j, whatever the gain."""
    hardware = pp.Hardware(programming_noise_std=0, programming_noise_proportional=0.07, clip_conductance=False)
    for gain in (C, COLUMNS, C / 100):
        q = injected(at(hardware, gain), tensor(MEAN), tensor(VARIANCE), "programming")
        np.testing.assert_allclose(q, 0.07**2 * SQUARE @ (WEIGHT**2).T, rtol=1e-12)


def test_array_power() -> None:
    """v² Σ_ij (2 G_min + c_i |W_ij|) m_j, mean over the batch; row noise adds σ_V² to the squared voltages."""
    hardware = pp.Hardware(conductance_min=3e-6, clip_conductance=False, input_noise_std=1e-3)
    for gain in (C, COLUMNS):
        conductance = 6e-6 + np.broadcast_to(gain, 4)[:, None] * np.abs(WEIGHT)
        power = (conductance * (V**2 * SQUARE.mean(0) + 1e-3**2)).sum()
        assert float(array_power(reading(at(hardware, gain), tensor(MEAN), tensor(VARIANCE)))) == pytest.approx(
            power, rel=1e-12
        )


def test_tia_power() -> None:
    """R_f Σ_i E[I±_i²] with I± = G± V: (G E[x xᵀ] Gᵀ)_ii + s² Σ m, for correlated and for independent inputs."""
    hardware = pp.Hardware(
        conductance_min=3e-6, programming_noise_std=2e-6, clip_conductance=False, feedback_resistance=5e3
    )
    sides = [3e-6 + COLUMNS[:, None] * np.maximum(sign * WEIGHT, 0) for sign in (1, -1)]
    variance = np.einsum("bii->bi", COVARIANCE)
    for joint in (COVARIANCE, None):
        full = np.stack([np.diag(v) for v in variance]) if joint is None else joint
        second = full + MEAN[:, :, None] * MEAN[:, None, :]
        currents = [np.einsum("ij,bjk,ik->b", g, second, g) + 4 * 2e-6**2 * SQUARE.sum(1) for g in sides]
        power = 5e3 * V**2 * sum(currents).mean()
        found = tia_power(
            reading(at(hardware, COLUMNS), tensor(MEAN), tensor(variance), None if joint is None else tensor(joint))
        )
        assert float(found) == pytest.approx(power, rel=1e-12)
    assert float(tia_power(reading(at(pp.Hardware()), tensor(MEAN), tensor(variance)))) == 0


def test_clipping_biases_the_weights() -> None:
    """A pair holding weight 0 has no bias; far from zero the shift is that of the idle device, −0.4 σ / c."""
    sigma = 2e-6
    found = at(pp.Hardware(programming_noise_std=sigma))
    large = np.abs(WEIGHT) * C > 10 * sigma
    shift = (found.mean_weight.numpy() - WEIGHT) * np.sign(WEIGHT)
    np.testing.assert_allclose(shift[large], -sigma / np.sqrt(2 * np.pi) / C, rtol=1e-12)
    assert found.mean_weight[1, 2] == found.mean_weight[3, 0] == 0
    assert (np.sign(found.mean_weight.numpy()) == np.sign(WEIGHT)).all()


def test_zero_weights_and_no_noise() -> None:
    """A layer of zeros injects only the noise of idle devices; without noise nothing is injected at all."""
    zeros = pp.Network.mlp([np.zeros((4, 6))])
    layer = at(pp.Hardware(programming_noise_std=2e-6, clip_conductance=False), 1e-4, zeros)
    q = injected(layer, tensor(MEAN), tensor(VARIANCE), "programming")
    np.testing.assert_allclose(q, np.tile(2 * 0.02**2 * SQUARE.sum(1)[:, None], 4), rtol=1e-12)
    for clip in (True, False):
        quiet = at(pp.Hardware(programming_noise_std=0, clip_conductance=clip))
        assert not injected(quiet, tensor(MEAN), tensor(VARIANCE), "programming").any()
        np.testing.assert_array_equal(quiet.mean_weight, WEIGHT)


CASES = {
    "constant": {"clip_conductance": False, "programming_noise_std": 4e-6},
    "clipped": {"programming_noise_std": 4e-6},
    "clipped_wide": {"programming_noise_std": 40e-6},
    "conductance_min": {"programming_noise_std": 4e-6, "conductance_min": 3e-6},
    "polynomial": {
        "programming_noise_std": 0.0,
        "programming_noise_polynomial": (2e-6, 9e-6, -6e-6),
        "programming_noise_reference": 80e-6,
        "conductance_min": 1e-6,
    },
    "polynomial_below_zero": {
        "programming_noise_std": 1e-6,
        "programming_noise_polynomial": (-4e-6, 20e-6),
        "clip_conductance": False,
    },
    "proportional": {"programming_noise_std": 0.0, "programming_noise_proportional": 0.3},
    "everything": {
        "programming_noise_std": 3e-6,
        "programming_noise_proportional": 0.1,
        "programming_noise_polynomial": (1e-6, 4e-6),
        "conductance_min": 2e-6,
        "read_noise_std": 1e-7,
        "input_noise_std": 5e-3,
    },
}


@dataclass(frozen=True)
class Estimate:
    """Mean over draws and its standard error."""

    mean: np.ndarray
    error: np.ndarray

    @classmethod
    def of(cls, draws: np.ndarray) -> Estimate:
        return cls(mean=draws.mean(0), error=draws.std(0, ddof=1) / np.sqrt(len(draws)))

    def check(self, predicted: object) -> None:
        """Within 4.5 standard errors, in every entry."""
        away = np.abs(np.asarray(predicted) - self.mean)
        assert (away <= 4.5 * self.error + 1e-12 * np.abs(self.mean)).all(), (away / self.error).max()


def monte_carlo(hardware: pp.Hardware, gain: np.ndarray, draws: int) -> dict[str, Estimate]:
    """Devices, inputs and noises drawn at random: mean and second moments of z, array and TIA power."""
    rng = np.random.default_rng(11)
    target = hardware.conductance_min + gain[:, None] * np.stack([np.maximum(WEIGHT, 0), np.maximum(-WEIGHT, 0)])
    u = target / (hardware.programming_noise_reference or hardware.conductance_max)
    polynomial = sum(a * u**k for k, a in enumerate(hardware.programming_noise_polynomial or ()))
    std = np.sqrt(
        hardware.programming_noise_std**2
        + (hardware.programming_noise_proportional * target) ** 2
        + np.maximum(polynomial, 0) ** 2
    )
    g = target + std * rng.normal(size=(draws, *target.shape))
    if hardware.clip_conductance:
        g = np.maximum(g, 0)
    b = 1  # one input of the batch, random around its mean
    x = MEAN[b] + rng.normal(size=(draws, 6)) @ ROOT[b].T
    volts = V * x + hardware.input_noise_std * rng.normal(size=(draws, 6))
    currents = np.einsum("dsij,dj->dsi", g, volts)
    noise = hardware.read_noise_std * rng.normal(size=(draws, 4))
    z = (currents[:, 0] - currents[:, 1] + noise) / (gain * V) + BIAS
    centred = z - z.mean(0)
    return {
        "mean": Estimate.of(z),
        "covariance": Estimate.of(centred[:, :, None] * centred[:, None, :]),
        "array": Estimate.of((g.sum((1, 2)) * volts**2).sum(1)),
        "tia": Estimate.of((currents**2).sum((1, 2))),
    }


@pytest.mark.slow
@pytest.mark.parametrize("columns", [False, True], ids=["layer_gain", "column_gains"])
@pytest.mark.parametrize("case", CASES)
def test_against_monte_carlo(case: str, columns: bool) -> None:
    """Mean, covariance, array and TIA power of a crossbar with random correlated inputs."""
    hardware = pp.Hardware(**CASES[case], feedback_resistance=1.0)
    gain = COLUMNS if columns else np.full(4, C)
    found = at(hardware, COLUMNS if columns else C)
    expected = monte_carlo(hardware, gain, 60_000)
    mean, joint = tensor(MEAN[1:2]), tensor(COVARIANCE[1:2])
    own = errors_of(reading(found, mean, tensor(VARIANCE[1:2])), found.whole)
    weight = found.mean_weight
    covariance = weight @ joint[0] @ weight.T + sum(part.covariance(joint)[0] for part in own)
    expected["mean"].check(found.mean(mean)[0])
    expected["covariance"].check(covariance)
    expected["array"].check(array_power(reading(found, mean, tensor(VARIANCE[1:2]))))
    expected["tia"].check(tia_power(reading(found, mean, joint.diagonal(dim1=1, dim2=2), joint)))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("columns", [False, True], ids=["layer_gain", "column_gains"])
def test_derivatives_in_the_gains(case: str, columns: bool) -> None:
    """What planning differentiates: weights, injected error and power in the conductance and voltage gains."""
    hardware = pp.Hardware(**CASES[case], feedback_resistance=1e4)
    (crossbar,) = ArrayConstants.all_of(NETWORK, hardware, torch.float64)

    def value(log_gain: torch.Tensor, log_volt: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = program(crossbar, hardware, log_gain.exp(), log_volt.exp())
        moments = tensor(MEAN), tensor(VARIANCE)
        own = injected(found, *moments, "programming"), injected(found, *moments, "read", "column_gain", "row")
        power = array_power(reading(found, *moments)) + tia_power(reading(found, *moments))
        zero = 0 * (log_gain.sum() + log_volt)  # what does not depend on a gain is checked as well
        return found.mean_weight + zero, own[0] + zero, own[1] + zero, 1e3 * power

    gain = torch.tensor(np.log(COLUMNS if columns else C), requires_grad=True)
    volt = torch.tensor(np.log(V), requires_grad=True)
    assert torch.autograd.gradcheck(value, (gain, volt), eps=1e-5, atol=1e-7, rtol=1e-5)


def test_device_moments_keep_the_target_without_clipping() -> None:
    """Mean g(G) = G; s²(G) as stated, scalar where it is the same for all."""
    target = tensor(np.array([0.0, 20e-6, 80e-6]))
    mean, variance = device_moments(pp.Hardware(programming_noise_std=1e-6, clip_conductance=False), target)
    np.testing.assert_array_equal(mean, target)
    np.testing.assert_allclose(variance, 1e-12, rtol=1e-14)
    hardware = pp.Hardware(
        programming_noise_std=1e-6,
        programming_noise_proportional=0.1,
        programming_noise_polynomial=(1e-6, -5e-6, 10e-6),
        clip_conductance=False,
    )
    u = target.numpy() / 100e-6
    exact = 1e-12 + (0.1 * target.numpy()) ** 2 + np.maximum(1e-6 - 5e-6 * u + 10e-6 * u**2, 0) ** 2
    np.testing.assert_allclose(device_moments(hardware, target)[1], exact, rtol=1e-13)
