"""Published technologies through a network: predicted error against simulation."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import powerplan as pp
from powerplan.hardware.devices import device_moments


@pytest.mark.slow
@pytest.mark.parametrize("compensated", [False, True])
@pytest.mark.parametrize(
    "name", ["pcm_nandakumar2019", "pcm_hermes_2dev", "reram_cmo_hfox_2pct", "reram_wan2022_fitA", "sonos_agrawal2022"]
)
def test_predicted_error_after_a_day(name: str, compensated: bool, digits_example: pp.Example) -> None:
    """Within 2 % where drift is compensated or small, within 5 % beyond NMSE 10 %, plus four standard errors."""
    network, inputs = digits_example.network, digits_example.inputs[:16]
    hardware = pp.Hardware.preset(name, time=86400.0, drift_compensation=compensated)
    gains = pp.Gains.uniform(network, hardware, inputs=inputs)
    predicted = pp.predict(network, hardware, gains, inputs)
    simulated = pp.simulate(network, hardware, gains, inputs, draws=500)
    allowed = (0.02 if predicted.nmse < 0.1 else 0.05) + 4 * simulated.mse_standard_error / simulated.mse
    assert predicted.mse / simulated.mse == pytest.approx(1, abs=allowed)
    assert predicted.power == pytest.approx(simulated.power, rel=0.01)


def test_noise_of_the_target_would_overstate_small_devices_of_pcm() -> None:
    """Why the presets of PCM let the low-frequency noise follow what was programmed."""
    hardware = pp.Hardware.preset("pcm_nandakumar2019", time=3600.0)
    noise = hardware.low_frequency_noise
    assert noise is not None
    simpler = hardware.replace(low_frequency_noise=dataclasses.replace(noise, std_of="target"))
    target = torch.tensor([0, 0.25e-6, 5e-6, 25e-6], dtype=torch.float64)
    ratio = device_moments(simpler, target)[1] / device_moments(hardware, target)[1]
    assert ratio[:2].min() > 1.3
    assert ratio[:2].max() < 1.5
    assert (ratio[2:] - 1).abs().max() < 0.02
