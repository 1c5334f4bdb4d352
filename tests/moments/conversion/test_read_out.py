"""Converters, noise of the read-out and tracking feedback: prediction against Monte Carlo and closed forms."""

import numpy as np
import pytest
import torch

import powerplan as pp
from powerplan.hardware.conversions import converter_power
from powerplan.hardware.converters import quantised
from powerplan.hardware.full_scale import column_limits, full_scales
from powerplan.moments.predictor import Predictor

RNG = np.random.default_rng(3)
WEIGHTS = [RNG.normal(size=(20, 24)) / 4, RNG.normal(size=(6, 20)) / 4]
BIASES = [RNG.normal(size=20) / 5, RNG.normal(size=6) / 5]
NETWORK = pp.Network.mlp(WEIGHTS, BIASES)
INPUTS = RNG.uniform(0, 1, size=(60, 24))
BASE = {"programming_noise_std": 2e-6, "conductance_min": 1e-6}
FAST = {"thermal_noise": True, "bandwidth": 1e10, "programming_noise_std": 2e-7}

CASES = {
    "rows": {"dac_bits": 5},
    "columns": {"adc_bits": 6},
    "both, tiles, every noise": {
        "dac_bits": 6,
        "adc_bits": 6,
        "array_rows": 10,
        "read_noise_std": 2e-7,
        "input_noise_std": 1e-3,
        "column_gain_std": 0.01,
    },
    "fixed range": {"feedback_resistance": 1e4, "adc_range": 0.3, "adc_bits": 7},
    "saturation": {"adc_headroom": 0.7, "feedback_tracking": True, "adc_range": 1.0},
    "thermal": FAST,
    "thermal, amplifiers, tiles": {**FAST, "feedback_resistance": 2e3, "array_rows": 10},
    "shot": {"shot_noise": True, "bandwidth": 1e10, "programming_noise_std": 2e-7},
    "tracking": {
        "feedback_tracking": True,
        "adc_range": 1.0,
        "adc_bits": 7,
        "thermal_noise": True,
        "shot_noise": True,
        "bandwidth": 1e9,
        "dac_energy": 1e-13,
        "adc_energy": 2e-13,
    },
    "offset": {"weight_mapping": "offset", "adc_bits": 9, "dac_bits": 6, **FAST, "shot_noise": True},
    "bias row": {"bias_mapping": "row", "adc_bits": 7, "dac_bits": 6, "array_rows": 10},
    "divider": {"read_out": "divider", "load_conductance": 1e-3, "adc_bits": 9, "adc_range": 0.05, "dac_bits": 6},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_prediction_is_what_simulation_finds(case: str) -> None:
    """Error within 2 % (5 % where columns saturate) and power within 1 %, by every method."""
    hardware = pp.Hardware(**{**BASE, **CASES[case]})
    gains = pp.Gains.uniform(NETWORK, hardware, inputs=INPUTS)
    simulated = pp.simulate(NETWORK, hardware, gains, INPUTS, draws=600, seed=1)
    allowed = (0.05 if "saturation" in case or "fixed" in case else 0.02) * simulated.mse
    allowed += 3.5 * simulated.mse_standard_error
    for method in ("linearized", "covariance"):
        predicted = pp.predict(NETWORK, hardware, gains, INPUTS, method=method)
        assert abs(predicted.mse - simulated.mse) < allowed
        assert predicted.power == pytest.approx(simulated.power, rel=0.01)
        assert predicted.mse_by_layer.sum() == pytest.approx(predicted.mse)
        parts = predicted.array_power_by_layer + predicted.tia_power_by_layer + predicted.converter_power_by_layer
        np.testing.assert_allclose(parts, predicted.power_by_layer)


@pytest.mark.slow
@pytest.mark.parametrize("mapping", ["shared", "unrolled"])
@pytest.mark.parametrize("voltage", ["one", "by row"])
def test_convolutions(mapping: str, voltage: str) -> None:
    """A small convolutional network with converters everywhere, one array for all positions or one each."""
    rng = np.random.default_rng(5)
    torch.manual_seed(1)
    module = torch.nn.Sequential(
        torch.nn.Conv2d(2, 8, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.AvgPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(72, 4),
    )
    network = pp.from_torch(module, input_shape=(2, 6, 6))
    inputs = rng.uniform(0, 1, size=(24, 2, 6, 6))
    hardware = pp.Hardware(
        mapping=mapping,
        programming_noise_std=2e-6,
        dac_bits=6,
        adc_bits=7,
        array_rows=40,
        thermal_noise=True,
        shot_noise=True,
        bandwidth=1e9,
        feedback_tracking=True,
        adc_range=1.0,
    )
    volts = [0.15, 0.15] if voltage == "one" else [rng.uniform(0.1, 0.18, size=18), rng.uniform(0.1, 0.18, size=72)]
    limits = pp.Gains.uniform(network, hardware, inputs=inputs).conductance
    gains = pp.Gains(conductance=tuple(0.5 * c for c in limits), voltage=tuple(volts))
    simulated = pp.simulate(network, hardware, gains, inputs, draws=500, seed=2)
    predicted = pp.predict(network, hardware, gains, inputs)
    assert abs(predicted.mse - simulated.mse) < 0.03 * simulated.mse + 3.5 * simulated.mse_standard_error
    assert predicted.power == pytest.approx(simulated.power, rel=0.01)


def test_fine_converters_change_nothing() -> None:
    """Converters of 32 bits that never saturate leave error and power what they are without."""
    plain = pp.Hardware(**BASE)
    fine = plain.replace(dac_bits=32, adc_bits=32, adc_headroom=100.0, array_rows=10)
    gains = pp.Gains.uniform(NETWORK, plain, voltage=0.01)
    for method in ("linearized", "covariance", "diagonal"):
        first = pp.predict(NETWORK, plain, gains, INPUTS, method=method)
        second = pp.predict(NETWORK, fine, gains, INPUTS, method=method)
        assert second.mse == pytest.approx(first.mse, rel=1e-6)
        assert second.power == pytest.approx(first.power, rel=1e-6)


def test_full_scale_is_the_largest_partial_sum() -> None:
    """Over inputs, tiles and columns, without digital biases and with those in a row."""
    inputs = INPUTS - 0.3
    for mapping in ("digital", "row"):
        hardware = pp.Hardware(adc_bits=6, array_rows=10, bias_mapping=mapping, adc_headroom=1.5)
        scale = full_scales(NETWORK, hardware, inputs)[0]
        rows = np.pad(inputs, ((0, 0), (0, 1)), constant_values=1.0) if mapping == "row" else inputs
        weight = np.column_stack([WEIGHTS[0], BIASES[0]]) if mapping == "row" else WEIGHTS[0]
        partial = [rows[:, k : k + 10] @ weight[:, k : k + 10].T for k in range(0, rows.shape[1], 10)]
        assert scale is not None
        assert scale.column == pytest.approx(np.abs(partial).max())
        assert not scale.non_negative
        c = torch.tensor([1e-5], dtype=torch.float64)
        assert float(column_limits(hardware, scale, c, 0.1 * c)) == pytest.approx(1.5 * scale.column)
    assert full_scales(NETWORK, pp.Hardware(), inputs) == (None, None)


def test_thermal_and_shot_noise_of_a_column() -> None:
    """4 k_B T Δf (Σ G + 2/R_f) + 2 q Δf Σ G |V|, decoded by c v, for exact devices."""
    network = pp.Network.mlp(WEIGHTS[:1])
    x, c, v, resistance = INPUTS[:5], 2e-5, 0.1, 5e3
    hardware = pp.Hardware(
        conductance_min=1e-6,
        programming_noise_std=0.0,
        thermal_noise=True,
        shot_noise=True,
        bandwidth=1e8,
        temperature=350.0,
        feedback_resistance=resistance,
        array_rows=10,
    )
    gains = pp.Gains(conductance=(c,), voltage=(v,))
    both = 2e-6 + c * np.abs(WEIGHTS[0])
    current = 4 * 1.380649e-23 * 350 * 1e8 * (both.sum(1) + 3 * 2 / resistance)
    current = current + 2 * 1.602176634e-19 * 1e8 * (x * v) @ both.T
    found = pp.predict(network, hardware, gains, x)
    np.testing.assert_allclose(found.layers[0].variance, current / (c * v) ** 2)


def test_converters_cost_energy_per_conversion() -> None:
    """Rows × column tiles and columns × row tiles, in prediction and simulation alike."""
    hardware = pp.Hardware(dac_energy=3e-13, adc_energy=5e-12, array_rows=10, array_columns=16, read_time=1e-7)
    power = converter_power(NETWORK, hardware)
    expected = [(24 * 3 * 3e-13 + 20 * 3 * 5e-12) / 1e-7, (20 * 1 * 3e-13 + 6 * 2 * 5e-12) / 1e-7]
    np.testing.assert_allclose(power, expected)
    gains = pp.Gains.uniform(NETWORK, hardware, inputs=INPUTS)
    plain = hardware.replace(dac_energy=0.0, adc_energy=0.0)
    for run in (pp.predict, lambda *a: pp.simulate(*a, draws=3)):
        more, less = run(NETWORK, hardware, gains, INPUTS), run(NETWORK, plain, gains, INPUTS)
        np.testing.assert_allclose(more.power_by_layer - less.power_by_layer, expected, rtol=1e-4)


def test_tracking_feedback_gives_the_full_scale_voltage() -> None:
    """R_f I at full scale is adc_range in every column: TIA power scales with c v̂, as the array's does with c v̂²."""
    hardware = pp.Hardware(programming_noise_std=0.0, feedback_tracking=True, adc_range=0.8, adc_bits=32)
    scale = full_scales(NETWORK, hardware, INPUTS)[0]
    gains = pp.Gains.uniform(NETWORK, hardware, inputs=INPUTS)
    found = pp.predict(NETWORK, hardware, gains, INPUTS)
    decode = float(gains.conductance[0]) * float(gains.voltage[0])
    resistance = 0.8 / (decode * scale.column)
    sides = [INPUTS @ np.maximum(s * WEIGHTS[0], 0).T * decode for s in (1, -1)]
    expected = resistance * sum((i**2).sum(1).mean() for i in sides)
    assert found.tia_power_by_layer[0] == pytest.approx(expected)


def test_simulation_of_exact_devices_is_plain_arithmetic() -> None:
    """Without noise a simulated layer is the converters' arithmetic, written out in numpy."""
    network = pp.Network.mlp(WEIGHTS[:1], BIASES[:1])
    x = INPUTS - 0.4
    hardware = pp.Hardware(programming_noise_std=0.0, dac_bits=4, adc_bits=5, array_rows=10, adc_headroom=0.8)
    gains = pp.Gains(conductance=(1e-5,), voltage=(0.4,))
    with pytest.warns(pp.LimitWarning):
        found = pp.simulate(network, hardware, gains, x, draws=1, dtype="float64").output_mean

    def convert(values: np.ndarray, limit: float, top: int) -> np.ndarray:
        step = limit / top
        return np.clip(np.floor(np.abs(values) / step + 0.5), None, top) * step * np.sign(values)

    tiles = [slice(0, 10), slice(10, 20), slice(20, 24)]
    limit = 0.8 * max(np.abs(x[:, t] @ WEIGHTS[0][:, t].T).max() for t in tiles)
    driven = convert(x, 0.2 / 0.4, 7)
    expected = BIASES[0] + sum(convert(driven[:, t] @ WEIGHTS[0][:, t].T, limit, 15) for t in tiles)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    with pytest.warns(pp.LimitWarning):
        predicted = pp.predict(network, hardware.replace(adc_bits=None, adc_headroom=50.0), gains, x)
    exact = quantised(torch.tensor(x), torch.tensor(0.5, dtype=torch.float64), 4).numpy() @ WEIGHTS[0].T + BIASES[0]
    np.testing.assert_allclose(predicted.output_mean, exact, atol=1e-12)


def test_gradients_are_those_of_the_error() -> None:
    """Derivatives of the predicted error in the conductance gain agree with differences; ranges are fixed voltages."""
    hardware = pp.Hardware(
        **BASE, feedback_resistance=1e4, adc_range=0.4, adc_bits=8, thermal_noise=True, bandwidth=1e9
    )
    predictor = Predictor.of(NETWORK, hardware, INPUTS[:8])
    start = torch.log(torch.tensor([3e-5, 3e-5, 0.1, 0.1], dtype=torch.float64))

    def error(theta: torch.Tensor) -> torch.Tensor:
        c1, c2, v1, v2 = theta.exp()
        found = predictor.moments(predictor.program([c1, c2], [v1, v2]))
        return ((found.mean - predictor.ideal) ** 2 + found.variance).mean().log()

    point = start.clone().requires_grad_()
    (slopes,) = torch.autograd.grad(error(point), point)
    for i in range(4):
        step = torch.zeros(4, dtype=torch.float64)
        step[i] = 1e-5
        with torch.no_grad():
            difference = (error(start + step) - error(start - step)) / 2e-5
        assert float(slopes[i]) == pytest.approx(float(difference), rel=1e-4, abs=1e-6)
