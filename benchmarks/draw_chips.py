"""Draw docs/figures/chips.svg: the same NMSE of 2 % asked of the mean, of 95 % of the chips and of 95 % of the inputs.

python -m benchmarks.draw_chips [FILE]
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

import powerplan as pp
from powerplan.report.charts import Bar, Chart, Rule, Scale
from powerplan.report.chips_charts import histogram
from powerplan.report.plots import draw

FILE = Path(__file__).resolve().parent.parent / "docs" / "figures" / "chips.svg"
#: asked of all three; ends of the axes [%] and bars
BOUND, LOW, HIGH, BARS = 0.02, 0.4, 3.8, 34


def inputs_histogram(plan: pp.Plan) -> Chart:
    """How many calibration inputs have which NMSE, a mean over chips."""
    assert plan.prediction.inputs is not None
    nmse = 100 * plan.prediction.inputs.nmse_by_input
    edges = np.linspace(LOW, HIGH, BARS + 1)
    shares = 100 * np.histogram(nmse, edges)[0] / len(nmse)
    bars = [
        Bar(low=low, high=high, height=height, style=int(low >= 100 * BOUND - 1e-9))
        for low, high, height in zip(edges[:-1], edges[1:], shares, strict=True)
    ]
    within = 100 * float((nmse <= 100 * BOUND).mean())
    mean = float(nmse.mean())
    return Chart(
        title="",
        description="",
        curves=(),
        bars=tuple(bars),
        bar_names={0: f"{within:.3g} % of the inputs within the bound", 1: f"{100 - within:.2g} % beyond"},
        rules=(Rule(x=mean, name=f"mean {mean:.4g} %", style=5), Rule(x=100 * BOUND, name="bound 2.000 %", style=1)),
        x_label="NMSE [%]",
        y_label="part of the inputs [%]",
        x_log=False,
        y_log=False,
        up=Scale(low=0, high=1.1 * float(shares.max()), log=False),
    )


def main() -> None:
    """Plan and draw."""
    mpl.rcParams.update({"svg.hashsalt": "powerplan", "svg.fonttype": "none"})
    example = pp.load_example("digits")
    hardware = pp.Hardware(programming_noise_std=2e-6, feedback_resistance=1e4)
    targets = {
        "MaxNMSE(0.02)": pp.MaxNMSE(BOUND),
        "MaxNMSE(0.02, chips=0.95)": pp.MaxNMSE(BOUND, chips=0.95),
        "MaxNMSE(0.02, inputs=0.95)": pp.MaxNMSE(BOUND, inputs=0.95),
    }
    figure = Figure(figsize=(13.5, 6.4), layout="constrained")
    columns = figure.subplots(2, 3, sharex=True, squeeze=False).T
    for (asked, target), (of_chips, of_inputs) in zip(targets.items(), columns, strict=True):
        plan = pp.plan(example.network, hardware, example.inputs, target, chip_spread=True)
        chips = histogram(plan.prediction.chips, BOUND)
        assert chips is not None
        draw(of_chips, chips)
        draw(of_inputs, inputs_histogram(plan))
        for axes in (of_chips, of_inputs):
            axes.set(xlim=(LOW, HIGH), ylim=(0, 1.4 * axes.get_ylim()[1]))
            axes.legend(loc="upper right", framealpha=1, edgecolor="none", fontsize="small")
        of_chips.set(xlabel="")
        of_chips.set_title(f"{asked}, {1e3 * plan.power:.3g} mW", fontsize="medium")
    figure.savefig(Path(sys.argv[1]) if len(sys.argv) > 1 else FILE, metadata={"Date": None})


if __name__ == "__main__":
    main()
