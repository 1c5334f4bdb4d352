"""Arrays that several nodes read: one set of devices, one pair of gains, errors common to all reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from networks_read_again import apart, close_pairs, kernel, node, part, recurrent, siamese, weights

import powerplan as pp
from powerplan.network import Add, Linear, Scale

NOISES: dict[str, dict[str, Any]] = {
    "programming": {},
    "every noise": {
        "read_noise_std": 1e-7,
        "input_noise_std": 2e-3,
        "column_gain_std": 0.01,
        "feedback_resistance": 1e4,
    },
    "divider": {"read_out": "divider", "load_conductance": 1e-4, "column_gain_std": 0.01},
    "offset": {"weight_mapping": "offset"},
    "unrolled": {"mapping": "unrolled", "read_noise_std": 1e-7},
}


def hardware(noise: float = 1e-6, **fields: Any) -> pp.Hardware:
    return pp.Hardware(conductance_min=1e-6, conductance_max=1e-4, programming_noise_std=noise, **fields)


@pytest.mark.filterwarnings("ignore:without error samples:powerplan.RangeWarning")
@pytest.mark.parametrize("fields", NOISES.values(), ids=NOISES)
def test_positions_read_by_several_nodes_are_predicted_like_those_of_one(fields: dict[str, Any]) -> None:
    whole, unrolled, technology = kernel(unrolled=False), kernel(unrolled=True), hardware(**fields)
    inputs = np.random.default_rng(0).normal(size=(4, *whole.input_shape))
    gains = pp.Gains.uniform(whole, technology, inputs=inputs)
    same = pp.Gains.uniform(unrolled, technology, inputs=inputs)
    assert (same.conductance, same.voltage) == (pytest.approx(gains.conductance), pytest.approx(gains.voltage))
    first, second = (pp.predict(n, technology, gains, inputs, marginal_fields=0) for n in (whole, unrolled))
    assert second.layer_names == first.layer_names
    for name in ("mse", "mse_by_layer", "power_by_layer", "output_covariance", "output_mean"):
        np.testing.assert_allclose(getattr(second, name), getattr(first, name), rtol=1e-9, atol=1e-15, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("fields", NOISES.values(), ids=NOISES)
def test_positions_read_by_several_nodes_are_simulated_like_those_of_one(fields: dict[str, Any]) -> None:
    whole, unrolled, technology = kernel(unrolled=False), kernel(unrolled=True), hardware(**fields)
    inputs = np.random.default_rng(0).normal(size=(4, *whole.input_shape))
    gains = pp.Gains.uniform(whole, technology, inputs=inputs)
    first, second = (
        pp.simulate(n, technology, gains, inputs, draws=4000, seed=seed) for seed, n in enumerate((whole, unrolled))
    )
    assert abs(first.mse - second.mse) <= 5 * np.hypot(first.mse_standard_error, second.mse_standard_error)
    np.testing.assert_allclose(second.power_by_layer, first.power_by_layer, rtol=5e-3)


def test_reads_of_noisy_values_without_error_samples_are_warned_of() -> None:
    """What tanh makes of the errors of both branches is the same, and cancels."""
    network, technology = siamese(), hardware()
    inputs = close_pairs(network, 3)
    gains = pp.Gains.uniform(network, technology, inputs=inputs)
    with pytest.warns(pp.RangeWarning, match=r"several reads of first"):
        pp.predict(network, technology, gains, inputs, marginal_fields=0)


@pytest.mark.slow
def test_two_reads_of_the_same_values_differ_by_what_is_fresh_in_every_read() -> None:
    """z − z' of one array: nothing without noise of reads; of two arrays, twice their variance."""
    op = Linear(weight=weights(np.random.default_rng(1), 3, 6))
    minus = Scale(scale=np.full(1, -1.0), shift=np.zeros(1))
    nodes = (
        node("a", op, "input", array="one"),
        node("b", op, "input", array="one"),
        node("minus", minus, "b"),
        node("difference", Add(), "a", "minus"),
    )
    network = pp.Network(input_shape=(6,), nodes=nodes)
    inputs = np.random.default_rng(2).normal(size=(4, 6))
    for fields, wanted in (({}, 0.0), ({"read_noise_std": 1e-7}, None)):
        technology = hardware(**fields)
        gains = pp.Gains.uniform(network, technology, inputs=inputs)
        if wanted is None:
            wanted = 2 * (1e-7 / (gains.conductance[0] * gains.voltage[0])) ** 2
        simulated = pp.simulate(network, technology, gains, inputs, draws=2000)
        assert simulated.mse == pytest.approx(wanted, rel=0.05, abs=1e-20)
        assert pp.predict(network, technology, gains, inputs).mse == pytest.approx(wanted, rel=1e-6, abs=1e-20)
    single = pp.Network(input_shape=(6,), nodes=(node("a", op, "input"),))
    assert simulated.power == pytest.approx(
        2 * pp.simulate(single, technology, gains, inputs, draws=2000).power, rel=1e-3
    )


