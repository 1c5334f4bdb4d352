"""The engine's calls ask about numbers most likely in another unit: once, all of them, pointing to the caller."""

import re

import numpy as np
import pytest

import powerplan as pp


def test_a_call_warns_once_and_says_all(network: pp.Network, inputs: np.ndarray) -> None:
    hardware = pp.Hardware(programming_noise_std=2.0, voltage_max=200.0)
    gains = pp.Gains.full_range(network, hardware, inputs)
    with pytest.warns(pp.PlausibilityWarning) as caught:
        pp.predict(network, hardware, gains, inputs)
    before, after = [w.message for w in caught]
    assert isinstance(before, pp.PlausibilityWarning)
    assert isinstance(after, pp.PlausibilityWarning)
    rows = {f"gains.voltage[{layer}]" for layer in range(3)}  # 200 V on them, as the limit allows
    assert {d.field for d in before.doubts} == {"hardware.programming_noise_std", "hardware.voltage_max", *rows}
    assert {d.field for d in after.doubts} <= {"prediction.nmse", "prediction.power"}
    assert all(w.filename == __file__ for w in caught), "the warning points to the caller"


def test_planning_with_a_verification_asks_once(network: pp.Network, inputs: np.ndarray) -> None:
    with pytest.warns(pp.PlausibilityWarning) as caught:
        pp.plan(network, pp.Hardware(temperature=25.0), inputs, pp.MaxNMSE(0.6), verify_draws=4)
    assert [sorted(d.field for d in w.message.doubts) for w in caught] == [  # type: ignore[union-attr]
        ["hardware.temperature", "target.max_nmse"]
    ]


@pytest.mark.parametrize(("kind", "value"), [("MaxNMSE", 1.0), ("MaxFlipRate", 0.5), ("MaxPower", 5e3)])
def test_targets_in_percent_or_milliwatts(kind: str, value: float) -> None:
    (doubt,) = getattr(pp, kind)(value).doubts()
    assert doubt.field == "target." + re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind).lower()
    assert "Did you mean" in doubt.advice
    assert getattr(pp, kind)(value / 1e2 if value < 10 else value / 1e3).doubts() == ()


@pytest.mark.parametrize(
    ("limit", "value", "meant"),
    [("max_energy", 5.0, "5 pJ"), ("max_latency", 300.0, "300 ns"), ("max_area", 1000.0, "1000 um2")],
)
def test_limits_in_another_unit(network: pp.Network, inputs: np.ndarray, limit: str, value: float, meant: str) -> None:
    hardware = pp.Hardware(programming_noise_std=1e-6, adc_bits=8, costs={"adc": {"type": "capacitor"}})
    with pytest.warns(pp.PlausibilityWarning, match=f"{limit}: .*Did you mean {meant}") as caught:
        pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02), **{limit: value})  # type: ignore[arg-type]
    assert len(caught) == 1
