"""What the golden results are of: predictions and plans over hardware, read-outs, networks, methods and granularities.

Run as a program it says what differs from ``results.json`` in any bit; with ``--write`` it writes that file anew,
only where a change of numbers is meant, which the commit explains.
"""

from __future__ import annotations

import hashlib
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import powerplan as pp

RESULTS = Path(__file__).with_name("results.json")

QUIET: dict[str, Any] = {"programming_noise_std": 1e-6}
HARDWARE: dict[str, dict[str, Any]] = {
    "programming": QUIET,
    "every noise": {
        **QUIET,
        "programming_noise_proportional": 0.02,
        "read_noise_std": 2e-9,
        "input_noise_std": 1e-3,
        "column_gain_std": 0.01,
        "device_gain_std": 0.02,
    },
    "tiles": {**QUIET, "array_rows": 4, "array_columns": 6, "input_noise_std": 1e-3, "read_noise_std": 2e-9},
    "thermal": {**QUIET, "thermal_noise": True, "shot_noise": True, "bandwidth": 1e7, "feedback_resistance": 1e4},
    "converters": {**QUIET, "dac_bits": 6, "adc_bits": 6},
    "offset": {**QUIET, "weight_mapping": "offset", "bias_mapping": "row"},
    "offset, converters": {**QUIET, "weight_mapping": "offset", "dac_bits": 7, "adc_bits": 8},
    "divider": {**QUIET, "read_out": "divider", "load_conductance": 1e-3},
    "divider, converters": {**QUIET, "read_out": "divider", "load_conductance": 1e-3, "adc_bits": 7, "adc_range": 0.1},
    "stuck": {**QUIET, "stuck_on_fraction": 0.002, "stuck_off_fraction": 0.02},
    "unrolled": {**QUIET, "mapping": "unrolled", "column_gain_std": 0.01},
}
PRESETS = ("pcm_nandakumar2019", "reram_wan2022_fitA", "pcm_hermes_1dev")


class Residual(nn.Module):
    """A convolution with a skip connection, pooled, and two tokens' attention behind a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 3, 3, padding=1)
        self.second = nn.Conv2d(3, 3, 3, padding=1)
        self.head = nn.Linear(27, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        x = nn.functional.max_pool2d(torch.relu(x + self.second(x)), 2)
        return self.head(x.flatten(1))


class Attention(nn.Module):
    """Self-attention of four tokens with a layer norm."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(6, 6) for _ in range(3))
        self.norm, self.out = nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = torch.softmax(self.query(x) @ self.key(x).transpose(-2, -1) / 6**0.5, -1)
        return self.out(self.norm(x + weights @ self.value(x)))


def networks() -> dict[str, tuple[pp.Network, np.ndarray]]:
    """Every network with its inputs."""
    rng = np.random.default_rng(0)
    sizes = (8, 10, 8, 4)
    weights = [rng.normal(0, (2 / n) ** 0.5, (m, n)) for n, m in pairwise(sizes)]
    biases = [rng.normal(0, 0.1, m) for m in sizes[1:]]
    dense, images, tokens = rng.uniform(0, 1, (6, 8)), rng.uniform(0, 1, (4, 1, 6, 6)), rng.normal(0, 1, (4, 4, 6))
    torch.manual_seed(0)
    return {
        "relu": (pp.Network.mlp(weights, biases), dense),
        "tanh": (pp.Network.mlp(weights, biases, activation="tanh"), dense),
        "residual": (pp.from_torch(Residual().eval(), (1, 6, 6)), images),
        "attention": (pp.from_torch(Attention().eval(), (4, 6)), tokens),
    }


def settings() -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Name of a setting, and what computes its numbers."""
    known = networks()
    described = {name: pp.Hardware(**fields) for name, fields in HARDWARE.items()}
    described |= {name: pp.Hardware.preset(name) for name in PRESETS}

    def predicted(network: str, hardware: str, **options: Any) -> dict[str, Any]:
        graph, inputs = known[network]
        gains = pp.Gains.full_range(graph, described[hardware], inputs)
        return of_prediction(pp.predict(graph, described[hardware], gains, inputs, **options))

    def planned(network: str, hardware: str, target: pp.Target, **options: Any) -> dict[str, Any]:
        graph, inputs = known[network]
        return of_plan(pp.plan(graph, described[hardware], inputs, target, **options))

    for hardware in described:
        yield f"predict relu, {hardware}", lambda h=hardware: predicted("relu", h)
    for method in ("covariance", "diagonal"):
        for hardware in ("every noise", "converters", "divider", "offset"):
            yield f"predict tanh, {hardware}, {method}", lambda h=hardware, m=method: predicted("tanh", h, method=m)
    for network in ("residual", "attention"):
        for hardware in ("every noise", "unrolled", "offset, converters"):
            yield f"predict {network}, {hardware}", lambda n=network, h=hardware: predicted(n, h)
    nmse = pp.MaxNMSE(0.05)
    both = ("conductance", "voltage")
    for granularity, optimize in (("network", both[:1]), ("layer", both), ("column", both), ("signal", both)):
        yield (
            f"plan relu, every noise, {granularity}",
            lambda g=granularity, o=optimize: planned("relu", "every noise", nmse, granularity=g, optimize=o),
        )
    for hardware in ("tiles", "converters", "offset", "divider", "stuck", "pcm_nandakumar2019"):
        yield f"plan relu, {hardware}", lambda h=hardware: planned("relu", h, pp.MaxNMSE(0.2))
    yield "plan residual, programming", lambda: planned("residual", "programming", nmse)
    yield "plan relu, power", lambda: planned("relu", "programming", pp.MaxPower(2e-5))
    yield "plan relu, single outputs", lambda: planned("relu", "programming", pp.MaxOutputMSE(0.01))
    steps = pp.Steps.over_range(16)
    yield "plan relu, steps", lambda: planned("relu", "programming", nmse, conductance_steps=steps)


def of_prediction(prediction: pp.Prediction) -> dict[str, Any]:
    """The numbers of a prediction, and a digest of all output moments."""
    digest = hashlib.sha256(np.ascontiguousarray(prediction.output_mean).tobytes())
    if prediction.output_covariance is not None:
        digest.update(np.ascontiguousarray(prediction.output_covariance).tobytes())
    return {
        "mse": prediction.mse,
        "power": prediction.power,
        "mse_by_layer": [float(value) for value in prediction.mse_by_layer],
        "power_by_layer": [float(value) for value in prediction.power_by_layer],
        "digest": digest.hexdigest(),
    }


def of_plan(plan: pp.Plan) -> dict[str, Any]:
    """The numbers of a plan."""
    return {
        "outcome": plan.termination.outcome.value,
        "power": plan.power,
        "mse": plan.mse,
        "baseline_power": plan.baseline_power,
        "shadow_price": plan.shadow_prices.target if plan.shadow_prices else None,
        "conductance": [np.asarray(gain).tolist() for gain in plan.gains.conductance],
        "voltage": [np.asarray(gain).tolist() for gain in plan.gains.voltage],
    }


def compute() -> dict[str, dict[str, Any]]:
    """The numbers of every setting."""
    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pp.PowerplanWarning)
        return {name: numbers() for name, numbers in settings()}


if __name__ == "__main__":
    now = compute()
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in before.keys() | now.keys():
        if before.get(name) != now.get(name):
            print(f"{name}: {before.get(name)} is now {now.get(name)}")
    if "--write" in sys.argv:
        RESULTS.write_text(json.dumps(now, indent=1) + "\n")
