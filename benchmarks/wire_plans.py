"""Plans for arrays with resistive wires: what a plan made without them really reaches, and what one with them costs.

Every network is planned for an NMSE with ideal wires (blind), with its own (aware), and with its own and what takes out
known biases (least_bias, predistort); gains of layers are free. All plans are simulated with wires: draws solved fast,
some of them with the same random numbers also exactly, and the ratio of the two corrects the mean of all. Targets that
no gains meet are shown with the least error that the planner found, beside the least that a scan over gains of layers
finds: common factors of the largest gains, and a factor for every layer at random.

    python -m benchmarks.wire_plans [NAME ...] [--only TEXT ...] [--draws 1000] [--exact 12] [--scan 200] [--json FILE]

Hours for all of it; the data must be at hand (POWERPLAN_DATA). Every piece, one plan of one setting, is written to FILE
when it is done, and those that FILE has already are not made again. ``--only "512 rows" aware`` makes the pieces whose
names have all of these texts, for example "mnist, 512 rows, 0.35 ohm, 25 uS, aware".
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

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
#: of the hardware that is planned for
KINDS: dict[str, dict[str, Any]] = {
    "blind": {},
    "aware": {},
    "least_bias": {"column_scale": "least_bias"},
    "predistort": {"predistort": True},
}


class Piece(NamedTuple):
    """One plan of one setting."""

    case: str
    ohm: float
    most: float
    kind: str

    def __str__(self) -> str:
        return f"{self.case}, {self.ohm:g} ohm, {1e6 * self.most:g} uS, {self.kind}"


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


def measured(piece: Piece, draws: int, exact: int, scan: int) -> dict[str, Any]:
    """What one plan of one setting is, and reaches with wires."""
    source, target, rows, columns, _ = CASES[piece.case]
    network, inputs = network_of(source)
    wires: dict[str, Any] = dict.fromkeys(IDEAL, piece.ohm)
    hardware = pp.Hardware(
        conductance_max=piece.most,
        programming_noise_std=NOISE * piece.most,
        array_rows=rows,
        array_columns=columns,
        **wires,
        **KINDS[piece.kind],
    )
    start = time.process_time()
    planned = hardware.replace(**IDEAL) if piece.kind == "blind" else hardware
    plan = pp.plan(network, planned, inputs, pp.MaxNMSE(target))
    seconds = time.process_time() - start
    nmse, error = simulated(network, hardware, plan.gains, inputs, draws, exact)
    row = {
        "target": target,
        "feasible": plan.meets_target,
        "power": pp.predict(network, hardware, plan.gains, inputs).power,
        "nmse": nmse,
        "off": nmse / plan.nmse - 1,
        "standard_error": error,
        "predicted": plan.nmse,
        "scan_gap": plan.certificate.scan_gap if plan.certificate else None,
        "predictions": plan.termination.predictions,
        "seconds": seconds,
    }
    if not plan.meets_target:
        row["scan_least"] = least_of_scan(network, hardware, inputs, scan)
    return row


def line(case: str, ohm: float, most: float, rows: dict[str, Any]) -> str:
    """A row of the table, in Markdown, of the plans that there are."""
    cells = [case, f"{ohm:g} ohm", f"{1e6 * most:g} µS"]
    for kind in KINDS:
        row = rows.get(str(Piece(case, ohm, most, kind)))
        if row is None:
            cells += ["", ""]
        elif kind == "blind":
            cells += [f"{1e6 * row['power']:.3g} µW", f"{100 * row['nmse']:.1f} %"]
        else:
            scan = f" (least: {100 * row['predicted']:.2f} %, scan: {100 * row.get('scan_least', 0):.2f} %)"
            power = f"{1e6 * row['power']:.3g} µW" if row["feasible"] else f"infeasible{scan}"
            spread = 196 * row["standard_error"] * row["nmse"]
            cells += [power, f"{100 * row['nmse']:.2f} ± {spread:.2f} % ({100 * row['off']:+.1f} %)"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Plan, simulate, write JSON if asked, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(CASES), help=", ".join(CASES))
    parser.add_argument("--only", nargs="*", default=[], help="texts that the names of pieces must have")
    parser.add_argument("--draws", type=int, default=1000, help="solved fast")
    parser.add_argument("--exact", type=int, default=12, help="of them solved exactly too")
    parser.add_argument("--scan", type=int, default=200, help="gains looked at where a target is infeasible")
    parser.add_argument("--json", type=Path, help="write the results to this file, and go on from it")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    file = arguments.json
    rows = json.loads(file.read_text())["rows"] if file is not None and file.exists() else {}
    settings = [(name, ohm, most) for name in arguments.names for ohm, most in CASES[name][4]]
    for piece in (Piece(*setting, kind) for setting in settings for kind in KINDS):
        if str(piece) in rows or not all(text in str(piece) for text in arguments.only):
            continue
        print(piece, flush=True)
        rows[str(piece)] = measured(piece, arguments.draws, arguments.exact, arguments.scan)
        if file is not None:
            file.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1))
    heads = ["network", "per cell", "G_max", *(f"{kind}: {what}" for kind in KINDS for what in ("power", "NMSE"))]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for setting in settings:
        print(line(*setting, rows))


if __name__ == "__main__":
    main()
