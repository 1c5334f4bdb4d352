"""Do as many chips meet the target as a plan was made for, and what do such plans cost?

For every network plans are made for an NMSE, or with ``--drop`` for a drop of accuracy, that the mean over chips and
that parts of them keep within; as many chips as asked for are simulated at each. Told are the yield with its 95 %
interval, the power over that of the plan for the mean, and its processor time over that one's.

    python -m benchmarks.yields [iris digits mnist mnist_cnn ...] [--nmse 0.02] [--drop 0.01] [--inputs 256]
        [--chips 4000] [--granularity layer] [--json FILE]

The MNIST networks take minutes to an hour on one core; their data must be at hand (POWERPLAN_DATA).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import powerplan as pp
from benchmarks.accuracy import noise_for_nmse
from benchmarks.chips import network_of
from benchmarks.common import machine
from powerplan.moments.chips.sampled import part_interval

#: parts of the chips, None = the mean over them
PARTS = (None, 0.9, 0.95, 0.99)


def compare(name: str, asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row per part of the chips."""
    example = network_of(name, None)
    network, inputs, labels = example.network, example.inputs, None
    if asked.drop is not None:
        assert isinstance(example, pp.Example)
        inputs, labels = example.test_inputs[: asked.inputs], example.test_labels[: asked.inputs]
    # so that the target is within reach for 99 % of the chips
    hardware = noise_for_nmse(example, asked.nmse / 4, pp.Hardware(feedback_resistance=1e4))
    power, seconds = 0.0, 0.0
    for part in PARTS:
        target: Any = pp.MaxNMSE(asked.nmse, chips=part)
        if labels is not None:
            target = pp.MaxAccuracyDrop(asked.drop, labels, chips=part)
        start = time.process_time()
        plan = pp.plan(network, hardware, inputs, target, granularity=asked.granularity, verify_draws=0)
        spent = time.process_time() - start
        simulation = pp.simulate(network, hardware, plan.gains, inputs, draws=asked.chips, seed=1)
        share = target.chip_yield(simulation, None)
        low, high = part_interval(round(share * asked.chips), asked.chips)
        power, seconds = power or plan.power, seconds or spent
        yield {
            "network": name,
            "chips": part,
            "outcome": plan.termination.outcome.value,
            "yield": share,
            "low": low,
            "high": high,
            "power": plan.power / power,
            "cost": spent / seconds,
        }


def main() -> None:
    """Print a row per network and part of the chips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=["iris", "digits"])
    parser.add_argument("--nmse", type=float, default=0.02)
    parser.add_argument("--drop", type=float, help="largest drop of accuracy, in place of an NMSE")
    parser.add_argument("--inputs", type=int, default=256, help="test inputs, with --drop")
    parser.add_argument("--chips", type=int, default=4000)
    parser.add_argument("--granularity", default="layer")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = []
    for name in asked.networks:
        for row in compare(name, asked):
            rows.append(row)
            print(
                f"{name}, {_of(row['chips'])}: {row['outcome']}, yield "
                f"{100 * row['yield']:.1f} % ({100 * row['low']:.1f} to {100 * row['high']:.1f} %), power "
                f"{row['power']:.3f}, time {row['cost']:.1f} times those of the mean",
                flush=True,
            )
    if asked.json:
        asked.json.write_text(json.dumps({"machine": machine(), "chips": asked.chips, "rows": rows}, indent=1) + "\n")


def _of(part: float | None) -> str:
    return "the mean" if part is None else f"{100 * part:g} % of the chips"


if __name__ == "__main__":
    main()
