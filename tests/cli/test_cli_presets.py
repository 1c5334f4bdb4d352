"""Published technologies and device models on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from click.testing import Result

import powerplan as pp

Run = Callable[..., Result]


def test_the_list(run: Run) -> None:
    text = run("presets")
    assert text.exit_code == 0
    for preset in pp.presets():
        assert preset.name in text.stdout
    document = json.loads(run("presets", "--json").stdout)
    assert document["format"] == "powerplan.presets"
    for entry, preset in zip(document["presets"], pp.presets(), strict=True):
        assert pp.Hardware.from_dict(entry["hardware"]) == preset.hardware


def test_one_of_them(run: Run) -> None:
    assert run("presets", "rram_milo2021").stdout.startswith("rram_milo2021: ")
    wrong = run("presets", "rram_milo")
    assert wrong.exit_code == 2
    assert "Did you mean 'rram_milo2021'?" in wrong.stderr


def test_a_preset_with_changes_is_planned_for(run: Run, files: Any) -> None:
    options = ["--preset", "pcm_hermes_2dev", "--time", "3600", "--drift-compensation", "--voltage-max", "100mV"]
    answer = json.loads(run("predict", files.problem, options, "--json").stdout)
    wanted = pp.Hardware.preset("pcm_hermes_2dev", time=3600.0, drift_compensation=True, voltage_max=0.1)
    assert pp.Hardware.from_dict(answer["hardware"]) == wanted


def test_a_curve_is_json(run: Run, files: Any) -> None:
    drift = '{"type": "power_law", "exponent_mean": 0.05, "reference_time": 20}'
    answer = json.loads(run("predict", files.problem, "--drift", drift, "--time", "60", "--json").stdout)
    assert answer["hardware"]["drift"]["exponent_mean"] == {"type": "polynomial", "coefficients": [0.05]}
    for bad, message in (
        ("{", "got '{'; allowed: JSON"),
        ('{"type": "power"}', "hardware.drift.type: got 'power'"),
        ("[" * 100_000, "allowed: JSON"),
    ):
        wrong = run("predict", files.problem, "--drift", bad)
        assert wrong.exit_code == 2
        assert message in wrong.stderr


def test_a_preset_and_a_file_exclude_each_other(run: Run, files: Any) -> None:
    wrong = run("predict", files.problem, "--preset", "rram_milo2021", "--hardware", "chip.toml")
    assert wrong.exit_code == 2
    assert "either --hardware FILE or --preset NAME" in wrong.stderr


def test_outside_the_measured_range_warns(run: Run, files: Any) -> None:
    answer = run("predict", files.problem, "--preset", "rram_milo2021", "--conductance-min", "10uS")
    assert answer.exit_code == 0
    assert "outside its measured range" in answer.stderr
