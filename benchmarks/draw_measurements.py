"""Draw the figures of measured devices in docs/figures.

python -m benchmarks.draw_measurements          POWERPLAN_CELLS names the published table, see measured_cells

measurements.svg says what a line of a table of measurements means, measured_cells.svg how predictions and networks of
measured cells agree (from benchmarks/results), measured_levels.png what ``hardware import`` draws of that table.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

import powerplan as pp
from benchmarks.measured_cells import CELLS, read_excerpt

ROOT = Path(__file__).resolve().parent.parent

FIGURES = ROOT / "docs" / "figures"
#: of the published table
COLUMNS = "-, -, -, measured [S], programmed [S], level, time [s]"

_TIME, _LEVELS, _MICRO = 1e5, 6, 1e6


def draw() -> Figure:
    """The lowest levels of tests/hardware/rram_cells.csv, a day after programming."""
    cells = read_excerpt(ROOT / "tests" / "hardware" / "rram_cells.csv")
    levels = cells.by_time[_TIME][:_LEVELS]
    target = _MICRO * cells.targets[:_LEVELS]
    mean, std = ([_MICRO * value(level) for level in levels] for value in (np.mean, np.std))
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, target[-1]], [0, target[-1]], "--", color="0.6", label="held = target")
    axes.errorbar(target, mean, std, fmt="o-", capsize=3, label="measured: mean and std of each level")
    axes.plot([0, target[1]], mean[:2], "x:", color="C3", label="wrong: the lowest level entered at target 0")
    axes.axvline(target[0], color="C2", lw=1)
    axes.annotate(
        "conductance_min: what idle devices\nof pairs are programmed to",
        (target[0], 0.2),
        (2.3, 0.1),
        arrowprops={"arrowstyle": "->", "color": "C2"},
    )
    axes.set(
        xlabel="target: programmed to [uS]", ylabel="held when it is read [uS]", xlim=(-0.2, None), ylim=(-0.8, None)
    )
    axes.legend(loc="upper left", frameon=False)
    return figure


def draw_agreement() -> Figure:
    """NMSE of networks of measured cells, and as predicted, at each time after programming."""
    rows = json.loads((ROOT / "benchmarks" / "results" / "measured_cells.json").read_text())["times"]
    time = [row["time_s"] for row in rows]
    figure = Figure(figsize=(7.2, 3.4), layout="constrained")
    axes = figure.subplots()
    errors = [196 * row["standard_error"] for row in rows]
    axes.plot(time, [100 * row["as_measured"] for row in rows], "-", color="C0", label="predicted from mean and spread")
    axes.errorbar(
        time,
        [100 * row["cells_nmse"] for row in rows],
        errors,
        fmt="o",
        color="C3",
        capsize=3,
        label="1000 networks of really measured cells (95 %)",
    )
    axes.set(xscale="log", xlabel="time after programming [s]", ylabel="NMSE of the outputs [%]", ylim=(0, None))
    axes.grid(True, alpha=0.25)
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    mpl.rcParams.update({"svg.hashsalt": "powerplan", "svg.fonttype": "none"})
    draw().savefig(FIGURES / "measurements.svg", metadata={"Date": None})
    draw_agreement().savefig(FIGURES / "measured_cells.svg", metadata={"Date": None})
    if CELLS in os.environ:
        pp.read_measurements(os.environ[CELLS], columns=COLUMNS, degree=5, least_readings=100).plot(
            FIGURES / "measured_levels.png"
        )
