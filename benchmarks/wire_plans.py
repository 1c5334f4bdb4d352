"""Plans for arrays with resistive wires: what a plan made without them really reaches, and what one with them costs.

Every network is planned for an NMSE twice: with ideal wires (blind) and with its own (aware); gains of layers are free.
Both plans are simulated with wires: draws solved fast, some of them with the same random numbers also exactly, and the
ratio of the two corrects the mean of all. Targets that no gains meet are shown with the least error that the planner
found, beside the least that a scan over gains of layers finds: common factors of the largest gains, and a factor for
every layer at random.

    python -m benchmarks.wire_plans [NAME ...] [--draws 1000] [--exact 12] [--scan 200] [--json FILE]

A quarter of an hour for digits, longer for the MNIST networks, whose data must be at hand (POWERPLAN_DATA).
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

import powerplan as pp
from benchmarks.common import machine
from benchmarks.wires import BATCH, IDEAL

#: noise of programming as a part of conductance_max
NOISE = 0.02
#: example or widths of a random network, target NMSE, rows and columns of an array, and of every setting
#: (ohm per cell, conductance_max [S])
CASES: dict[str, tuple[str, float, int, int, tuple[tuple[float, float], ...]]] = {
    "digits": ("digits", 0.03, 64, 64, tuple((r, g) for g in (25e-6, 50e-6, 100e-6) for r in (0.35, 1.0, 2.5, 5.0))),
    "random 256-32-10": ("256-32-10", 0.05, 256, 64, ((0.35, 50e-6), (1.0, 25e-6), (2.5, 50e-6))),
    "random 512-32-10": ("512-32-10", 0.05, 512, 64, ((0.35, 25e-6), (0.35, 50e-6), (1.0, 25e-6), (5.0, 100e-6))),
    "mnist, 128 rows": ("mnist", 0.1, 128, 64, ((0.35, 25e-6), (1.0, 25e-6), (0.35, 100e-6))),
    "mnist, 256 rows": ("mnist", 0.1, 256, 64, ((0.35, 25e-6), (1.0, 25e-6))),
    "mnist, 512 rows": ("mnist", 0.1, 512, 64, ((0.35, 25e-6),)),
}


def network_of(source: str) -> tuple[pp.Network, Any]:
    """A trained example, or a random network of such widths, with inputs."""
    if not source[0].isdigit():
        example = pp.load_example(source)
        return example.network, example.inputs[:BATCH]
    widths, rng = [int(width) for width in source.split("-")], np.random.default_rng(0)
    weights = [rng.normal(size=(out, into)) * np.sqrt(2 / into) for into, out in pairwise(widths)]
    return pp.Network.mlp(weights), rng.uniform(0, 1, (BATCH, widths[0]))


def simulated(network: pp.Network, hardware: pp.Hardware, gains: pp.Gains, inputs: Any, draws: int, exact: int) -> Any:
    """(NMSE, its relative standard error) with exact wires, from fast draws of which some are solved exactly too."""
    fast = pp.simulate(network, hardware, gains, inputs, draws=draws, wires="fast")
    few = pp.simulate(network, hardware, gains, inputs, draws=exact, wires="fast")
    solved = pp.simulate(network, hardware, gains, inputs, draws=exact)
    ratios = solved.mse_by_draw / few.mse_by_draw
    error = np.hypot(fast.mse_standard_error / fast.mse, ratios.std(ddof=1) / np.sqrt(exact))
    return fast.nmse * float(ratios.mean()), float(error)


def least_of_scan(network: pp.Network, hardware: pp.Hardware, inputs: Any, count: int) -> float:
    """The least NMSE of so many gains: half of them common factors of the largest, half a random one for each layer."""
    full = pp.Gains.full_range(network, hardware, inputs)
    layers, rng = len(full.conductance), np.random.default_rng(0)
    factors = [np.full(layers, f) for f in np.geomspace(0.02, 1, count // 2)]
    factors += list(np.exp(rng.uniform(np.log(0.1), 0, (count - len(factors), layers))))
    least = np.inf
    for factor in factors:
        conductance = tuple(float(f * c) for f, c in zip(factor, full.conductance, strict=True))
        gains = pp.Gains(conductance=conductance, voltage=full.voltage)
        least = min(least, pp.predict(network, hardware, gains, inputs).nmse)
    return float(least)


def measured(name: str, ohm: float, most: float, draws: int, exact: int, scan: int) -> dict[str, Any]:
    """One row of the table."""
    source, target, rows, columns, _ = CASES[name]
    network, inputs = network_of(source)
    wires: dict[str, Any] = dict.fromkeys(IDEAL, ohm)
    hardware = pp.Hardware(
        conductance_max=most,
        programming_noise_std=NOISE * most,
        array_rows=rows,
        array_columns=columns,
        **wires,
    )
    blind = pp.plan(network, hardware.replace(**IDEAL), inputs, pp.MaxNMSE(target))
    start = time.process_time()
    aware = pp.plan(network, hardware, inputs, pp.MaxNMSE(target))
    seconds = time.process_time() - start
    reached, _ = simulated(network, hardware, blind.gains, inputs, draws, exact)
    nmse, error = simulated(network, hardware, aware.gains, inputs, draws, exact)
    feasible = aware.meets_target
    return {
        "case": name,
        "ohm": ohm,
        "conductance_max": most,
        "target": target,
        "feasible": feasible,
        "blind_power": pp.predict(network, hardware, blind.gains, inputs).power,
        "blind_nmse": reached,
        "power": aware.power,
        "nmse": nmse,
        "off": nmse / aware.nmse - 1,
        "standard_error": error,
        "predicted": aware.nmse,
        "scan_gap": aware.certificate.scan_gap if aware.certificate else None,
        "scan_least": None if feasible else least_of_scan(network, hardware, inputs, scan),
        "predictions": aware.termination.predictions,
        "seconds": seconds,
    }


def line(row: dict[str, Any]) -> str:
    """A row of the table, in Markdown."""
    answer = f"{1e6 * row['power']:.3g} µW" if row["feasible"] else "infeasible"
    simulation = f"{100 * row['nmse']:.2f} ± {196 * row['standard_error'] * row['nmse']:.2f} %"
    scan = "" if row["feasible"] else f"{100 * row['predicted']:.2f} % (scan: {100 * row['scan_least']:.2f} %)"
    return (
        f"| {row['case']} | {row['ohm']:g} ohm | {1e6 * row['conductance_max']:g} µS | "
        f"{1e6 * row['blind_power']:.3g} µW | {100 * row['blind_nmse']:.1f} % | {answer} | {simulation} | "
        f"{100 * row['off']:+.1f} % | {scan} |"
    )


def main() -> None:
    """Plan, simulate, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(CASES), help=", ".join(CASES))
    parser.add_argument("--draws", type=int, default=1000, help="solved fast")
    parser.add_argument("--exact", type=int, default=12, help="of them solved exactly too")
    parser.add_argument("--scan", type=int, default=200, help="gains looked at where a target is infeasible")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    print("| network | per cell | G_max | blind: power | blind: NMSE | aware: power | aware: NMSE | off | least NMSE |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in arguments.names:
        for ohm, most in CASES[name][4]:
            rows.append(measured(name, ohm, most, arguments.draws, arguments.exact, arguments.scan))
            print(line(rows[-1]), flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
