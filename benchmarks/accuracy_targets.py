"""Do plans for a drop of accuracy meet it in simulation, and does any cheaper plan?

Ten plans: digits and MNIST, layer gains, five drops each. Every plan is simulated; "misses" is the simulated drop less
the asked one. The least power is found on simulated accuracy alone, all with the same random numbers, along two
families of gains: the plan's own gains times a common factor, and the plans of least power for an NMSE (bisection over
the NMSE). The cheaper of the two whose simulated drop is at most the asked one is compared with the plan.

    python -m benchmarks.accuracy_targets [digits mnist] [--json FILE]
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import optimize

import powerplan as pp
from benchmarks.common import machine

HARDWARE = pp.Hardware(programming_noise_std=2e-6)
DROPS = (0.005, 0.01, 0.02, 0.03, 0.05)
#: held-out inputs and draws by example
INPUTS = {"digits": 256, "mnist": 128}
DRAWS = {"digits": 2000, "mnist": 600}
#: bisection ends when the power is known to this fraction
POWER_ACCURACY = 0.005
NMSE_RANGE = (0.02, 0.8)


def simulated_drop(example: pp.Example, inputs: np.ndarray, labels: np.ndarray, gains: pp.Gains) -> tuple[float, float]:
    """Simulated drop of accuracy and its standard error over draws."""
    found = pp.simulate(example.network, HARDWARE, gains, inputs, draws=DRAWS[example.name], seed=1)
    ideal = float((found.ideal_output.argmax(1) == labels).mean())
    right = (found.classes == labels).mean(1)
    return ideal - float(right.mean()), float(right.std(ddof=1) / math.sqrt(len(right)))


def least(drop_of: Callable[[float], float], asked: float, low: float, high: float, accuracy: float) -> float | None:
    """The largest log parameter with a drop of at most ``asked``, by bisection; None if even ``low`` exceeds it."""
    if drop_of(low) > asked or drop_of(high) <= asked:
        return None if drop_of(low) > asked else high
    return float(optimize.bisect(lambda t: drop_of(t) - asked, low, high, xtol=accuracy, rtol=1e-12))


def of_example(name: str) -> list[dict[str, Any]]:
    """The rows of one network."""
    example = pp.load_example(name)
    inputs, labels = example.test_inputs[: INPUTS[name]], example.test_labels[: INPUTS[name]]
    network = example.network
    largest = pp.Gains.full_range(network, HARDWARE, inputs)

    @functools.cache
    def for_nmse(log_nmse: float) -> tuple[float, float]:
        plan = pp.plan(network, HARDWARE, inputs, pp.MaxNMSE(math.exp(log_nmse)), tolerance=1e-5)
        return simulated_drop(example, inputs, labels, plan.gains)[0], plan.power

    rows = []
    for asked in DROPS:
        start = time.process_time()
        plan = pp.plan(network, HARDWARE, inputs, pp.MaxAccuracyDrop(asked, labels), tolerance=1e-6)
        seconds = time.process_time() - start
        drop, error = simulated_drop(example, inputs, labels, plan.gains)
        own = np.array(plan.gains.conductance, dtype=float)
        room = float(np.log(np.array(largest.conductance, dtype=float) / own).min())

        def scaled(shift: float, own: np.ndarray = own, voltage: Any = plan.gains.voltage) -> pp.Gains:
            return pp.Gains(conductance=tuple(own * math.exp(-shift)), voltage=voltage)

        # larger shifts are smaller gains: less power, larger drop
        shift = least(
            lambda t, scaled=scaled: simulated_drop(example, inputs, labels, scaled(t))[0],  # type: ignore[misc]
            asked,
            max(-room, -0.2),
            0.2,
            POWER_ACCURACY,
        )
        by_scale = None if shift is None else pp.predict(network, HARDWARE, scaled(shift), inputs).power
        log_nmse = least(lambda t: for_nmse(t)[0], asked, *(math.log(x) for x in NMSE_RANGE), 2 * POWER_ACCURACY)
        by_nmse = None if log_nmse is None else for_nmse(log_nmse)[1]
        best = min((power for power in (by_scale, by_nmse) if power is not None), default=None)
        rows.append(
            {
                "network": name,
                "inputs": len(inputs),
                "draws": DRAWS[name],
                "asked_drop": asked,
                "outcome": plan.termination.outcome.value,
                "plan_s": seconds,
                "simulated_drop": drop,
                "standard_error": error,
                "misses": drop - asked,
                "power_w": plan.power,
                "least_power_scaled_w": by_scale,
                "least_power_nmse_w": by_nmse,
                "excess_power": None if best is None else plan.power / best - 1,
            }
        )
        print({k: v if v is None or isinstance(v, str) else float(f"{v:.4g}") for k, v in rows[-1].items()}, flush=True)
    return rows


def main() -> None:
    """Measure, print, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", nargs="*", default=["digits", "mnist"])
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start, about = time.perf_counter(), machine()
    rows = [row for name in arguments.examples for row in of_example(name)]
    if arguments.json:
        results = {"machine": about, "plans": rows, "seconds": round(time.perf_counter() - start, 1)}
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
