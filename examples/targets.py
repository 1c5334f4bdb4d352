"""What each kind of target costs on the digits example, and whether simulation confirms it.

    python examples/targets.py [--inputs 200] [--draws 2000]

Programming noise is 1.5 % of the conductance range. Every row is a plan for one target on the same held-out inputs:
its power, the predicted and the simulated value of what the target bounds. The last rows hold in three corners too.
"""

from __future__ import annotations

import argparse

import numpy as np

import powerplan as pp
from powerplan.planning import Target
from powerplan.report.quantities import quantity_text, quantity_with_error, target_text
from powerplan.units import percent, si

HARDWARE = pp.Hardware(programming_noise_std=1.5e-6)
CORNERS = {
    "noisier": HARDWARE.replace(programming_noise_std=1.8e-6),
    "read noise": HARDWARE.replace(read_noise_std=2e-7),
    "proportional": HARDWARE.replace(programming_noise_proportional=0.03),
}


def row(name: str, plan: pp.Plan) -> str:
    """One line of the table."""
    worst = max(plan.verifications, key=lambda check: check.ratio)
    value, half = worst.ratio * plan.target.value, 1.96 * worst.ratio_standard_error * plan.target.value
    cells = [
        name,
        target_text(plan.target),
        si(plan.power, "W"),
        percent(plan.nmse),
        quantity_text(plan.target, plan.reached),
        quantity_with_error(plan.target, value, half),
    ]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What each kind of target costs.")
    parser.add_argument("--inputs", type=int, default=200, help="held-out inputs to plan for")
    parser.add_argument("--draws", type=int, default=2000, help="draws of every simulation")
    arguments = parser.parse_args()
    example = pp.load_example("digits")
    rows = np.random.default_rng(0).choice(len(example.test_labels), arguments.inputs, replace=False)
    inputs, labels = example.test_inputs[rows], example.test_labels[rows]
    options = {"verify_draws": arguments.draws, "calibrate": False}
    print("| plan | target | power | NMSE | predicted | simulated, worst corner (95 %) |")
    print("| --- | --- | --- | --- | --- | --- |")
    mean = pp.plan(example.network, HARDWARE, inputs, pp.MaxNMSE(0.03), **options)
    print(row("mean error", mean), flush=True)
    worst = pp.MaxOutputMSE(mean.mse)
    print(row("worst output, same MSE", pp.plan(example.network, HARDWARE, inputs, worst, **options)), flush=True)
    targets: tuple[Target, ...] = (
        pp.MaxFlipRate(0.01),
        pp.MaxFlipRate(0.03),
        pp.MaxAccuracyDrop(0.01, labels),
        pp.MaxAccuracyDrop(0.03, labels),
    )
    for target in targets:
        print(row("classes", pp.plan(example.network, HARDWARE, inputs, target, **options)), flush=True)
    for target in (pp.MaxNMSE(0.03), pp.MaxAccuracyDrop(0.03, labels)):
        plan = pp.plan(example.network, HARDWARE, inputs, target, corners=list(CORNERS.values()), **options)
        names = ("nominal", *CORNERS)
        binding = ", ".join(names[i] for i in plan.binding_corners)
        print(row(f"three corners ({binding} binds)", plan), flush=True)


if __name__ == "__main__":
    main()
