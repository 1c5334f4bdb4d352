"""Times of measurements and presets: what is given wins, and what lies outside of what was measured is said."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner

import powerplan as pp
from powerplan.cli import main
from powerplan.hardware.presets import Preset

_CHIP = """conductance_max = 5e-5
[[measurements]]
time = 10
target = [0, 5e-5]
std = [1e-6, 2e-6]
[[measurements]]
time = 1000
target = [0, 5e-5]
std = [2e-6, 4e-6]
"""


@pytest.fixture
def chip(tmp_path: Path) -> Path:
    """Hardware of two measurements that names no time."""
    path = tmp_path / "chip.toml"
    path.write_text(_CHIP)
    return path


def test_a_given_time_wins_over_a_file_that_names_none(chip: Path) -> None:
    with pytest.raises(pp.InvalidInput, match=r"hardware\.time: got 0.* 10 to 1000 s.*Give a time within them"):
        pp.Hardware.from_toml(chip)
    assert pp.Hardware.from_toml(chip, time=100.0).time == 100


def _predict(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(main, ["predict", "--example", "iris", "--json", *arguments])
    assert result.exit_code == 0, result.output
    answer: dict[str, object] = json.loads(result.stdout)
    return answer


@pytest.mark.slow
def test_time_on_the_command_line(chip: Path) -> None:
    early, late = (_predict("--hardware", str(chip), "--time", time)["nmse"] for time in ("10s", "1000s"))
    assert late == pytest.approx(4 * early, rel=0.3)  # type: ignore[operator]
    refused = CliRunner().invoke(main, ["predict", "--example", "iris", "--hardware", str(chip)])
    assert refused.exit_code == 2
    assert "time" in refused.output


def test_time_on_the_axes_of_a_study(chip: Path) -> None:
    path = chip.with_name("study.toml")
    head = f"[networks.iris]\nexample = 'iris'\n[hardware.chip]\nfile = '{chip.name}'\n"
    path.write_text(head + "[grid]\ntarget.max_nmse = [0.1]\noverride.time = [10, 100, 1000]\n")
    study = pp.Study.load(path)
    times = [study.hardware.of("chip", point.settings["override"]).time for point in study.points]
    assert times == [10, 100, 1000]
    path.write_text(head + "[grid]\ntarget.max_nmse = [0.1]\noverride.time = [10, 1e6]\n")
    with pytest.raises(pp.InvalidInput, match=r"override\.time: got 1000000"):
        pp.Study.load(path)
    path.write_text(head + "time = 100\n[grid]\ntarget.max_nmse = [0.1]\n")
    assert pp.Study.load(path).hardware.of("chip", {}).time == 100
    path.write_text(head + "[grid]\ntarget.max_nmse = [0.1]\n")
    with pytest.raises(pp.InvalidInput, match=r"hardware\.chip\.time: got 0"):
        pp.Study.load(path)
    path.write_text(head + "[grid]\ntarget.max_nmse = [0.1]\noverride.time = [10]\ncorners = [['chip']]\n")
    with pytest.raises(pp.InvalidInput, match=r"hardware\.chip\.time: got 0"):  # a corner stands alone
        pp.Study.load(path)


@pytest.mark.parametrize("preset", pp.presets(), ids=lambda preset: preset.name)
def test_every_preset_warns_or_refuses_outside_of_what_was_measured(preset: Preset) -> None:
    """Every field with a range, on both sides."""
    (low, high), (first, last) = preset.conductances, preset.times
    outside: list[dict[str, float]] = [{"conductance_max": math.nextafter(high, 1)}]
    outside += [{"conductance_min": low / 2}] if low else []
    outside += [{"time": first / 2}] if first else []
    outside += [{"time": math.nextafter(last, math.inf)}, {"time": 1e9}] if last is not None else []
    for fields in outside:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pp.RangeWarning)
            with pytest.raises((pp.RangeWarning, pp.InvalidInput), match="measured"):
                pp.Hardware.preset(preset.name, **fields)
    inside: list[dict[str, float]] = [{}, {"conductance_min": low, "conductance_max": high}, {"time": first}]
    inside += [{"time": 1e6 if last is None else last}]
    for fields in inside:
        pp.Hardware.preset(preset.name, **fields)  # warnings are errors


def test_a_preset_that_does_not_age_was_measured_at_one_time() -> None:
    """Without drift a description cannot hold at every time, unless it is of no device."""
    for preset in pp.presets():
        hardware = preset.hardware
        ages = hardware.drift is not None or len(hardware.measurements or ()) > 1
        assert ages or preset.times[1] is not None, preset.name
