"""What does a prediction cost beyond its formulas, and in forward passes of convolutional networks?

(a) evaluation without the report, and the whole prediction, of a 784-256-256-128-64-10 network on 16 inputs against a
    bare torch program of the same formulas: mean weights, means, variances, slopes and one backward sweep of the
    ten outputs; no power, no checks. And the plan of the digits.
(b) predictions in float32 of torchvision's networks with ten outputs and two inputs, random weights, in forward
    passes of the same batch in torch: with error samples and without, and the standard error stated.

    python -m benchmarks.cost [--json FILE]
"""

from __future__ import annotations

import functools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch

import powerplan as pp
from benchmarks.common import alternate, ratio, run
from benchmarks.plan import HARDWARE as PLANNED
from benchmarks.scale import with_statistics
from powerplan.examples.vision import import_torchvision
from powerplan.moments.predictor import Predictor

SIZES, BATCH = (784, 256, 256, 128, 64, 10), 16
#: torchvision's networks and the size of their images; programming noise [S] of devices up to 100 µS
VISION, VISION_BATCH, NOISE = {"resnet18": 32, "mobilenet_v3_small": 32, "squeezenet1_1": 64}, 2, 5e-8

_Pair = tuple[torch.Tensor, torch.Tensor]


def clipped(mean: torch.Tensor, std: float) -> _Pair:
    """Mean and variance of max(0, N(mean, std²)), mean >= 0."""
    alpha = mean / std
    density = torch.exp(-0.5 * alpha * alpha) / math.sqrt(2 * math.pi)
    mass = 0.5 - 0.5 * torch.erf(alpha / math.sqrt(2))
    excess = density - alpha * mass
    return mean + std * excess, std**2 * (1 - mass - excess * (alpha + excess))


def bare(weights: Sequence[torch.Tensor], c: Sequence[float], std: float, x: torch.Tensor) -> _Pair:
    """Mean and variance (B, K) of the outputs of a ReLU network on differential pairs from 0 S."""
    idle, idle_variance = clipped(torch.zeros((), dtype=x.dtype), std)
    mean, variance = x, torch.zeros_like(x)
    arrays, slopes = [], []
    for layer, (weight, gain) in enumerate(zip(weights, c, strict=True)):
        held, spread = clipped(weight.abs() * gain, std)
        mean_weight = (held - idle) * weight.sign() / gain
        own = (mean * mean + variance) @ ((spread + idle_variance) / gain**2).T
        mean, variance = mean @ mean_weight.T, own + (variance @ (mean_weight * mean_weight).T if layer else 0.0)
        arrays.append((mean_weight, own))
        if layer + 1 < len(weights):
            sigma = variance.sqrt()
            alpha = mean / sigma
            above = 0.5 + 0.5 * torch.erf(alpha / math.sqrt(2))
            density = torch.exp(-0.5 * alpha * alpha) / math.sqrt(2 * math.pi)
            rectified = mean * above + sigma * density
            square = (mean * mean + variance) * above + mean * sigma * density
            slopes.append((above, (square - rectified**2 - above**2 * variance).clamp(min=0)))
            mean, variance = rectified, square - rectified**2
    adjoint = torch.eye(mean.shape[1], dtype=x.dtype).expand(len(x), -1, -1)
    total = torch.zeros_like(mean)
    for layer in reversed(range(len(arrays))):
        mean_weight, own = arrays[layer]
        total = total + (adjoint.square() @ own.unsqueeze(-1)).squeeze(-1)
        if layer:
            slope, residual = slopes[layer - 1]
            adjoint = adjoint @ mean_weight
            total = total + (adjoint.square() @ residual.unsqueeze(-1)).squeeze(-1)
            adjoint = adjoint * slope.unsqueeze(1)
    return mean, total


def against_bare(dtype: str, clip: bool) -> dict[str, Any]:
    """(a) in one precision, with or without the clipping of devices at 0 S (the bare program always clips)."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(n, m)) * math.sqrt(2 / m) for m, n in pairwise(SIZES)]
    network, inputs = pp.Network.mlp(weights), np.abs(rng.normal(size=(BATCH, SIZES[0])))
    hardware = pp.Hardware(clip_conductance=clip)
    gains = pp.Gains.full_range(network, hardware, inputs)
    precision = getattr(torch, dtype)
    predictor = Predictor.of(network, hardware, inputs, dtype=precision)
    tensors, x = [torch.as_tensor(w, dtype=precision) for w in weights], torch.as_tensor(inputs, dtype=precision)
    c = [float(gain) for gain in gains.conductance]
    formulas = functools.partial(bare, tensors, c, hardware.programming_noise_std, x)

    def evaluate() -> torch.Tensor:
        return predictor.moments(predictor.program(*predictor.gain_tensors(gains))).variance

    with torch.no_grad():
        times = alternate(
            {
                "bare": formulas,
                "evaluation": evaluate,
                "prediction": functools.partial(pp.predict, network, hardware, gains, inputs, dtype=dtype),
            },
            rounds=40,
            budget=4,
        )
        off = float((evaluate() / formulas()[1] - 1).abs().max()) if clip else None
    return {
        "dtype": dtype,
        "clip_conductance": clip,
        "bare_s": min(times["bare"]),
        "evaluation_over_bare": ratio(times["evaluation"], times["bare"]),
        "prediction_over_bare": ratio(times["prediction"], times["bare"]),
        "variance_off": off,
    }


def digits_plan() -> float:
    """Seconds of the plan of the digits."""
    example = pp.load_example("digits")
    plan = functools.partial(pp.plan, example.network, PLANNED, example.inputs, pp.MaxNMSE(0.1))
    return min(alternate({"plan": plan}, rounds=7, budget=3)["plan"])


def seconds(function: Callable[[], object], calls: int) -> list[float]:
    """Processor seconds of every call, after one to warm up."""
    function()
    times = []
    for _ in range(calls):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return times


def in_forward_passes(name: str) -> dict[str, Any]:
    """(b) for one network."""
    size = VISION[name]
    torch.manual_seed(0)
    module = getattr(import_torchvision("models"), name)(weights=None, num_classes=10)
    module = with_statistics(module, (3, size, size))
    x = np.random.default_rng(0).normal(size=(VISION_BATCH, 3, size, size)).astype(np.float32)
    network, hardware = pp.from_torch(module, (3, size, size)), pp.Hardware(programming_noise_std=NOISE)
    gains = pp.Gains.full_range(network, hardware, x)
    predict = functools.partial(pp.predict, network, hardware, gains, x, dtype="float32")
    with torch.no_grad():
        forward = min(seconds(lambda: module(torch.as_tensor(x)), 15))
    prediction = predict()
    return {
        "network": name,
        "size": size,
        "forward_s": forward,
        "passes": statistics.median(seconds(predict, 3)) / forward,
        "passes_without_samples": statistics.median(seconds(lambda: predict(marginal_fields=0), 3)) / forward,
        "nmse": prediction.nmse,
        "standard_error": prediction.mse_standard_error / prediction.mse,
        "error_samples": prediction.marginal_fields,
    }


def measure() -> dict[str, Any]:
    """Both parts."""
    return {
        "bare": [against_bare(dtype, clip) for dtype in ("float64", "float32") for clip in (True, False)],
        "digits_plan_s": digits_plan(),
        "passes": [in_forward_passes(name) for name in VISION],
    }


if __name__ == "__main__":
    run(__doc__, measure)
