"""What is told of the progress of a plan only grows, from 0 to at most 1, however often it is solved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import powerplan as pp

torch = pytest.importorskip("torch")


def _convolutional() -> pp.Network:
    """Predictions of convolutions are corrected by samples: such plans are solved twice."""
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(32, 3)]
    return pp.from_torch(torch.nn.Sequential(*layers).eval(), input_shape=(1, 6, 6))


@pytest.mark.parametrize(
    ("target", "options"),
    [
        (pp.MaxNMSE(0.02), {}),
        (pp.MaxNMSE(0.02), {"granularity": "column", "max_iterations": 5}),
        (pp.MaxFlipRate(0.05), {"verify_draws": 64}),
        (pp.MaxNMSE(0.02), {"verify_draws": 64, "calibrate": True}),
        (pp.MaxNMSE(0.02), {"conductance_steps": pp.Steps.over_range(8)}),
        (pp.MaxNMSE(1e-9), {}),
    ],
)
def test_progress_never_falls_back(target: Any, options: dict[str, Any]) -> None:
    inputs = np.random.default_rng(0).uniform(0, 1, (4, 1, 6, 6))
    told: list[float] = []
    hardware = pp.Hardware(programming_noise_std=1e-6)
    pp.plan(_convolutional(), hardware, inputs, target, progress=lambda _, done: told.append(done), **options)
    assert len(told) > 1
    assert told[0] == 0
    assert (np.diff(told) >= 0).all()
    assert told[-1] <= 1
