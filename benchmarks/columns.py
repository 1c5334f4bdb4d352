"""What does planning with many gains cost, and what does it save?

Column gains of the MNIST network and of single-hidden-layer networks with 10 000 and 100 000 columns: time, peak
memory and certificate of a whole plan. Then the power of plans with one gain for the network, one per layer, one per
column and one voltage per row, at the same target, for every example network.

    python -m benchmarks.columns [--json FILE]
"""

from __future__ import annotations

import functools
import sys
import time
from typing import Any

import numpy as np

import powerplan as pp
from benchmarks.common import run
from benchmarks.memory import peak_memory

HARDWARE = pp.Hardware(programming_noise_std=5e-7)
#: read noise that lets the voltage be free: 0.1 % of the largest current of one device
READ_NOISE = 2e-8
TARGETS = (0.01, 0.1)  # NMSE
SIZES = (10_000, 30_000, 100_000)
INPUTS = 64
#: KKT residual of column plans, for a duality gap below 1e-6, and of the plans in the savings table
TOLERANCE, ENOUGH = 1e-7, 5e-7
#: activation and target NMSE of the wide networks
WIDE = {"one hidden layer": ("relu", 0.03), "one hidden layer, linear": ("identity", 0.01)}


def wide_network(columns: int, activation: str = "relu") -> pp.Network:
    """A random network with one hidden layer of so many columns."""
    rng = np.random.default_rng(5)
    weights = [rng.normal(size=(columns, 4)), rng.normal(size=(2, columns)) / np.sqrt(columns)]
    return pp.Network.mlp(weights, activation=activation)


def column_plan(
    name: str, network: pp.Network, hardware: pp.Hardware, inputs: np.ndarray, nmse: float
) -> dict[str, Any]:
    """One plan: processor time, the rise of peak memory, certificate."""
    make = functools.partial(
        pp.plan, network, hardware, inputs, pp.MaxNMSE(nmse), granularity="column", tolerance=TOLERANCE
    )
    start = time.process_time()
    plan = make()
    seconds = time.process_time() - start
    proof = plan.certificate
    return {
        "network": name,
        "gains": int(sum(np.size(gain) for gain in plan.gains.conductance)),
        "batch": len(inputs),
        "target_nmse": nmse,
        "outcome": plan.termination.outcome.value,
        "plan_s": seconds,
        "peak_bytes": peak_memory(make),
        "predictor_evaluations": plan.termination.predictions,
        "kkt_residual": None if proof is None else proof.kkt_residual,
        "duality_gap": None if proof is None else proof.duality_gap,
    }


def savings(example: pp.Example, nmse: float) -> list[dict[str, Any]]:
    """Power of every granularity relative to the baseline (one conductance range for all layers)."""
    both = ("conductance", "voltage")
    kinds = [
        ("conductance", HARDWARE, "network", ("conductance",)),
        ("conductance", HARDWARE, "layer", ("conductance",)),
        ("conductance", HARDWARE, "column", ("conductance",)),
        *(
            ("both", HARDWARE.replace(read_noise_std=READ_NOISE), g, both)
            for g in ("network", "layer", "column", "signal")
        ),
    ]
    rows = []
    for free, hardware, granularity, gains in kinds:
        plan = pp.plan(
            example.network,
            hardware,
            example.inputs[:INPUTS],
            pp.MaxNMSE(nmse),
            granularity=granularity,
            optimize=gains,
            tolerance=ENOUGH,
        )
        rows.append(
            {
                "network": example.name,
                "target_nmse": nmse,
                "free": free,
                "granularity": granularity,
                "outcome": plan.termination.outcome.value,
                "power_w": plan.power,
                "saving": plan.saving,
            }
        )
    return rows


def measure() -> dict[str, Any]:
    """All networks at hand, all sizes."""
    examples = []
    for name in ("iris", "digits", "mnist"):
        try:
            examples.append(pp.load_example(name))
        except pp.MissingData as error:
            print(f"without {name}: {error}", file=sys.stderr)
    plans = [
        column_plan(e.name, e.network, HARDWARE, e.inputs[:INPUTS], nmse)
        for e in examples
        if e.name == "mnist"
        for nmse in TARGETS
    ]
    inputs = np.random.default_rng(5).uniform(0, 1, (4, 4))
    plans += [
        column_plan(name, wide_network(size, activation), pp.Hardware(programming_noise_std=1e-7), inputs, nmse)
        for name, (activation, nmse) in WIDE.items()
        for size in SIZES
    ]
    return {"columns": plans, "savings": [row for e in examples for nmse in TARGETS for row in savings(e, nmse)]}


if __name__ == "__main__":
    run(__doc__, measure)
