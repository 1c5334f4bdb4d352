"""A saved plan, and an environment in which workers pretend to plan."""

from __future__ import annotations

from pathlib import Path

import pytest
from study_values import write_files

import powerplan as pp


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small network, inputs and a plan for them."""
    import numpy as np

    folder = tmp_path_factory.mktemp("small")
    write_files(folder)
    network, inputs = pp.Network.load(folder / "small.npz"), np.load(folder / "x.npy")
    pp.plan(network, pp.Hardware(), inputs, pp.MaxNMSE(0.1)).save(folder / "plan.json")
    return folder


@pytest.fixture
def pretending(small: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Workers that pretend find their module and their plan."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=":")
    monkeypatch.setenv("PRETEND", str(small / "plan.json"))
    return monkeypatch
