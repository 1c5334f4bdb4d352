"""What does a whole plan cost, in predictions?

For every example network and target, on devices with programming noise of 1 % of the range: wall time of the plan
as a multiple of one prediction of the same batch, quasi-Newton steps, evaluations of the predictor.

    python -m benchmarks.plan [--json FILE]
"""

from __future__ import annotations

import functools
import sys
from typing import Any

import powerplan as pp
from benchmarks.common import alternate, ratio, run

HARDWARE = pp.Hardware(programming_noise_std=1e-6)
TARGETS = (0.01, 0.1, 0.3)  # NMSE


def plan_cost(example: pp.Example, target: float) -> dict[str, Any]:
    """One network and target."""
    network, inputs = example.network, example.inputs
    make = functools.partial(pp.plan, network, HARDWARE, inputs, pp.MaxNMSE(target))
    plan = make()
    predict = functools.partial(pp.predict, network, HARDWARE, plan.gains, inputs)
    times = alternate({"plan": make, "prediction": predict}, rounds=5, budget=6)
    certificate = plan.certificate
    return {
        "network": example.name,
        "batch": len(inputs),
        "target_nmse": target,
        "outcome": plan.termination.outcome.value,
        "plan_s": min(times["plan"]),
        "prediction_s": min(times["prediction"]),
        "multiple": ratio(times["plan"], times["prediction"]),
        "steps": plan.termination.iterations,
        "predictor_evaluations": plan.termination.predictions,
        "kkt_residual": None if certificate is None else certificate.kkt_residual,
        "saving": plan.saving,
    }


def measure() -> dict[str, Any]:
    """All networks at hand, all targets."""
    rows = []
    for name in ("iris", "digits", "mnist"):
        try:
            example = pp.load_example(name)
        except pp.MissingData as error:
            print(f"without {name}: {error}", file=sys.stderr)
            continue
        rows += [plan_cost(example, target) for target in TARGETS]
    return {"plans": rows}


if __name__ == "__main__":
    run(__doc__, measure)
