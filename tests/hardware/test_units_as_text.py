"""Quantities as text with their unit: in every number of hardware and gains, nested ones too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import powerplan as pp
from powerplan.hardware.aging import PowerLawDrift

DRIFT = {"type": "power_law", "exponent_mean": 0.05, "exponent_std": 0.01, "reference_time": 20.0}
CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"conductance_max": "50 uS", "time": "1 h"}, {"conductance_max": 50e-6, "time": 3600.0}),
    ({"drift": {**DRIFT, "exponent_mean": "5%", "exponent_std": "1 %", "reference_time": "20 s"}}, {"drift": DRIFT}),
    (
        {"drift": {"type": "log_time", "shift_slope": "-1 nS", "std_slope": "2nS", "reference_time": "1 min"}},
        {"drift": {"type": "log_time", "shift_slope": -1e-9, "std_slope": 2e-9, "reference_time": 60.0}},
    ),
    (
        {"measurements": [{"time": "1 h", "target": ["0 uS", "100uS"], "mean": ["1uS", "99 uS"], "std": ["1 uS", 0]}]},
        {"measurements": [{"time": 3600.0, "target": [0, 1e-4], "mean": [1e-6, 99e-6], "std": [1e-6, 0]}]},
    ),
    (
        {
            "programming_noise_curve": {
                "type": "piecewise",
                "reference": "100 uS",
                "breaks": [0.5],
                "pieces": ["1 uS", {"type": "power", "coefficient": "2uS", "exponent": 1.0}],
            }
        },
        {
            "programming_noise_curve": {
                "type": "piecewise",
                "reference": 1e-4,
                "breaks": [0.5],
                "pieces": [1e-6, {"type": "power", "coefficient": 2e-6, "exponent": 1.0}],
            }
        },
    ),
    (
        {"low_frequency_noise": {"std": "1 %", "read_time": "250 ns"}},
        {"low_frequency_noise": {"std": 0.01, "read_time": 250e-9}},
    ),
    (
        {"low_frequency_noise": {"std": "10 nS", "relative": False}},
        {"low_frequency_noise": {"std": 1e-8, "relative": False}},
    ),
]


@pytest.mark.parametrize(("text", "numbers"), CASES)
def test_text_is_the_same_hardware_as_the_numbers(text: dict[str, Any], numbers: dict[str, Any]) -> None:
    assert pp.Hardware.from_dict(text) == pp.Hardware.from_dict(numbers)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"drift": {**DRIFT, "reference_time": "20 V"}}, r"hardware.drift.reference_time: got '20 V'.*instead of 's'"),
        ({"drift": {**DRIFT, "exponent_mean": "5 uS"}}, r"hardware.drift.exponent_mean: got '5 uS'.*instead of '%'"),
        ({"measurements": [{"target": ["0", "1 V"], "std": [1, 1]}]}, r"measurements\[0\].target\[1\]: got '1 V'"),
        ({"measurements": [{"target": [0, 1], "std": ["x", 1]}]}, r"measurements\[0\].std\[0\]: got 'x'"),
        ({"low_frequency_noise": {"std": "10 nS"}}, r"low_frequency_noise.std: got '10 nS'.*instead of '%'"),
        ({"drift": "x"}, "hardware.drift: got 'x'; allowed: a drift"),
        ({"measurements": ["a"]}, r"measurements\[0\]: got 'a'; allowed: a snapshot"),
    ],
)
def test_a_wrong_unit_is_refused_where_it_stands(values: dict[str, Any], message: str) -> None:
    with pytest.raises(pp.InvalidInput, match=message):
        pp.Hardware.from_dict(values)


def test_presets_replacements_and_studies_take_units() -> None:
    for hardware in (
        pp.Hardware.preset("state_independent", read_time="50 ns"),
        pp.Hardware().replace(read_time="50 ns"),
    ):
        assert hardware.read_time == 50e-9
    study = pp.Study.from_dict(
        {
            "networks": {"iris": {"example": "iris"}},
            "hardware": {"aged": {"time": "1 h", "drift": {**DRIFT, "exponent_mean": "5%"}}},
            "grid": {"target": {"max_nmse": [0.1]}},
        }
    )
    assert study.values["hardware"]["aged"]["time"] == 3600


def test_files_of_hardware_and_gains_take_units(tmp_path: Path) -> None:
    (tmp_path / "aged.toml").write_text(
        'conductance_max = "50 uS"\ntime = "1 d"\n[drift]\ntype = "power_law"\nexponent_mean = "5%"\n'
        'reference_time = "20 s"\n'
    )
    hardware = pp.Hardware.from_toml(tmp_path / "aged.toml")
    assert hardware.time == 86400
    assert isinstance(hardware.drift, PowerLawDrift)
    assert hardware.drift.reference_time == 20
    gains = pp.Gains.from_dict({"conductance": ["20uS", ["30uS", 1e-5]], "voltage": ["200 mV", 0.1]})
    assert gains.to_dict() == {"conductance": [20e-6, [30e-6, 1e-5]], "voltage": [0.2, 0.1]}
    with pytest.raises(pp.InvalidInput, match=r"gains.conductance\[0\]: got '20V'.*'V' instead of 'S'"):
        pp.Gains.from_dict({"conductance": ["20V"], "voltage": [0.1]})
