"""How far are predictions from simulation, as a whole and output by output?

For each example network, with and without clipping, the constant programming noise is set so that the predicted
NMSE is 1 % and 10 %; the simulation then runs until every output's own MSE has a standard error of 0.5 %.
Errors are (predicted − simulated) / simulated.

    python -m benchmarks.accuracy [iris digits mnist] [--nmse 0.01 0.1] [--error 0.005] [--method M] [--json FILE]

The MNIST network takes about ten minutes on one core; its data must be at hand (POWERPLAN_DATA).
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from scipy import optimize

import powerplan as pp
from benchmarks.common import machine
from benchmarks.real_networks import Case
from powerplan.plausibility import unasked

#: draws from which the number of draws needed is estimated
PILOT = 512
COLUMNS = ("nmse", "draws", "mse", "mse_se", "median", "worst", "worst_se", "power", "accuracy", "simulated", "seconds")


def noise_for_nmse(example: pp.Example | Case, nmse: float, hardware: pp.Hardware) -> pp.Hardware:
    """``hardware`` with the constant programming noise that makes the predicted NMSE at full-range gains ``nmse``."""

    def excess(log_std: float) -> float:
        noisy = hardware.replace(programming_noise_std=math.exp(log_std))
        gains = pp.Gains.full_range(example.network, noisy, example.inputs)
        with unasked():  # the ends of the search are beyond any device
            return math.log(pp.predict(example.network, noisy, gains, example.inputs).nmse / nmse)

    top = hardware.conductance_max
    return hardware.replace(
        programming_noise_std=math.exp(optimize.brentq(excess, math.log(1e-5 * top), math.log(top), xtol=1e-3))
    )


def compare(
    example: pp.Example, hardware: pp.Hardware, *, error: float, method: str, seed: int = 0
) -> dict[str, float | list[float]]:
    """Relative errors of a prediction, with those of the simulation it is held against."""
    network, inputs = example.network, example.inputs
    gains = pp.Gains.full_range(network, hardware, inputs)
    predicted = pp.predict(network, hardware, gains, inputs, method=method)
    start = time.perf_counter()
    pilot = pp.simulate(network, hardware, gains, inputs, draws=PILOT, seed=seed)
    noise = float((pilot.mse_by_output_standard_error / pilot.mse_by_output).max())
    # a tenth more: the pilot's standard errors are themselves estimates
    draws = math.ceil(1.1 * PILOT * (noise / error) ** 2)
    simulated = pp.simulate(network, hardware, gains, inputs, draws=max(draws, PILOT), seed=seed + 1)
    by_output = predicted.mse_by_output / simulated.mse_by_output - 1
    errors = simulated.mse_by_output_standard_error / simulated.mse_by_output
    return {
        "programming_noise_std": hardware.programming_noise_std,
        "nmse": predicted.nmse,
        "draws": simulated.draws,
        "mse": predicted.mse / simulated.mse - 1,
        "mse_se": simulated.mse_standard_error / simulated.mse,
        "median": float(np.median(np.abs(by_output))),
        "worst": float(np.abs(by_output).max()),
        "worst_se": float(errors.max()),
        "power": predicted.power / simulated.power - 1,
        "accuracy": predicted.accuracy(example.labels),
        "simulated": simulated.accuracy(example.labels),
        "seconds": time.perf_counter() - start,
        "by_output": by_output.tolist(),
        "by_output_se": errors.tolist(),
    }


def main() -> None:
    """Measure, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", nargs="*", default=["iris", "digits", "mnist"])
    parser.add_argument("--nmse", type=float, nargs="+", default=[0.01, 0.1])
    parser.add_argument("--error", type=float, default=0.005, help="largest relative standard error of an output's MSE")
    parser.add_argument("--method", default="linearized")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start, about, rows = time.perf_counter(), machine(), []
    print(f"{'network':<8}{'clipped':<9}" + "".join(f"{name:>10}" for name in COLUMNS), flush=True)
    for name in arguments.examples:
        example = pp.load_example(name)
        for clip in (True, False):
            for nmse in arguments.nmse:
                hardware = noise_for_nmse(example, nmse, pp.Hardware(clip_conductance=clip))
                row = compare(example, hardware, error=arguments.error, method=arguments.method)
                rows.append({"network": name, "clipped": clip, "method": arguments.method, **row})
                shown = [f"{row[c]:>10.0f}" if c in ("draws", "seconds") else f"{row[c]:>10.2%}" for c in COLUMNS]
                print(f"{name:<8}{clip!s:<9}" + "".join(shown), flush=True)
    if arguments.json:
        results = {"machine": about, "networks": rows, "seconds": round(time.perf_counter() - start, 1)}
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
