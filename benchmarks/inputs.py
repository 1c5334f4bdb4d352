"""How often is the NMSE of fresh inputs within the interval that a plan states for them?

The test images are split at random into inputs for calibration and fresh ones, as often as asked for. Each time a plan
is made for an NMSE of the calibration inputs, and the NMSE of the fresh ones is predicted at its gains. Told are the
part of the splits in which it is within ``nmse_interval(fresh=...)``, with its 95 % interval, and how often plans for
the upper end keep the bound for the fresh inputs.

    python -m benchmarks.inputs [digits mnist] [--nmse 0.01] [--splits 50] [--calibration 64] [--json FILE]

MNIST takes some minutes on one core; its data must be at hand (POWERPLAN_DATA).
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import numpy as np

import powerplan as pp
from benchmarks.accuracy import noise_for_nmse
from benchmarks.common import machine
from powerplan.moments.chips.sampled import SampledSpread


def coverage(example: pp.Example, *, nmse: float, splits: int, calibration: int) -> dict[str, float]:
    """The part of the splits in which the interval holds the fresh inputs' NMSE, and in which bounds are kept."""
    network, images = example.network, example.test_inputs
    # so that the bound is met at about 0.7 times the largest gains
    hardware = noise_for_nmse(example, nmse / 2, pp.Hardware(feedback_resistance=1e4))
    rng = np.random.default_rng(0)
    fresh_over_planned, within, kept, kept_upper, power = [], [], [], [], []
    for _ in range(splits):
        order = rng.permutation(len(images))
        ours, fresh = images[order[:calibration]], images[order[calibration:]]
        plan = pp.plan(network, hardware, ours, pp.MaxNMSE(nmse))
        upper = pp.plan(network, hardware, ours, pp.MaxNMSE(nmse), calibration="upper")
        assert plan.prediction.inputs is not None
        low, high = plan.prediction.inputs.nmse_interval(fresh=len(fresh))
        there = pp.predict(network, hardware, plan.gains, fresh).nmse
        fresh_over_planned.append(there / plan.nmse)
        within.append(low <= there <= high)
        kept.append(there <= nmse)
        kept_upper.append(pp.predict(network, hardware, upper.gains, fresh).nmse <= nmse)
        power.append(upper.power / plan.power)
    # the exact interval of a part that was counted
    counted = SampledSpread.of(1.0 - np.array(within, dtype=float))
    low, high = counted.yield_interval(0.5)
    return {
        "splits": splits,
        "fresh": len(images) - calibration,
        "covered": float(np.mean(within)),
        "covered_low": low,
        "covered_high": high,
        "smallest": float(min(fresh_over_planned)),
        "largest": float(max(fresh_over_planned)),
        "kept": float(np.mean(kept)),
        "kept_upper": float(np.mean(kept_upper)),
        "power_upper": float(np.mean(power)),
    }


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("examples", nargs="*", default=["digits", "mnist"])
    parser.add_argument("--nmse", type=float, nargs="+", default=[0.01])
    parser.add_argument("--splits", type=int, default=50)
    parser.add_argument("--calibration", type=int, default=64)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    # fresh inputs drive rows a little beyond the calibration inputs' voltages
    warnings.simplefilter("ignore", pp.LimitWarning)
    results = {}
    for name in arguments.examples:
        example = pp.load_example(name)
        for nmse in arguments.nmse:
            found = coverage(example, nmse=nmse, splits=arguments.splits, calibration=arguments.calibration)
            results[f"{name} {nmse:g}"] = found
            print(
                f"{name}, NMSE {100 * nmse:g} %: {found['fresh']} fresh inputs are within the interval in "
                f"{100 * found['covered']:.0f} % of {found['splits']} splits "
                f"({100 * found['covered_low']:.0f} to {100 * found['covered_high']:.0f} %); fresh / planned "
                f"{found['smallest']:.3f} to {found['largest']:.3f}; the bound is kept in {100 * found['kept']:.0f} %, "
                f"for the upper end in {100 * found['kept_upper']:.0f} % at {found['power_upper']:.3f} times the power"
            )
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": machine(), "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
