"""Explanations of plans on measured devices, of which nothing is known beyond the range that was measured."""

from __future__ import annotations

import numpy as np

import powerplan as pp
from powerplan.planning.explain.explain import _Explainer
from powerplan.planning.explain.replanner import Replanner


def test_there_is_no_bound_without_limits_of_measured_devices() -> None:
    rng = np.random.default_rng(0)
    curve = {"type": "table", "reference": 1.0, "points": [1e-6, 50e-6], "values": [1e-6, 50e-6]}
    hardware = pp.Hardware.from_dict(
        {
            "conductance_min": 1e-6,
            "conductance_max": 50e-6,
            "measurements": [{"time": 0.0, "mean": curve, "std": 0.4e-6}],
        }
    )
    network, inputs = pp.Network.mlp([rng.normal(size=(3, 4))]), rng.normal(size=(8, 4))
    plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(0.05))
    explainer = _Explainer(Replanner(plan, network, inputs, None), lambda what, done: None)
    assert explainer._unlimited() is None
