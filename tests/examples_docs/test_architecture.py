"""The page about the architecture: its files and tables exist, its rooms are the code's, and what it says adds."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor

import powerplan as pp
from powerplan.cli import main
from powerplan.cli.group import COMMANDS
from powerplan.moments import sources
from powerplan.moments.array.read_out import Channel
from powerplan.moments.array.reading import Reading
from powerplan.moments.sources.errors import Errors, Independent
from powerplan.network import Node, ops
from powerplan.network.digital import digital
from powerplan.network.ops import base

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
PICTURE = ROOT / "docs" / "figures" / "architecture.svg"

_PATH = re.compile(r"`([a-z_]+/[\w./-]+)`")
_NAME = re.compile(r"`(_?[A-Z][A-Z_]{3,})`")


def _entries() -> list[str]:
    """Paragraphs, list items and rows of the page."""
    return re.split(r"\n\n|\n(?=\d\. |\| )", PAGE.read_text(encoding="utf-8"))


def _sources(path: Path) -> Iterator[str]:
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    yield from (file.read_text(encoding="utf-8") for file in files)


def test_every_path_on_the_page_exists() -> None:
    paths = [path for entry in _entries() for path in _PATH.findall(entry)]
    assert len(paths) >= 40
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("entry", [entry for entry in _entries() if _NAME.search(entry)])
def test_tables_are_where_the_page_says(entry: str) -> None:
    files = [ROOT / path for path in _PATH.findall(entry)]
    for name in _NAME.findall(entry):
        assert any(re.search(rf"\b{name}\b", text) for file in files for text in _sources(file)), name


def test_every_room_is_drawn() -> None:
    drawn = set(re.findall(r">([a-z]+)<", PICTURE.read_text(encoding="utf-8")))
    rooms = {folder.name for folder in (ROOT / "powerplan").iterdir() if (folder / "__init__.py").is_file()}
    assert rooms - drawn - {"examples"} == set()  # examples are data


@pytest.mark.parametrize("method", ["linearized", "covariance", "diagonal"])
def test_an_error_source_is_a_function_in_a_table(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    network = pp.Network.mlp([rng.normal(size=(6, 5)), rng.normal(size=(3, 6))], activation="relu")
    hardware, inputs = pp.Hardware(programming_noise_std=1e-6), rng.normal(size=(4, 5))
    gains = pp.Gains.full_range(network, hardware, inputs)

    def predicted() -> pp.Prediction:
        return pp.predict(network, hardware, gains, inputs, method=method)

    def offset(reading: Reading, channel: Channel) -> Iterator[Errors]:
        columns = reading.columns_of(channel)[0].mean
        yield Independent(array=reading.array, kind="offset", by_column=torch.full_like(columns[:1], 0.01))

    before = predicted()
    monkeypatch.setattr(sources, "SOURCES", (*sources.SOURCES, offset))
    after = predicted()
    assert after.mse_by_layer[1] - before.mse_by_layer[1] == pytest.approx(0.01, rel=0.05)
    # that of the first layer, before the ReLU, passes the second one's weights, where it is active
    passed = 0.01 * float((network.crossbars[1].op.matrix ** 2).sum(1).mean())
    assert 0.1 * passed < after.mse_by_layer[0] - before.mse_by_layer[0] < passed


def test_an_operation_is_a_class_and_its_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_OPS", dict(base._OPS))

    @base.register
    @dataclass(frozen=True, kw_only=True)
    class Halved(ops.Op):
        type: ClassVar[str] = "halved"

        def output_shape(self, inputs: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
            return inputs[0]

    @digital.register(Halved)
    def _(op: Halved, x: Tensor) -> Tensor:
        return x / 2

    weights = np.random.default_rng(0).normal(size=(2, 3, 3))
    linear = [ops.Linear(weight=weight) for weight in weights]
    nodes = (
        Node(name="a", op=linear[0], inputs=("input",)),
        Node(name="half", op=Halved(), inputs=("a",)),
        Node(name="b", op=linear[1], inputs=("half",)),
    )
    network = pp.Network(input_shape=(3,), nodes=nodes, output="b")
    network.save(tmp_path / "net.npz")
    network = pp.Network.load(tmp_path / "net.npz")
    inputs = np.random.default_rng(1).normal(size=(4, 3))
    assert np.allclose(network(inputs), inputs @ weights[0].T / 2 @ weights[1].T)

    hardware = pp.Hardware(programming_noise_std=1e-6)
    gains = pp.Gains.full_range(network, hardware, inputs)
    predicted, simulated = pp.predict(network, hardware, gains, inputs), pp.simulate(network, hardware, gains, inputs)
    assert predicted.first_order == ("half",)
    assert abs(predicted.mse - simulated.mse) < 4 * simulated.mse_standard_error


def test_a_command_is_a_file_and_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("greeting")
    module.command = click.Command("greet", callback=lambda: click.echo("good morning"))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "greeting", module)
    monkeypatch.setitem(COMMANDS, "greet", ("greeting", "Say good morning."))
    assert "Say good morning." in CliRunner().invoke(main, ["--help"]).output
    assert CliRunner().invoke(main, ["greet"]).output == "good morning\n"
