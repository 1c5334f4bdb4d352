"""What does a prediction cost?

(a) against the simulation that would give the same answer to 1 % standard error, in three readings:
    of the MSE over all inputs and outputs; of every output's MSE; of each input's output variances.
(b) the ``linearized`` against the ``covariance`` method: time and peak memory by width and by batch.
(c) against one forward and n_out backward passes of the same batch in torch.

    python -m benchmarks.prediction [--json FILE]
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

import powerplan as pp
from benchmarks.common import alternate, ratio, run
from benchmarks.memory import peak_memory
from benchmarks.simulate import floor
from powerplan.moments.predictor import Predictor
from powerplan.montecarlo.forward import NoisyForward
from powerplan.montecarlo.streams import Streams
from powerplan.network import ops

HARDWARE = pp.Hardware()
PRECISION = 0.01
DRAWS = {"digits": (4096, 1024), "mnist": (768, 64)}  # to measure the spread, to time a draw
WIDTHS, WIDTH_BATCH = (128, 256, 512, 1024, 2048), 4
BATCHES, BATCH_WIDTH = (1, 4, 16, 64), 512
COST_BATCHES = (16, 64, 256)


def outputs_by_draw(network: pp.Network, gains: pp.Gains, inputs: np.ndarray, draws: int) -> np.ndarray:
    """Outputs (draws, B, K) of the simulator."""
    forward = NoisyForward(network, HARDWARE, gains, torch.tensor(inputs, dtype=torch.float32))
    streams = Streams(0, torch.device("cpu"))
    step = forward.chunk(256 << 20)
    parts = []
    for first in range(0, draws, step):
        streams.start(range(first, min(first + step, draws)))
        parts.append(forward(streams)[0].double().numpy())
    return np.concatenate(parts)


def draws_needed(outputs: np.ndarray, ideal: np.ndarray) -> dict[str, float]:
    """Draws after which the standard error is 1 %, by reading, from the spread between draws."""
    squares = (outputs - ideal) ** 2
    deviations = (outputs - outputs.mean(0)) ** 2

    def of(estimates: np.ndarray) -> np.ndarray:
        """Draws for the mean over draws of ``estimates`` (D, ...)."""
        return np.asarray(estimates.var(0, ddof=1) / estimates.mean(0) ** 2 / PRECISION**2)

    return {
        "total_mse": float(of(squares.mean((1, 2)))),
        "every_output_mse": float(of(squares.mean(1)).max()),
        "each_output_variance": float(of(deviations).mean()),  # squared relative errors, averaged
    }


def against_simulation(example: pp.Example, batch: int) -> dict[str, Any]:
    """(a) for one network and batch."""
    network, inputs = example.network, example.inputs[:batch]
    spread_draws, timed_draws = DRAWS[example.name]
    gains = pp.Gains.full_range(network, HARDWARE, inputs)
    needed = draws_needed(outputs_by_draw(network, gains, inputs, spread_draws), network(inputs))
    sample, noiseless, devices = floor(network, inputs)
    predict = functools.partial(pp.predict, network, HARDWARE, gains, inputs)
    simulate = functools.partial(pp.simulate, network, HARDWARE, gains, inputs)
    times = alternate(
        {
            "float64": predict,
            "float32": functools.partial(predict, dtype="float32"),
            "long": functools.partial(simulate, draws=2 * timed_draws),
            "short": functools.partial(simulate, draws=timed_draws),
            "normals": lambda: [sample() for _ in range(timed_draws)],
            "noiseless": lambda: [noiseless() for _ in range(timed_draws)],
        },
        rounds=9,
        budget=12,
    )
    draw = [(long - short) / timed_draws for long, short in zip(times["long"], times["short"], strict=True)]
    bare = [(a + b) / timed_draws for a, b in zip(times["normals"], times["noiseless"], strict=True)]
    return {
        "nmse": predict().nmse,
        "devices": devices,
        "prediction_s": {dtype: min(times[dtype]) for dtype in ("float64", "float32")},
        "draw_s": min(draw),
        "normals_and_pass_s": min(bare),
        "draw_over_normals_and_pass": ratio(draw, bare),
        "draws_needed": {reading: math.ceil(d) for reading, d in needed.items()},
        "times_faster": {
            dtype: {reading: math.ceil(d) * ratio(draw, times[dtype]) for reading, d in needed.items()}
            for dtype in ("float64", "float32")
        },
    }


def square_network(width: int) -> pp.Network:
    """A ReLU network with three layers of width x width and ten outputs, random weights."""
    rng = np.random.default_rng(0)
    sizes = [(width, width)] * 3 + [(10, width)]
    return pp.Network.mlp([rng.normal(size=size) * math.sqrt(2 / width) for size in sizes])


def methods_at(width: int, batch: int) -> dict[str, Any]:
    """(b) for one width and batch."""
    network = square_network(width)
    inputs = np.abs(np.random.default_rng(1).normal(size=(batch, width)))
    gains = pp.Gains.full_range(network, HARDWARE, inputs)
    calls = {
        method: functools.partial(pp.predict, network, HARDWARE, gains, inputs, method=method)
        for method in ("linearized", "covariance")
    }
    memory = {method: peak_memory(call) for method, call in calls.items()}
    times = alternate(calls, rounds=7, budget=3)
    return {
        "width": width,
        "batch": batch,
        "seconds": {method: min(values) for method, values in times.items()},
        "peak_bytes": memory,
        "times_faster": ratio(times["covariance"], times["linearized"]),
    }


def passes(network: pp.Network, inputs: np.ndarray, dtype: torch.dtype, *, weights: bool) -> Callable[[], object]:
    """One forward and n_out backward passes of a batch in torch.

    Args:
        weights: gradients of the weights too, as in training; else of the inputs of every layer only.
    """
    layers = []
    for node in network.crossbars:
        assert isinstance(node.op, ops.Linear)
        weight = torch.tensor(node.op.weight, dtype=dtype)
        bias = None if node.op.bias is None else torch.tensor(node.op.bias, dtype=dtype)
        layers.append((weight.clone().requires_grad_(weights), bias))
    x = torch.tensor(inputs, dtype=dtype, requires_grad=True)

    def call() -> None:
        y = x
        for i, (weight, bias) in enumerate(layers):
            y = F.linear(F.relu(y) if i else y, weight, bias)
        wanted = [x, *(weight for weight, _ in layers)] if weights else [x]
        for k in range(y.shape[1]):
            torch.autograd.grad(y[:, k].sum(), wanted, retain_graph=True)

    return call


def cost_in_passes(example: pp.Example, batch: int, dtype: str) -> dict[str, Any]:
    """(c) for one network, batch and precision."""
    network = example.network
    inputs = np.resize(example.test_inputs, (batch, *example.test_inputs.shape[1:]))
    gains = pp.Gains.full_range(network, HARDWARE, inputs)
    predictor = Predictor.of(network, HARDWARE, inputs, dtype=getattr(torch, dtype))

    def evaluate() -> object:
        with torch.no_grad():
            return predictor.moments(predictor.program(*predictor.gain_tensors(gains)))

    times = alternate(
        {
            "prediction": functools.partial(pp.predict, network, HARDWARE, gains, inputs, dtype=dtype),
            "evaluation": evaluate,
            "with_weights": passes(network, inputs, getattr(torch, dtype), weights=True),
            "inputs_only": passes(network, inputs, getattr(torch, dtype), weights=False),
        },
        rounds=25,
        budget=2,
    )
    return {
        "network": example.name,
        "batch": batch,
        "dtype": dtype,
        "prediction_s": min(times["prediction"]),
        "passes_s": min(times["with_weights"]),
        "multiple": ratio(times["prediction"], times["with_weights"]),
        "multiple_of_evaluation": ratio(times["evaluation"], times["with_weights"]),
        "multiple_of_passes_without_weight_gradients": ratio(times["prediction"], times["inputs_only"]),
    }


def measure() -> dict[str, Any]:
    """All three parts; the memory first, while this process is small."""
    by_width = [methods_at(width, WIDTH_BATCH) for width in WIDTHS]
    by_batch = [methods_at(BATCH_WIDTH, batch) for batch in BATCHES]
    examples, missing = {}, {}
    for name in ("iris", "digits", "mnist"):
        try:
            examples[name] = pp.load_example(name)
        except pp.MissingData as error:
            print(f"without {name}: {error}", file=sys.stderr)
            missing[name] = str(error)
    return {
        "against_simulation": {
            name: {str(batch): against_simulation(examples[name], batch) for batch in (16, 64)}
            for name in DRAWS
            if name in examples
        },
        "by_width": by_width,
        "by_batch": by_batch,
        "cost_in_passes": [
            cost_in_passes(example, batch, dtype)
            for example in examples.values()
            for batch in COST_BATCHES
            for dtype in ("float64", "float32")
        ],
        "missing": missing,
    }


if __name__ == "__main__":
    run(__doc__, measure)
