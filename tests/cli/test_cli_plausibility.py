"""Numbers that are most likely in another unit are errors on the command line, until they are confirmed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import powerplan as pp

Run = Callable[..., Result]


@pytest.mark.parametrize(
    ("options", "meant"),
    [
        (["plan", "--max-nmse", "1"], "1 %"),
        (["plan", "--max-flip-rate", "0.5"], "0.5 %"),
        (["plan", "--max-power", "5000"], "5 W"),
        (["plan", "--max-nmse", "1%", "--programming-noise-std", "1"], "1 uS"),
        (["predict", "--conductance-max", "100"], "100 uS"),
        (["predict", "--temperature", "25"], "25 degrees Celsius"),
        (["predict", "--column-gain-std", "3"], "3 %"),
        (["simulate", "--draws", "4", "--voltage-max", "200"], "200 mV"),
        (["frontier", "--max-nmse", "1%,2"], "2 %"),
        (["frontier", "--from", "1%", "--to", "1", "--points", "2"], "1 %"),
    ],
)
def test_the_likely_unit_is_said_before_any_work(run: Run, files: Any, options: list[str], meant: str) -> None:
    done = run(options[0], files.problem, options[1:])
    assert done.exit_code == 2, done.output
    assert f"Did you mean {meant}" in done.stderr
    assert "--accept-implausible" in done.stderr
    assert done.stdout == ""


def test_a_table_in_microsiemens_is_not_read_as_siemens(run: Run, files: Any, tmp_path: Path) -> None:
    (tmp_path / "devices.toml").write_text(
        "conductance_max = 1e-4\n[[measurements]]\ntarget = [0.0, 1e-4]\nmean = [0.4, 99.0]\nstd = [1.0, 2.0]\n"
    )
    done = run("predict", files.problem, "--hardware", "devices.toml")
    assert done.exit_code == 2
    assert "hardware.measurements[0].mean: got 99 S" in done.stderr
    assert "Did you mean 99 uS?" in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ["--max-nmse", "100%"],
        ["--max-nmse", "0.3"],
        ["--max-nmse", "1", "--accept-implausible"],
        ["--max-nmse", "30%", "--temperature", "77K"],
    ],
)
def test_a_unit_or_the_flag_confirms(run: Run, files: Any, options: list[str]) -> None:
    done = run("plan", files.problem, options, "--programming-noise-std", "4uS")
    assert done.exit_code == 0, done.stderr
    assert ("warning: target.max_nmse" in done.stderr) == ("--accept-implausible" in options)


def test_one_number_without_a_unit_is_asked_about_beside_one_with(run: Run, files: Any) -> None:
    assert run("frontier", files.problem, "--from", "60%", "--to", "1", "--points", "2").exit_code == 2


def test_an_answer_beyond_the_plausible_is_an_error(run: Run, files: Any) -> None:
    """Every number given is plausible, what comes out is not."""
    options = ["--programming-noise-std", "900uS", "--conductance", "1nS", "--no-clip-conductance"]
    done = run("predict", files.problem, options)
    assert done.exit_code == 2
    assert "prediction.nmse" in done.stderr
    assert done.stdout == ""
    confirmed = run("predict", files.problem, options, "--accept-implausible", "--json")
    assert confirmed.exit_code == 0
    assert json.loads(confirmed.stdout)["nmse"] > 100


@pytest.mark.slow
def test_a_doubtful_plan_is_not_exported_or_explained_unasked(run: Run, files: Any, tmp_path: Path) -> None:
    network = pp.Network.load(files.network)
    with pytest.warns(pp.PlausibilityWarning):
        pp.plan(network, pp.Hardware(temperature=25.0), pp.load_example("iris").inputs, pp.MaxNMSE(0.1)).save(
            tmp_path / "plan.json"
        )
    for command in (
        ["export", "plan.json", "--network", files.network, "--output", "out.npz"],
        ["explain", "plan.json", *files.problem],
    ):
        assert "25 degrees Celsius" in run(command).stderr
        assert not (tmp_path / "out.npz").exists()
    assert run("report", "plan.json", "--output", "page.html").exit_code == 0
    assert "Hard to believe" in (tmp_path / "page.html").read_text(encoding="utf-8")
