"""Do plans for a drop of accuracy, as they are made by default, meet it in simulation, and does any cheaper plan?

Ten plans: digits and MNIST, layer gains, five drops each, verified and calibrated as `pp.plan` does by itself. Every
plan is simulated again with other draws than any it has seen; "misses" is that drop less the asked one. The least power
is then looked for on simulated accuracy alone, all with the same random numbers, along two families of gains: the
plan's own gains times a common factor, whose simulated drop is moved onto the asked one, and the plans of least power
for an NMSE, whose power at the asked drop is interpolated between simulated points. The plan is compared with the
cheaper one.

    python -m benchmarks.accuracy_targets [digits mnist] [--json FILE]

An example that is left out keeps the results it has in the file.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator

import powerplan as pp
from benchmarks.common import machine
from benchmarks.report import RESULTS

HARDWARE = pp.Hardware(programming_noise_std=2e-6)
DROPS = (0.005, 0.01, 0.02, 0.03, 0.05)
#: held-out inputs, draws, and the NMSEs of the second family, by example
INPUTS = {"digits": 256, "mnist": 128}
DRAWS = {"digits": 4000, "mnist": 1500}
NMSES = {"digits": (0.012, 0.016, 0.03, 0.05, 0.075, 0.12), "mnist": (0.14, 0.17, 0.2, 0.24, 0.28, 0.34)}
#: seed of the simulations that judge: no plan has seen its draws
SEED = 1000
#: common factor of the gains whose drop shows how the power depends on it, with a part of the draws
FACTOR, PART = 0.97, 3


class Judge:
    """Simulated drops of an example, always with the same draws."""

    def __init__(self, name: str) -> None:
        example = pp.load_example(name)
        self.name, self.network, self.draws = name, example.network, DRAWS[name]
        self.inputs, self.labels = example.test_inputs[: INPUTS[name]], example.test_labels[: INPUTS[name]]

    def drops(self, gains: pp.Gains, draws: int) -> np.ndarray:
        """(draws,) drop of accuracy in every draw."""
        simulation = pp.simulate(self.network, HARDWARE, gains, self.inputs, draws=draws, seed=SEED)
        ideal = float((simulation.ideal_output.argmax(1) == self.labels).mean())
        drops: np.ndarray = ideal - (simulation.classes == self.labels).mean(1)
        return drops

    def power(self, gains: pp.Gains) -> float:
        """Predicted power [W]."""
        return pp.predict(self.network, HARDWARE, gains, self.inputs).power


def power_of_nmse_plans(judge: Judge) -> PchipInterpolator:
    """Log power of the plans of least power for an NMSE, by log simulated drop."""
    points = {}
    for nmse in NMSES[judge.name]:
        try:
            plan = pp.plan(judge.network, HARDWARE, judge.inputs, pp.MaxNMSE(nmse), tolerance=1e-5)
        except pp.PowerplanError:
            continue
        if plan.termination.outcome is not pp.Outcome.INFEASIBLE:
            points[math.log(judge.drops(plan.gains, judge.draws).mean())] = math.log(plan.power)
    drops = sorted(points)
    return PchipInterpolator(drops, [points[drop] for drop in drops], extrapolate=False)


def power_of_scaled(judge: Judge, plan: pp.Plan, drops: np.ndarray, asked: float) -> float:
    """Power of the plan's gains times the common factor with which the simulated drop is the asked one.

    Over the few percent in question log power is linear in log drop; a second factor gives the slope.
    """
    scaled = pp.Gains(
        conductance=tuple(FACTOR * np.asarray(gain) for gain in plan.gains.conductance), voltage=plan.gains.voltage
    )
    part = judge.draws // PART
    rise = math.log(judge.drops(scaled, part).mean() / drops[:part].mean())
    slope = math.log(judge.power(scaled) / plan.power) / rise
    return float(plan.power * (asked / float(drops.mean())) ** slope)


def of_example(name: str) -> list[dict[str, Any]]:
    """The rows of one network."""
    judge = Judge(name)
    by_nmse = power_of_nmse_plans(judge)
    rows = []
    for asked in DROPS:
        start = time.process_time()
        plan = pp.plan(judge.network, HARDWARE, judge.inputs, pp.MaxAccuracyDrop(asked, judge.labels))
        seconds = time.process_time() - start
        check = plan.verification
        assert check is not None
        drops = judge.drops(plan.gains, judge.draws)
        least = {
            "least_power_scaled_w": power_of_scaled(judge, plan, drops, asked),
            "least_power_nmse_w": math.exp(float(by_nmse(math.log(asked)))),
        }
        known = {key: None if math.isnan(power) else power for key, power in least.items()}
        drop, error = float(drops.mean()), float(drops.std(ddof=1) / math.sqrt(len(drops)))
        rows.append(
            {
                "network": name,
                "inputs": len(judge.inputs),
                "draws": judge.draws,
                "asked_drop": asked,
                "outcome": plan.termination.outcome.value,
                "plan_s": seconds,
                "verify_draws": check.draws,
                "calibrations": plan.provenance.get("calibration_rounds", 0),
                "predicted_drop": plan.reached,
                "verified_drop": check.ratio * asked,
                "simulated_drop": drop,
                "standard_error": error,
                "misses": drop - asked,
                "power_w": plan.power,
                **known,
                "excess_power": plan.power / min(power for power in known.values() if power is not None) - 1,
            }
        )
        print({k: v if v is None or isinstance(v, str) else float(f"{v:.4g}") for k, v in rows[-1].items()}, flush=True)
    return rows


def main() -> None:
    """Measure, print, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", nargs="*", metavar="example", help="digits, mnist; default: both")
    parser.add_argument(
        "--json", type=Path, default=RESULTS / "accuracy_targets.json", help="results [default: %(default)s]"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.examples or list(INPUTS):
        start, about = time.process_time(), machine()
        answer = of_example(name)
        seconds = time.process_time() - start
        earlier = json.loads(arguments.json.read_text(encoding="utf-8")) if arguments.json.exists() else {}
        plans = {other: [row for row in earlier.get("plans", ()) if row["network"] == other] for other in INPUTS}
        plans[name] = answer
        times = {**earlier.get("processor_seconds", {}), name: round(seconds, 1)}
        results = {
            "machine": about,
            "plans": [row for rows in plans.values() for row in rows],
            "processor_seconds": times,
            "seconds": round(sum(times.values()), 1),
        }
        arguments.json.parent.mkdir(exist_ok=True)
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
