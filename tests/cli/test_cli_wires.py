"""Wires on the command line: what they take off every array, and the maps of its devices."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result

Run = Callable[..., Result]
WIRED = ("--wire-resistance-row", "20", "--array-rows", "2", "--array-columns", "4")


def test_drops_of_every_array_and_their_maps(run: Run, files: Any, tmp_path: Path) -> None:
    problem = ("--network", files.network, "--inputs", files.inputs)
    told = json.loads(run("predict", *problem, *WIRED, "--json").stdout)
    first = [drop for drop in told["array_drops"] if drop["layer"] == told["layer_names"][0]]
    assert max(drop["largest"] for drop in first) == told["largest_wire_drop_by_layer"][0]
    assert min(d["mean"] for d in first) <= told["wire_drop_by_layer"][0] <= max(d["mean"] for d in first)
    assert json.loads(run("predict", *problem, "--json").stdout)["array_drops"] == []
    figure = tmp_path / "arrays.png"
    said = run("plan", *problem, *WIRED, "--max-nmse", "20%", "--granularity", "network", "--plot-arrays", figure)
    assert said.exit_code == 0
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_published_wires_are_listed_and_taken(run: Run, files: Any) -> None:
    assert "node_22nm: wires of 40 nm" in run("presets").stdout
    problem = ("--network", files.network, "--inputs", files.inputs, "--array-rows", "4", "--array-columns", "4")
    said = run("predict", *problem, "--wire-preset", "node_22nm", "--wire-resistance-row", "9", "--json")
    hardware = json.loads(said.stdout)["hardware"]
    assert (hardware["wire_resistance_row"], hardware["wire_resistance_column"]) == (9.0, 6.36)
