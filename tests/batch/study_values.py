"""Studies and jobs for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import powerplan as pp
from powerplan.batch.jobs import Job
from powerplan.batch.ledger import Ledger

#: seeds that make the workers of the tests misbehave
POISON, HANG = 666, 667


def study_values(**more: Any) -> dict[str, Any]:
    """A small valid study: 2 hardware x 2 granularities x 3 targets."""
    return {
        "networks": {"small": {"file": "small.npz"}},
        "inputs": {"batch": {"file": "x.npy"}},
        "hardware": {"quiet": {"programming_noise_std": 1e-6}, "noisy": {"programming_noise_std": 3e-6}},
        "grid": {"granularity": ["network", "layer"], "target": {"max_nmse": [0.01, 0.02, 0.05]}},
        **more,
    }


def write_files(folder: Path) -> None:
    """The network and the inputs of :func:`study_values`."""
    rng = np.random.default_rng(7)
    shapes = [(6, 4), (5, 6), (3, 5)]
    network = pp.Network.mlp([rng.normal(0, 1 / np.sqrt(n), (m, n)) for m, n in shapes])
    network.save(folder / "small.npz")
    np.save(folder / "x.npy", rng.normal(size=(8, 4)))


def make_jobs(count: int, seeds: Sequence[int] = ()) -> list[Job]:
    """Jobs for the workers that pretend; the first have the given seeds."""
    return [
        Job(
            network="n" * 64,
            inputs="i" * 64,
            labels=None,
            hardware={},
            target={"max_nmse": 1e-3 * (i + 1)},
            options={"seed": seeds[i] if i < len(seeds) else i % 3, "optimize": "conductance"},
        )
        for i in range(count)
    ]


def register(ledger: Ledger, jobs: Sequence[Job], failures: dict[str, tuple[str, str]] | None = None) -> None:
    """Note jobs as the points of the study "s"."""
    ledger.register(
        digest="s",
        name="s",
        provenance={},
        keys=[*(job.key for job in jobs), *(failures or {})],
        jobs=jobs,
        failures=failures or {},
    )
