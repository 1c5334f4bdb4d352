"""Predictions against simulation on trained convolutional networks, other graphs and an encoder.

A quick part of benchmarks/real_networks.py: the simulations have standard errors of about 2 %, of which two are
allowed beside the bound on the MSE.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import powerplan as pp
from benchmarks import real_networks

ERROR = 0.02
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def case(
    tmp_path_factory: pytest.TempPathFactory, write_synthetic_mnist: Callable[..., None]
) -> Callable[[str], real_networks.Case]:
    """A case of the benchmark on four inputs; the examples trained on synthetic images, in a second or two."""
    folder: Path = tmp_path_factory.mktemp("synthetic")
    write_synthetic_mnist(folder, count=600)

    def made(name: str) -> real_networks.Case:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("POWERPLAN_DATA", str(folder))
            found = real_networks.CASES[name](str(folder))
        return real_networks.Case(
            name=name, network=found.network, inputs=found.inputs[:4], few=found.few, tile_rows=found.tile_rows
        )

    return made


@pytest.mark.parametrize(
    ("name", "nmse", "bound"),
    [
        ("mnist_cnn", 0.01, 0.02),
        ("mnist_cnn", 0.1, 0.03),
        ("mnist_resnet", 0.01, 0.02),
        ("separable", 0.1, 0.03),
        ("concatenating", 0.1, 0.03),
        ("concatenating", 1.0, 0.1),
        ("encoder", 0.01, 0.02),
        ("encoder", 0.1, 0.05),
    ],
)
def test_shared_arrays_whole_and_tiled(
    case: Callable[[str], real_networks.Case], name: str, nmse: float, bound: float
) -> None:
    """MSE within the bound, power of every layer within 1 % beside its Monte Carlo error."""
    for row in real_networks.compare(case(name), "shared", nmse, error=ERROR):
        assert abs(row["mse"]) < bound + 2 * row["mse_se"], row
        assert abs(row["layer_power"]) < 0.01 + 4 * row["layer_power_se"], row


def test_unrolled_arrays(case: Callable[[str], real_networks.Case]) -> None:
    """One array per position, whole and in tiles of 16 rows, at NMSE 10 %."""
    for row in real_networks.compare(case("concatenating"), "unrolled", 0.1, error=1.5 * ERROR):
        assert abs(row["mse"]) < 0.03 + 2 * row["mse_se"], row
        assert abs(row["layer_power"]) < 0.01 + 4 * row["layer_power_se"], row


def test_tiles_add_read_noise_and_positions_share_errors(case: Callable[[str], real_networks.Case]) -> None:
    """Tiles read more often, hence more error; independent errors of positions average out in a pooled network."""
    chosen = case("concatenating")
    hardware = real_networks.with_noise(pp.Hardware(), 2e-6)
    gains = pp.Gains.full_range(chosen.network, hardware, chosen.inputs)

    def mse(built: pp.Hardware) -> float:
        return pp.predict(chosen.network, built, gains, chosen.inputs, dtype="float32").mse

    assert mse(hardware.replace(array_rows=16)) > 1.2 * mse(hardware)
    assert mse(hardware.replace(mapping="unrolled")) < 0.95 * mse(hardware)


def test_noise_is_found_by_secants(case: Callable[[str], real_networks.Case]) -> None:
    """The predicted NMSE is the one asked for, within 1 %."""
    chosen = case("concatenating")
    hardware = real_networks.noise_for(chosen.network, pp.Hardware(), chosen.inputs, 0.05)
    gains = pp.Gains.full_range(chosen.network, hardware, chosen.inputs)
    predicted = pp.predict(chosen.network, hardware, gains, chosen.inputs)
    np.testing.assert_allclose(predicted.nmse, 0.05, rtol=0.011)
