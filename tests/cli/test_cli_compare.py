"""``powerplan compare`` and its sweeps as text."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import powerplan as pp
from powerplan.cli.sweeps import parse_sweeps

Run = Callable[..., Result]


def test_presets_and_files_side_by_side(run: Run, files: Any, tmp_path: Path) -> None:
    (tmp_path / "ours.toml").write_text("programming_noise_std = 1e-6")
    problem = ("--network", files.network, "--inputs", files.inputs, "--max-nmse", "10%")
    technologies = ("--preset", "pcm_hermes_2dev", "--hardware", tmp_path / "ours.toml", "--preset", "rram_milo2021")
    page, figure = tmp_path / "c.html", tmp_path / "c.png"
    said = run("compare", *problem, *technologies, "--voltage-max", "100mV", "--html", page, "--plot", figure)
    assert said.exit_code == 0
    names = [line.split()[0] for line in said.stdout.splitlines()[2:5]]
    assert names == ["pcm_hermes_2dev", "ours", "rram_milo2021"]  # as they were given
    assert page.stat().st_size > 1000
    assert figure.read_bytes().startswith(b"\x89PNG")
    document = json.loads(run("compare", *problem, *technologies, "--voltage-max", "100mV", "--json").stdout)
    assert document["format"] == "powerplan.comparison"
    alone = run("plan", *problem, "--hardware", tmp_path / "ours.toml", "--voltage-max", "100mV", "--json")
    assert document["points"][1]["power_W"] == json.loads(alone.stdout)["prediction"]["power"]


def test_nothing_that_meets_the_target_is_exit_code_3(run: Run, files: Any) -> None:
    problem = ("--network", files.network, "--inputs", files.inputs, "--max-nmse", "0.001%")
    said = run("compare", *problem, "--sweep", "adc_bits=4..5")
    assert said.exit_code == 3
    assert "adc_bits=4" in said.stdout
    assert "no technology meets the target" in said.stderr
    assert "above the target 0.001000 %" in said.stdout
    assert "hardware." not in said.stdout  # advice names options of the command line
    assert "raise --" in said.stdout


def test_wires_need_no_array_size_beside_a_sweep_of_sizes(run: Run, files: Any) -> None:
    problem = ("--network", files.network, "--inputs", files.inputs, "--max-nmse", "20%", "--wire-resistance-row", "2")
    said = run("compare", *problem, "--sweep", "array_rows+array_columns=4x6,8", "--json")
    points = json.loads(said.stdout)["points"]
    sizes = [(point["override.array_rows"], point["override.array_columns"]) for point in points]
    assert sizes == [(4, 6), (8, 8)]
    assert points[0]["conversions"] > points[1]["conversions"]


@pytest.mark.parametrize("command", ["plan", "predict", "simulate", "frontier"])
@pytest.mark.parametrize("flag", ["--preset", "--hardware"])
def test_two_technologies_elsewhere_are_an_error(run: Run, command: str, flag: str) -> None:
    said = run(command, "--example", "iris", flag, "a", flag, "b")
    assert said.exit_code == 2
    assert f"{flag}: got a and b; give one. To set technologies side by side: powerplan compare" in said.stderr


def test_sweeps_as_text() -> None:
    assert parse_sweeps(["adc-bits=4..7", "time=1h,1d"]) == {"adc_bits": [4, 5, 6, 7], "time": [3600.0, 86400.0]}
    assert parse_sweeps(["array_rows+array_columns=64,128"]) == {"array_rows+array_columns": [64, 128]}
    assert parse_sweeps(["array_rows+array_columns=64x128,32"]) == {"array_rows+array_columns": [(64, 128), 32]}
    assert parse_sweeps(["array_rows=64..1024:5"]) == {"array_rows": [64, 128, 256, 512, 1024]}
    assert parse_sweeps(["conductance_max=10uS..40uS:3"])["conductance_max"] == pytest.approx([1e-5, 2e-5, 4e-5])
    assert parse_sweeps(["thermal_noise=true,false", "mapping=shared,unrolled"]) == {
        "thermal_noise": [True, False],
        "mapping": ["shared", "unrolled"],
    }
    assert parse_sweeps(["adc_bits=none,8"]) == {"adc_bits": [None, 8]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adc_bits", "FIELD=4..10"),
        ("adc_bitz=4", "Did you mean 'adc_bits'"),
        ("adc_bits=7..4", "the smaller first"),
        ("adc_bits=4.5", "whole numbers"),
        ("time=1h..1d", "LOW..HIGH:COUNT above 0"),
        ("time=0..1d:3", "LOW..HIGH:COUNT above 0"),
        ("time=1V", "'V' instead of 's'"),
        ("array_rows=1..5000", "at most 1000 values"),
        ("thermal_noise=yes", "true or false"),
    ],
)
def test_sweeps_that_are_none(text: str, message: str) -> None:
    with pytest.raises(pp.InvalidInput, match=message):
        parse_sweeps([text])
    with pytest.raises(pp.InvalidInput, match="each field once"):
        parse_sweeps(["adc_bits=4", "adc_bits=5"])
