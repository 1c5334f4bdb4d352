"""Predictions against the simulator, on the example networks: error, power, moments of layers, accuracy.

The programming noise of each case is set to give a wanted NMSE. Bounds hold for the prediction; where the Monte
Carlo error is not negligible beside a bound, a stated number of standard errors is added.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

import powerplan as pp
from benchmarks.accuracy import noise_for_nmse
from powerplan.examples import Example

#: largest relative standard error of a simulated MSE: half of the least bound
PRECISE = 0.01


@pytest.fixture
def example(request: pytest.FixtureRequest) -> Callable[[str], Example]:
    """An example network by name, trained once for the whole run."""
    return lambda name: request.getfixturevalue(f"{name}_example")


def full_range(example: Example, hardware: pp.Hardware) -> pp.Gains:
    return pp.Gains.full_range(example.network, hardware, example.inputs)


def simulate_precisely(example: Example, hardware: pp.Hardware) -> pp.Simulation:
    """Simulated until the standard error of the MSE is below 1 %."""
    gains = full_range(example, hardware)
    result = pp.simulate(
        example.network, hardware, gains, example.inputs, draws=40_000, relative_standard_error=PRECISE
    )
    assert result.mse_standard_error <= PRECISE * result.mse
    return result


def check_mse_and_power(example: Example, hardware: pp.Hardware, nmse: float) -> None:
    """MSE within 2 % (5 % beyond NMSE 10 %); power within 1 %, that of each layer too (3 % beyond NMSE 10 %).

    Two standard errors of the simulated MSE, each 1 % at most, are added to its bound: what is 6 % off fails. Three are
    added to the bounds of the layers: the last one's is a third of a percent.
    """
    simulated = simulate_precisely(example, hardware)
    predicted = pp.predict(example.network, hardware, full_range(example, hardware), example.inputs)
    assert predicted.nmse == pytest.approx(nmse, rel=0.01)
    away, bound = abs(predicted.mse - simulated.mse), 0.02 if nmse <= 0.1 else 0.05
    assert away <= bound * simulated.mse + 2 * simulated.mse_standard_error
    assert predicted.power == pytest.approx(simulated.power, rel=0.01)
    bound = 0.01 if nmse <= 0.1 else 0.03
    away = np.abs(predicted.power_by_layer - simulated.power_by_layer)
    allowed = bound * simulated.power_by_layer + 3 * simulated.power_by_layer_standard_error
    assert (away <= allowed).all(), away / simulated.power_by_layer


def check_by_output(predicted: pp.Prediction, simulated: pp.Simulation, *, errors: float) -> None:
    """Per-output MSE within 1 % at the median and 4 % at worst, ``errors`` standard errors added."""
    away = np.abs(predicted.mse_by_output / simulated.mse_by_output - 1)
    noise = errors * simulated.mse_by_output_standard_error / simulated.mse_by_output
    assert np.median(away) <= 0.01 + np.median(noise)
    assert (away <= 0.04 + noise).all(), away


@pytest.mark.slow
@pytest.mark.parametrize("clip", [True, False], ids=["clipped", "unclipped"])
@pytest.mark.parametrize("name", ["iris", "digits"])
def test_mse_and_power_at_one_percent(example: Callable[[str], Example], name: str, clip: bool) -> None:
    """The quick one of the series below."""
    chosen = example(name)
    hardware = pp.Hardware(clip_conductance=clip, feedback_resistance=1e4)
    check_mse_and_power(chosen, noise_for_nmse(chosen, 0.01, hardware), 0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "clip", "nmse"),
    [
        *itertools.product(("iris", "digits"), (True, False), (0.001, 0.1, 0.5)),
        *itertools.product(("mnist",), (True,), (0.01, 0.5)),
        ("mnist", False, 0.1),
    ],
)
def test_mse_and_power(example: Callable[[str], Example], name: str, clip: bool, nmse: float) -> None:
    """Within 2 % at NMSE 0.1 %, 1 %, 10 %; within 5 % at 50 %; power within 1 %, TIA included."""
    chosen = example(name)
    hardware = pp.Hardware(clip_conductance=clip, feedback_resistance=1e4)
    check_mse_and_power(chosen, noise_for_nmse(chosen, nmse, hardware), nmse)


@pytest.mark.parametrize("field", ["read_noise_std", "input_noise_std"])
@pytest.mark.parametrize("name", ["iris", "digits", pytest.param("mnist", marks=pytest.mark.slow)])
def test_mse_with_read_and_row_noise(example: Callable[[str], Example], name: str, field: str) -> None:
    """Half of the error from read noise, or from row noise: within 2 % as well, at NMSE 2 %."""
    chosen = example(name)
    unit = {"read_noise_std": 1e-8, "input_noise_std": 1e-4}[field]
    alone = pp.Hardware(programming_noise_std=0, **{field: unit})
    one = pp.predict(chosen.network, alone, full_range(chosen, alone), chosen.inputs).nmse
    half = pp.Hardware(**{field: unit * np.sqrt(0.01 / one)})
    hardware = noise_for_nmse(chosen, 0.02, half)
    without = pp.predict(
        chosen.network, hardware.replace(**{field: 0}), full_range(chosen, hardware), chosen.inputs
    ).nmse
    assert without == pytest.approx(0.01, rel=0.2)
    check_mse_and_power(chosen, hardware, 0.02)


@pytest.mark.slow
@pytest.mark.parametrize("nmse", [0.01, 0.1])
@pytest.mark.parametrize("clip", [True, False], ids=["clipped", "unclipped"])
@pytest.mark.parametrize(("name", "draws"), [("iris", 22_500), ("digits", 9000)])
def test_mse_of_every_output(example: Callable[[str], Example], name: str, draws: int, clip: bool, nmse: float) -> None:
    """Within 1 % at the median and 4 % at worst; the simulation's own errors are below 1 %."""
    chosen = example(name)
    hardware = noise_for_nmse(chosen, nmse, pp.Hardware(clip_conductance=clip))
    gains = full_range(chosen, hardware)
    simulated = pp.simulate(chosen.network, hardware, gains, chosen.inputs, draws=draws)
    assert (simulated.mse_by_output_standard_error < PRECISE * simulated.mse_by_output).all()
    predicted = pp.predict(chosen.network, hardware, gains, chosen.inputs)
    check_by_output(predicted, simulated, errors=0)


