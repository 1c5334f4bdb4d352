"""What compensation of mean errors saves: plans for a target with each kind of it, and what simulations say of them.

    python -m benchmarks.compensation [NAME ...] [--draws 400] [--json FILE]

About two minutes a network. The MNIST data must be at hand (POWERPLAN_DATA).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

import powerplan as pp
from benchmarks.common import machine

BATCH = 64
TARGETS = (0.05, 0.01)
#: example and further fields of the hardware
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "digits": ("digits", {"programming_noise_std": 1e-6}),
    "mnist": ("mnist", {"programming_noise_std": 1e-6}),
    "mnist, more noise": ("mnist", {"programming_noise_std": 2e-6}),
    "mnist_cnn": ("mnist_cnn", {"programming_noise_std": 1e-6}),
    "mnist, offset": ("mnist", {"programming_noise_std": 1e-6, "weight_mapping": "offset"}),
}
KINDS: dict[str, dict[str, Any]] = {
    "none": {},
    "least_bias": {"column_scale": "least_bias"},
    "least_error": {"column_scale": "least_error"},
    "predistort": {"predistort": True},
    "both": {"column_scale": "least_bias", "predistort": True},
}


def measured(name: str, kind: str, nmse: float, draws: int) -> dict[str, Any]:
    """A plan, and what a simulation on inputs of its own and on others says of it."""
    source, fields = CASES[name]
    example = pp.load_example(source)
    inputs = np.asarray(example.inputs)
    hardware = pp.Hardware(feedback_resistance=1e4, **fields, **KINDS[kind])
    plan = pp.plan(example.network, hardware, inputs[:BATCH], target=pp.MaxNMSE(nmse))
    simulated = pp.simulate(example.network, hardware, plan.gains, inputs[:BATCH], draws=draws)
    others = pp.simulate(
        example.network, hardware, plan.gains, np.asarray(example.test_inputs[:BATCH]), draws=draws // 4
    )
    return {
        "case": name,
        "target": nmse,
        "kind": kind,
        "met": plan.termination.outcome is not pp.Outcome.INFEASIBLE,
        "power": plan.power,
        "nmse": plan.prediction.nmse,
        "bias": plan.prediction.mse_bias / plan.prediction.mse,
        "simulated_nmse": simulated.nmse,
        "standard_error": simulated.mse_standard_error / simulated.mse * simulated.nmse,
        "nmse_of_other_inputs": others.nmse,
        "simulated_power": simulated.power,
    }


def main() -> None:
    """Measure, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(CASES), help=", ".join(CASES))
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in arguments.names:
        for nmse in TARGETS:
            for kind in KINDS:
                row = measured(name, kind, nmse, arguments.draws)
                rows.append(row)
                power = f"{1e3 * row['power']:8.3f} mW" if row["met"] else "out of reach"
                print(
                    f"| {name} | {100 * nmse:g} % | {kind} | {power} | {100 * row['bias']:.0f} % | "
                    f"{100 * row['nmse']:.2f} % | {100 * row['simulated_nmse']:.2f} ± "
                    f"{100 * row['standard_error']:.2f} % | {100 * row['nmse_of_other_inputs']:.2f} % |",
                    flush=True,
                )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
