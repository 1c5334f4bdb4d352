"""What is told of the progress of a plan only grows, from 0 to at most 1, however often it is solved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import powerplan as pp
from powerplan.planning.iterate import Iterate

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


@pytest.mark.parametrize("options", [{}, {"conductance_steps": pp.Steps.over_range(8)}])
def test_steps_tell_objective_and_bound(options: dict[str, Any]) -> None:
    """The last one is the plan's power, and no bound lies above it."""
    rng = np.random.default_rng(1)
    network = pp.Network.mlp([rng.normal(size=(5, 4)), rng.normal(size=(3, 5))])
    inputs = rng.uniform(0, 1, (8, 4))
    hardware = pp.Hardware(programming_noise_std=1e-6)
    steps: list[Iterate] = []
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.02), on_step=steps.append, **options)
    bounds = [step.bound for step in steps if step.bound is not None]
    assert [step.iteration for step in steps][:2] == [0, 1]
    assert steps[-1].objective == pytest.approx(plan.power, rel=1e-3)
    assert bounds
    assert max(bounds) <= plan.power * (1 + 1e-9)
