"""Prediction against simulation where a few stuck devices make most of the error, of whole networks and of columns.

A share of 1e-4 to 1e-2 of the devices is stuck at conductance_max or conductance_min, on full-range gains, with every
mapping and read-out. Networks: the simulation runs until the MSE has the standard error asked for; so few events decide
it that this takes up to some 100 000 draws. Columns: mean and variance of six columns of a divider at four inputs.

    python -m benchmarks.stuck_devices [--error 0.01] [--json FILE]

About twenty processor minutes; the MNIST data must be at hand (POWERPLAN_DATA).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import powerplan as pp
from benchmarks.common import machine

BATCH = {"digits": 32, "mnist": 32, "mnist_cnn": 8}
MOST_DRAWS = 200_000
BASE: dict[str, Any] = {"programming_noise_std": 2e-7, "conductance_min": 1e-6}
CONVERTERS: dict[str, Any] = {"array_rows": 16, "dac_bits": 6, "adc_bits": 6}
OFFSET: dict[str, Any] = {"weight_mapping": "offset", "conductance_min": 2e-6}


def divider(load: float) -> dict[str, Any]:
    """A passive load [S]."""
    return {"read_out": "divider", "load_conductance": load}


CASES: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("digits", "offset, 0.05 % off", {**OFFSET, "stuck_off_fraction": 5e-4}),
    ("digits", "offset, 1 % off", {**OFFSET, "stuck_off_fraction": 1e-2}),
    ("digits", "pairs, 0.2 % on", {"stuck_on_fraction": 2e-3}),
    ("digits", "divider 0.1 mS, 0.05 % on", {**divider(1e-4), "stuck_on_fraction": 5e-4}),
    ("digits", "divider 0.1 mS, 0.2 % off", {**divider(1e-4), "stuck_off_fraction": 2e-3}),
    ("digits", "divider 1 mS, 0.5 % on", {**divider(1e-3), "stuck_on_fraction": 5e-3}),
    ("digits", "pairs, 0.2 % on, 6-bit converters", {"stuck_on_fraction": 2e-3, **CONVERTERS}),
    ("digits", "divider 10 mS, 0.2 % on, 6-bit DAC", {**divider(1e-2), "stuck_on_fraction": 2e-3, "dac_bits": 6}),
    ("mnist", "offset, 0.01 % off", {**OFFSET, "stuck_off_fraction": 1e-4}),
    ("mnist", "offset, 0.01 % on", {**OFFSET, "stuck_on_fraction": 1e-4}),
    ("mnist", "offset, 0.1 % off", {**OFFSET, "stuck_off_fraction": 1e-3}),
    ("mnist", "pairs, 0.1 % on, 0.1 % off", {"stuck_on_fraction": 1e-3, "stuck_off_fraction": 1e-3}),
    ("mnist", "divider 0.1 mS, 0.1 % on", {**divider(1e-4), "stuck_on_fraction": 1e-3}),
    ("mnist_cnn", "offset, 0.02 % off", {**OFFSET, "stuck_off_fraction": 2e-4}),
    ("mnist_cnn", "pairs, 0.02 % on", {"stuck_on_fraction": 2e-4}),
    ("mnist_cnn", "divider 0.2 mS, 0.02 % on", {**divider(2e-4), "stuck_on_fraction": 2e-4}),
    ("mnist_cnn", "pairs, 0.02 % on, unrolled", {"stuck_on_fraction": 2e-4, "mapping": "unrolled"}),
)
#: rows, load [S], share stuck on, share stuck off
COLUMNS = tuple(
    (rows, load, on, off)
    for rows in (16, 64, 300)
    for load in (1e-5, 1e-4, 1e-3)
    for on, off in ((5e-4, 0.0), (0.0, 2e-3), (1e-2, 0.0), (0.0, 5e-2))
)
COLUMN_DRAWS = 100_000


def of_network(name: str, title: str, changes: dict[str, Any], error: float) -> dict[str, Any]:
    """One network on one hardware."""
    example = pp.load_example(name)
    network, inputs = example.network, example.inputs[: BATCH[name]]
    hardware = pp.Hardware(**{**BASE, **changes})
    gains = pp.Gains.full_range(network, hardware, inputs)
    gaussian = pp.predict(network, hardware, gains, inputs, marginal_fields=0)
    start = time.process_time()
    predicted = pp.predict(network, hardware, gains, inputs)
    seconds = time.process_time() - start
    simulated = pp.simulate(
        network,
        hardware,
        gains,
        inputs,
        draws=MOST_DRAWS,
        relative_standard_error=error,
        seed=1,
        dtype="float32",
    )
    return {
        "network": name,
        "hardware": title,
        "nmse": simulated.nmse,
        "gaussian": gaussian.mse / simulated.mse - 1,
        "mse": predicted.mse / simulated.mse - 1,
        "mse_se": simulated.mse_standard_error / simulated.mse,
        "power": predicted.power / simulated.power - 1,
        "samples": predicted.marginal_fields,
        "seconds": seconds,
        "draws": simulated.draws,
    }


def of_columns(rows: int, load: float, on: float, off: float) -> dict[str, Any]:
    """Columns of a divider by themselves."""
    rng = np.random.default_rng(0)
    network = pp.Network.mlp([rng.normal(size=(6, rows)) / np.sqrt(rows)])
    inputs = rng.uniform(size=(4, rows))
    hardware = pp.Hardware(**BASE, **divider(load), stuck_on_fraction=on, stuck_off_fraction=off)
    gains = pp.Gains.full_range(network, hardware, inputs)
    predicted = pp.predict(network, hardware, gains, inputs, marginal_fields=0)
    simulated = pp.simulate(network, hardware, gains, inputs, draws=COLUMN_DRAWS, seed=1)
    off_mean = predicted.output_mean - simulated.output_mean
    return {
        "rows": rows,
        "load": load,
        "on": on,
        "off": off,
        "nmse": simulated.nmse,
        "mse": predicted.mse / simulated.mse - 1,
        "mse_se": simulated.mse_standard_error / simulated.mse,
        "mean": float(np.sqrt((off_mean**2).mean() / simulated.mse)),
    }


def main() -> None:
    """Measure, print tables, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--error", type=float, default=0.01, help="relative standard error of the simulated MSE")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    columns = []
    for case in COLUMNS:
        columns.append(row := of_columns(*case))
        print(
            f"{row['rows']:4} rows, load {row['load']:.0e} S, {row['on']:.2%} on, {row['off']:.2%} off  "
            f"NMSE {row['nmse']:7.3%}  MSE {row['mse']:+.2%} ± {row['mse_se']:.2%}  mean {row['mean']:.4f} std",
            flush=True,
        )
    networks = []
    for name, title, changes in CASES:
        networks.append(row := of_network(name, title, changes, arguments.error))
        print(
            f"{name:<10}{title:<28}NMSE {row['nmse']:7.3%}  Gaussian {row['gaussian']:+.1%}  MSE {row['mse']:+.2%} ± "
            f"{row['mse_se']:.2%}  power {row['power']:+.2%}  {row['samples']} samples {row['seconds']:.2f} s  "
            f"{row['draws']} draws",
            flush=True,
        )
    seconds = time.process_time() - start
    print(f"{seconds:.0f} s of processor time")
    if arguments.json:
        result = {"machine": machine(), "seconds": seconds, "columns": columns, "networks": networks}
        arguments.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
