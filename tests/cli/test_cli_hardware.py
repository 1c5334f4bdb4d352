"""``powerplan hardware``: tables of measurements and presets become files that the other commands take."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

import powerplan as pp
from powerplan.report.measured_charts import device_charts, summary_charts

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def levels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random, path = np.random.default_rng(0), tmp_path_factory.mktemp("levels") / "levels.csv"
    rows = [
        f"{target}, {target + 0.2 * random.standard_normal():.4f}, {time}"
        for target in (1, 10, 25, 50)
        for time in (0, 3600)
        for _ in range(20)
    ]
    path.write_text("\n".join(["# chip 7", "target [uS], measured [uS], time [s]", *rows]))
    return path


def test_measurements_become_a_file_a_figure_and_a_plan(run: Run, levels: Path, files: Any, tmp_path: Path) -> None:
    chip, figure = tmp_path / "chip.toml", tmp_path / "chip.png"
    said = run("hardware", "import", levels, "--output", chip, "--plot", figure)
    assert said.exit_code == 0
    assert "devices of 1 to 50 uS, read at 0, 3600 s" in said.stdout
    assert "160 rows read" in said.stdout
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert pp.Hardware.from_toml(chip) == pp.Hardware.from_measurements(levels)
    document = json.loads(run("hardware", "import", levels, "--degree", "1", "--json").stdout)
    assert document["format"] == "powerplan.measurements"
    assert pp.Hardware.from_dict(document["hardware"]) == pp.Hardware.from_measurements(levels, degree=1)
    assert run("predict", "--network", files.network, "--inputs", files.inputs, "--hardware", chip).exit_code == 0


def test_what_cannot_be_read_is_a_usage_error(run: Run, levels: Path, tmp_path: Path) -> None:
    for arguments, message in (
        ([levels, "--columns", "target [uS]"], "3 names, one per column"),
        ([tmp_path / "none.csv"], "an existing file"),
        ([levels, "--plot", tmp_path / "chip.jpg"], ".png, .svg, .pdf"),
        ([levels, "--degree", "9"], "1<=x<=8"),
    ):
        wrong = run("hardware", "import", *arguments)
        assert (wrong.exit_code, wrong.stdout) == (2, "")
        assert message in wrong.stderr


def test_a_preset_with_changes_is_written_out(run: Run, tmp_path: Path) -> None:
    arguments = ("hardware", "show", "--preset", "pcm_hermes_2dev", "--time", "1h")
    path = tmp_path / "pcm.toml"
    path.write_text(run(*arguments).stdout)
    expected = pp.Hardware.preset("pcm_hermes_2dev", time=3600)
    assert pp.Hardware.from_toml(path) == expected
    document = json.loads(run(*arguments, "--json").stdout)
    fields = {name: document[name] for name in expected.to_dict()}
    assert pp.Hardware.from_dict(fields) == expected


@pytest.mark.parametrize("degree", [None, 2])
def test_figures_show_every_level_and_the_curves_through_them(levels: Path, degree: int | None) -> None:
    measurements = pp.read_measurements(levels, degree=degree)
    shift, spread = summary_charts(measurements)
    for time, (marked, line) in enumerate(zip(shift.curves[::2], shift.curves[1::2], strict=True)):
        values = measurements.levels[time]
        assert [p.x for p in marked.points] == pytest.approx(1e6 * values.target)
        assert [p.y for p in marked.points] == pytest.approx(1e6 * (values.mean - values.target), abs=1e-9)
        at_levels = [p.y for p in line.points if p.x in [m.x for m in marked.points]]
        off = 1e6 * measurements.mean_fit(values).residuals
        assert at_levels == pytest.approx(1e6 * (values.mean - values.target) - off, abs=1e-9)
    assert [p.y for p in spread.curves[0].points] == pytest.approx(1e6 * measurements.levels[0].std)
    devices = list(device_charts(measurements))
    assert len(devices) == 2
    assert len(devices[0].curves[0].points) == 80
