"""The three first tasks of the README, by its own commands: at most six, in under five minutes, with what they promise.

How many commands each took and how long are properties of the tests, which ``--junit-xml`` writes.
"""

from __future__ import annotations

import csv
import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

import powerplan as pp
from powerplan.cli import main
from powerplan.deployment import Export
from powerplan.examples import Example

ROOT = Path(__file__).resolve().parents[2]
MOST_COMMANDS, MOST_SECONDS = 6, 300

_Record = Callable[[str, object], None]


def blocks(page: str, begin: str, language: str) -> list[str]:
    """The blocks of a language between the words of a page that introduce a task, and the next task or heading."""
    text = (ROOT / page).read_text(encoding="utf-8")
    part = re.split(r"\n(?:\*\*You|## )", text.partition(begin)[2])[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", part, re.DOTALL | re.MULTILINE)


def follow(commands: str, record_property: _Record) -> str:
    """Run the commands in the current folder; what they print."""
    lines = commands.splitlines()
    begun, printed = time.monotonic(), ""
    for line in lines:
        name, *arguments = shlex.split(line)
        assert name == "powerplan"
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, f"{line}\n{result.output}"
        printed += result.stdout
    seconds = time.monotonic() - begun
    record_property("commands", len(lines))
    record_property("seconds", round(seconds, 1))
    assert len(lines) <= MOST_COMMANDS
    assert seconds < MOST_SECONDS
    return printed


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_a_device_designer_with_a_table_of_measurements(folder: Path, record_property: _Record) -> None:
    table, *_ = blocks("docs/hardware.md", "## Your own measurements", "text")
    (folder / "levels.csv").write_text(table)
    (commands,) = blocks("README.md", "**You have a table of measured devices**", "bash")
    printed = follow(commands, record_property)
    assert "24 rows read" in printed
    assert "target        NMSE <= 5.000 %" in printed
    assert re.search(r"least power: \w+", printed)
    assert pp.Hardware.from_toml("chip.toml").programming_noise_std is not None
    assert pp.Plan.load("plan.json").meets_target
    for figure in ("chip.svg", "compare.svg", "report.html"):
        assert (folder / figure).stat().st_size > 5000


@pytest.mark.slow
def test_an_engineer_with_a_cnn_and_an_accuracy(
    folder: Path, record_property: _Record, digits_example: Example
) -> None:
    images = digits_example.test_inputs.reshape(-1, 1, 8, 8)[:32]
    labels = digits_example.test_labels[:32]
    (python,) = blocks("README.md", "**You have a trained CNN", "python")
    (commands,) = blocks("README.md", "**You have a trained CNN", "bash")
    exec(python, {"model": trained(images, labels), "images": images, "labels": labels})
    printed = follow(commands, record_property)
    assert "0 (Conv2d)" in printed
    assert "accuracy drop <= 1.000 %" in printed
    assert "ideal network 100.00 %" in printed
    plan = pp.Plan.load("plan.json")
    assert plan.meets_target
    assert plan.verification is not None
    assert plan.verification.ratio <= 1 + 1.96 * plan.verification.ratio_standard_error
    assert len(Export.load("tiles.npz").layers) == 2
    assert "4 (Linear)" in (folder / "report.html").read_text(encoding="utf-8").replace("\u00a0", " ")


def test_a_script_with_a_study(folder: Path, record_property: _Record, workers_in_threads: None) -> None:
    (study,) = blocks("README.md", "**You script many plans.**", "toml")
    (folder / "study.toml").write_text(study)
    (commands,) = blocks("README.md", "**You script many plans.**", "bash")
    assert "6 of 6 points planned, 0 failed" in follow(commands, record_property)
    with open(folder / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["hardware"] for row in rows] == ["pcm"] * 3 + ["mine"] * 3
    assert all(float(row["power_W"]) > 0 for row in rows)
    assert "Power against error" in (folder / "study.html").read_text(encoding="utf-8")


def trained(images: np.ndarray, labels: np.ndarray) -> nn.Module:
    """A small CNN that knows these images."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(54, 10))
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    for _ in range(60):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(torch.tensor(images).float()), torch.tensor(labels))
        loss.backward()
        optimiser.step()
    return model
