"""Draw docs/figures/measurements.svg: what a table of measurements says, on measured cells.

python -m benchmarks.draw_measurements
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from benchmarks.measured_cells import read_excerpt

ROOT = Path(__file__).resolve().parent.parent

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


if __name__ == "__main__":
    mpl.rcParams.update({"svg.hashsalt": "powerplan", "svg.fonttype": "none"})
    draw().savefig(ROOT / "docs" / "figures" / "measurements.svg", metadata={"Date": None})