def check_against_simulation(network: pp.Network, technology: pp.Hardware, inputs: np.ndarray) -> pp.Simulation:
    """MSE within 3 % of a simulation to 1 %, power within 1 %."""
    gains = pp.Gains.full_range(network, technology, inputs)
    simulated = pp.simulate(network, technology, gains, inputs, draws=40_000, relative_standard_error=0.01)
    predicted = pp.predict(network, technology, gains, inputs)
    assert simulated.mse_standard_error <= 0.01 * simulated.mse
    assert predicted.mse == pytest.approx(simulated.mse, rel=0.03)
    assert predicted.power == pytest.approx(simulated.power, rel=0.01)
    assert predicted.mse_by_layer.sum() == pytest.approx(predicted.mse)
    return simulated


@pytest.mark.slow
@pytest.mark.parametrize("noise", [1e-6, 4e-6])
def test_branches_of_a_difference_err_alike(noise: float) -> None:
    network, technology = siamese(), hardware(noise, read_noise_std=1e-8)
    inputs = close_pairs(network, 6)
    simulated = check_against_simulation(network, technology, inputs)
    separate = apart(network)
    gains = pp.Gains.full_range(separate, technology, inputs)
    assert pp.predict(separate, technology, gains, inputs).mse > 20 * simulated.mse


@pytest.mark.parametrize(
    "fields",
    [
        {},
        *(
            pytest.param(fields, marks=pytest.mark.slow)
            for fields in ({"noise": 4e-6}, {"drift_compensation": True}, {"stuck_off_fraction": 0.01})
        ),
    ],
    ids=str,
)
def test_errors_of_a_recurrence_add_up(fields: dict[str, Any]) -> None:
    network = recurrent()
    inputs = np.random.default_rng(7).normal(size=(6, *network.input_shape))
    check_against_simulation(network, hardware(**fields), inputs)


@pytest.mark.parametrize("method", ["diagonal", "covariance"])
def test_other_methods_refuse_arrays_that_are_read_again(method: str) -> None:
    network, inputs = siamese(), close_pairs(siamese(), 2)
    gains = pp.Gains.uniform(network, hardware(), inputs=inputs)
    with pytest.raises(pp.InvalidInput, match="first is read by several nodes"):
        pp.predict(network, hardware(), gains, inputs, method=method)
    for other, technology in ((apart(network), hardware()), (network, hardware(mapping="unrolled"))):
        both = pp.Gains.uniform(other, technology, inputs=inputs)
        assert pp.predict(other, technology, both, inputs, method=method).mse > 0


def test_limits_of_an_array_are_those_of_all_its_reads() -> None:
    op = Linear(weight=np.ones((1, 2)))
    nodes = (
        node("small", part(0, 2), "input"),
        node("large", part(2, 4), "input"),
        node("a", op, "small", array="one"),
        node("b", op, "large", array="one"),
        node("sum", Add(), "a", "b"),
    )
    network = pp.Network(input_shape=(4,), nodes=nodes)
    inputs = np.array([[1.0, 0.5, 2.0, 4.0]])
    technology = hardware(0.0, adc_bits=8, adc_headroom=1.0, voltage_max=0.2)
    gains = pp.Gains.uniform(network, technology, inputs=inputs)
    assert gains.voltage == (0.2 / 4,)
    # the full scale is 6 with either read: the larger one just fits, the smaller has a step of 12/256
    assert pp.simulate(network, technology, gains, inputs, draws=1).mse_by_draw[0] <= (6 / 255) ** 2 * 4
