"""Predictions against simulation on networks with convolutions, joins and attention.

The programming noise, with read noise in proportion, is set so that the predicted NMSE is 1 %, 10 % and 100 %, all
layers on their whole conductance range; the simulation runs until the standard error of the MSE is below 0.7 % or the
draws are used up. Each network is mapped with shared arrays and with unrolled ones (on two
inputs), whole and in tiles of few rows, each with read noise of its own (unrolled at 10 % only). Errors are
predicted / simulated - 1. Also plans whose error is verified by simulation.

mnist_cnn and mnist_resnet are trained (the data must be at hand: POWERPLAN_DATA); the others have random weights of
He's size, so that activations keep theirs, and random inputs.

    python -m benchmarks.real_networks [NETWORK ...] [--error 0.007] [--cache FOLDER] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import powerplan as pp
from benchmarks.common import machine

NMSES = (0.01, 0.1, 1.0)
#: read noise [A] per programming noise [S]: a small, visible part of the error
READ_PER_PROGRAMMING = 0.4
#: relative standard error of the power of every layer
POWER_ERROR = 0.0035
MAX_DRAWS = 24_000
TRAINED = ("mnist_cnn", "mnist_resnet")


class Separable(nn.Module):
    """Depthwise and pointwise convolutions in turn, global average pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 3, stride=2, padding=1)
        self.depthwise1 = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.pointwise1 = nn.Conv2d(16, 32, 1)
        self.depthwise2 = nn.Conv2d(32, 32, 3, stride=2, padding=1, groups=32)
        self.pointwise2 = nn.Conv2d(32, 48, 1)
        self.fc = nn.Linear(48, 10)

    def forward(self, x: torch.Tensor) -> Any:
        x = F.relu(self.stem(x))
        x = F.relu(self.pointwise1(F.relu(self.depthwise1(x))))
        x = F.relu(self.pointwise2(F.relu(self.depthwise2(x))))
        return self.fc(x.mean((2, 3)))


