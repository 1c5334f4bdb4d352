"""What a simulation reports, where it stops, and what it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from random_networks import batch, mlp

import powerplan as pp

Case = tuple[pp.Network, pp.Hardware, pp.Gains, np.ndarray]

ROOT = Path(__file__).parents[2]
QUIET = pp.Hardware(programming_noise_std=0.0, conductance_min=1e-6)


def run(network: pp.Network, x: np.ndarray, hardware: pp.Hardware | None = None, **options: Any) -> pp.Simulation:
    hardware = hardware or pp.Hardware()
    return pp.simulate(network, hardware, pp.Gains.uniform(network, hardware, inputs=x), x, **options)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-13)])
def test_no_noise_is_ideal(dtype: str, tolerance: float) -> None:
    """Without noise every draw gives the ideal output."""
    network, x = mlp(8, 12, 5, activation="gelu"), batch(7, 8)
    result = run(network, x, QUIET, draws=5, dtype=dtype)
    np.testing.assert_allclose(result.output_mean, network(x), atol=tolerance)
    np.testing.assert_array_equal(result.ideal_output, network(x))
    assert result.mse <= tolerance**2
    assert result.mse_standard_error <= tolerance**2
    assert (result.classes == network(x).argmax(1)).all()


def test_statistics_are_those_of_the_draws() -> None:
    """MSE, its error, NMSE and accuracy follow from the draws reported."""
    network, x = mlp(8, 12, 5), batch(9, 8)
    result = run(network, x, draws=400)
    assert result.draws == len(result.mse_by_draw) == len(result.classes) == 400
    assert result.mse == pytest.approx(result.mse_by_draw.mean())
    assert result.mse_standard_error == pytest.approx(result.mse_by_draw.std(ddof=1) / 20)
    assert result.mse == pytest.approx(result.mse_by_output.mean())
    assert result.signal_power == pytest.approx((network(x) ** 2).mean())
    assert result.nmse == pytest.approx(result.mse / result.signal_power)
    bias2 = ((result.output_mean - result.ideal_output) ** 2).mean()
    variance = np.einsum("bkk->bk", result.output_covariance).mean()
    assert result.mse == pytest.approx(bias2 + variance * 399 / 400)
    assert result.power == pytest.approx(result.power_by_layer.sum())
    labels = network(x).argmax(1)
    assert result.accuracy(labels) == pytest.approx((result.classes == labels).mean())


def test_the_part_of_the_converters_is_known_and_in_the_power() -> None:
    """Per read and array: E_DAC for every row, E_ADC for every output; the same draws without energies lack it."""
    network, x = mlp(8, 12, 5), batch(3, 8)
    plain = pp.Hardware(array_rows=6, read_time=1e-7)
    with_energy = plain.replace(dac_energy=1e-13, adc_energy=2e-12)
    free, priced = (run(network, x, hardware, draws=6) for hardware in (plain, with_energy))
    expected = np.array([8 * 1e-13 + 2 * 12 * 2e-12, 12 * 1e-13 + 2 * 5 * 2e-12]) / 1e-7
    np.testing.assert_array_equal(free.converter_power_by_layer, 0)
    np.testing.assert_allclose(priced.converter_power_by_layer, expected, rtol=1e-12)
    np.testing.assert_allclose(priced.power_by_layer - free.power_by_layer, expected, rtol=1e-5)
    np.testing.assert_array_equal(priced.mse_by_draw, free.mse_by_draw)


@pytest.mark.slow
def test_standard_error_is_honest() -> None:
    """The 95 % intervals of 300 simulations cover the true MSE and power 90 to 99 % of the time."""
    network, x = mlp(5, 8, 3), batch(4, 5)
    best = run(network, x, draws=100_000, seed=999)
    results = [run(network, x, draws=200, seed=seed) for seed in range(300)]
    for name in ("mse", "power"):
        intervals = [getattr(r, f"{name}_confidence_interval") for r in results]
        covered = np.mean([low <= getattr(best, name) <= high for low, high in intervals])
        assert 0.90 <= covered <= 0.99, name


def test_stops_early() -> None:
    """Stops at the first look where the error is small enough; goes to the end if it never is."""
    network, x = mlp(8, 12, 5), batch(9, 8)
    result = run(network, x, draws=100_000, relative_standard_error=0.02)
    assert result.draws < 5000
    assert result.mse_standard_error <= 0.02 * result.mse
    before = run(network, x, draws=result.draws - 128)
    assert before.mse_standard_error > 0.02 * before.mse
    assert run(network, x, draws=300, relative_standard_error=1e-4).draws == 300
    assert run(network, x, QUIET, draws=300, relative_standard_error=0.1, dtype="float64").draws <= 300


def test_progress_ends_with_all_draws() -> None:
    """progress sees draws made, rising to the end."""
    seen: list[tuple[int, int]] = []
    run(mlp(4, 3), batch(2, 4), draws=300, progress=lambda made, draws: seen.append((made, draws)))
    assert [made for made, _ in seen] == sorted({made for made, _ in seen})
    assert seen[-1] == (300, 300)


def test_one_output() -> None:
    """One output: class 1 if positive."""
    network, x = mlp(6, 4, 1), batch(20, 6)
    result = run(network, x, draws=50)
    assert result.output_covariance is not None
    assert result.output_covariance.shape == (20, 1, 1)
    assert set(np.unique(result.classes)) <= {0, 1}
    assert result.accuracy((network(x)[:, 0] > 0).astype(int)) > 0.8


def test_dead_relu_layer() -> None:
    """A layer whose ReLUs never fire passes nothing on: the output is the bias, the last layer draws no power."""
    weights = [np.zeros((3, 4)), np.ones((2, 3))]
    network = pp.Network.mlp(weights, [np.full(3, -100.0), np.array([1.0, -2.0])])
    result = run(network, batch(3, 4), draws=30)
    assert result.mse == 0
    assert result.power_by_layer[1] == 0
    np.testing.assert_array_equal(result.output_mean, [[1, -2]] * 3)


def test_all_zero_weights() -> None:
    """Zero weights still have noisy devices; a zero signal has no NMSE."""
    network = pp.Network.mlp([np.zeros((2, 3))])
    hardware = pp.Hardware(clip_conductance=False)
    gains = pp.Gains(conductance=(1e-4,), voltage=(0.1,))
    x = np.ones((1, 3))
    result = pp.simulate(network, hardware, gains, x, draws=4000)
    assert result.mse == pytest.approx(2 * 3 * (2e-6 / 1e-4) ** 2, rel=0.1)
    assert np.isnan(result.nmse)


def test_single_draw_has_no_error() -> None:
    """Standard errors of one draw are NaN, without warnings."""
    result = run(mlp(4, 3), batch(2, 4), draws=1, layer_moments="variance")
    assert np.isnan([result.mse_standard_error, result.power_standard_error, *result.layers[0].variance.flat]).all()
    assert np.isfinite(result.mse)


def test_wide_outputs_leave_the_covariance_out() -> None:
    """With many outputs the covariance is kept only if it fits."""
    network, x = mlp(4, 70), batch(3, 4)
    kept, left = (run(network, x, draws=5, memory_limit=m) for m in (1 << 28, 1 << 20))
    assert kept.output_covariance is not None
    assert left.output_covariance is None
    np.testing.assert_array_equal(kept.mse_by_draw, left.mse_by_draw)


def test_voltage_limit_warns() -> None:
    """Inputs beyond voltage_max are simulated, with a warning."""
    network, x = mlp(4, 3), batch(2, 4)
    hardware = pp.Hardware()
    gains = pp.Gains(conductance=pp.Gains.uniform(network, hardware).conductance, voltage=(10.0,))
    with pytest.warns(pp.LimitWarning, match="voltage_max"):
        pp.simulate(network, hardware, gains, x, draws=2)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"draws": 0}, "draws"),
        ({"draws": 2.5}, "draws"),
        ({"draws": True}, "draws"),
        ({"draws": 10**12}, "draws"),
        ({"seed": -1}, "seed"),
        ({"seed": "a"}, "seed"),
        ({"relative_standard_error": 0}, "relative_standard_error"),
        ({"relative_standard_error": float("nan")}, "relative_standard_error"),
        ({"memory_limit": 0}, "memory_limit"),
        ({"dtype": "float16"}, "dtype"),
        ({"device": "tpu"}, "device"),
        ({"device": "cuda:99"}, "device"),
        ({"layer_moments": "all"}, "layer_moments"),
        ({"layer_moments": "covariance", "memory_limit": 100}, "layer_moments"),
        ({"inputs": np.full((2, 6), np.nan)}, "inputs"),
        ({"inputs": np.full((2, 6), np.inf)}, "inputs"),
        ({"inputs": np.ones((2, 7))}, "inputs"),
        ({"inputs": np.ones(6)}, "inputs"),
        ({"inputs": np.ones((0, 6))}, "inputs"),
        ({"inputs": "x"}, "inputs"),
        ({"gains": pp.Gains(conductance=(1e-6,), voltage=(0.1,))}, "gains.conductance"),
        ({"gains": pp.Gains(conductance=(1.0, 1.0), voltage=(0.1, 0.1))}, "gains.conductance[0]"),
    ],
)
def test_refuses(small: Case, options: dict[str, Any], field: str) -> None:
    """Every bad value is refused by name."""
    network, hardware, gains, inputs = small
    given = {"gains": gains, "inputs": inputs, **options}
    with pytest.raises(pp.InvalidInput) as caught:
        pp.simulate(network, hardware, given.pop("gains"), given.pop("inputs"), **given)
    assert caught.value.violations[0].field == field


def test_refuses_overflow() -> None:
    """Numbers beyond the precision are an error, not NaN."""
    network = pp.Network.mlp([np.full((2, 3), 1e30)])
    hardware = pp.Hardware()
    gains = pp.Gains.uniform(network, hardware, inputs=(x := np.full((1, 3), 1e20)))
    with pytest.raises(pp.InvalidInput, match="float32"):
        pp.simulate(network, hardware, gains, x, draws=2)
    assert np.isfinite(pp.simulate(network, hardware, gains, x, draws=2, dtype="float64").mse)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_gpu_agrees_with_cpu(small: Case) -> None:
    """The GPU draws other numbers from the same distribution."""
    cpu, gpu = (pp.simulate(*small, draws=2000, device=d) for d in ("cpu", "cuda"))
    assert abs(cpu.mse - gpu.mse) < 4.5 * np.hypot(cpu.mse_standard_error, gpu.mse_standard_error)
    assert abs(cpu.power - gpu.power) < 4.5 * np.hypot(cpu.power_standard_error, gpu.power_standard_error)


_MEMORY = """
import sys
import numpy as np, powerplan as pp
from benchmarks.memory import peak_memory
pp.simulate
rng = np.random.default_rng(0)
network = pp.Network.mlp([rng.normal(size=(16, 16)), rng.normal(size=(40, 16))])
hardware = pp.Hardware(read_noise_std=1e-8)
x = rng.normal(size=(500, 16))
gains = pp.Gains.uniform(network, hardware, inputs=x)
pp.simulate(network, hardware, gains, x, draws=2, memory_limit=2 << 20)
limit = int(sys.argv[2])
print(peak_memory(lambda: pp.simulate(network, hardware, gains, x, draws=int(sys.argv[1]), memory_limit=limit)))
"""


@pytest.mark.slow
def test_memory_is_bounded() -> None:
    """Ten times the draws take no more memory than their class and error records, 0.5 kB a draw here.

    The outputs of that many draws would take 90 MB. The allocator is told to give freed memory back at once: what it
    keeps for later, in pieces, differs by tens of MB from run to run.
    """
    returning = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}

    def growth(draws: int) -> int:
        command = [sys.executable, "-c", _MEMORY, str(draws), str(16 << 20)]
        environment = {**os.environ, **returning, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT, env=environment)
        return int(done.stdout)

    few, many = growth(128), growth(1280)
    assert few < 80 << 20
    assert many < few + (16 << 20)
