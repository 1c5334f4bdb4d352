"""Do as many chips meet the target as a plan was made for, and what do such plans cost?

For every network and hardware plans are made for an NMSE, or with ``--drop`` for a drop of accuracy, that the mean over
chips and that parts of them keep within; as many chips as asked for are simulated at each. Told are the yield with its
95 % interval, the power over that of the plan for the mean, and its processor time over that one's. With ``--ratio``
also the power that a plan saves against one for the mean whose bound is divided by the ratio of the part's error to the
mean, found again until that part of the chips is predicted to keep the NMSE.

The noise is set so that a quarter of the NMSE is left at full range. PCM, whose noise is its own, is planned for at
least four times what full range leaves. Where chips are refused (stuck devices) the reason is told, with the yield of
the plan for the mean.

    python -m benchmarks.yields [iris digits mnist mnist_cnn ...] [--hardware programming read offset converters pcm
        stuck] [--nmse 0.02] [--drop 0.01] [--inputs 256] [--chips 4000] [--granularity layer] [--ratio] [--json FILE]

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
from benchmarks.chips import HARDWARE, PCM, hardware_of, network_of
from benchmarks.common import machine
from powerplan.moments.chips.sampled import part_interval

#: parts of the chips, None = the mean over them
PARTS = (None, 0.9, 0.95, 0.99)
#: how closely, as a part of the NMSE, a bound on the mean is found with which a part of the chips keeps it
_RATIO_ERROR, _MOST_ROUNDS = 1e-5, 12


def compare(name: str, kind: str, asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row per part of the chips."""
    example = network_of(name, None)
    network, inputs, labels = example.network, example.inputs, None
    if asked.drop is not None:
        assert isinstance(example, pp.Example)
        inputs, labels = example.test_inputs[: asked.inputs], example.test_labels[: asked.inputs]
    # so that the target is within reach for 99 % of the chips
    hardware = hardware_of(kind, example, asked.nmse / 4, feedback_resistance=1e4)
    nmse = asked.nmse
    if kind == PCM:
        left = pp.predict(network, hardware, pp.Gains.full_range(network, hardware, inputs), inputs).nmse
        nmse = max(nmse, 4 * left)
    power, seconds = 0.0, 0.0
    for part in PARTS:
        target: Any = pp.MaxNMSE(nmse, chips=part)
        if labels is not None:
            target = pp.MaxAccuracyDrop(asked.drop, labels, chips=part)
        options: dict[str, Any] = {"granularity": asked.granularity, "verify_draws": 0}
        start = time.process_time()
        try:
            plan = pp.plan(network, hardware, inputs, target, **options)
        except pp.InvalidInput as error:
            yield {"network": name, "hardware": kind, "target": target.value, "chips": part, "refused": str(error)}
            continue
        spent = time.process_time() - start
        simulation = pp.simulate(network, hardware, plan.gains, inputs, draws=asked.chips, seed=1)
        share = target.chip_yield(simulation, None)
        low, high = part_interval(round(share * asked.chips), asked.chips)
        power, seconds = power or plan.power, seconds or spent
        row = {
            "network": name,
            "hardware": kind,
            "target": target.value,
            "chips": part,
            "outcome": plan.termination.outcome.value,
            "yield": share,
            "low": low,
            "high": high,
            "power": plan.power / power,
            "cost": spent / seconds,
        }
        if asked.ratio and part is not None and labels is None and plan.meets_target:
            row["saved"] = 1 - plan.power / _by_ratio(network, hardware, inputs, nmse, part, options).power
        yield row


def _by_ratio(network: Any, hardware: pp.Hardware, inputs: Any, nmse: float, part: float, options: Any) -> pp.Plan:
    """The plan for the mean, its bound divided by the ratio to it of what the part of the chips keeps within."""
    bound = nmse
    for _ in range(_MOST_ROUNDS):
        plan = pp.plan(network, hardware, inputs, pp.MaxNMSE(bound), chip_spread=True, **options)
        assert plan.prediction.chips is not None
        off = plan.prediction.chips.nmse.quantile(part) / nmse
        if abs(off - 1) < _RATIO_ERROR:
            break
        bound /= off
    return plan


def main() -> None:
    """Print a row per network, hardware and part of the chips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=["iris", "digits"])
    parser.add_argument("--hardware", nargs="+", choices=(*HARDWARE, PCM), default=["programming"])
    parser.add_argument("--nmse", type=float, default=0.02)
    parser.add_argument("--drop", type=float, help="largest drop of accuracy, in place of an NMSE")
    parser.add_argument("--inputs", type=int, default=256, help="test inputs, with --drop")
    parser.add_argument("--chips", type=int, default=4000)
    parser.add_argument("--granularity", default="layer")
    parser.add_argument(
        "--ratio", action="store_true", help="also plans with the bound of the mean divided by the ratio"
    )
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = []
    for name in asked.networks:
        for kind in asked.hardware:
            for row in compare(name, kind, asked):
                rows.append(row)
                print(_text(row), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps({"machine": machine(), "chips": asked.chips, "rows": rows}, indent=1) + "\n")


def _text(row: dict[str, Any]) -> str:
    part = row["chips"]
    what = f"{row['network']}, {row['hardware']}, {100 * row['target']:.3g} % for "
    what += "the mean" if part is None else f"{100 * part:g} % of the chips"
    if "refused" in row:
        return f"{what}: refused, {row['refused']}"
    told = [
        f"{what}: {row['outcome']}, yield {100 * row['yield']:.1f} % "
        f"({100 * row['low']:.1f} to {100 * row['high']:.1f} %)",
        f"power {row['power']:.3f}, time {row['cost']:.1f} times those of the mean",
    ]
    told += [f"saves {100 * row['saved']:.2f} % against a divided bound"] if "saved" in row else []
    return ", ".join(told)


if __name__ == "__main__":
    main()
