"""How much does a draw of the simulator cost beyond what it cannot do without?

A draw must at least sample its devices and pass the batch through the network once. For each network this
reports the time per draw against the time of those two, on one thread, measured in alternation so that
other load on the machine hits both alike (median over the repeats).

    python benchmarks/simulate.py [--json FILE]
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

import powerplan as pp

NETWORKS = {
    "digits": ((64, 32, 32, 10), 1024),
    "mnist": ((784, 256, 256, 128, 64, 10), 16),
}
BATCH = 16
REPEATS = 21


def random_network(widths: tuple[int, ...]) -> pp.Network:
    """A ReLU network with random weights: the time does not depend on what it has learned."""
    rng = np.random.default_rng(0)
    pairs = list(itertools.pairwise(widths))
    return pp.Network.mlp(
        [rng.normal(size=(n_out, n_in)) * np.sqrt(2 / n_in) for n_in, n_out in pairs],
        [0.1 * rng.normal(size=n_out) for _, n_out in pairs],
    )


def floor(network: pp.Network, inputs: np.ndarray) -> tuple[Callable[[], object], Callable[[], object], int]:
    """Sampling of as many normals as there are devices; one noiseless pass of the batch; number of devices."""
    weights = [
        torch.as_tensor(np.array(node.op.tensors()["weight"]), dtype=torch.float32) for node in network.crossbars
    ]
    devices = 2 * sum(w.numel() for w in weights)
    buffer = torch.empty(devices)
    x = torch.as_tensor(inputs, dtype=torch.float32)

    def noiseless() -> torch.Tensor:
        y = F.linear(x, weights[0])
        for weight in weights[1:]:
            y = F.linear(F.relu(y), weight)
        return y

    return buffer.normal_, noiseless, devices


def seconds(function: Callable[[], object], times: int) -> float:
    """Seconds per call."""
    start = time.perf_counter()
    for _ in range(times):
        function()
    return (time.perf_counter() - start) / times


def measure(widths: tuple[int, ...], draws: int) -> dict[str, float]:
    """Medians of the time per draw, of its floor, and of their ratio."""
    network = random_network(widths)
    inputs = np.abs(np.random.default_rng(1).normal(size=(BATCH, widths[0])))
    hardware = pp.Hardware()
    gains = pp.Gains.uniform(network, hardware, inputs=inputs)
    sample, noiseless, devices = floor(network, inputs)

    def simulate(count: int) -> object:
        return pp.simulate(network, hardware, gains, inputs, draws=count)

    simulate(draws)
    rows = []
    for _ in range(REPEATS):
        normals, forward = seconds(sample, draws), seconds(noiseless, draws)
        # two lengths, so that the time to set a simulation up does not count as draws
        long, short = (seconds(lambda n=n: simulate(n), 1) for n in (2 * draws, draws))  # type: ignore[misc]
        rows.append(((long - short) / draws, normals, forward))
    draw, normals, forward = (statistics.median(column) for column in zip(*rows, strict=True))
    return {
        "devices": devices,
        "batch": BATCH,
        "draw_s": draw,
        "normals_s": normals,
        "noiseless_pass_s": forward,
        "ratio": statistics.median(d / (n + f) for d, n, f in rows),
    }


def main() -> None:
    """Measure, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = {name: measure(widths, draws) for name, (widths, draws) in NETWORKS.items()}
    print(f"{'network':<8} {'devices':>8} {'draw':>10} {'normals':>10} {'pass':>10} {'draw/(normals+pass)':>20}")
    for name, r in results.items():
        times = "".join(f" {r[key] * 1e6:7.1f} us" for key in ("draw_s", "normals_s", "noiseless_pass_s"))
        print(f"{name:<8} {r['devices']:>8.0f}{times} {r['ratio']:>20.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
