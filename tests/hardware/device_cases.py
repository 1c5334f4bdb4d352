"""Every device model that the conformance tests run over: the presets at several ages, and each part by itself."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from typing import Any

import powerplan as pp
from powerplan.hardware.aging import LogTimeDrift, LowFrequencyNoise, PowerLawDrift, Snapshot
from powerplan.hardware.curves import Logarithm, Piecewise, Polynomial, Power, Saturating, Table

AGES = {"0": 0.0, "1h": 3600.0, "1day": 86400.0, "1month": 30 * 86400.0}

SILENT: dict[str, Any] = {"programming_noise_std": 0.0}
LAW = PowerLawDrift(exponent_mean=Polynomial(coefficients=(0.05, 0.03)), exponent_std=0.04, reference_time=10.0)  # type: ignore[arg-type]
FLICKER = LowFrequencyNoise(std=Power(coefficient=0.02, exponent=-0.5, high=0.3), read_time=1e-6, time_offset=1.0)
FOLLOWING = dataclasses.replace(FLICKER, std_of="programmed")
STEPS = Piecewise(
    breaks=(0.2, 0.6),
    pieces=(
        Polynomial(coefficients=(1e-6,)),
        Table(points=(0.2, 0.6), values=(1e-6, 4e-6)),
        Saturating(amplitude=5e-6, scale=0.4),
    ),
)
RISING = Polynomial(coefficients=(1e-6, 2e-6))
MEASURED = (
    Snapshot.table([0, 20e-6, 100e-6], [2e-6, 21e-6, 97e-6], [1e-6, 2e-6, 5e-6], time=1.0),
    Snapshot.table([0, 50e-6, 100e-6], [3e-6, 52e-6, 93e-6], [2e-6, 3e-6, 8e-6], time=1e6),
)

PARTS: dict[str, dict[str, Any]] = {
    "constant": {},
    "proportional": {**SILENT, "programming_noise_proportional": 0.1},
    "polynomial": {**SILENT, "programming_noise_polynomial": (1e-6, 5e-6, -8e-6)},
    "logarithm": {**SILENT, "programming_noise_curve": Logarithm(slope=-1e-6, offset=1e-6, low=1.2e-6, high=4e-6)},
    "rising logarithm": {**SILENT, "programming_noise_curve": Logarithm(slope=1e-6, offset=4e-6, low=1e-6, high=9e-6)},
    "power": {**SILENT, "programming_noise_curve": Power(coefficient=4e-6, exponent=0.5, low=1e-6)},
    "saturating": {**SILENT, "programming_noise_curve": Saturating(amplitude=4e-6, scale=0.1)},
    "piecewise": {**SILENT, "programming_noise_curve": STEPS},
    "one snapshot": {**SILENT, "measurements": MEASURED[:1]},
    "two snapshots": {**SILENT, "measurements": MEASURED, "time": 300.0},
    "power law": {"drift": LAW},
    "folded power law": {"drift": PowerLawDrift(exponent_mean=0.01, exponent_std=0.3, reference_time=1.0)},  # type: ignore[arg-type]
    "drift without spread": {**SILENT, "drift": PowerLawDrift(exponent_mean=0.1, reference_time=1.0)},  # type: ignore[arg-type]
    "log time": {"drift": LogTimeDrift(shift_slope=-0.3e-6, std_slope=0.2e-6, std_offset=1e-6)},
    "relative flicker": {"low_frequency_noise": FLICKER},
    "flicker of what was programmed": {"low_frequency_noise": FOLLOWING, "drift": LAW},
    "absolute noise": {"low_frequency_noise": LowFrequencyNoise(std=RISING, relative=False)},
    "own gain": {"device_gain_std": 0.4},
    "stuck": {"stuck_on_fraction": 0.02, "stuck_off_fraction": 0.1, "conductance_min": 1e-6},
    "everything": {
        "conductance_min": 1e-6,
        "programming_noise_proportional": 0.05,
        "programming_noise_curve": STEPS,
        "drift": LAW,
        "low_frequency_noise": FOLLOWING,
        "device_gain_std": 0.1,
        "stuck_on_fraction": 0.01,
        "stuck_off_fraction": 0.02,
    },
}  # fmt: skip


def of_parts() -> Iterator[tuple[str, pp.Hardware]]:
    """Each part, clipped at zero and not, at every age that it knows."""
    for name, fields in PARTS.items():
        ages = AGES.values() if {"drift", "low_frequency_noise"} & fields.keys() else [fields.get("time", 0.0)]
        for clip in (True, False):
            for age in ages:
                title = f"{name}, {age:g} s{'' if clip else ', unclipped'}"
                yield title, pp.Hardware(**{**fields, "time": age, "clip_conductance": clip})


def of_presets() -> Iterator[tuple[str, pp.Hardware]]:
    """Every preset as it is published, and at every age for which it was measured."""
    for preset in pp.presets():
        yield f"{preset.name}", preset.hardware
        for label, age in AGES.items():
            if age == preset.hardware.time:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("error", pp.RangeWarning)
                try:
                    yield f"{preset.name}, {label}", pp.Hardware.preset(preset.name, time=age)
                except (pp.RangeWarning, pp.InvalidInput):
                    continue


CASES = dict([*of_parts(), *of_presets()])
