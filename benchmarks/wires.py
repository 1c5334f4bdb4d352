"""Arrays with resistive wires: predictions against simulations, fast solutions against exact ones, and their cost.

Every network has all conductance gains at a half and at the whole of their range and wires of several resistances per
cell (drivers and amplifiers' inputs as a cell). Draws are solved fast; some of them, with the same random numbers, also
exactly, and the ratio of the two corrects the mean of all. The standard error is that of the corrected mean.

    python -m benchmarks.wires [NAME ...] [--draws 400] [--exact 12] [--json FILE]

Minutes for digits, about an hour for the MNIST networks, whose data must be at hand (POWERPLAN_DATA).
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

BATCH = 32
#: example, rows and columns of an array, ohm per cell, further fields
CASES: dict[str, tuple[str, int, tuple[float, ...], dict[str, Any]]] = {
    "digits": ("digits", 64, (0.5, 2.0, 5.0), {}),
    "digits, both ends": ("digits", 64, (5.0,), {"row_drive": "both_ends"}),
    "digits, separate arrays": ("digits", 64, (5.0,), {"pair_layout": "separate_arrays"}),
    "digits, offset": ("digits", 64, (0.5, 2.0), {"weight_mapping": "offset", "bias_mapping": "row"}),
    "digits, read noise": ("digits", 64, (2.0,), {"read_noise_std": 2e-7, "input_noise_std": 2e-3}),
    "digits, noise of 1 %": ("digits", 64, (2.0, 5.0), {"programming_noise_std": 1e-6}),
    "digits, noise of 5 %": ("digits", 64, (2.0, 5.0), {"programming_noise_std": 5e-6}),
    "mnist": ("mnist", 128, (0.35, 1.0), {}),
    "mnist, offset": ("mnist", 128, (0.05,), {"weight_mapping": "offset", "bias_mapping": "row"}),
    "mnist, 256": ("mnist", 256, (0.2,), {}),
    "mnist_cnn": ("mnist_cnn", 128, (1.0, 5.0), {}),
    "mnist_cnn, offset": ("mnist_cnn", 128, (0.2,), {"weight_mapping": "offset", "bias_mapping": "row"}),
    "mnist_cnn, unrolled": ("mnist_cnn", 128, (5.0,), {"mapping": "unrolled"}),
}
IDEAL: dict[str, Any] = dict.fromkeys(
    ("wire_resistance_row", "wire_resistance_column", "driver_resistance", "sense_resistance"), 0.0
)


def measured(name: str, ohm: float, factor: float, draws: int, exact_draws: int) -> dict[str, Any]:
    """One row of the table."""
    source, size, _, fields = CASES[name]
    example = pp.load_example(source)
    network, inputs = example.network, example.inputs[:BATCH]
    wires: dict[str, Any] = dict.fromkeys(IDEAL, ohm)
    hardware = pp.Hardware(array_rows=size, array_columns=size, feedback_resistance=1e4, **wires, **fields)
    full = pp.Gains.full_range(network, hardware, inputs)
    gains = pp.Gains(conductance=tuple(factor * c for c in full.conductance), voltage=full.voltage)
    cost: dict[str, float] = {}

    def timed(what: str, call: Any, *arguments: Any, **options: Any) -> Any:
        start = time.process_time()
        result = call(*arguments, **options)
        cost[what] = time.process_time() - start
        return result

    without = timed("prediction, ideal wires", pp.predict, network, hardware.replace(**IDEAL), gains, inputs)
    predicted = timed("prediction", pp.predict, network, hardware, gains, inputs)
    fast = timed("fast", pp.simulate, network, hardware, gains, inputs, draws=draws, wires="fast")
    exact = timed("exact", pp.simulate, network, hardware, gains, inputs, draws=exact_draws)
    few = pp.simulate(network, hardware, gains, inputs, draws=exact_draws, wires="fast")
    ratios = exact.mse_by_draw / few.mse_by_draw
    correction = float(ratios.mean())
    power = fast.power * exact.power / few.power
    error = float(np.hypot(fast.mse_standard_error / fast.mse, ratios.std(ddof=1) / np.sqrt(exact_draws)))
    return {
        "case": name,
        "ohm": ohm,
        "gains": factor,
        "nmse_without_wires": without.nmse,
        "nmse": predicted.nmse,
        "bias": predicted.mse_bias / predicted.mse,
        "mse_off": predicted.mse / (fast.mse * correction) - 1,
        "mse_standard_error": error,
        "power_off": predicted.power / power - 1,
        "power_without_off": without.power / power - 1,
        "fast_off": 1 / correction - 1,
        "seconds": cost,
    }


def main() -> None:
    """Measure, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(CASES), help=", ".join(CASES))
    parser.add_argument("--draws", type=int, default=400, help="solved fast")
    parser.add_argument("--exact", type=int, default=12, help="of them solved exactly too")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in arguments.names:
        for ohm in CASES[name][2]:
            for factor in (0.5, 1.0):
                row = measured(name, ohm, factor, arguments.draws, arguments.exact)
                rows.append(row)
                print(
                    f"{name:26} {ohm:5g} ohm  gains x {factor:3g}:  NMSE {100 * row['nmse']:6.2f} % "
                    f"(ideal wires {100 * row['nmse_without_wires']:5.2f} %)  MSE {100 * row['mse_off']:+5.2f} "
                    f"+- {100 * row['mse_standard_error']:4.2f} %  power {100 * row['power_off']:+6.3f} % "
                    f"(ideal {100 * row['power_without_off']:+5.1f} %)  fast {100 * row['fast_off']:+5.2f} %  "
                    + ", ".join(f"{what} {seconds:.2f} s" for what, seconds in row["seconds"].items()),
                    flush=True,
                )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
