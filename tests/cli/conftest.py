"""Files for the command line: the iris example and bad ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from powerplan.cli import main
from powerplan.examples import Example


@dataclass(frozen=True, kw_only=True)
class Files:
    """Paths, as text, of a network, its inputs and labels."""

    folder: Path
    network: str
    inputs: str
    labels: str

    @property
    def problem(self) -> list[str]:
        """The options that name the problem."""
        return ["--network", self.network, "--inputs", self.inputs]


@pytest.fixture(scope="session")
def _files(tmp_path_factory: pytest.TempPathFactory, iris_example: Example) -> Files:
    folder = tmp_path_factory.mktemp("cli")
    iris_example.network.save(folder / "net.npz")
    np.save(folder / "x.npy", iris_example.inputs)
    np.save(folder / "y.npy", iris_example.labels)
    return Files(
        folder=folder,
        network=str(folder / "net.npz"),
        inputs=str(folder / "x.npy"),
        labels=str(folder / "y.npy"),
    )


@pytest.fixture
def files(_files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    """The files; the current folder is an empty one."""
    monkeypatch.chdir(tmp_path)
    return _files


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run the command line in this process; however slow it is, nothing is told of its progress."""
    monkeypatch.setattr("powerplan.cli.progress.FIRST", 600.0)

    def run_command(*arguments: str | Path | Sequence[str | Path]) -> Result:
        words = [str(w) for a in arguments for w in ([a] if isinstance(a, str | Path) else a)]
        return CliRunner().invoke(main, words)

    return run_command
