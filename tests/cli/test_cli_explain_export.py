"""powerplan explain, export, and steps on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

import powerplan as pp
from powerplan.deployment import Export
from powerplan.hardware.steps_text import parse_steps

Run = Callable[..., Result]


@pytest.fixture
def planned(run: Run, files: Any) -> str:
    """A plan on steps of the iris network."""
    arguments = ["--max-nmse", "2%", "--programming-noise-std", "1uS", "--array-rows", "8", "--array-columns", "8"]
    done = run("plan", files.problem, arguments, "--conductance-steps", "16", "--output", "plan.json")
    assert done.exit_code == 0, done.stderr
    assert "steps" in done.stdout
    return "plan.json"


def test_export_writes_what_the_library_writes(run: Run, files: Any, planned: str) -> None:
    for form, path in (("npz", "tiles.npz"), ("csv", "tiles")):
        done = run("export", planned, "--network", files.network, "--output", path, "--format", form)
        assert done.exit_code == 0, done.stderr
        assert "tile" in done.stdout
        made = Export.load(path)
        assert made.network_sha256 == pp.Network.load(files.network).digest
        assert max(max(t.positive.shape[0], 2 * t.positive.shape[1]) for la in made.layers for t in la.tiles) <= 8
    again = run("export", planned, "--network", files.network, "--output", "tiles.npz")
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr
    assert Path("tiles.npz").is_file()
    done = run("export", planned, "--network", files.network, "--output", "tiles.npz", "--overwrite", "--json")
    assert json.loads(done.stdout)["layers"][0]["tiles"] >= 1


def test_explain_says_the_same_in_words_and_json(run: Run, files: Any, planned: str) -> None:
    words = run("explain", planned, files.problem)
    assert words.exit_code == 0, words.stderr
    done = run("explain", planned, files.problem, "--json")
    answer = json.loads(done.stdout)
    assert words.stdout.strip().split("\n") == answer["sentences"]
    assert {r["parameter"] for r in answer["relaxations"]} >= {"target", "conductance_max", "programming_noise_std"}


def test_missing_files_and_foreign_networks_are_named(run: Run, files: Any, planned: str) -> None:
    assert "an existing plan file" in run("explain", "none.json", files.problem).stderr
    rng = np.random.default_rng(0)
    pp.Network.mlp([rng.normal(size=(3, 4))]).save("other.npz")
    done = run("export", planned, "--network", "other.npz", "--output", "x.npz")
    assert done.exit_code == 2
    assert "the network of the plan" in done.stderr
    done = run("export", planned, "--output", "x.npz")
    assert done.exit_code == 2


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("10uS,20uS", pp.Steps(values=[1e-5, 2e-5])),
        ("10uS:30uS:10uS", pp.Steps.linear(1e-5, 3e-5, 1e-5)),
        ("10uS:100uS:3dB", pp.Steps.geometric(1e-5, 1e-4, decibel=3)),
        ("1e-5:1e-4:x2", pp.Steps.geometric(1e-5, 1e-4, ratio=2)),
        ("64", pp.Steps.over_range(64)),
        ("8log", pp.Steps.over_range(8, spacing="geometric")),
    ],
)
def test_steps_are_read_from_text(text: str, steps: pp.Steps) -> None:
    assert parse_steps(text, "S") == steps


@pytest.mark.parametrize("text", ["", "a", "1:2", "1:2:3:4", "1uS:2uS:0dB", "2uS:1uS:x2", "0", "-1uS", "1uV", "8;x"])
def test_bad_steps_are_refused(run: Run, files: Any, text: str) -> None:
    done = run("plan", files.problem, "--max-nmse", "2%", f"--conductance-steps={text}")
    assert done.exit_code == 2
    assert "allowed" in done.stderr


def test_steps_per_layer(run: Run, files: Any) -> None:
    layers = len(pp.Network.load(files.network).crossbars)
    text = ";".join(["16"] + ["none"] * (layers - 1))
    done = run(
        "plan", files.problem, "--max-nmse", "2%", "--programming-noise-std", "1uS", f"--conductance-steps={text}"
    )
    assert done.exit_code == 0, done.stderr


def test_a_noise_in_the_wrong_unit_is_pointed_out(run: Run, files: Any) -> None:
    """1 instead of 1uS: beyond the whole conductance range."""
    options = ("plan", files.problem, "--max-nmse", "2%", "--programming-noise-std", "1")
    refused = run(*options)
    assert refused.exit_code == 2
    assert "Did you mean 1 uS?" in refused.stderr
    meant = run(*options, "--accept-implausible")
    assert meant.exit_code == 3
    assert "warning: hardware.programming_noise_std" in meant.stderr
    assert "check its unit" in meant.stderr