@pytest.mark.slow
def test_mse_of_every_output_mnist(example: Callable[[str], Example]) -> None:
    """The same at NMSE 10 % with fewer draws and two standard errors allowed: benchmarks/accuracy.py has all."""
    chosen = example("mnist")
    hardware = noise_for_nmse(chosen, 0.1, pp.Hardware())
    gains = full_range(chosen, hardware)
    simulated = pp.simulate(chosen.network, hardware, gains, chosen.inputs, draws=1200)
    assert (simulated.mse_by_output_standard_error < 0.025 * simulated.mse_by_output).all()
    predicted = pp.predict(chosen.network, hardware, gains, chosen.inputs)
    check_by_output(predicted, simulated, errors=2)


@pytest.mark.parametrize(
    ("name", "inputs", "draws", "nmse", "clip"),
    [
        *(("iris", 8, 10_000, 0.1, clip) for clip in (True, False)),
        *(
            pytest.param(*case, nmse, clip, marks=pytest.mark.slow)
            for case in (("iris", 32, 30_000), ("digits", 16, 12_000))
            for nmse, clip in itertools.product((0.01, 0.1), (True, False))
        ),
        pytest.param("mnist", 1, 800, 0.1, True, marks=pytest.mark.slow),
    ],
)
def test_moments_of_every_layer(
    example: Callable[[str], Example], name: str, inputs: int, draws: int, nmse: float, clip: bool
) -> None:
    """Mean, variance and covariance by ``covariance``: 3 % beyond the Monte Carlo error.

    As a whole (Frobenius norm), in every entry (against s_i s_j), and along the ten largest principal axes of every
    input's covariance, which the Monte Carlo error of single entries would hide.
    """
    chosen = example(name)
    hardware = noise_for_nmse(chosen, nmse, pp.Hardware(clip_conductance=clip))
    gains, x = full_range(chosen, hardware), chosen.inputs[:inputs]
    predicted = pp.predict(chosen.network, hardware, gains, x, method="covariance")
    simulated = pp.simulate(
        chosen.network, hardware, gains, x, draws=draws, layer_moments="covariance", memory_limit=1 << 30
    )
    norm = np.linalg.norm
    for found, true in zip(predicted.layers, simulated.layers, strict=True):
        std = np.sqrt(true.variance)
        mean_error = std / np.sqrt(draws)
        product = std[:, :, None] * std[:, None, :]
        # standard error of a covariance of Gaussians
        error = np.sqrt((product**2 + true.covariance**2) / draws)
        variance_error = np.sqrt(2 / draws) * true.variance

        assert norm(found.mean - true.mean) <= 0.03 * norm(true.mean) + norm(mean_error)
        assert (np.abs(found.mean - true.mean) <= 0.03 * std + 5 * mean_error).all()
        assert norm(found.variance - true.variance) <= 0.03 * norm(true.variance) + norm(variance_error)
        assert (np.abs(found.variance - true.variance) <= 0.03 * true.variance + 5 * variance_error).all()
        assert norm(found.covariance - true.covariance) <= 0.03 * norm(true.covariance) + norm(error)
        assert (np.abs(found.covariance - true.covariance) <= 0.03 * product + 5.5 * error).all()

        values, axes = np.linalg.eigh(found.covariance)
        along = np.einsum("bik,bij,bjk->bk", axes, true.covariance, axes)
        assert (np.abs(values - along)[:, -10:] <= (0.03 + 4.5 * np.sqrt(2 / draws)) * along[:, -10:]).all()


