"""Equal seeds give equal results whatever is run together."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from random_networks import batch, mlp

import powerplan as pp
from powerplan.montecarlo import block

Case = tuple[pp.Network, pp.Hardware, pp.Gains, np.ndarray]


def assert_equal(a: pp.Simulation, b: pp.Simulation) -> None:
    for field in fields(a):
        if field.name == "inputs":
            assert a.inputs is not None
            assert b.inputs is not None
            np.testing.assert_array_equal(a.inputs.mse_by_input, b.inputs.mse_by_input)
            np.testing.assert_array_equal(a.inputs.signal_by_input, b.inputs.signal_by_input)
        elif field.name == "layers":
            for x, y in zip(a.layers, b.layers, strict=True):
                np.testing.assert_array_equal(x.mean, y.mean)
                np.testing.assert_array_equal(x.covariance, y.covariance)
        else:
            np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name), err_msg=field.name)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "softplus", "gelu", "silu"])
def test_whatever_the_memory_limit(activation: str) -> None:
    """One draw at a time and hundreds at a time give the same bits in every field."""
    network, x = mlp(13, 17, 11, 3, activation=activation), batch(5, 13)
    hardware = pp.Hardware(read_noise_std=1e-7, input_noise_std=1e-3, feedback_resistance=1e4)
    gains = pp.Gains.uniform(network, hardware, inputs=x)
    results = [
        pp.simulate(network, hardware, gains, x, draws=300, seed=5, memory_limit=limit, layer_moments="covariance")
        for limit in (40_000, 150_000, 1 << 28)
    ]
    assert_equal(results[0], results[2])
    assert_equal(results[1], results[2])


@pytest.mark.slow
@pytest.mark.parametrize("outputs", [1, 2, 5])
@pytest.mark.parametrize("columns", [False, True])
def test_whatever_the_memory_limit_in_tiles(outputs: int, columns: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for layers worked on in several tiles, with few outputs, with and without column gains."""
    monkeypatch.setattr(block, "BLOCK_DEVICES", 2000)
    network, x = mlp(300, 21, outputs), batch(3, 300)
    hardware = pp.Hardware()
    gains = pp.Gains.uniform(network, hardware, inputs=x)
    if columns:
        gains = pp.Gains(
            conductance=tuple(
                c * np.linspace(0.5, 1, n) for c, n in zip(gains.conductance, (21, outputs), strict=True)
            ),
            voltage=gains.voltage,
        )
    results = [
        pp.simulate(network, hardware, gains, x, draws=70, memory_limit=limit) for limit in (1, 200_000, 1 << 28)
    ]
    assert_equal(results[0], results[2])
    assert_equal(results[1], results[2])


def test_more_draws_begin_with_the_same_draws(small: Case) -> None:
    """Draw k is draw k, however many follow."""
    few, many = (pp.simulate(*small, draws=n, seed=2) for n in (50, 333))
    np.testing.assert_array_equal(few.mse_by_draw, many.mse_by_draw[:50])
    np.testing.assert_array_equal(few.classes, many.classes[:50])


def test_seeds_differ(small: Case) -> None:
    """Another seed, other draws."""
    a, b = (pp.simulate(*small, draws=20, seed=s).mse_by_draw for s in (0, 1))
    assert not np.isin(a, b).any()


def test_precision_changes_rounding_only(small: Case) -> None:
    """float64 sees the same devices as float32."""
    single, double = (pp.simulate(*small, draws=40, dtype=d) for d in ("float32", "float64"))
    np.testing.assert_allclose(single.mse_by_draw, double.mse_by_draw, rtol=1e-4)
    assert single.power == pytest.approx(double.power, rel=1e-5)
