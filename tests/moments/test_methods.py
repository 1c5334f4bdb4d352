"""What every prediction method must do: one suite, run over all of them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import powerplan as pp
from powerplan.moments.predictor import METHODS, Predictor

pytestmark = pytest.mark.parametrize("method", METHODS)

EVERY_NOISE = pp.Hardware(
    conductance_min=1e-6,
    programming_noise_std=1.5e-6,
    programming_noise_proportional=0.03,
    read_noise_std=5e-8,
    input_noise_std=1e-3,
    feedback_resistance=1e4,
)


def mlp(*widths: int, activation: str = "relu", seed: int = 0) -> pp.Network:
    rng = np.random.default_rng(seed)
    pairs = list(itertools.pairwise(widths))
    return pp.Network.mlp(
        [rng.normal(size=(n_out, n_in)) * np.sqrt(2 / n_in) for n_in, n_out in pairs],
        [0.1 * rng.normal(size=n_out) for _, n_out in pairs],
        activation,
    )


def batch(count: int, width: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width))


def predict(
    network: pp.Network, x: np.ndarray, method: str, hardware: pp.Hardware = EVERY_NOISE, **options: Any
) -> pp.Prediction:
    gains = pp.Gains.full_range(network, hardware, x)
    return pp.predict(network, hardware, gains, x, method=method, **options)


def check(prediction: pp.Prediction) -> None:
    """Shapes, finite numbers, sums that hold, covariances that are covariances."""
    p = prediction
    assert p.ideal_output is not None
    assert p.output_mean is not None
    assert p.output_covariance is not None
    count, outputs = p.ideal_output.shape
    layers = len(p.layer_names)
    assert p.output_mean.shape == (count, outputs)
    assert p.output_covariance.shape == (count, outputs, outputs)
    assert p.mse_by_output.shape == (outputs,)
    for by_layer in (p.mse_by_layer, p.power_by_layer, p.array_power_by_layer, p.tia_power_by_layer):
        assert by_layer.shape == (layers,)
        assert (by_layer >= 0).all()
    assert (p.mse_by_output >= 0).all()
    assert 0 <= p.mse_bias <= p.mse * (1 + 1e-12)
    assert p.mse_by_output.mean() == pytest.approx(p.mse, rel=1e-9)
    assert p.mse_by_layer.sum() == pytest.approx(p.mse, rel=1e-9)
    variance = np.einsum("bkk->bk", p.output_covariance)
    assert ((p.output_mean - p.ideal_output) ** 2 + variance).mean() == pytest.approx(p.mse, rel=1e-6, abs=1e-300)
    np.testing.assert_allclose(p.power_by_layer, p.array_power_by_layer + p.tia_power_by_layer, rtol=1e-6)
    assert p.power == pytest.approx(p.power_by_layer.sum(), rel=1e-6)
    largest = np.abs(p.output_covariance).max()
    assert np.linalg.eigvalsh(p.output_covariance).min() >= -1e-6 * largest
    np.testing.assert_allclose(p.output_covariance, p.output_covariance.transpose(0, 2, 1), atol=1e-6 * largest)
    assert tuple(layer.name for layer in p.layers) == p.layer_names
    for layer in p.layers:
        assert layer.mean.shape == layer.variance.shape
        assert np.isfinite(layer.mean).all()
        assert (layer.variance >= 0).all()
        assert (layer.covariance is not None) == (p.method == "covariance")
        if layer.covariance is not None:
            assert layer.covariance.shape == (*layer.mean.shape, layer.mean.shape[1])
            np.testing.assert_array_equal(np.einsum("bkk->bk", layer.covariance), layer.variance)
            assert np.linalg.eigvalsh(layer.covariance).min() >= -1e-6 * max(np.abs(layer.covariance).max(), 1e-300)
    numbers = (p.mse, p.signal_power, p.power, p.energy, p.output_mean, p.output_covariance)
    assert all(np.isfinite(number).all() for number in numbers)


@pytest.mark.parametrize("activation", ["relu", "identity", "leaky_relu", "tanh", "gelu", "hard_tanh"])
def test_a_prediction_is_consistent(method: str, activation: str) -> None:
    """Every noise at once, on a 6-9-7-4 network."""
    hardware = EVERY_NOISE
    x = batch(5, 6)
    p = predict(mlp(6, 9, 7, 4, activation=activation), x, method)
    check(p)
    assert p.method == method
    assert p.nmse == pytest.approx(p.mse / p.signal_power)
    assert p.energy == pytest.approx(p.power * hardware.read_time)
    assert p.mse_by_layer.min() > 0
    np.testing.assert_allclose(p.ideal_output, mlp(6, 9, 7, 4, activation=activation)(x), rtol=1e-12)
    np.testing.assert_allclose(p.layers[-1].mean, p.output_mean)
    np.testing.assert_allclose(p.layers[-1].variance, np.einsum("bkk->bk", p.output_covariance))
    assert not p.output_mean.flags.writeable


@pytest.mark.parametrize(
    "hardware",
    [
        pp.Hardware(),
        pp.Hardware(clip_conductance=False),
        pp.Hardware(programming_noise_std=0, programming_noise_proportional=0.1),
        pp.Hardware(programming_noise_polynomial=(1e-6, 3e-6)),
        pp.Hardware(programming_noise_std=0, read_noise_std=1e-7),
        pp.Hardware(programming_noise_std=0, input_noise_std=1e-2, feedback_resistance=1e4),
        pp.Hardware(programming_noise_std=80e-6),
        pp.Hardware(weight_mapping="offset", input_noise_std=1e-3, conductance_min=1e-6),
        pp.Hardware(bias_mapping="row", input_noise_std=1e-3, array_rows=3),
        pp.Hardware(read_out="divider", load_conductance=1e-4, input_noise_std=1e-3, array_rows=4),
        pp.Hardware(read_out="divider", load_conductance=1e-4, programming_noise_std=0, read_noise_std=1e-7),
    ],
    ids=[
        *("clipped", "unclipped", "proportional", "polynomial", "read", "row", "huge"),
        *("offset", "row of biases", "divider", "read noise of a divider"),
    ],
)
def test_every_kind_of_noise(method: str, hardware: pp.Hardware) -> None:
    """One kind of noise at a time."""
    p = predict(mlp(6, 9, 7, 4), batch(5, 6), method, hardware)
    check(p)
    assert p.mse > 0


@pytest.mark.parametrize(
    ("network", "x"),
    [
        (mlp(6, 9, 4), batch(1, 6)),
        (mlp(6, 9, 1), batch(4, 6)),
        (mlp(6, 1), batch(4, 6)),
        (mlp(1, 1, 1, 1), batch(4, 1)),
        (mlp(6, 9, 4), np.ones((3, 6))),
        (mlp(6, 9, 4), np.zeros((3, 6))),
        (pp.Network.mlp([np.zeros((5, 6)), batch(4, 5)], [np.ones(5), np.zeros(4)]), batch(3, 6)),
        (pp.Network.mlp([batch(5, 6), np.zeros((4, 5))]), batch(3, 6)),
        (pp.Network.mlp([batch(5, 6), batch(4, 5)], [np.full(5, -300.0), np.ones(4)]), batch(3, 6)),
        (pp.Network.mlp([batch(5, 6), batch(4, 5)], activation="hard_tanh"), 1e3 * batch(3, 6)),
    ],
    ids=[
        "one_input",
        "one_output",
        "one_output_one_layer",
        "width_one",
        "constant_inputs",
        "zero_inputs",
        "zero_layer",
        "zero_last_layer",
        "dead_relu",
        "saturated",
    ],
)
@pytest.mark.parametrize(
    "hardware",
    [
        EVERY_NOISE,
        pp.Hardware(),
        pp.Hardware(clip_conductance=False),
        pp.Hardware(weight_mapping="offset", bias_mapping="row"),
        pp.Hardware(read_out="divider", load_conductance=1e-4, bias_mapping="row"),
    ],
)
def test_degenerate_networks_and_inputs(method: str, hardware: pp.Hardware, network: pp.Network, x: np.ndarray) -> None:
    """Nothing is divided by zero."""
    check(predict(network, x, method, hardware))


def test_dead_relu_layer_passes_no_error(method: str) -> None:
    """All units far below zero: the output is the last bias with the noise of idle inputs, that is none."""
    network = pp.Network.mlp([batch(5, 6), batch(4, 5)], [np.full(5, -300.0), np.ones(4)])
    p = predict(network, batch(3, 6), method, pp.Hardware())
    assert p.mse == pytest.approx(0, abs=1e-30)
    np.testing.assert_allclose(p.output_mean, 1)


def test_zero_output_has_no_nmse(method: str) -> None:
    """A network of zeros has a MSE, and NaN for an NMSE."""
    p = predict(pp.Network.mlp([np.zeros((3, 6))]), batch(2, 6), method)
    assert p.mse > 0
    assert np.isnan(p.nmse)


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_no_noise_no_error(method: str, activation: str) -> None:
    """The predicted output is the ideal one."""
    quiet = pp.Hardware(programming_noise_std=0, feedback_resistance=1e4)
    p = predict(mlp(6, 9, 7, 4, activation=activation), batch(5, 6), method, quiet)
    check(p)
    assert p.mse == pytest.approx(0, abs=1e-28)
    np.testing.assert_allclose(p.output_mean, p.ideal_output, rtol=1e-12)


@pytest.mark.slow
@settings(max_examples=15)
@given(
    seed=st.integers(0, 1000),
    less=st.floats(1e-8, 1e-5),
    factor=st.floats(1.05, 5),
    field=st.sampled_from(["programming_noise_std", "read_noise_std", "input_noise_std"]),
    clip=st.booleans(),
)
def test_more_noise_more_error(method: str, seed: int, less: float, factor: float, field: str, clip: bool) -> None:
    """The MSE rises with every noise, the rest held (for ReLU networks)."""
    network, x = mlp(5, 8, 6, 3, seed=seed), batch(4, 5, seed)
    base = pp.Hardware(clip_conductance=clip, programming_noise_std=0)
    unit = {"programming_noise_std": 1.0, "read_noise_std": 0.02, "input_noise_std": 1e3}[field]
    low, high = (predict(network, x, method, base.replace(**{field: unit * noise})) for noise in (less, less * factor))
    assert high.mse > low.mse > 0


@settings(max_examples=10)
@given(seed=st.integers(0, 1000), factor=st.floats(0.1, 0.9))
def test_smaller_conductance_gain_more_error_less_power(method: str, seed: int, factor: float) -> None:
    """What makes amplification a trade-off."""
    network, x = mlp(5, 8, 3, seed=seed), batch(4, 5, seed)
    hardware = pp.Hardware(programming_noise_std=1e-6, clip_conductance=False)
    full = pp.Gains.full_range(network, hardware, x)
    less = pp.Gains(conductance=tuple(factor * c for c in full.conductance), voltage=full.voltage)
    strong, weak = (pp.predict(network, hardware, gains, x, method=method) for gains in (full, less))
    assert weak.mse > strong.mse
    assert weak.power < strong.power


def test_one_linear_layer_is_exact(method: str) -> None:
    """Without an activation all methods give 2σ² Σ x_j² / c_i² (+ read noise), and agree."""
    network, x = mlp(6, 4), batch(5, 6)
    hardware = pp.Hardware(clip_conductance=False, read_noise_std=1e-7)
    gains = pp.Gains.full_range(network, hardware, x)
    c, v = gains.conductance[0], gains.voltage[0]
    variance = 2 * 2e-6**2 * (x**2).sum(1) / c**2 + (1e-7 / (c * v)) ** 2
    p = pp.predict(network, hardware, gains, x, method=method)
    np.testing.assert_allclose(p.output_covariance, variance[:, None, None] * np.eye(4), rtol=1e-12, atol=1e-20)
    assert p.mse == pytest.approx(variance.mean(), rel=1e-12)
    assert p.mse_bias == pytest.approx(0, abs=1e-28)


def test_column_gains(method: str) -> None:
    """Equal gains in every column are a layer gain; smaller ones in one column raise that output's error only."""
    network, x = mlp(6, 9, 4), batch(5, 6)
    base = pp.Gains.full_range(network, EVERY_NOISE, x)
    columns = [np.full(n, c) for n, c in zip((9, 4), base.conductance, strict=True)]
    one, same = (
        pp.predict(network, EVERY_NOISE, pp.Gains(conductance=c, voltage=base.voltage), x, method=method)
        for c in (base.conductance, tuple(columns))
    )
    assert same.mse == pytest.approx(one.mse, rel=1e-12)
    assert same.power == pytest.approx(one.power, rel=1e-12)
    columns[1][2] /= 2
    weaker = pp.predict(
        network, EVERY_NOISE, pp.Gains(conductance=tuple(columns), voltage=base.voltage), x, method=method
    )
    others = [0, 1, 3]
    np.testing.assert_allclose(weaker.mse_by_output[others], one.mse_by_output[others], rtol=1e-12)
    assert weaker.mse_by_output[2] > one.mse_by_output[2]


