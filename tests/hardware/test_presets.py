"""The presets give the published numbers, written down here a second time, at chosen states and ages."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

import powerplan as pp
from powerplan.hardware.curve_values import curve_values
from powerplan.hardware.curves import Curve
from powerplan.hardware.stages import programmed

U = 1e-6


def std_of(hardware: pp.Hardware, conductance: float) -> float:
    """Standard deviation of the programming [uS] at a target in uS."""
    return float(programmed(hardware, torch.tensor([conductance * U], dtype=torch.float64))[1].sqrt()) / U


def at(curve: Curve | None, hardware: pp.Hardware, u: float) -> float:
    assert curve is not None
    return float(
        curve_values(curve, torch.tensor(u * hardware.conductance_max, dtype=torch.float64), hardware.conductance_max)
    )


@pytest.mark.parametrize(
    ("name", "conductance", "std"),
    [
        ("pcm_nandakumar2019", 0, 0.26348),
        ("pcm_nandakumar2019", 12.5, 0.26348 + 1.9650 / 2 - 1.1731 / 4),
        ("pcm_hermes_1dev", 10.35, 0.15781817 + 2.32443916 - 2.16310839 + 0.68841818),
        ("pcm_hermes_2dev", 10.35, 0.16603222 + 4.71806468 / 2 - 8.48101252 / 4 + 4.68961419 / 8),
        ("pcm_joshi2020_fit", 20, 0.28638599 + 0.07585724 * 20 - 0.00178767 * 400),
        ("reram_wan2022_fitA", 20, 0.348 + 16.03 / 2 - 43.853 / 4 + 45.393 / 8 - 16.815 / 16),
        ("reram_wan2022_fitB", 20, 1.053 + 0.2374 * 20 - 0.01167 * 400 + 0.0001536 * 8000),
        ("reram_cmo_hfox_02pct", 50, 0.00081107 + 0.00106879 * 50),
        ("reram_cmo_hfox_2pct", 50, 0.0112185391 + 0.01129027418 * 50),
        ("rram_milo2021", 100, 4.782321 - 0.009107 * 100),
        ("sonos_agrawal2022", 10, 19.88665 * (1 - math.exp(-1000 / 176.3115)) / 100),
        ("state_independent", 10, 0.2),
    ],
)
def test_programming_noise(name: str, conductance: float, std: float) -> None:
    assert std_of(pp.Hardware.preset(name), conductance) == pytest.approx(std, rel=1e-9)


def clip(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


@pytest.mark.parametrize("u", [1e-7, 0.01, 0.0944, 0.0946, 0.159, 0.161, 0.3, 0.31, 1.0])
@pytest.mark.parametrize(
    ("name", "mean", "std", "noise"),
    [
        (
            "pcm_nandakumar2019",
            lambda u: clip(-0.0155 * math.log(u) + 0.0244, 0.049, 0.1),
            lambda u: clip(-0.0125 * math.log(u) - 0.0059, 0.008, 0.045),
            lambda u: min(0.0088 / max(u**0.65, 1e-3), 0.2),
        ),
        (
            "pcm_hermes_1dev",
            lambda u: (
                clip(-0.0387 * math.log(u) - 0.0182, 0.072, 0.13)
                if u < 0.0945
                else -0.0436 * u**2 - 0.0126 * u + 0.0736
            ),
            lambda u: (
                clip(-0.0120 * math.log(u) - 0.0023, 0.0124, 0.04)
                if u < 0.3039
                else -0.0165 * u**2 + 0.0116 * u + 0.0104
            ),
            lambda u: (
                clip(-0.0078 * math.log(u) + 0.0038, 0.0179, 0.04)
                if u < 0.1591
                else 0.0664 * u**3 - 0.1352 * u**2 + 0.0768 * u + 0.0088
            ),
        ),
        (
            "pcm_hermes_2dev",
            lambda u: (
                clip(-0.0387 * math.log(u) - 0.0182, 0.072, 0.13)
                if u < 0.0945
                else -0.0436 * u**2 - 0.0126 * u + 0.0736
            ),
            lambda u: (
                clip(-0.0117 * math.log(u) - 0.0057, 0.0091, 0.04)
                if u < 0.3055
                else -0.0118 * u**2 + 0.0093 * u + 0.0073
            ),
            lambda u: (
                clip(-0.0117 * math.log(u) - 0.0069, 0.015, 0.04)
                if u < 0.16
                else 0.0069 * u**3 - 0.0280 * u**2 + 0.0211 * u + 0.0123
            ),
        ),
    ],
)
def test_drift_and_low_frequency_noise_of_pcm(
    name: str,
    mean: Callable[[float], float],
    std: Callable[[float], float],
    noise: Callable[[float], float],
    u: float,
) -> None:
    hardware = pp.Hardware.preset(name)
    drift, flicker = hardware.drift, hardware.low_frequency_noise
    assert drift is not None
    assert drift.type == "power_law"
    assert flicker is not None
    assert at(drift.exponent_mean, hardware, u) == pytest.approx(mean(u), rel=1e-9)
    assert at(drift.exponent_std, hardware, u) == pytest.approx(std(u), rel=1e-9)
    assert at(flicker.std, hardware, u) == pytest.approx(noise(u), rel=1e-9)


def test_growth_of_low_frequency_noise() -> None:
    hardware = pp.Hardware.preset("pcm_nandakumar2019", time=3600.0)
    assert hardware.low_frequency_growth == pytest.approx(math.sqrt(math.log((3620 + 250e-9) / 500e-9)), rel=1e-12)
    assert pp.Hardware.preset("reram_cmo_hfox_2pct", time=3600.0).low_frequency_growth == pytest.approx(
        math.sqrt(math.log((3600 + 1e-6) / 2e-6)), rel=1e-12
    )


def test_relaxation_of_cmo_hfox() -> None:
    drift = pp.Hardware.preset("reram_cmo_hfox_2pct").drift
    assert drift is not None
    assert drift.type == "log_time"
    assert drift.shift(86400.0) == pytest.approx(-0.08900206e-6 * math.log(86400), rel=1e-12)
    assert drift.std(86400.0) == pytest.approx((0.04201137 * math.log(86400) + 0.41183342) * U, rel=1e-12)
    assert drift.std(0.0) == 0


def test_sonos_after_three_days() -> None:
    """Mean and spread at 500 nA, from the published polynomial in nA; 1 nA is 10 nS at 0.1 V."""
    change = (
        -0.01753, 0.0976883, -0.000963791, 4.55551e-06, -1.22391e-08, 1.93786e-11, -1.85899e-14, 1.07659e-17,
        -3.58211e-21, 5.96785e-25, -3.3041e-29,
    )  # fmt: skip
    current = 500 + sum(a * 500**k for k, a in enumerate(change))
    std = 31.04318 * (1 - math.exp(-current / 198.90332))
    hardware = pp.Hardware.preset("sonos_agrawal2022", time=3 * 86400.0)
    mean, variance = programmed(hardware, torch.tensor([5e-6], dtype=torch.float64))
    assert float(mean) == pytest.approx(current * 1e-8, rel=1e-9)
    assert float(variance) == pytest.approx((std * 1e-8) ** 2, rel=1e-9)


def test_the_list_is_complete_and_readable() -> None:
    """Names are unique; each has a source, a kind and a range; printing shows them."""
    every = pp.presets()
    assert len(set(every.names)) == len(every) == 11
    text = str(every)
    for preset in every:
        assert preset.citation
        assert preset.kind
        assert preset.conductances[0] < preset.conductances[1]
        assert preset.outside(preset.hardware) == []
        assert pp.Hardware.preset(preset.name) == preset.hardware
        assert preset.name in text
        assert preset.citation in text


def test_fields_given_replace_those_of_the_preset() -> None:
    hardware = pp.Hardware.preset("pcm_hermes_2dev", drift=None, voltage_max=0.1)
    assert hardware.drift is None
    assert hardware.voltage_max == 0.1
    assert hardware.low_frequency_noise == pp.Hardware.preset("pcm_hermes_2dev").low_frequency_noise