class Concatenating(nn.Module):
    """Two branches side by side, joined with what they read, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 12, 3, stride=2, padding=1)
        self.narrow1, self.wide1 = nn.Conv2d(12, 8, 1), nn.Conv2d(12, 8, 3, padding=1)
        self.narrow2, self.wide2 = nn.Conv2d(28, 12, 1), nn.Conv2d(28, 12, 3, padding=1)
        self.fc = nn.Linear(52, 10)

    def forward(self, x: torch.Tensor) -> Any:
        x = F.relu(self.stem(x))
        x = torch.cat([x, F.relu(self.narrow1(x)), F.relu(self.wide1(x))], 1)
        x = F.avg_pool2d(x, 2)
        x = torch.cat([x, F.relu(self.narrow2(x)), F.relu(self.wide2(x))], 1)
        return self.fc(x.mean((2, 3)))


class Encoder(nn.Module):
    """Two transformer encoder layers on tokens, their mean read out."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, dropout=0.0)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> Any:
        return self.head(self.encoder(self.embed(x)).mean(1))


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network, inputs to hold predictions against simulation on, and fewer of them for unrolled arrays."""

    name: str
    network: pp.Network
    inputs: np.ndarray
    few: np.ndarray
    tile_rows: int


def random_case(name: str, module: Callable[[], nn.Module], shape: tuple[int, ...], *, batch: int = 8) -> Case:
    """A network of random weights N(0, 2 / fan-in) (1 / fan-in in the encoder) on random inputs."""
    gain = 1.0 if module is Encoder else 2.0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        built = module().eval()
        for parameter in built.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, 0, math.sqrt(gain / parameter[0].numel()))
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(batch, *shape)).astype(np.float32)
    return Case(name=name, network=pp.from_torch(built, shape), inputs=inputs, few=inputs[:2], tile_rows=16)


def trained_case(name: str, cache: str | None = None, *, batch: int = 8) -> Case:
    """A built-in example."""
    example = pp.load_example(name, cache=cache)
    return Case(
        name=name, network=example.network, inputs=example.inputs[:batch], few=example.inputs[:2], tile_rows=128
    )


CASES: dict[str, Callable[[str | None], Case]] = {
    **{name: lambda cache, name=name: trained_case(name, cache) for name in TRAINED},  # type: ignore[misc]
    "separable": lambda _: random_case("separable", Separable, (1, 16, 16)),
    "concatenating": lambda _: random_case("concatenating", Concatenating, (1, 16, 16)),
    "encoder": lambda _: random_case("encoder", Encoder, (12, 8)),
}


def with_noise(hardware: pp.Hardware, std: float) -> pp.Hardware:
    """Programming noise of a standard deviation [S], read noise in proportion."""
    return hardware.replace(programming_noise_std=std, read_noise_std=READ_PER_PROGRAMMING * std)


def noise_for(network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, nmse: float) -> pp.Hardware:
    """``hardware`` with the noise that makes the predicted NMSE at full-range gains ``nmse``, by secant steps."""
    gains = pp.Gains.full_range(network, hardware, inputs)

    def excess(log_std: float) -> float:
        noisy = with_noise(hardware, math.exp(log_std))
        return math.log(pp.predict(network, noisy, gains, inputs, dtype="float32").nmse / nmse)

    before = math.log(1e-2 * hardware.conductance_max)
    off = excess(before)
    log_std = before - off / 2  # the error is nearly quadratic in the noise
    for _ in range(8):
        now = excess(log_std)
        if abs(now) < 0.01:
            break
        slope = (now - off) / (log_std - before)
        before, off = log_std, now
        log_std -= float(np.clip(now / max(slope, 0.5), -1.5, 1.5))
    return with_noise(hardware, math.exp(log_std))


def simulate(
    network: pp.Network, hardware: pp.Hardware, gains: pp.Gains, inputs: np.ndarray, *, error: float, draws: int
) -> pp.Simulation:
    """As many draws as the MSE needs for this relative standard error, and the power of every layer for POWER_ERROR."""
    simulation = pp.simulate(network, hardware, gains, inputs, draws=draws, seed=1, relative_standard_error=error)
    short = float((simulation.power_by_layer_standard_error / simulation.power_by_layer).max()) / POWER_ERROR
    if short <= 1:
        return simulation
    needed = min(draws, math.ceil(1.1 * simulation.draws * short**2))
    return pp.simulate(network, hardware, gains, inputs, draws=needed, seed=1)


def compare(case: Case, mapping: str, nmse: float, *, error: float, draws: int = MAX_DRAWS) -> Iterator[dict[str, Any]]:
    """Relative errors of predictions, whole and in tiles, at the same noise."""
    inputs = case.inputs if mapping == "shared" else case.few
    hardware = noise_for(case.network, pp.Hardware(mapping=mapping), inputs, nmse)
    gains = pp.Gains.full_range(case.network, hardware, inputs)
    for tiled in (False, True) if mapping == "shared" or nmse == 0.1 else (False,):
        built = hardware.replace(array_rows=case.tile_rows) if tiled else hardware
        start = time.perf_counter()
        predicted = pp.predict(case.network, built, gains, inputs, dtype="float32")
        predict_s = time.perf_counter() - start
        independent = pp.predict(case.network, built, gains, inputs, dtype="float32", marginal_fields=0)
        simulated = simulate(case.network, built, gains, inputs, error=error, draws=draws)
        yield {
            "network": case.name,
            "mapping": mapping,
            "array_rows": built.array_rows,
            "batch": len(inputs),
            "target_nmse": nmse,
            "nmse": predicted.nmse,
            "programming_noise_std": built.programming_noise_std,
            "draws": simulated.draws,
            "mse": predicted.mse / simulated.mse - 1,
            "mse_se": simulated.mse_standard_error / simulated.mse,
            "mse_without_samples": independent.mse / simulated.mse - 1,
            "layer_power": _worst(predicted.power_by_layer / simulated.power_by_layer - 1),
            "layer_power_se": float((simulated.power_by_layer_standard_error / simulated.power_by_layer).max()),
            "layer_power_without_samples": _worst(independent.power_by_layer / simulated.power_by_layer - 1),
            "predict_s": predict_s,
            "simulate_s": time.perf_counter() - start - predict_s,
        }


def _worst(errors: np.ndarray) -> float:
    """The error largest in magnitude."""
    return float(errors[np.argmax(np.abs(errors))])


def planned(case: Case, nmse: float, draws: int) -> dict[str, Any]:
    """A plan for an NMSE and its verification."""
    start = time.perf_counter()
    plan = pp.plan(case.network, with_noise(pp.Hardware(), 2e-7), case.inputs[:4], pp.MaxNMSE(nmse), verify_draws=draws)
    verification = plan.verification
    assert verification is not None
    return {
        "network": case.name,
        "target_nmse": nmse,
        "draws": verification.draws,
        "ratio": verification.ratio - 1,
        "ratio_se": verification.ratio_standard_error,
        "seconds": time.perf_counter() - start,
    }


def measure(names: list[str], error: float, cache: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Pairs of the table a row belongs to and the row."""
    for name in names:
        case = CASES[name](cache)
        for mapping in ("shared", "unrolled"):
            for nmse in NMSES:
                for row in compare(case, mapping, nmse, error=error):
                    yield "networks", row
        if name in TRAINED:
            for nmse in NMSES[:2]:
                yield "plans", planned(case, nmse, 3000)


def main() -> None:
    """Measure, print rows as they come, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(CASES))
    parser.add_argument("--error", type=float, default=0.0069, help="relative standard error of a simulated MSE")
    parser.add_argument("--cache", help="folder in which trained networks are kept")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start = time.perf_counter()
    results: dict[str, Any] = {"machine": machine(), "networks": [], "plans": []}
    for table, row in measure(arguments.networks, arguments.error, arguments.cache):
        results[table].append(row)
        print(*(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()), flush=True)
        results["seconds"] = round(time.perf_counter() - start, 1)
        if arguments.json:  # as far as it went
            arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