def test_float32_is_close_to_float64(method: str) -> None:
    """Single precision changes the answer by rounding only."""
    network, x = mlp(12, 20, 16, 5), batch(6, 12)
    double, single = (predict(network, x, method, dtype=dtype) for dtype in ("float64", "float32"))
    check(single)
    assert single.mse == pytest.approx(double.mse, rel=1e-4)
    assert single.power == pytest.approx(double.power, rel=1e-5)
    np.testing.assert_allclose(single.mse_by_output, double.mse_by_output, rtol=1e-4)
    np.testing.assert_allclose(single.mse_by_layer, double.mse_by_layer, rtol=1e-3)


def test_chunks_of_inputs_change_nothing(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The batch is processed in pieces that fit in memory: same numbers."""
    network, x = mlp(6, 9, 7, 4), batch(11, 6)
    whole = predict(network, x, method)
    monkeypatch.setattr(Predictor, "parts", (slice(0, 2), slice(2, 3), slice(3, len(x))))
    parts = predict(network, x, method)
    for field in ("mse", "power", "mse_bias", "nmse"):
        assert getattr(parts, field) == pytest.approx(getattr(whole, field), rel=1e-12)
    for field in ("mse_by_output", "mse_by_layer", "output_mean", "output_covariance", "power_by_layer"):
        np.testing.assert_allclose(getattr(parts, field), getattr(whole, field), rtol=1e-11, atol=1e-18)
    for a, b in zip(parts.layers, whole.layers, strict=True):
        np.testing.assert_allclose(a.variance, b.variance, rtol=1e-12)


def test_inputs_are_independent_of_each_other(method: str) -> None:
    """The moments of one input do not depend on the rest of the batch."""
    network, x = mlp(6, 9, 4), batch(5, 6)
    gains = pp.Gains.full_range(network, EVERY_NOISE, x)
    whole = pp.predict(network, EVERY_NOISE, gains, x, method=method)
    one = pp.predict(network, EVERY_NOISE, gains, x[3:4], method=method)
    np.testing.assert_allclose(one.output_mean[0], whole.output_mean[3], rtol=1e-12)
    np.testing.assert_allclose(one.output_covariance[0], whole.output_covariance[3], rtol=1e-10, atol=1e-18)


@pytest.mark.parametrize("noise", [{"programming_noise_std": 1e-8}, {"input_noise_std": 1e-7}], ids=["devices", "rows"])
def test_a_layer_without_noise_gets_no_share(method: str, noise: dict[str, float]) -> None:
    """Amplified far more than the others, a layer's share of the error vanishes."""
    network, x = mlp(6, 9, 7, 4), batch(5, 6)
    hardware = pp.Hardware(**{"programming_noise_std": 0.0, **noise}, clip_conductance=False)
    full = pp.Gains.full_range(network, hardware, x)
    for strong in range(3):
        gains = pp.Gains(
            conductance=tuple(c if i == strong else c / 1000 for i, c in enumerate(full.conductance)),
            voltage=tuple(v if i == strong else v / 1000 for i, v in enumerate(full.voltage)),
        )
        p = pp.predict(network, hardware, gains, x, method=method)
        assert p.mse_by_layer[strong] < 1e-4 * p.mse
        assert np.delete(p.mse_by_layer, strong).min() > 1e-3 * p.mse


def test_accuracy(method: str) -> None:
    """Without noise it is the network's own; with noise it falls; labels are checked."""
    network, x = mlp(6, 9, 4), batch(50, 6)
    labels = network(x).argmax(1)
    quiet, loud = (predict(network, x, method, pp.Hardware(programming_noise_std=std)) for std in (0.0, 20e-6))
    assert quiet.accuracy(labels) == 1
    assert 0.25 < loud.accuracy(labels) < 0.95
    assert loud.accuracy(labels) == loud.accuracy(labels)
    assert loud.accuracy(labels, seed=1) == pytest.approx(loud.accuracy(labels), abs=0.01)
    with pytest.raises(pp.InvalidInput, match="labels"):
        loud.accuracy(labels[:-1])


def test_driving_beyond_the_voltage_limit_warns(method: str) -> None:
    """It is predicted all the same."""
    network, x = mlp(6, 4), batch(5, 6)
    gains = pp.Gains.uniform(network, EVERY_NOISE, voltage=1.0)
    with pytest.warns(pp.LimitWarning, match="voltage_max"):
        check(pp.predict(network, EVERY_NOISE, gains, x, method=method))


NETWORK = mlp(6, 9, 4)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"method": "linearised"}, "method"),
        ({"method": None}, "method"),
        ({"dtype": "float16"}, "dtype"),
        ({"inputs": np.full((2, 6), np.nan)}, "inputs"),
        ({"inputs": np.full((2, 6), np.inf)}, "inputs"),
        ({"inputs": np.ones((2, 7))}, "inputs"),
        ({"inputs": np.ones(6)}, "inputs"),
        ({"inputs": np.ones((0, 6))}, "inputs"),
        ({"inputs": "x"}, "inputs"),
        ({"inputs": None}, "inputs"),
        ({"gains": pp.Gains(conductance=(1e-6,), voltage=(0.1,))}, "gains.conductance"),
        ({"gains": pp.Gains(conductance=(1.0, 1.0), voltage=(0.1, 0.1))}, "gains.conductance[0]"),
        ({"gains": pp.Gains(conductance=(np.full(3, 1e-6), 1e-6), voltage=(0.1, 0.1))}, "gains.conductance[0]"),
    ],
)
def test_bad_input_is_refused_by_name(method: str, options: dict[str, Any], field: str) -> None:
    """Each error names the field and says what is allowed and what to do."""
    given = {
        "method": method,
        "inputs": batch(2, 6),
        "gains": pp.Gains.uniform(NETWORK, EVERY_NOISE, voltage=0.01),
        **options,
    }
    with pytest.raises(pp.InvalidInput) as caught:
        pp.predict(NETWORK, EVERY_NOISE, given.pop("gains"), given.pop("inputs"), **given)
    violation = caught.value.violations[0]
    assert violation.field == field
    assert violation.allowed
    assert violation.advice


def test_a_device_that_is_not_there_is_refused(method: str) -> None:
    network = pp.Network.mlp([np.ones((2, 3))])
    gains = pp.Gains.uniform(network, pp.Hardware())
    with pytest.raises(pp.InvalidInput, match="device"):
        pp.predict(network, pp.Hardware(), gains, np.ones((1, 3)), method=method, device="cuda:99")


@pytest.mark.filterwarnings("ignore::powerplan.PlausibilityWarning")  # so small a voltage is doubted too
def test_inputs_beyond_float64_are_refused(method: str) -> None:
    network = pp.Network.mlp([np.ones((2, 3))])
    gains = pp.Gains.uniform(network, pp.Hardware(), voltage=1e-300)
    with pytest.raises(pp.InvalidInput, match="inputs"):
        pp.predict(network, pp.Hardware(), gains, np.full((1, 3), 1e200), method=method)
