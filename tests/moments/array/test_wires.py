"""Predictions of arrays with resistive wires against simulations that solve them exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import powerplan as pp
from powerplan.network import Node
from powerplan.network.ops import Activation, Conv, Flatten, Linear

WIRES: dict[str, Any] = {
    "array_rows": 16,
    "array_columns": 12,
    "wire_resistance_row": 15.0,
    "wire_resistance_column": 20.0,
    "driver_resistance": 100.0,
    "sense_resistance": 60.0,
}
IDEAL = [name for name in WIRES if not name.startswith("array")]
READ = {"read_noise_std": 1e-7, "input_noise_std": 2e-3, "thermal_noise": True, "bandwidth": 5e6}
AMPLIFIED = {"feedback_resistance": 5e3}
CASES: dict[str, dict[str, Any]] = {
    "programming": {},
    "both ends": {"row_drive": "both_ends"},
    "separate arrays": {"pair_layout": "separate_arrays"},
    "read noise": READ,
    "thermal noise": {"programming_noise_std": 0.0, "thermal_noise": True, "bandwidth": 5e10, **AMPLIFIED},
    "gains of columns": {"column_gain_std": 0.03, **AMPLIFIED},
    "offset": {"weight_mapping": "offset", "conductance_min": 2e-6, **READ},
    "bias row": {"bias_mapping": "row", **READ},
    "converters": {**AMPLIFIED, "dac_bits": 6, "adc_bits": 7, "adc_range": 0.4},
    "stuck": {"stuck_on_fraction": 0.001, "stuck_off_fraction": 0.004},
    "drift": {
        "drift": {"type": "power_law", "exponent_mean": 0.05, "reference_time": 1.0},
        "time": 1e4,
        "drift_compensation": True,
    },
}


def mlp(hidden: str = "relu") -> tuple[pp.Network, np.ndarray]:
    """40-18-10: ragged tiles, inputs of one sign and, with tanh, of both."""
    rng = np.random.default_rng(0)
    shapes = ((18, 40), (10, 18))
    network = pp.Network.mlp(
        [rng.normal(size=shape) / np.sqrt(shape[1]) for shape in shapes],
        [0.1 * rng.normal(size=n) for n, _ in shapes],
        hidden,
    )
    return network, rng.random((6, 40))


def assert_as_simulated(
    network: pp.Network, hardware: pp.Hardware, x: np.ndarray, *, draws: int = 600, **options: Any
) -> None:
    gains = pp.Gains.full_range(network, hardware, x)
    predicted = pp.predict(network, hardware, gains, x, **options)
    simulated = pp.simulate(network, hardware, gains, x, draws=draws)
    error = simulated.mse_standard_error
    assert abs(predicted.mse - simulated.mse) < 0.02 * simulated.mse + 3 * error
    assert error < 0.02 * simulated.mse
    assert predicted.power == pytest.approx(simulated.power, rel=0.005, abs=4 * simulated.power_standard_error)
    ideal = hardware.replace(**dict.fromkeys(IDEAL, 0.0))
    without = pp.predict(network, ideal, gains, x, **options)
    assert abs(without.mse - simulated.mse) > 0.05 * simulated.mse, "wires make no difference here"


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_two_layers(case):
    network, x = mlp()
    hardware = pp.Hardware(**{**WIRES, **case})
    assert_as_simulated(network, hardware, x, draws=3000 if hardware.stuck_fraction else 600)


@pytest.mark.parametrize("method", ["linearized", "covariance", "diagonal"])
def test_every_method_with_inputs_of_both_signs(method):
    network, x = mlp("tanh")
    hardware = pp.Hardware(**WIRES, feedback_resistance=5e3)
    single = pp.Network(input_shape=(40,), nodes=network.nodes[:1])
    assert_as_simulated(single, hardware, x - 0.5, method=method)
    if method != "diagonal":
        assert_as_simulated(network, hardware, x - 0.5, method=method)


@pytest.mark.parametrize("mapping", ["shared", "unrolled"])
@pytest.mark.parametrize("noise", [{}, READ], ids=["programming", "read noise"])
def test_a_convolution(mapping, noise):
    rng = np.random.default_rng(0)
    nodes = (
        Node(name="conv", op=Conv(weight=rng.normal(size=(8, 2, 3, 3)) / 4), inputs=("input",)),
        Node(name="relu", op=Activation(kind="relu"), inputs=("conv",)),
        Node(name="flat", op=Flatten(), inputs=("relu",)),
        Node(name="out", op=Linear(weight=rng.normal(size=(4, 72)) / 8), inputs=("flat",)),
    )
    network = pp.Network(input_shape=(2, 5, 5), nodes=nodes)
    assert_as_simulated(network, pp.Hardware(**WIRES, mapping=mapping, **noise), rng.random((4, 2, 5, 5)))


def test_gains_of_rows_and_columns():
    network, x = mlp()
    hardware = pp.Hardware(**WIRES, feedback_resistance=5e3)
    full = pp.Gains.full_range(network, hardware, x)
    rng = np.random.default_rng(1)
    gains = pp.Gains(
        conductance=tuple(c * rng.uniform(0.4, 0.8, n) for c, n in zip(full.conductance, (18, 10), strict=True)),
        voltage=tuple(v * rng.uniform(0.8, 1.0, n) for v, n in zip(full.voltage, (40, 18), strict=True)),
    )
    predicted = pp.predict(network, hardware, gains, x)
    simulated = pp.simulate(network, hardware, gains, x, draws=600)
    assert abs(predicted.mse - simulated.mse) < 0.02 * simulated.mse + 3 * simulated.mse_standard_error
    assert predicted.power == pytest.approx(simulated.power, rel=0.005)


def test_predictions_tell_what_wires_cause_in_every_layer():
    """Their bias is the whole bias where nothing else shifts means; the drop of a tile is that of its currents."""
    network, x = mlp("identity")
    hardware = pp.Hardware(**WIRES, clip_conductance=False)
    gains = pp.Gains.full_range(network, hardware, x)
    predicted = pp.predict(network, hardware, gains, x)
    single = pp.Network(input_shape=(40,), nodes=network.nodes[:1])
    first = pp.Gains(conductance=gains.conductance[:1], voltage=gains.voltage[:1])
    alone = pp.predict(single, hardware, first, x)
    np.testing.assert_allclose(alone.wire_bias_by_layer, alone.mse_bias, rtol=1e-9)
    assert (predicted.wire_bias_by_layer > 0).all()
    assert (predicted.largest_wire_drop_by_layer > predicted.wire_drop_by_layer).all()
    positive = pp.Network.mlp([np.abs(single.nodes[0].op.weight)])
    still, ones = pp.Hardware(**WIRES, programming_noise_std=0.0, weight_mapping="offset"), np.ones((1, 40))
    ideal = still.replace(**dict.fromkeys(IDEAL, 0.0))
    full = pp.Gains.full_range(positive, still, ones)
    drop = pp.predict(positive, still, full, ones).wire_drop_by_layer
    exact, without = (pp.simulate(positive, each, full, ones, draws=1).output_mean.sum() for each in (still, ideal))
    np.testing.assert_allclose(drop, 1 - exact / without, rtol=0.01)
    assert not pp.predict(positive, ideal, full, ones).wire_drop_by_layer.any()