@pytest.mark.parametrize(
    ("name", "inputs"), [("iris", 32), ("digits", 16), pytest.param("mnist", 4, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("nmse", [0.01, 0.1])
def test_how_far_linearized_marginal_variances_are_off(
    example: Callable[[str], Example], name: str, inputs: int, nmse: float
) -> None:
    """Inner layers of ``linearized`` assume independent activations: at most 20 % low as a whole, 50 % in an entry.

    Against ``covariance``, which the test above ties to the simulation. The output layer has no such error.
    """
    chosen = example(name)
    hardware = noise_for_nmse(chosen, nmse, pp.Hardware())
    gains, x = full_range(chosen, hardware), chosen.inputs[:inputs]
    rough, exact = (
        pp.predict(chosen.network, hardware, gains, x, method=method) for method in ("linearized", "covariance")
    )
    for a, b in zip(rough.layers, exact.layers, strict=True):
        assert -0.2 < a.variance.sum() / b.variance.sum() - 1 < 0.02
        assert (np.abs(a.variance / b.variance - 1) < 0.5).all()
        np.testing.assert_allclose(a.mean, b.mean, atol=0.05 * np.sqrt(b.variance.max()))
    np.testing.assert_allclose(rough.layers[0].variance, exact.layers[0].variance, rtol=1e-9)
    assert rough.layers[-1].variance.sum() == pytest.approx(exact.layers[-1].variance.sum(), rel=0.03)


@pytest.mark.parametrize("nmse", [0.01, 0.1])
@pytest.mark.parametrize("name", ["iris", "digits"])
def test_linearized_agrees_with_covariance(example: Callable[[str], Example], name: str, nmse: float) -> None:
    """Two ways to keep all correlations: output covariances agree within 3 %, MSE within 1 %."""
    chosen = example(name)
    hardware = noise_for_nmse(chosen, nmse, pp.Hardware())
    gains, x = full_range(chosen, hardware), chosen.inputs[:16]
    one, other = (
        pp.predict(chosen.network, hardware, gains, x, method=method) for method in ("linearized", "covariance")
    )
    assert one.mse == pytest.approx(other.mse, rel=0.01)
    away = np.linalg.norm(one.output_covariance - other.output_covariance)
    assert away < 0.03 * np.linalg.norm(other.output_covariance)


@pytest.mark.parametrize(
    ("name", "nmse", "draws"),
    [
        ("iris", 0.1, 3000),
        ("iris", 0.3, 3000),
        pytest.param("digits", 0.05, 800, marks=pytest.mark.slow),
        pytest.param("digits", 0.3, 800, marks=pytest.mark.slow),
        pytest.param("mnist", 0.1, 100, marks=pytest.mark.slow),
        pytest.param("mnist", 0.2, 100, marks=pytest.mark.slow),
    ],
)
def test_accuracy(example: Callable[[str], Example], name: str, nmse: float, draws: int) -> None:
    """Of held-out inputs: within 0.5 percentage points where less than 5 are lost (else within a tenth of the loss)."""
    chosen = example(name)
    hardware = noise_for_nmse(chosen, nmse, pp.Hardware())
    x, labels = chosen.test_inputs[:400], chosen.test_labels[:400]
    # row voltages as on the calibration batch, within what these inputs allow
    gains = pp.Gains.full_range(chosen.network, hardware, np.concatenate([chosen.inputs, x]))
    predicted = pp.predict(chosen.network, hardware, gains, x).accuracy(labels)
    simulation = pp.simulate(chosen.network, hardware, gains, x, draws=draws)
    simulated = simulation.accuracy(labels)
    ideal = (chosen.network(x).argmax(1) == labels).mean()
    assert abs(predicted - simulated) < max(0.005, 0.1 * (ideal - simulated))


def linear_network() -> tuple[pp.Network, np.ndarray]:
    rng = np.random.default_rng(4)
    widths = (5, 7, 6, 3)
    weights = [rng.normal(size=(b, a)) / np.sqrt(a) for a, b in itertools.pairwise(widths)]
    biases = [rng.normal(size=b) for b in widths[1:]]
    return pp.Network.mlp(weights, biases, activation="identity"), rng.normal(size=(4, 5))


LINEAR_HARDWARE = pp.Hardware(programming_noise_std=8e-6, clip_conductance=False, read_noise_std=3e-7)


def test_covariance_is_exact_for_linear_networks_by_hand() -> None:
    """Σ' = WΣWᵀ + diag(2σ² Σ_j (μ_j² + Σ_jj)/c² + σ_I²/(cv)²), layer by layer."""
    network, x = linear_network()
    hardware = LINEAR_HARDWARE
    gains = pp.Gains.full_range(network, hardware, x)
    predicted = pp.predict(network, hardware, gains, x, method="covariance")
    mean, covariance = x, np.zeros((4, 5, 5))
    for node, c, v, layer in zip(network.crossbars, gains.conductance, gains.voltage, predicted.layers, strict=True):
        weight, bias = (node.op.tensors()[key] for key in ("weight", "bias"))
        m = mean**2 + np.einsum("bii->bi", covariance)
        q = 2 * (hardware.programming_noise_std / c) ** 2 * m.sum(1) + (hardware.read_noise_std / (c * v)) ** 2
        mean = mean @ weight.T + bias
        covariance = weight @ covariance @ weight.T + q[:, None, None] * np.eye(len(weight))
        np.testing.assert_allclose(layer.mean, mean, rtol=1e-12)
        np.testing.assert_allclose(layer.covariance, covariance, rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(predicted.output_covariance, covariance, rtol=1e-11, atol=1e-15)
    assert predicted.mse == pytest.approx(np.einsum("bii->bi", covariance).mean(), rel=1e-11)


@pytest.mark.slow
def test_covariance_is_exact_for_linear_networks_by_simulation() -> None:
    """At NMSE above 10 %, with errors multiplying errors, within 4.5 standard errors."""
    network, x = linear_network()
    gains = pp.Gains.full_range(network, LINEAR_HARDWARE, x)
    predicted = pp.predict(network, LINEAR_HARDWARE, gains, x, method="covariance")
    assert predicted.nmse > 0.1
    simulated = pp.simulate(network, LINEAR_HARDWARE, gains, x, draws=40_000, dtype="float64")
    assert simulated.mse_standard_error < 0.005 * simulated.mse
    assert abs(predicted.mse - simulated.mse) < 4.5 * simulated.mse_standard_error
    away = np.abs(predicted.mse_by_output - simulated.mse_by_output)
    assert (away < 4.5 * simulated.mse_by_output_standard_error).all()
    variance = np.einsum("bii->bi", predicted.output_covariance)
    assert (np.abs(predicted.output_mean - simulated.output_mean) < 4.5 * np.sqrt(variance / 40_000)).all()
    # products of Gaussians have heavier tails than Gaussians: a standard error and a half
    error = 1.5 * np.sqrt((variance[:, :, None] * variance[:, None, :] + predicted.output_covariance**2) / 40_000)
    assert (np.abs(predicted.output_covariance - simulated.output_covariance) < 4.5 * error).all()
